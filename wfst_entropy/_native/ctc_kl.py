"""The C++ kernel of the divergence of two models' CTC alignments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import CtcBatch, check, kernel
from wfst_entropy._native.kl_forward import KlForward


class CtcPair:
    """Two models' scores for the same transcripts, checked and kept alive while a kernel reads.

    Args:
        p: the model over which the divergence KL(p || q) takes the expectation.
        q: (N, T, C), of the shape and dtype of the scores of ``p``, in any memory order.
    """

    def __init__(self, p: CtcBatch, q: Tensor) -> None:
        self.p = p
        scores = p.log_probs
        if q.shape != scores.shape or q.dtype != scores.dtype or q.device.type != "cpu":
            raise ValueError(
                f"q: needs {scores.dtype} {tuple(scores.shape)} on the CPU, got {q.dtype} "
                f"{tuple(q.shape)} on {q.device}"
            )
        if scores.shape[2] > 2**31 - 1:
            raise ValueError(f"p: the kernel takes fewer than 2**31 symbols, got {scores.shape[2]}")
        self.q = q if q.stride(2) == 1 else q.contiguous()

    def workspace(self, moments: bool) -> tuple[int, Tensor]:
        """Returns the number of values of all saved cells, and where each utterance's begin."""
        n = self.q.shape[0]
        offsets = torch.zeros(n, dtype=torch.int64)
        lengths = (self.p.input_lengths.data_ptr(), self.p.target_lengths.data_ptr())
        size = kernel("ctc_kl_workspace")(n, *lengths, moments, offsets.data_ptr())
        return int(size), offsets

    def native(self, cell_offsets: Tensor) -> Any:
        """Returns the extension's view of the batch."""
        p, q, labels = self.p.log_probs, self.q, self.p
        kind = "CtcKlBatchFloat32" if q.dtype == torch.float32 else "CtcKlBatchFloat64"
        return kernel(kind).make(
            q.shape[0],
            p.data_ptr(),
            p.stride(0),
            p.stride(1),
            q.data_ptr(),
            q.stride(0),
            q.stride(1),
            labels.targets.data_ptr(),
            labels.target_offsets.data_ptr(),
            labels.input_lengths.data_ptr(),
            labels.target_lengths.data_ptr(),
            labels.blank,
            cell_offsets.data_ptr(),
            torch.get_num_threads(),
        )


def ctc_kl_forward(batch: CtcPair, *, moments: bool, save: bool) -> KlForward:
    """Runs the forward sweep over the trellis of both models.

    Args:
        batch: the utterances.
        moments: whether the backward call is to give ``p`` a gradient.
        save: whether a call of `ctc_kl_backward` will follow.
    """
    n, dtype = batch.q.shape[0], batch.q.dtype
    size, offsets = batch.workspace(moments)
    result = KlForward.empty(n, size if save else 0, dtype, offsets)
    kernel("ctc_kl_forward", dtype)(
        batch.native(offsets),
        moments,
        result.cells.data_ptr() if save else 0,
        *result.outputs(),
    )
    return result


def ctc_kl_backward(
    batch: CtcPair,
    cells: Tensor,
    cell_offsets: Tensor,
    status: Tensor,
    by_kl: Tensor,
    by_p: Tensor,
    by_q: Tensor,
    *,
    moments: bool,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Returns the gradients of ``sum(by_kl * kl + by_p * log_p + by_q * log_q)``, (N, T, C) each.

    Args:
        batch: the utterances, as in the forward call.
        cells: from the forward call with ``save=True``.
        cell_offsets: likewise.
        status: likewise.
        by_kl: (N,) float64, as the following.
        by_p: of log Z of p.
        by_q: of log Z of q.
        moments: as in the forward call.
        wanted: whether p, and whether q, is to get its gradient; that of p needs the moments.
    """
    n, num_frames, num_symbols = batch.q.shape
    dtype = batch.q.dtype
    if wanted[0] and not moments:
        raise ValueError("wanted: the gradient of p needs moments=True in both calls")
    size, offsets = batch.workspace(moments)
    cells = check(cells, "cells", dtype, (size,))
    cell_offsets = check(cell_offsets, "cell_offsets", torch.int64, (n,))
    if not torch.equal(cell_offsets, offsets):
        raise ValueError("cell_offsets: must come from the forward call with the same utterances")
    status = check(status, "status", torch.uint8, (n,))
    factors = [
        check(x, name, torch.float64, (n,))
        for x, name in ((by_kl, "by_kl"), (by_p, "by_p"), (by_q, "by_q"))
    ]
    shape = (n, num_frames, num_symbols)
    grads = [torch.empty(shape, dtype=dtype) if want else None for want in wanted]
    kernel("ctc_kl_backward", dtype)(
        batch.native(cell_offsets),
        moments,
        cells.data_ptr(),
        status.data_ptr(),
        *(x.data_ptr() for x in factors),
        num_frames,
        num_symbols,
        *(0 if grad is None else grad.data_ptr() for grad in grads),
    )
    return grads[0], grads[1]
