"""Network output as k2 lays it out: rows of frames, with a column and a row for the final arcs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.fsa import DenseFsaVec as CoreDense
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


class DenseFsaVec:
    """Frame scores of segments of a batch, each seen as an FSA.

    `scores` is `(sum of durations + number of segments, C + 1)`: the frames of the segments one
    after the other, each segment followed by a row for its final arc.  Column 0 is label -1: -inf
    on frames, 0 on the last row, whose other columns are -inf.  Segments may come in any order.

    Args:
      log_probs: float32 or float64 `(N, T, C)`, in nats; autograd is kept.
      supervision_segments: int32 `(S, 3)` on the CPU: utterance, first frame, number of frames.
      allow_truncate: how many frames a segment may go beyond `T`, where it is cut.

    Raises:
      FsaTypeError, FsaValueError: wrong dtypes or shapes, or a segment outside `log_probs`.

    Example:
      >>> segments = torch.tensor([[0, 0, 2]], dtype=torch.int32)
      >>> dense = DenseFsaVec(torch.zeros(1, 2, 2), segments)
      >>> dense.scores
      tensor([[-inf, 0., 0.],
              [-inf, 0., 0.],
              [0., -inf, -inf]])
      >>> dense.dim0(), dense.duration.tolist()
      (1, [2])
    """

    scores: Tensor
    _lengths: Tensor  # int64 (S,), on the CPU
    _duration: Tensor

    def __init__(
        self, log_probs: Tensor, supervision_segments: Tensor, allow_truncate: int = 0
    ) -> None:
        segments = supervision_segments
        if not isinstance(segments, Tensor) or segments.dtype != torch.int32:
            raise FsaTypeError("supervision_segments: must be an int32 tensor (S, 3).")
        if allow_truncate < 0:
            raise FsaValueError(f"allow_truncate: must not be negative, got {allow_truncate}.")
        dense = CoreDense(log_probs, segments, allow_truncate)
        self._lengths = dense.lengths.cpu()
        if bool((self._lengths <= 0).any()):
            row = int(torch.nonzero(self._lengths <= 0)[0])
            raise FsaValueError(
                f"supervision_segments: row {row} {segments[row].tolist()} has no frame within "
                f"log_probs {tuple(log_probs.shape)}."
            )
        self.scores = _lay_out(log_probs, dense)
        self._duration = self._lengths.to(torch.int32)

    @property
    def duration(self) -> Tensor:
        """The number of frames of each segment, int32 `(S,)`, on the CPU."""
        if "_duration" not in self.__dict__:
            self._duration = self._lengths.to(torch.int32)
        return self._duration

    @property
    def dense_fsa_vec(self) -> DenseFsaVec:
        """Itself; k2 keeps its C++ object under this name."""
        return self

    @property
    def core(self) -> CoreDense:
        """The same segments as this package's class; it reads `scores`, without copying them."""
        frames = self.scores[:, 1:].unsqueeze(0)
        begins = self.row_splits()[:-1]
        segments = torch.stack([torch.zeros_like(begins), begins, self._lengths], dim=1)
        return CoreDense(frames, segments)

    def row_splits(self) -> Tensor:
        """Where the rows of each segment begin in `scores`, int64 `(S + 1,)`, on the CPU."""
        return torch.cat([self._lengths.new_zeros(1), (self._lengths + 1).cumsum(0)])

    def dim0(self) -> int:
        """Number of segments."""
        return self._lengths.numel()

    def shape(self) -> tuple[int, None, None]:
        """`(number of segments, None, None)`."""
        return self.dim0(), None, None

    @property
    def device(self) -> torch.device:
        """Where the scores are."""
        return self.scores.device

    def is_cpu(self) -> bool:
        """Whether the scores are on the CPU."""
        return self.device.type == "cpu"

    def is_cuda(self) -> bool:
        """Whether the scores are on a CUDA device."""
        return self.device.type == "cuda"

    def to(self, device: torch.device | str) -> DenseFsaVec:
        """The same with the scores on `device`; itself if they are there."""
        if torch.device(device) == self.device:
            return self
        ans = DenseFsaVec.__new__(DenseFsaVec)
        ans.scores, ans._lengths = self.scores.to(device), self._lengths
        return ans

    def to_str(self) -> str:
        """The rows of `scores`, segment by segment."""
        splits = self.row_splits().tolist()
        rows: list[Any] = [self.scores[b:e].tolist() for b, e in pairwise(splits)]
        return f"num_axes: 3, device: {self.device}, row_splits1: {splits}, scores: {rows}"

    __str__ = to_str

    def __repr__(self) -> str:
        return f"k2.DenseFsaVec(dim0={self.dim0()}, scores={tuple(self.scores.shape)})"


def _lay_out(log_probs: Tensor, dense: CoreDense) -> Tensor:
    """The frames of all segments and their final rows; the frames differentiable in `log_probs`."""
    num_frames, num_classes = log_probs.shape[1:]
    lengths = dense.lengths
    rows = torch.repeat_interleave(lengths + 1)
    first = (lengths + 1).cumsum(0) - lengths - 1
    frame = torch.arange(rows.numel(), device=rows.device) - first[rows]
    is_final = frame == lengths[rows]
    flat = dense.utterances[rows] * num_frames + dense.start_frames[rows] + frame
    read = log_probs.reshape(-1, num_classes)[flat.masked_fill(is_final, 0)]
    read = read.masked_fill(is_final[:, None], -torch.inf)
    final = torch.where(is_final, 0.0, -torch.inf).to(read.dtype)
    return torch.cat([final[:, None], read], dim=1)


def convert_dense_to_fsa_vec(dense_fsa_vec: DenseFsaVec) -> Fsa:
    """The FSAs that frame scores stand for, written out: for tests, as it has an arc per score.

    An FSA of `T` frames has `T + 2` states; the arcs from state `t` to `t + 1` are labelled 0 to
    `C - 1` for `t < T`, and the last one -1.

    Example:
      >>> dense = DenseFsaVec(torch.zeros(1, 1, 2), torch.tensor([[0, 0, 1]], dtype=torch.int32))
      >>> convert_dense_to_fsa_vec(dense).arcs
      [ [ [ 0 1 0 0 0 1 1 0 ] [ 1 2 -1 0 ] [ ] ] ]
    """
    return Fsa.from_core(algorithms.convert_dense_to_fsa_vec(dense_fsa_vec.core))
