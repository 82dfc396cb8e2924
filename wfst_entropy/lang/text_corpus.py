"""Text as numbers: sentences from files, one a line, or from lists of words or tokens."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from wfst_entropy.fsa import FsaFormatError, FsaTypeError, FsaValueError
from wfst_entropy.lang.ngram_model import Ids
from wfst_entropy.lang.symbols import BOS, EOS
from wfst_entropy.lang.text_blocks import decoded, line_blocks

# A file, several, or sentences: words in a string, with blanks between them, or in a list.
TextSource: TypeAlias = str | os.PathLike[str] | Iterable[Sequence[str] | os.PathLike[str]]
_CONVERTED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class TextCorpus:
    """Sentences as numbers of words, without `<s>` and `</s>`.

    Attributes:
      ids: int64 `(num_words,)`, all sentences one after the other.
      splits: int64 `(num_sentences + 1,)`, where each begins, and the end.
    """

    ids: Ids
    splits: Ids

    @property
    def num_sentences(self) -> int:
        """The number of sentences; blank lines are none."""
        return len(self.splits) - 1

    def with_limits(self, bos: int, eos: int) -> tuple[Ids, Ids]:
        """All sentences as one sequence, each between `bos` and `eos`; and where each begins."""
        begins = self.splits + 2 * np.arange(len(self.splits))
        sequence = np.empty(begins[-1], dtype=np.int64)
        inner = np.ones(len(sequence), dtype=bool)
        inner[begins[:-1]] = False
        inner[begins[1:] - 1] = False
        sequence[inner] = self.ids
        sequence[begins[:-1]] = bos
        sequence[begins[1:] - 1] = eos
        return sequence, begins[:-1]


def read_sentences(source: TextSource) -> Iterator[list[str]]:
    r"""The sentences of a source, as lists of words; those without words are left out.

    Words are what stands between spaces and tabs; other blanks of Unicode may be part of them.

    Args:
      source: a file with one sentence a line, plain or gzip, several such files (of type `Path`),
        or the sentences themselves.

    Raises:
      FsaFormatError: with file and line: what `line_blocks` refuses, text that is not UTF-8, or
        `<s>` or `</s>` among the words, which are added where they belong.
      FsaTypeError: the source is none of these.
      OSError: a file cannot be read.

    Example:
      >>> list(read_sentences(["a cow", "", ["in", "the", "grass"]]))
      [['a', 'cow'], ['in', 'the', 'grass']]
    """
    if isinstance(source, (str, os.PathLike)):
        yield from _file_sentences(Path(source))
        return
    for number, item in enumerate(source, start=1):
        if isinstance(item, os.PathLike):
            yield from _file_sentences(Path(item))
            continue
        words = item.replace("\t", " ").split(" ") if isinstance(item, str) else list(item)
        if not all(isinstance(word, str) for word in words):
            raise FsaTypeError(f"sentence {number}: words must be strings, got {words[:5]!r}")
        if words := [word for word in words if word]:
            _check_limits(words, f"sentence {number}")
            yield words


def encode_sentences(
    sentences: Iterable[Sequence[str]], ids: dict[str, int], other: int | None = None
) -> TextCorpus:
    """Turns words into numbers.

    Args:
      sentences: lists of words.
      ids: the numbers of words; grows by those that are new if `other` is None.
      other: the number of all words that are not in `ids`.

    Raises:
      FsaValueError: there is no sentence.

    Example:
      >>> ids = {"<unk>": 0}
      >>> encode_sentences([["a", "b"], ["b"]], ids).ids.tolist(), ids
      ([1, 2, 2], {'<unk>': 0, 'a': 1, 'b': 2})
      >>> encode_sentences([["a", "c"]], ids, other=0).ids.tolist()
      [1, 0]
    """
    parts, pending, lengths = [], [], []
    for sentence in sentences:
        lengths.append(len(sentence))
        if other is None:
            pending += [ids.setdefault(word, len(ids)) for word in sentence]
        else:
            pending += [ids.get(word, other) for word in sentence]
        if len(pending) > _CONVERTED_AT_ONCE:
            parts.append(np.array(pending, dtype=np.int64))
            pending = []
    if not lengths:
        raise FsaValueError("text: there is no sentence in it; give one sentence a line")
    parts.append(np.array(pending, dtype=np.int64))
    splits = np.concatenate([[0], np.cumsum(lengths)])
    return TextCorpus(np.concatenate(parts), splits.astype(np.int64))


def read_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a file as their numbers and what stands between spaces and tabs; no blank ones.

    Raises:
      FsaFormatError: with file and line: what `line_blocks` refuses, or text that is not UTF-8.
    """
    for first, lines in line_blocks(path):
        try:
            text = b"\n".join(lines).decode("utf-8").split("\n")
        except UnicodeDecodeError:
            text = [decoded(line, path, first + i) for i, line in enumerate(lines)]
        for number, line in enumerate(text, start=first):
            if fields := [field for field in line.replace("\t", " ").split(" ") if field]:
                yield number, fields


def first_fields(path: Path) -> list[str]:
    """The first field of each line: the words of a list, of `words.txt` or of a lexicon.

    Raises:
      FsaFormatError: as `read_fields`.
    """
    return [fields[0] for _, fields in read_fields(path)]


def _file_sentences(path: Path) -> Iterator[list[str]]:
    for number, words in read_fields(path):
        _check_limits(words, f"{path}: line {number}")
        yield words


def _check_limits(words: Sequence[str], where: str) -> None:
    if BOS in words or EOS in words:
        raise FsaFormatError(
            f"{where}: has {BOS} or {EOS}, which are added to every sentence; remove them from the "
            "text: sed 's/<s>//g; s/<\\/s>//g'"
        )
