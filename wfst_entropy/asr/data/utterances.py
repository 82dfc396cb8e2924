"""One batch as the model and the losses need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from wfst_entropy.asr.data.pseudo_labels import FROM_TEACHER, PSEUDO_LABEL
from wfst_entropy.fsa.errors import FsaError, FsaValueError

T = TypeVar("T")

# seconds between two frames of the features that the data module makes
_FRAME_SHIFT = 0.01


class TokenEncoder(Protocol):
    """What turns a transcript into token ids."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a transcript."""
        ...


@dataclasses.dataclass
class Utterances:
    """One batch as the model and the loss need it.

    Args:
      features: ``(N, T, F)`` float32.
      num_frames: ``(N,)``, feature frames per utterance.
      tokens: Token ids per utterance.
      names: What to call the utterances in messages.
      excluded: Why an utterance takes no part in the loss, by its position in the batch.
      from_teacher: Positions of the utterances whose tokens a teacher transcribed.
      teacher_tokens: By position, a teacher's token ids beside those of the transcript.

    >>> batch = Utterances(torch.zeros(2, 4, 80), torch.tensor([4, 2]), [[1], [2]], ["a", "b"])
    >>> batch.excluded, batch.name_rows([1]), batch.select([1]).features.shape
    ({}, 'b (0.02 s)', torch.Size([1, 2, 80]))
    """

    features: Tensor
    num_frames: Tensor
    tokens: list[list[int]]
    names: list[str]
    excluded: dict[int, str] = dataclasses.field(default_factory=dict)
    from_teacher: set[int] = dataclasses.field(default_factory=set)
    teacher_tokens: dict[int, list[int]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def select(self, rows: Sequence[int]) -> Utterances:
        """Some of the utterances, padded no longer than they need."""
        num_frames = self.num_frames[list(rows)]
        longest = int(num_frames.max()) if len(rows) else 0
        return Utterances(
            self.features[list(rows), :longest],
            num_frames,
            [self.tokens[row] for row in rows],
            [self.names[row] for row in rows],
            _moved(self.excluded, rows),
            {new for new, row in enumerate(rows) if row in self.from_teacher},
            _moved(self.teacher_tokens, rows),
        )

    def name_rows(self, rows: Iterable[int]) -> str:
        """The names of some utterances with their durations, for messages."""
        return ", ".join(self.with_duration(row) for row in rows)

    def with_duration(self, row: int) -> str:
        """The name of an utterance with its duration."""
        return f"{self.names[row]} ({int(self.num_frames[row]) * _FRAME_SHIFT:.2f} s)"

    def padded_tokens(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Token ids ``(N, U)`` int64, padded with 0, and their number ``(N,)`` int64."""
        lengths = torch.tensor([len(row) for row in self.tokens], dtype=torch.int64)
        padded = torch.zeros(len(self), int(lengths.max()) if len(self) else 0, dtype=torch.int64)
        for row, tokens in enumerate(self.tokens):
            padded[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        return padded.to(device), lengths


def _moved(by_row: dict[int, T], rows: Sequence[int]) -> dict[int, T]:
    return {new: by_row[row] for new, row in enumerate(rows) if row in by_row}


def read_batch(batch: dict[str, Any], tokenizer: TokenEncoder) -> Utterances:
    """Take the utterances out of a batch of lhotse's ``K2SpeechRecognitionDataset``.

    Args:
      batch: The dict with ``inputs`` and ``supervisions``, one supervision per cut; those of
        `labelled_cuts` also have a teacher's transcripts.
      tokenizer: Turns transcripts into token ids. A transcript that it refuses with an
        :class:`FsaError` excludes its utterance, as do features that are not finite.

    Returns:
      The utterances, on the CPU.

    Raises:
      FsaValueError: when a cut has several supervisions.

    >>> class Letters:
    ...     def encode(self, text):
    ...         return [ord(letter) - 96 for letter in text]
    >>> supervisions = {"text": ["ab"], "num_frames": [7], "sequence_idx": [0], "cut": []}
    >>> batch = {"inputs": torch.zeros(1, 7, 80), "supervisions": supervisions}
    >>> read_batch(batch, Letters()).tokens
    [[1, 2]]
    """
    supervisions = batch["supervisions"]
    rows = [int(row) for row in supervisions["sequence_idx"]]
    names = [cut.id for cut in supervisions.get("cut", [])] or [f"row {row}" for row in rows]
    if len(set(rows)) != len(rows):
        twice = next(name for name, row in zip(names, rows) if rows.count(row) > 1)
        raise FsaValueError(
            f"batch: needs one supervision per cut, cut {twice} has several; "
            "cut the recordings with trim_to_supervisions() first"
        )
    tokens: list[list[int]] = []
    excluded: dict[int, str] = {}
    for i, text in enumerate(supervisions["text"]):
        try:
            tokens.append(list(tokenizer.encode(text)))
        except FsaError as error:
            tokens.append([])
            excluded[i] = f"its transcript cannot be written in tokens: {error}"
    num_frames = torch.as_tensor(supervisions["num_frames"], dtype=torch.int64)
    features = batch["inputs"][rows]
    for i in (~features.isfinite().flatten(1).all(dim=1)).nonzero().flatten().tolist():
        # left in, they would spoil the statistics of the other utterances
        features[i] = 0.0
        excluded[i] = "its features are not finite"
    found = Utterances(features, num_frames, tokens, names, excluded)
    _read_pseudo_labels(found, supervisions.get("cut", []), tokenizer)
    return found


def _read_pseudo_labels(found: Utterances, cuts: Sequence[Any], tokenizer: TokenEncoder) -> None:
    for row, cut in enumerate(cuts):
        custom = next((s.custom for s in cut.supervisions), None) or {}
        if custom.get(FROM_TEACHER):
            found.from_teacher.add(row)
        text = custom.get(PSEUDO_LABEL)
        if text is not None:
            # `labelled_cuts` leaves out what the tokens cannot spell
            found.teacher_tokens[row] = list(tokenizer.encode(text))
