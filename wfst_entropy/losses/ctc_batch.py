"""The arguments of the CTC losses, checked once."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import as_lengths, check_floating
from wfst_entropy.losses.targets import Targets, check_blank, checked_targets


class CtcBatch(NamedTuple):
    """Checked arguments; everything but the scores is int64 on the CPU."""

    log_probs: Tensor  # (N, T, C), any floating dtype
    targets: Targets
    input_lengths: Tensor
    blank: int
    name: str = "log_probs"  # of the argument, for messages


@eager
def checked_ctc_batch(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    name: str = "log_probs",
) -> CtcBatch:
    """Checks shapes, dtypes, lengths and labels, not the scores.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels; ``name`` stands for the scores.
    """
    check_floating(name, log_probs, "(N, T, C)")
    if log_probs.dim() != 3:
        raise FsaValueError(
            f"{name}: must be batch-first (N, T, C), got shape {tuple(log_probs.shape)}"
        )
    n, num_frames, num_symbols = log_probs.shape
    check_blank(blank, num_symbols)
    frames = f"frames of {name}, which is batch-first {tuple(log_probs.shape)}"
    frame_counts = as_lengths("input_lengths", input_lengths, n, num_frames, frames)
    labels = checked_targets(targets, target_lengths, n, blank, num_symbols)
    return CtcBatch(log_probs, labels, frame_counts, blank, name)
