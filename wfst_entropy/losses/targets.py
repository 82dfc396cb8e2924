"""The transcripts that a loss is computed for: padded or concatenated, checked once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import as_lengths, is_integer


class Targets(NamedTuple):
    """Checked labels of a batch; int64 on the CPU."""

    flat: Tensor  # all labels
    offsets: Tensor  # (N,) where an utterance's labels begin
    lengths: Tensor  # (N,)

    def padded(self, fill: int) -> Tensor:
        """The labels as (N, U), U the longest length, with ``fill`` beyond an utterance's own."""
        n = self.lengths.numel()
        longest = int(self.lengths.max()) if n else 0
        position = torch.arange(longest)
        inside = position < self.lengths[:, None]
        if longest == 0:
            return torch.zeros(n, 0, dtype=torch.int64)
        labels = self.flat[torch.where(inside, self.offsets[:, None] + position, 0)]
        return labels.masked_fill(~inside, fill)

    def concatenated(self) -> Tensor:
        """The labels of all utterances, (sum of lengths,)."""
        utterance = torch.repeat_interleave(torch.arange(self.lengths.numel()), self.lengths)
        begin = self.lengths.cumsum(0) - self.lengths
        return self.flat[torch.arange(utterance.numel()) + (self.offsets - begin)[utterance]]


def checked_targets(
    targets: Tensor, target_lengths: Any, num_utterances: int, blank: int, num_symbols: int
) -> Targets:
    """Returns a checked copy of the labels.

    It is a copy because what was checked here must still hold in the backward call, when the
    caller may have filled the buffer that the targets came from (a NumPy array, say) anew.

    Args:
        targets: integers (N, U) padded, or (sum of target_lengths,) concatenated.
        target_lengths: integers (N,).
        num_utterances: N.
        blank: the symbol that may not occur, -1 if there is none.
        num_symbols: labels lie in 0..num_symbols - 1.

    Raises:
        FsaTypeError: for numbers that are not integers.
        FsaValueError: for wrong shapes, lengths or labels; it names utterance and position.
    """
    if not isinstance(targets, Tensor) or (targets.numel() and not is_integer(targets)):
        came = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise FsaTypeError(f"targets: must be an integer tensor, got {came}")
    n = num_utterances
    if targets.dim() == 2 and targets.shape[0] == n:
        longest, axis = targets.shape[1], "second axis of targets"
    elif targets.dim() == 1:
        longest, axis = targets.numel(), "size of targets"
    else:
        raise FsaValueError(
            f"targets: must have shape ({n}, U), or (sum of target_lengths,), "
            f"got {tuple(targets.shape)}"
        )
    counts = as_lengths("target_lengths", target_lengths, n, longest, axis)
    if targets.dim() == 2:
        offsets = torch.arange(n) * longest
    else:
        offsets = counts.cumsum(0) - counts
        if int(counts.sum()) != longest:
            raise FsaValueError(
                f"target_lengths: sum to {int(counts.sum())}, but the concatenated targets have "
                f"{longest} labels"
            )
    flat = targets.detach().to("cpu", torch.int64, copy=True).flatten()
    _check_labels(flat, offsets, counts, blank, num_symbols)
    return Targets(flat, offsets, counts)


def check_blank(blank: Any, num_symbols: int) -> None:
    """Refuses a blank that is no symbol.

    Raises:
        FsaTypeError: it is not an integer.
        FsaValueError: it does not lie in 0..num_symbols - 1.
    """
    if isinstance(blank, bool) or not isinstance(blank, int):
        raise FsaTypeError(f"blank: must be an integer, got {type(blank).__name__}")
    if not 0 <= blank < num_symbols:
        raise FsaValueError(f"blank: must be a symbol in 0..{num_symbols - 1}, got {blank}")


def _check_labels(
    flat: Tensor, offsets: Tensor, counts: Tensor, blank: int, num_symbols: int
) -> None:
    """Refuses labels that are blank or not in the vocabulary; labels beyond a length are free."""
    utterance = torch.repeat_interleave(torch.arange(counts.numel()), counts)
    position = torch.arange(utterance.numel()) - (counts.cumsum(0) - counts)[utterance]
    labels = flat[offsets[utterance] + position]
    wrong = (labels < 0) | (labels >= num_symbols) | (labels == blank)
    for i in wrong.nonzero().flatten().tolist()[:1]:
        label = int(labels[i])
        what = "the blank" if label == blank >= 0 else "outside the vocabulary"
        need = f"0..{num_symbols - 1}"
        if blank >= 0:
            need += f" and differ from blank ({blank})"
        raise FsaValueError(
            f"targets: utterance {int(utterance[i])}, position {int(position[i])} is {label}, "
            f"{what}; labels must lie in {need}"
        )
