"""Frame scores of a batch of utterances, seen as a vector of linear FSAs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaIndexError, FsaTypeError, FsaValueError


class DenseFsaVec:
    """Network output `(N, T, C)` and the frames of it that each sequence uses.

    Sequence `s` stands for an FSA with one state per frame and, from frame `t` to the next, one arc
    per symbol `c` with score `log_probs[utt, start_frame + t, c]`.  The arc into the final state
    (label -1, score 0, k2's extra column) is implied.  The scores are kept as they are: never
    copied, and not required to be normalised.

    Args:
      log_probs: float32 or float64 `(N, T, C)`, in nats; autograd is kept.
      supervision_segments: integers `(S, 3)`, each row utterance, start frame and number of frames
        (after subsampling); in any order.
      allow_truncate: a segment may end at most so many frames after `T`, and is cut at `T`; for
        front-ends whose subsampling rounds differently from the supervisions.

    Raises:
      FsaTypeError: a wrong dtype.
      FsaValueError: a wrong shape, or a segment outside `log_probs`; the message names it.

    Example:
      >>> dense = DenseFsaVec(torch.zeros(2, 5, 3), torch.tensor([[0, 0, 5], [1, 2, 2]]))
      >>> dense
      DenseFsaVec(num_seqs=2, vocab_size=3, frames=7)
      >>> dense[1].shape
      torch.Size([2, 3])
    """

    __slots__ = ("lengths", "scores", "start_frames", "utterances")

    scores: Tensor
    """The `log_probs` given, `(N, T, C)`."""
    utterances: Tensor
    """The row of `scores` of each sequence, int64 `(S,)`."""
    start_frames: Tensor
    """The first frame of each sequence, int64 `(S,)`."""
    lengths: Tensor
    """The number of frames of each sequence, int64 `(S,)`."""

    def __init__(
        self, log_probs: Tensor, supervision_segments: Tensor, allow_truncate: int = 0
    ) -> None:
        _check_log_probs(log_probs)
        segments = supervision_segments
        if not isinstance(segments, Tensor) or segments.is_floating_point():
            raise FsaTypeError("supervision_segments: must be an integer tensor (S, 3).")
        if segments.dim() != 2 or segments.shape[1] != 3:
            raise FsaValueError(
                "supervision_segments: must have shape (S, 3) = utterance, start frame, number of "
                f"frames, got {tuple(segments.shape)}."
            )
        segments = segments.to(device=log_probs.device, dtype=torch.int64)
        utterances, starts, lengths = segments.unbind(1)
        num_utterances, num_frames, _ = log_probs.shape
        for wrong, need in (
            ((utterances < 0) | (utterances >= num_utterances),
             f"utterance must be from 0 to {num_utterances - 1}, for log_probs "
             f"{tuple(log_probs.shape)}"),
            (starts < 0, "start frame must not be negative"),
            (lengths < 0, "number of frames must not be negative"),
            (starts + lengths > num_frames + allow_truncate,
             f"it must end by frame {num_frames} of log_probs (and allow_truncate "
             f"{allow_truncate}); are the lengths those after subsampling?"),
        ):  # fmt: skip
            _refuse(wrong, segments, need)
        self.scores = log_probs
        self.utterances = utterances
        self.start_frames = starts.clamp(max=num_frames)
        self.lengths = torch.minimum(lengths, (num_frames - starts).clamp(min=0))

    @classmethod
    def from_lengths(cls, log_probs: Tensor, lengths: Tensor) -> DenseFsaVec:
        """One sequence per utterance, from frame 0 to its length.

        Args:
          log_probs: float32 or float64 `(N, T, C)`.
          lengths: integers `(N,)`, in frames after subsampling, at most `T`.

        Raises:
          FsaTypeError, FsaValueError: as the constructor; the message names the utterance.

        Example:
          >>> DenseFsaVec.from_lengths(torch.zeros(2, 5, 3), torch.tensor([5, 4])).lengths.tolist()
          [5, 4]
        """
        _check_log_probs(log_probs)
        if not isinstance(lengths, Tensor) or lengths.is_floating_point():
            raise FsaTypeError("lengths: must be an integer tensor (N,).")
        if lengths.shape != log_probs.shape[:1]:
            raise FsaValueError(
                f"lengths: must have shape ({log_probs.shape[0]},), one length per utterance of "
                f"log_probs, got {tuple(lengths.shape)}."
            )
        numbers = torch.arange(lengths.numel(), device=lengths.device)
        segments = torch.stack([numbers, torch.zeros_like(numbers), lengths.to(torch.int64)], dim=1)
        return cls(log_probs, segments)

    @property
    def num_seqs(self) -> int:
        """Number of sequences, S."""
        return self.lengths.numel()

    def dim0(self) -> int:
        """Number of sequences, as `num_seqs`; k2's name."""
        return self.num_seqs

    @property
    def duration(self) -> Tensor:
        """The number of frames of each sequence, as `lengths`; k2's name."""
        return self.lengths

    @property
    def vocab_size(self) -> int:
        """Number of symbols, C, blank (0) included."""
        return self.scores.shape[2]

    @property
    def device(self) -> torch.device:
        """The device of the scores."""
        return self.scores.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the scores."""
        return self.scores.dtype

    def __len__(self) -> int:
        return self.num_seqs

    def __getitem__(self, i: int) -> Tensor:
        """The scores of sequence `i`, a view `(lengths[i], C)`."""
        if not -self.num_seqs <= i < self.num_seqs:
            raise FsaIndexError(f"dense[{i}]: there are {self.num_seqs} sequences.")
        start, length = int(self.start_frames[i]), int(self.lengths[i])
        return self.scores[int(self.utterances[i]), start : start + length]

    def with_scores(self, log_probs: Tensor) -> DenseFsaVec:
        """The same sequences over other scores of the same shape."""
        if log_probs.shape != self.scores.shape:
            raise FsaValueError(
                f"log_probs: must have shape {tuple(self.scores.shape)}, got "
                f"{tuple(log_probs.shape)}."
            )
        segments = torch.stack([self.utterances, self.start_frames, self.lengths], dim=1)
        return DenseFsaVec(log_probs, segments)

    def index_select(self, sequences: Tensor) -> DenseFsaVec:
        """Some of the sequences, over the same scores.

        Args:
          sequences: integers `(M,)` from 0 to S - 1, in any order; they may repeat.

        Raises:
          FsaIndexError: there is no such sequence.

        Example:
          >>> dense = DenseFsaVec.from_lengths(torch.zeros(2, 5, 3), torch.tensor([5, 4]))
          >>> dense.index_select(torch.tensor([1, 1, 0])).lengths.tolist()
          [4, 4, 5]
        """
        sequences = sequences.to(self.device, torch.int64)
        for i in ((sequences < 0) | (sequences >= self.num_seqs)).nonzero().flatten().tolist()[:1]:
            raise FsaIndexError(
                f"sequences[{i}] = {int(sequences[i])}: there are {self.num_seqs} sequences."
            )
        segments = torch.stack([self.utterances, self.start_frames, self.lengths], dim=1)
        return DenseFsaVec(self.scores, segments[sequences])

    def to(self, target: torch.device | str | torch.dtype) -> DenseFsaVec:
        """The same sequences with the scores on another device or of another dtype."""
        return self.with_scores(self.scores.to(target))

    def detach(self) -> DenseFsaVec:
        """The same sequences with scores that autograd does not follow."""
        return self.with_scores(self.scores.detach())

    def __repr__(self) -> str:
        frames = int(self.lengths.sum())
        return f"DenseFsaVec(num_seqs={len(self)}, vocab_size={self.vocab_size}, frames={frames})"


def _check_log_probs(log_probs: Any) -> None:
    if not isinstance(log_probs, Tensor) or log_probs.dtype not in (torch.float32, torch.float64):
        came = log_probs.dtype if isinstance(log_probs, Tensor) else type(log_probs).__name__
        raise FsaTypeError(
            f"log_probs: must be a float32 or float64 tensor (N, T, C), got {came}; convert half "
            "precision by log_probs.float()."
        )
    if log_probs.dim() != 3:
        raise FsaValueError(f"log_probs: must be (N, T, C), got {tuple(log_probs.shape)}.")


def _refuse(wrong: Tensor, segments: Tensor, need: str) -> None:
    rows = torch.nonzero(wrong)
    if rows.numel():
        row = int(rows[0])
        utterance, start, length = segments[row].tolist()
        raise FsaValueError(
            f"segment {row} (utterance {utterance}, start frame {start}, {length} frames): {need}."
        )
