"""What the numbers of words and tokens in lattices stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wfst_entropy.cli.graph_files import read_symbols

if TYPE_CHECKING:
    from wfst_entropy.fsa import SymbolTable

# Stands for true words that no lattice can have: no table gives it to a word.
_UNKNOWN = 2**31 - 1


@dataclass(frozen=True)
class WordNames:
    """Tables of words and tokens, and how words are spelled; what is not known stays a number."""

    words: SymbolTable | None = None
    tokens: SymbolTable | None = None
    pronunciations: dict[int, list[tuple[int, ...]]] | None = None
    silence: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, words: Path | None, lang_dir: Path | None, silence: str | None = None) -> WordNames:
        """From the options of a verb.

        Raises:
          FsaError: a file is missing or wrong, or there is no such silence.
        """
        from wfst_entropy.fsa import FsaValueError
        from wfst_entropy.lang import LangDir

        if lang_dir is None:
            if silence is not None:
                raise FsaValueError("--silence: needs --lang-dir.")
            return cls(read_symbols(words))
        lang = LangDir(lang_dir)
        table = lang.words if words is None else read_symbols(words)
        quiet = set() if silence is None else {lang.tokens[silence]}
        return cls(table, lang.tokens, lang.pronunciation_ids, quiet)

    def spell(self, ids: Sequence[int]) -> list[str]:
        """Words, numbers where they have no name."""
        return [_name(self.words, number) for number in ids]

    def spell_token(self, number: int) -> str:
        """A token."""
        return _name(self.tokens, number)

    def ids(self, words: Sequence[str]) -> list[int]:
        """The numbers of words; those without one get a number that no lattice has."""
        if self.words is None:
            return [int(word) if word.isdecimal() else _UNKNOWN for word in words]
        return [_UNKNOWN if (i := self.words.get(word)) is None else i for word in words]


def _name(table: SymbolTable | None, number: int) -> str:
    return str(number) if table is None or number not in table else table[number]
