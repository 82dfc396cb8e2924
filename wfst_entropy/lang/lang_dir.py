"""A lang directory: the units of a recogniser and how words are written with them."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from wfst_entropy.fsa import SymbolTable
from wfst_entropy.fsa.errors import FsaFormatError
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.symbols import BLANK, is_disambiguation


class LangDir:
    """A read-only view of `tokens.txt`, `words.txt`, `lexicon.txt` (and `bpe.model`) in a folder.

    Files are read when they are first asked for, and checked: `<blk>` is token 0 and ids have no
    gaps, `<eps>` is word 0, every word and token of the lexicon is in its table.

    Args:
      path: such as `data/lang_bpe_200`.

    Raises:
      FsaFormatError: the folder or a file is missing (with the command that makes it), or a line is
        wrong (with its number).

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> _ = (folder / "tokens.txt").write_text("<blk> 0\\n▁ 1\\nA 2\\nB 3\\n")
      >>> _ = (folder / "words.txt").write_text("<eps> 0\\nAB 1\\n")
      >>> _ = (folder / "lexicon.txt").write_text("AB ▁ A B\\n")
      >>> lang = LangDir(folder)
      >>> lang.vocab_size, lang.token_type, lang.lexicon.pronunciations("AB")
      (4, 'char', [('▁', 'A', 'B')])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise FsaFormatError(
                f"{self.path}: no such lang directory; make it with prepare.sh --stage 5 "
                "--stop-stage 5, or give another --lang-dir"
            )

    @property
    def bpe_model(self) -> Path | None:
        """The sentencepiece model; None where tokens are characters."""
        path = self.path / "bpe.model"
        return path if path.is_file() else None

    @property
    def token_type(self) -> str:
        """`"bpe"` or `"char"`."""
        return "char" if self.bpe_model is None else "bpe"

    @cached_property
    def tokens(self) -> SymbolTable:
        """What the model puts out; `<blk>` is 0."""
        table = self._table("tokens.txt")
        self._needs_zero(table, BLANK, "tokens.txt")
        # Disambiguation symbols (#0, #1...), which graphs may add, follow the real tokens.
        if table.ids != list(range(len(table))):
            missing = next(i for i in range(len(table)) if i not in table)
            raise FsaFormatError(
                f"{self.path / 'tokens.txt'}: ids must run from 0 to {len(table) - 1} without a "
                f"gap, {missing} is missing"
            )
        return table

    @cached_property
    def words(self) -> SymbolTable:
        """The words that can be recognised with a word-level graph; `<eps>` is 0."""
        table = self._table("words.txt")
        self._needs_zero(table, "<eps>", "words.txt")
        return table

    @cached_property
    def lexicon(self) -> Lexicon:
        """How words are written in tokens; every word and token is in its table."""
        return Lexicon.from_file(self._file("lexicon.txt"), tokens=self.tokens, words=self.words)

    @property
    def vocab_size(self) -> int:
        """The number of tokens that a model puts out, `<blk>` included, without `#0`, `#1`..."""
        return sum(not is_disambiguation(symbol) for symbol in self.tokens.symbols)

    def __repr__(self) -> str:
        return f"LangDir({str(self.path)!r})"

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise FsaFormatError(
                f"{path}: no such file; make the lang directory again: delete {self.path} and run "
                "prepare.sh --stage 5 --stop-stage 5"
            )
        return path

    def _table(self, name: str) -> SymbolTable:
        return SymbolTable.from_file(self._file(name))

    def _needs_zero(self, table: SymbolTable, symbol: str, name: str) -> None:
        if table.get(symbol) != 0:
            raise FsaFormatError(
                f"{self.path / name}: {symbol} must have id 0, it has {table.get(symbol)}"
            )
