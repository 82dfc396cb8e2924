"""The kernels between logits and the arcs of lattices: checks, and what goes to C++ and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel

DTYPES = {
    torch.float32: "Float32",
    torch.float64: "Float64",
    torch.float16: "Float16",
    torch.bfloat16: "BFloat16",
}


class RnntLogits:
    """Logits and transcripts, checked and kept alive while a kernel reads them.

    Args:
        logits: (N, T, W, C) of one of `DTYPES` on the CPU, in any memory order.
        targets: int64 labels, any shape; utterance n's are
            ``targets.flatten()[offsets[n]:][:target_lengths[n]]``, in 0..C-1.
        target_offsets: (N,) int64.
        target_lengths: (N,) int64, below W unless there are ``begins``.
        logit_lengths: (N,) int64, in 0..T.
        blank: the blank symbol.
        normalise: whether the scores are those of a softmax, or the logits themselves.
        begins: (N, T) int64, how many labels come before the first of the W nodes of a frame; None
            for none, and for planes of labels that are W - 1 wide, not W.
    """

    def __init__(
        self,
        logits: Tensor,
        targets: Tensor,
        target_offsets: Tensor,
        target_lengths: Tensor,
        logit_lengths: Tensor,
        blank: int,
        normalise: bool,
        begins: Tensor | None = None,
    ) -> None:
        n, num_frames, width, num_symbols = logits.shape
        if logits.device.type != "cpu" or logits.dtype not in DTYPES:
            raise ValueError(f"logits: no kernel for {logits.dtype} on {logits.device}")
        self.logits = logits if logits.stride(3) == 1 else logits.contiguous()
        self.targets = check(targets.flatten(), "targets", torch.int64, (targets.numel(),))
        self.target_offsets = check(target_offsets, "target_offsets", torch.int64, (n,))
        self.target_lengths = check(target_lengths, "target_lengths", torch.int64, (n,))
        self.logit_lengths = check(logit_lengths, "logit_lengths", torch.int64, (n,))
        self.begins = begins
        most_labels = width - 1
        if begins is not None:
            self.begins = check(begins, "begins", torch.int64, (n, num_frames))
            if begins.numel() and int(begins.min()) < 0:
                raise ValueError("begins: must not be negative")
            most_labels = self.targets.numel()
        for name, lengths, most in (
            ("logit_lengths", self.logit_lengths, num_frames),
            ("target_lengths", self.target_lengths, most_labels),
        ):
            if n and not 0 <= int(lengths.min()) <= int(lengths.max()) <= most:
                raise ValueError(f"{name}: must lie in 0..{most}")
        last_start = self.targets.numel() - self.target_lengths
        if bool(((self.target_offsets < 0) | (self.target_offsets > last_start)).any()):
            raise ValueError(f"target_lengths: reach outside the {self.targets.numel()} targets")
        self._check_symbols(blank, num_symbols)
        self.blank, self.normalise = blank, normalise

    def _check_symbols(self, blank: int, num_symbols: int) -> None:
        within = torch.arange(int(self.target_lengths.max()) if len(self.target_lengths) else 0)
        used = within < self.target_lengths[:, None]
        labels = self.targets[(self.target_offsets[:, None] + within)[used]]
        outside = bool(((labels < 0) | (labels >= num_symbols)).any())
        if outside or not 0 <= blank < num_symbols:
            raise ValueError(f"targets, blank: must lie in 0..{num_symbols - 1}")

    def label_shape(self) -> tuple[int, int, int]:
        """The shape of a plane of labels."""
        n, num_frames, width, _ = self.logits.shape
        return n, num_frames, width - 1 if self.begins is None else width

    def computed(self) -> torch.dtype:
        """The dtype of the scores: float32 for half precision."""
        return torch.float64 if self.logits.dtype == torch.float64 else torch.float32

    def kernel(self, name: str) -> Any:
        """Returns the kernel of that name for the dtype of the logits."""
        return kernel(f"{name}_{DTYPES[self.logits.dtype].lower()}")

    def native(self) -> Any:
        """Returns the extension's view."""
        return kernel("RnntLogits" + DTYPES[self.logits.dtype]).make(
            *self.logits.shape,
            self.logits.data_ptr(),
            *self.logits.stride()[:3],
            self.targets.data_ptr(),
            self.target_offsets.data_ptr(),
            self.logit_lengths.data_ptr(),
            self.target_lengths.data_ptr(),
            self.label_shape()[2],
            0 if self.begins is None else self.begins.data_ptr(),
            self.blank,
            self.normalise,
            torch.get_num_threads(),
        )


class RnntScores(NamedTuple):
    """The scores of arcs, and what the backward call needs; without a softmax that is empty."""

    blank: Tensor  # (N, T, W)
    label: Tensor  # (N, T, W - 1), or W with begins
    max: Tensor  # (N, T, W) of each row of logits
    scale: Tensor  # (N, T, W) one over the row's sum of exp(logit - max)
    bad_node: Tensor  # (N, T) int64, -1, or the first node whose row gives no scores


def rnnt_logits_forward(rows: RnntLogits) -> RnntScores:
    """Computes the scores of all nodes inside the lengths; the others become 0."""
    n, num_frames, width, _ = rows.logits.shape
    dtype = rows.computed()
    kept = (n, num_frames, width) if rows.normalise else (0,)
    result = RnntScores(
        blank=torch.empty((n, num_frames, width), dtype=dtype),
        label=torch.empty(rows.label_shape(), dtype=dtype),
        max=torch.empty(kept, dtype=dtype),
        scale=torch.empty(kept, dtype=dtype),
        bad_node=torch.empty((n, num_frames), dtype=torch.int64),
    )
    rows.kernel("rnnt_logits_forward")(rows.native(), *(x.data_ptr() for x in result))
    return result


def rnnt_logits_backward(
    rows: RnntLogits,
    max: Tensor,
    scale: Tensor,
    grad_blank: Tensor,
    grad_label: Tensor,
    *,
    reuse: bool,
) -> Tensor:
    """Returns the gradient of the logits, (N, T, W, C), in their dtype.

    Args:
        rows: as in the forward call.
        max: from the forward call.
        scale: likewise.
        grad_blank: (N, T, W) of the dtype of the scores.
        grad_label: (N, T, W - 1) likewise, or W with begins.
        reuse: whether to write it over the logits.
    """
    n, num_frames, width, _ = rows.logits.shape
    dtype = rows.computed()
    kept = (n, num_frames, width) if rows.normalise else (0,)
    reads = (
        check(grad_blank, "grad_blank", dtype, (n, num_frames, width)),
        check(grad_label, "grad_label", dtype, rows.label_shape()),
        check(max, "max", dtype, kept),
        check(scale, "scale", dtype, kept),
    )
    if reuse:
        grad = rows.logits.detach()
        if not grad.is_contiguous():
            raise ValueError("logits: must be contiguous to be written over")
    else:
        grad = torch.empty(rows.logits.shape, dtype=rows.logits.dtype)
    rows.kernel("rnnt_logits_backward")(
        rows.native(), *(x.data_ptr() for x in reads), grad.data_ptr(), not reuse
    )
    return grad
