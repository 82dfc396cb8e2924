"""The arguments of the RNN-T losses, checked once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import as_lengths, check_choice, check_floating, check_number
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES
from wfst_entropy.losses.targets import Targets, check_blank, checked_targets


class RnntBatch(NamedTuple):
    """Checked arguments; everything but the logits is int64 on the CPU."""

    logits: Tensor  # (N, T, W, C), any floating dtype
    targets: Targets
    logit_lengths: Tensor
    blank: int
    name: str = "logits"  # of the argument, for messages
    # (N, T) how many labels come before the first of the W nodes of a frame. None for none: then W
    # is at least the longest transcript + 1.
    begins: Tensor | None = None

    def nodes(self) -> Tensor:
        """(N, T, W), or (1, 1, W) if all frames are alike: how many labels come before a node."""
        nodes = torch.arange(self.logits.shape[2])
        return nodes[None, None] if self.begins is None else self.begins[:, :, None] + nodes

    def inside(self) -> Tensor:
        """(N, T, W) whether a node is within an utterance's frames and labels."""
        frames = torch.arange(self.logits.shape[1]) < self.logit_lengths[:, None]
        return frames[:, :, None] & (self.nodes() <= self.targets.lengths[:, None, None])


class RnntOptions(NamedTuple):
    """What is done with the logits; see `rnnt_alignment`."""

    rnnt_type: str = "regular"
    fused_log_softmax: bool = True
    delay_penalty: float = 0.0
    fastemit_lambda: float = 0.0
    reuse_logits_for_grads: bool = False

    def check(self) -> None:
        """Refuses an unknown type, and scales that are no numbers.

        Raises:
            FsaTypeError, FsaValueError: naming the argument.
        """
        check_choice("rnnt_type", self.rnnt_type, RNNT_TYPES)
        check_number("delay_penalty", self.delay_penalty)
        check_number("fastemit_lambda", self.fastemit_lambda)


@eager
def checked_rnnt_batch(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Any,
    target_lengths: Any,
    blank: int,
    name: str = "logits",
) -> RnntBatch:
    """Checks shapes, dtypes, lengths and labels, not the logits.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels; ``name`` stands for the logits.
    """
    check_floating(name, logits, "(N, T, U + 1, C)")
    if logits.dim() != 4:
        raise FsaValueError(f"{name}: must be (N, T, U + 1, C), got shape {tuple(logits.shape)}")
    n, num_frames, width, num_symbols = logits.shape
    check_blank(blank, num_symbols)
    frames = as_lengths(
        "logit_lengths", logit_lengths, n, num_frames, f"frames of {name} {tuple(logits.shape)}"
    )
    labels = checked_targets(targets, target_lengths, n, blank, num_symbols)
    for i in (labels.lengths >= width).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"target_lengths[{i}] = {int(labels.lengths[i])}: utterance {i} needs "
            f"{int(labels.lengths[i]) + 1} positions on the third axis of {name}, which has shape "
            f"{tuple(logits.shape)}; the joiner must also see the position after the last label"
        )
    return RnntBatch(logits, labels, frames, blank, name)
