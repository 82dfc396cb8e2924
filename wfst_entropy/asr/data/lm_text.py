"""The text of a language model: training transcripts and other sentences, never the held-out ones.

A sentence is compared without regard to case and spaces. One that holds a whole held-out sentence
of `MIN_INSIDE` words or more inside is left out, too; shorter ones ("and it was so") are in every
text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wfst_entropy.asr.data.errors import DataError

MIN_INSIDE = 4
"""Held-out sentences of so many words may not stand inside longer ones either."""


@dataclass(frozen=True)
class LmText:
    """What a language model is estimated from.

    Attributes:
      sentences: in the order of their sources.
      num_transcripts: how many of them are training transcripts.
      num_added: how many of them are further sentences.
      num_left_out: sentences of the sources that are held out.
    """

    sentences: list[str]
    num_transcripts: int
    num_added: int
    num_left_out: int


def sentence_key(text: str) -> str:
    """What two writings of the same sentence have in common.

    >>> sentence_key(" And it  was so") == sentence_key("AND IT WAS SO")
    True
    """
    return " ".join(text.casefold().split())


class HeldOut:
    """The sentences that a language model must not have seen.

    >>> held_out = HeldOut(["And he went up", "go"])
    >>> [held_out.has(text) for text in ("GO", "go  down", "and AND he went up to")]
    [True, False, True]
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        self.keys = {key for text in sentences if (key := sentence_key(text))}
        self._by_beginning: dict[tuple[str, ...], list[list[str]]] = {}
        for words in (key.split() for key in self.keys):
            if len(words) >= MIN_INSIDE:
                self._by_beginning.setdefault(tuple(words[:MIN_INSIDE]), []).append(words)

    def has(self, text: str) -> bool:
        """Whether a text is one of the sentences, or has one inside."""
        key = sentence_key(text)
        words = key.split()
        return key in self.keys or any(
            words[i : i + len(inside)] == inside
            for i in range(len(words) - MIN_INSIDE + 1)
            for inside in self._by_beginning.get(tuple(words[i : i + MIN_INSIDE]), ())
        )


def select_lm_text(
    transcripts: Iterable[str], further: Iterable[str], held_out: Iterable[str]
) -> LmText:
    """Chooses the sentences of a language model.

    Transcripts count as often as they were spoken; a further sentence counts once, and not at all
    where a transcript has it already.

    Args:
      transcripts: of the training data.
      further: sentences beyond them; empty ones and those that begin with `#` are not read.
      held_out: those of development and test, which are left out wherever they stand, and with
        them the sentences that have one of `MIN_INSIDE` words or more inside.

    Returns:
      The text and how it came about.

    Raises:
      DataError: nothing is left.

    >>> text = select_lm_text(["A B", "A B", "C"], ["a b", "D", "# note", "E"], ["C", "e"])
    >>> text.sentences, text.num_transcripts, text.num_added, text.num_left_out
    (['A B', 'A B', 'D'], 2, 1, 2)
    """
    kept_out = HeldOut(held_out)
    sentences, seen, num_left_out = [], set(), 0
    for text in transcripts:
        key = sentence_key(text)
        if kept_out.has(text):
            num_left_out += 1
        elif key:
            seen.add(key)
            sentences.append(" ".join(text.split()))
    num_transcripts = len(sentences)
    for text in further:
        key = sentence_key(text)
        if kept_out.has(text):
            num_left_out += 1
        elif key and key not in seen and not key.startswith("#"):
            seen.add(key)
            sentences.append(" ".join(text.split()))
    if not sentences:
        raise DataError(
            f"no sentence is left for the language model: all {num_left_out} are among the "
            f"{len(kept_out.keys)} of development and test"
        )
    num_added = len(sentences) - num_transcripts
    return LmText(sentences, num_transcripts, num_added, num_left_out)


def read_sentences(path: Path | str) -> list[str]:
    """Reads a text of one sentence a line.

    Raises:
      DataError: the file cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: needed UTF-8 text, one sentence a line: {error}") from error


def refuse_held_out(path: Path | str, held_out: Iterable[str]) -> int:
    """Checks that a text for a language model has none of the held-out sentences (see `HeldOut`).

    Args:
      path: one sentence a line.
      held_out: those of development and test.

    Returns:
      The number of held-out sentences that were looked for.

    Raises:
      DataError: the text has one of them (the first is named with its line), or cannot be read.
    """
    kept_out = HeldOut(held_out)
    lines = read_sentences(path)
    found = [(n, line) for n, line in enumerate(lines, 1) if kept_out.has(line)]
    if found:
        number, line = found[0]
        raise DataError(
            f"{path}:{number}: {line.strip()!r} is or has a sentence of development or test, and "
            f"{len(found) - 1} more line(s) are; error rates with such a language model mean "
            "nothing. Delete the file and make it again: prepare_lm.sh --stage 0 --stop-stage 0"
        )
    return len(kept_out.keys)
