"""A lang directory: the units of a recogniser, how words are written with them, and its graphs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from wfst_entropy.fsa import Fsa, SymbolTable, load_fsa
from wfst_entropy.fsa.errors import FsaFormatError, SymbolNotFoundError
from wfst_entropy.lang.lang_finding import named, shown
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.symbols import (
    BACKOFF,
    EPSILON,
    UNKNOWN_WORD,
    ZERO_TOKENS,
    is_disambiguation,
)

_REMAKE = "delete {folder} and run prepare.sh --stage 5 --stop-stage 5"
_MAKERS = {
    "L": "wfst-entropy lang prepare {folder}",
    "G": "wfst-entropy lm to-g LM.arpa {folder}/words.txt {folder}/{name}",
    "LG": "wfst-entropy graph lg {folder}",
    "HLG": "wfst-entropy graph hlg {folder}",
}


class LangDir:
    """A read-only view of a folder such as `data/lang_bpe_500`.

    Files are read when they are first asked for, and checked: `<blk>` is token 0, ids have no gaps,
    disambiguation symbols come last, `<eps>` is word 0, every word and token of the lexicon is in
    its table.

    Args:
      path: a folder with `tokens.txt`, `words.txt`, `lexicon.txt` (or `lexiconp.txt`), perhaps
        `bpe.model`, and the graphs that have been made.

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
      >>> lang.texts_to_token_ids(["AB AB"]), lang.pronunciation_ids
      ([[1, 2, 3, 1, 2, 3]], {1: [(1, 2, 3)]})
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._grammars: dict[int | None, Fsa] = {}
        if not self.path.is_dir():
            raise FsaFormatError(
                f"{self.path}: no such lang directory; make it with prepare.sh --stage 5 "
                "--stop-stage 5, or give another --lang-dir"
            )

    @property
    def bpe_model(self) -> Path | None:
        """The sentencepiece model; None where tokens are not its pieces."""
        path = self.path / "bpe.model"
        return path if path.is_file() else None

    @property
    def token_type(self) -> str:
        """`"bpe"` with a sentencepiece model, `"char"` if tokens are one letter each, or `"phone"`.

        Tokens in angle brackets do not count.
        """
        if self.bpe_model is not None:
            return "bpe"
        units = [t for t in self.tokens.symbols[: self.vocab_size] if t[0] != "<" or t[-1] != ">"]
        return "char" if all(len(unit) == 1 for unit in units) else "phone"

    @cached_property
    def tokens(self) -> SymbolTable:
        """What the model puts out, `<blk>` 0; then the disambiguation symbols of graphs."""
        path = self.path / "tokens.txt"
        if (
            not path.is_file()
        ):  # maybe another folder of data, which nobody should be told to delete
            raise FsaFormatError(
                f"{path}: no such file, so {self.path} is no lang directory; give one, such as "
                "data/lang_char, which prepare.sh --stage 5 --stop-stage 5 makes"
            )
        return read_tokens(path)

    @cached_property
    def words(self) -> SymbolTable:
        """The words that can be recognised with a word-level graph; `<eps>` is 0."""
        return _read_table(self._file("words.txt"), EPSILON)

    @cached_property
    def lexicon(self) -> Lexicon:
        """How words are written in tokens; with probabilities if there is `lexiconp.txt`."""
        return self._lexicon("", disambiguated=False)

    @cached_property
    def lexicon_disambig(self) -> Lexicon:
        """The lexicon with `#1`, `#2`, ...: see `add_disambig_symbols`."""
        return self._lexicon("_disambig", disambiguated=True)

    @property
    def vocab_size(self) -> int:
        """The number of tokens that a model puts out, `<blk>` included, without `#0`, `#1`..."""
        return sum(not is_disambiguation(symbol) for symbol in self.tokens.symbols)

    @property
    def first_disambig(self) -> int:
        """The id of the token `#0`, where there is one: that after the last real token."""
        return self.vocab_size

    @property
    def word_disambig_id(self) -> int:
        """The id of the word `#0`, the label of back-off arcs.

        Raises:
          FsaFormatError: `words.txt` has none.
        """
        number = self.words.get(BACKOFF)
        if number is None:
            raise FsaFormatError(
                f"{self.path / 'words.txt'}: has no {BACKOFF}, which graphs need; run "
                f"wfst-entropy lang prepare {self.path}"
            )
        return number

    @property
    def unknown_word_id(self) -> int | None:
        """The id of `<UNK>` (or `<unk>`); None where there is none."""
        number = self.words.get(UNKNOWN_WORD)
        return self.words.get(UNKNOWN_WORD.lower()) if number is None else number

    @cached_property
    def L(self) -> Fsa:
        """The lexicon: `labels` tokens, `aux_labels` words; 0 is epsilon in both."""
        return self._graph("L.pt", "L")

    @cached_property
    def L_disambig(self) -> Fsa:
        """The lexicon with disambiguation symbols, which can be determinised."""
        return self._graph("L_disambig.pt", "L")

    @cached_property
    def Linv(self) -> Fsa:
        """The lexicon from words to tokens, arcs sorted."""
        return self._graph("Linv.pt", "L")

    @cached_property
    def LG(self) -> Fsa:
        """Lexicon and language model: `labels` tokens, `aux_labels` words."""
        return self._graph("LG.pt", "LG")

    @cached_property
    def HLG(self) -> Fsa:
        """The decoding graph."""
        return self._graph("HLG.pt", "HLG")

    def G(self, order: int | None = None) -> Fsa:
        """The language model `G.pt`, or that of an order: `G_3_gram.pt`."""
        if order not in self._grammars:
            name = "G.pt" if order is None else f"G_{order}_gram.pt"
            self._grammars[order] = self._graph(name, "G")
        return self._grammars[order]

    def oov_words(self, texts: Iterable[str]) -> list[str]:
        """The words of texts that are not in the lexicon, each once, in their order."""
        words = dict.fromkeys(word for text in texts for word in text.split())
        return [word for word in words if word not in self.lexicon]

    def texts_to_word_ids(
        self, texts: Iterable[str], *, unknown: str | None = None
    ) -> list[list[int]]:
        """The ids of the words of each text.

        Args:
          texts: words with blanks between them.
          unknown: the word that stands for all that are not in `words.txt`, such as `"<UNK>"`; by
            default there must be none.

        Raises:
          SymbolNotFoundError: words are not in `words.txt`; the message names them.
        """
        listed = [text.split() for text in texts]
        get = self.words.get
        if unknown is None:
            absent = dict.fromkeys(w for words in listed for w in words if get(w) is None)
            self._refuse(list(absent), "words.txt")
            return [[self.words[word] for word in words] for words in listed]
        other = self.words[unknown]
        return [[other if get(word) is None else self.words[word] for word in w] for w in listed]

    def texts_to_token_ids(self, texts: Iterable[str]) -> list[list[int]]:
        """Each text in tokens: of each word the most probable pronunciation, or else the first.

        Raises:
          SymbolNotFoundError: words are not in the lexicon; the message names them.
        """
        listed = list(texts)
        self._refuse(self.oov_words(listed), "the lexicon")
        return [[i for word in text.split() for i in self._spelling[word]] for text in listed]

    @cached_property
    def pronunciation_ids(self) -> dict[int, list[tuple[int, ...]]]:
        """For each word of the lexicon, by its id, its pronunciations in ids of tokens."""
        found: dict[int, list[tuple[int, ...]]] = {}
        for word, tokens in self.lexicon:
            ids = tuple(self.tokens[token] for token in tokens)
            found.setdefault(self.words[word], []).append(ids)
        return found

    def __repr__(self) -> str:
        return f"LangDir({str(self.path)!r})"

    @cached_property
    def _spelling(self) -> dict[str, list[int]]:
        probs = self.lexicon.probs or (1.0,) * len(self.lexicon)
        best: dict[str, tuple[float, tuple[str, ...]]] = {}
        for (word, tokens), prob in zip(self.lexicon, probs):
            if word not in best or prob > best[word][0]:
                best[word] = prob, tokens
        return {word: [self.tokens[t] for t in tokens] for word, (_, tokens) in best.items()}

    def _refuse(self, words: list[str], where: str) -> None:
        if words:
            raise SymbolNotFoundError(
                f"{self.path}: {len(words)} words are not in {where}: {named(words, 10)}; add "
                "them with wfst-entropy lang prepare --words"
            )

    def _lexicon(self, ending: str, *, disambiguated: bool) -> Lexicon:
        with_probs = self.path / f"lexiconp{ending}.txt"
        name = with_probs.name if with_probs.is_file() else f"lexicon{ending}.txt"
        hint = _MAKERS["L"] if disambiguated else _REMAKE
        return Lexicon.from_file(
            self._file(name, hint),
            tokens=self.tokens,
            words=self.words,
            disambiguated=disambiguated,
        )

    def _graph(self, name: str, kind: str) -> Fsa:
        return load_fsa(self._file(name, _MAKERS[kind]))

    def _file(self, name: str, maker: str = _REMAKE) -> Path:
        path = self.path / name
        if not path.is_file():
            how = maker.format(folder=self.path, name=name)
            raise FsaFormatError(f"{path}: no such file; to make it: {how}")
        return path


def read_tokens(path: Path) -> SymbolTable:
    """Reads `tokens.txt`: `<blk>` is 0, ids have no gaps, disambiguation symbols come last.

    Token 0 may also be called `<eps>` or `<blank>`.

    Raises:
      FsaFormatError: it is otherwise, or a line is wrong.
    """
    table = _read_table(path, *ZERO_TOKENS)
    symbols = table.symbols
    if table.ids != list(range(len(table))):
        missing = next(i for i in range(len(table)) if i not in table)
        raise FsaFormatError(
            f"{path}: ids must run from 0 to {len(table) - 1} without a gap, {missing} is missing"
        )
    marks = [i for i, symbol in enumerate(symbols) if is_disambiguation(symbol)]
    if marks and marks[0] + len(marks) != len(symbols):
        after = next(s for s in symbols[marks[0] :] if not is_disambiguation(s))
        raise FsaFormatError(
            f"{path}: {symbols[marks[0]]} has id {marks[0]}, before the token {shown(after)}; "
            "disambiguation symbols must come last"
        )
    return table


def _read_table(path: Path, *zero: str) -> SymbolTable:
    """Reads a table in which one of some symbols must be 0."""
    table = SymbolTable.from_file(path)
    if table.get(0) not in zero:
        raise FsaFormatError(f"{path}: {zero[0]} must have id 0, it has {table.get(zero[0])}")
    return table
