"""When each word of a stream was heard first, and from when on it stayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Emission(NamedTuple):
    """When a word came out; seconds of audio that had been heard by then.

    Attributes:
      first: at the first partial result that had this word at this place of the text.
      stable: at the partial result from which on it was there in all.
    """

    first: float
    stable: float


class WordHistory:
    """The partial results of one utterance, as far as the times of its words need them.

    A place is the number of a word in the text.

    Example:
      >>> history = WordHistory()
      >>> for heard, text in (1.0, "A"), (2.0, "A BEE"), (3.0, "A BE"), (4.0, "A BEE SEE"):
      ...     history.add(heard, text.split())
      >>> [tuple(each) for each in history.emissions]
      [(1.0, 1.0), (2.0, 4.0), (4.0, 4.0)]
    """

    def __init__(self) -> None:
        self._words: list[str] = []
        self._stable: list[float] = []
        # for each place when each word was there first
        self._first: list[dict[str, float]] = []

    def add(self, heard: float, words: Sequence[str]) -> None:
        """Notes a partial result.

        Args:
          heard: seconds of audio that it is of, not less than before.
          words: its text.
        """
        same = min(len(words), len(self._words))
        stable = [
            self._stable[place] if place < same and self._words[place] == word else heard
            for place, word in enumerate(words)
        ]
        self._first += [{} for _ in range(len(words) - len(self._first))]
        for place, word in enumerate(words):
            self._first[place].setdefault(word, heard)
        self._words, self._stable = list(words), stable

    @property
    def emissions(self) -> list[Emission]:
        """Of the words of the last partial result."""
        return [
            Emission(self._first[place][word], stable)
            for place, (word, stable) in enumerate(zip(self._words, self._stable, strict=True))
        ]
