"""How words are written in tokens."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import overload

from wfst_entropy.fsa import SymbolTable
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaValueError, SymbolNotFoundError
from wfst_entropy.lang.lang_finding import raise_first_error, shown
from wfst_entropy.lang.lexicon_check import Pronunciation, examine_lexicon

_BLANK = re.compile(r"[ \t\r\n]|^$")

Entry = tuple[str, Pronunciation]

_logger = logging.getLogger(__name__)


class Lexicon:
    """Pairs of a word and its tokens; a word with several pronunciations has several pairs.

    It is read-only. Words that sound alike, and pronunciations that begin others, are as they are:
    `add_disambig_symbols` tells them apart.

    Args:
      entries: a word and its tokens each; a pronunciation may be empty (for graphs, not in files).
      probs: one probability per entry, in (0, 1]; by default there are none, which counts as 1.

    Raises:
      FsaValueError: a word or token is empty or has blanks, a probability is outside (0, 1], or
        there are more or fewer of them than entries.

    Example:
      >>> lexicon = Lexicon([("READ", ["R", "EH", "D"]), ("READ", ["R", "IY", "D"])], [0.75, 0.25])
      >>> lexicon[1], lexicon.words, lexicon.tokens
      (('READ', ('R', 'IY', 'D')), ['READ'], ['D', 'EH', 'IY', 'R'])
      >>> lexicon.pronunciations("READ")
      [('R', 'EH', 'D'), ('R', 'IY', 'D')]
      >>> print(lexicon.to_str(), end="")
      READ 0.75 R EH D
      READ 0.25 R IY D
    """

    def __init__(
        self,
        entries: Iterable[tuple[str, Sequence[str]]],
        probs: Sequence[float] | None = None,
    ) -> None:
        self._entries: list[Entry] = [(word, tuple(tokens)) for word, tokens in entries]
        self._probs = None if probs is None else tuple(map(float, probs))
        _check_symbols(word for word, _ in self._entries)
        _check_symbols(chain.from_iterable(tokens for _, tokens in self._entries))
        if self._probs is None:
            return
        if len(self._probs) != len(self._entries):
            raise FsaValueError(
                f"probs: needed one for each of {len(self._entries)} entries, got "
                f"{len(self._probs)}."
            )
        for (word, _), prob in zip(self._entries, self._probs):
            if not 0 < prob <= 1 or math.isnan(prob):
                raise FsaValueError(f"probs: of {word!r}: must be in (0, 1], got {prob}.")

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        tokens: SymbolTable | None = None,
        words: SymbolTable | None = None,
        probabilities: bool | None = None,
        disambiguated: bool = False,
    ) -> Lexicon:
        """Reads `lexicon.txt` or `lexiconp.txt`, strictly: what `check_lexicon` calls an error is.

        An entry that the file has again counts once; the log tells how many there are.

        Args:
          path: lines `word token token ...`; with probabilities `word probability token ...`.
          tokens: the tokens that there are; by default any.
          words: the words that there are; by default any.
          probabilities: whether lines have them; by default, whether the file is called
            `lexiconp.txt` (or `lexiconp_disambig.txt`).
          disambiguated: whether pronunciations may end with `#1`, `#2`, ...

        Raises:
          FsaFormatError: with file, line and word of the first error, and how to mend it.
        """
        examined = examine_lexicon(
            path,
            tokens=tokens,
            words=words,
            probabilities=probabilities,
            disambiguated=disambiguated,
        )
        raise_first_error(examined.findings)
        if examined.num_repeated:
            _logger.warning("%s: %d entries are there again", path, examined.num_repeated)
        probs = tuple(examined.probs) if examined.has_probabilities else None
        return cls._of(examined.entries, probs)

    @classmethod
    def _of(cls, entries: list[Entry], probs: tuple[float, ...] | None) -> Lexicon:
        """A lexicon of parts that are known to be valid."""
        lexicon = cls.__new__(cls)
        lexicon._entries = entries
        lexicon._probs = probs
        return lexicon

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_str` in UTF-8, whole or not at all.

        Call a file with probabilities `lexiconp.txt`: that is how `from_file` knows.

        Raises:
          FsaValueError: as `to_str`.
          FileWriteError: the file cannot be written; what was there before still is.
        """
        text = self.to_str()
        with replacing(Path(path)) as file:
            file.write(text.encode("utf-8"))

    def to_str(self) -> str:
        """A line `word token token ...` each, with the probability after the word if there is one.

        Raises:
          FsaValueError: an empty pronunciation, which the format cannot hold.
        """
        for word, tokens in self._entries:
            if not tokens:
                raise FsaValueError(
                    f"the word {shown(word)} has an empty pronunciation, which a file cannot hold; "
                    "add_disambig_symbols gives it a symbol."
                )
        if self._probs is None:
            return "".join(f"{word} {' '.join(tokens)}\n" for word, tokens in self._entries)
        pairs = zip(self._entries, self._probs)
        return "".join(f"{word} {p!r} {' '.join(tokens)}\n" for (word, tokens), p in pairs)

    def with_pronunciations(self, pronunciations: Iterable[Sequence[str]]) -> Lexicon:
        """The same words and probabilities with other tokens, one sequence for each entry.

        Raises: FsaValueError as the constructor, or for another number of sequences.

        >>> list(Lexicon([("A", ["AH"])]).with_pronunciations([["EY"]]))
        [('A', ('EY',))]
        """
        others = [tuple(tokens) for tokens in pronunciations]
        if len(others) != len(self):
            raise FsaValueError(
                f"pronunciations: needed one for each of {len(self)} entries, got {len(others)}."
            )
        _check_symbols(chain.from_iterable(others))
        words = (word for word, _ in self._entries)
        return Lexicon._of(list(zip(words, others)), self._probs)

    @property
    def probs(self) -> tuple[float, ...] | None:
        """The probability of each entry; None where there are none."""
        return self._probs

    @property
    def words(self) -> list[str]:
        """Each word once, in the order of the first entries."""
        return list(dict.fromkeys(word for word, _ in self._entries))

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens that occur, sorted; disambiguation symbols too."""
        return sorted({token for _, tokens in self._entries for token in tokens})

    def pronunciations(self, word: str) -> list[Pronunciation]:
        """The token sequences of a word, in the order of the entries.

        Raises:
          SymbolNotFoundError: the word is not in the lexicon.
        """
        if word not in self._numbers:
            raise SymbolNotFoundError(
                f"the word {shown(word)} is not in the lexicon of {len(self._numbers)} words."
            )
        return [self._entries[i][1] for i in self._numbers[word]]

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        """The entries of each word."""
        numbers: dict[str, list[int]] = {}
        for i, (word, _) in enumerate(self._entries):
            numbers.setdefault(word, []).append(i)
        return numbers

    def __contains__(self, word: object) -> bool:
        """Whether there is this word."""
        return word in self._numbers

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._entries[index]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Lexicon):
            return NotImplemented
        return self._entries == other._entries and self._probs == other._probs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Lexicon({len(self)} entries, {len(self.words)} words)"


def _check_symbols(symbols: Iterable[object]) -> None:
    for symbol in set(symbols):
        if not isinstance(symbol, str) or _BLANK.search(symbol):
            raise FsaValueError(f"entries: {symbol!r} must be a string without blanks.")
