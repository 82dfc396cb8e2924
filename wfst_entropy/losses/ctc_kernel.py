"""The C++ engine of the CTC losses, as torch's autograd sees it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import CtcBatch as CtcTensors
from wfst_entropy._native import ctc as native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.kernel_gradient import bad_score, differentiable_once
from wfst_entropy.losses.ctc_batch import CtcBatch

_Labels = tuple[Tensor, Tensor, Tensor, Tensor, int]
"""Labels, where an utterance's begin, numbers of frames and of labels, and blank."""


@eager
def kernel_alignment(
    batch: CtcBatch, *, entropy: bool, fused_log_softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns nll, conditional entropy (zeros if not wanted) and the number of paths up to two.

    Args:
        batch: checked arguments, on the CPU.
        entropy: whether the entropy is wanted beside the likelihood.
        fused_log_softmax: whether the scores are logits.

    Raises:
        FsaValueError: for a score that is NaN, +inf or too large.
    """
    scores = batch.log_probs
    flat, offsets, counts = batch.targets
    labels = (flat, offsets, batch.input_lengths, counts, batch.blank)
    save = torch.is_grad_enabled() and scores.requires_grad
    out: tuple[Tensor, Tensor, Tensor] = _KernelCtc.apply(
        scores, labels, entropy, bool(fused_log_softmax), save, batch.name
    )
    return out


class _KernelCtc(torch.autograd.Function):
    """The forward call keeps posteriors; the backward one scatters them into a dense gradient."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        scores: Tensor,
        labels: _Labels,
        entropy: bool,
        softmax: bool,
        save: bool,
        name: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums = native.CtcSums(CtcTensors(scores, *labels), entropy=entropy, softmax=softmax)
        out = native.ctc_forward(sums, save=save)
        if out.bad_frame.numel() and int(out.bad_frame.max()) >= 0:
            n = int((out.bad_frame >= 0).nonzero()[0])
            t, c = int(out.bad_frame[n]), int(out.bad_symbol[n])
            raise bad_score(name, n, t, c, float(scores[n, t, c]))
        ctx.save_for_backward(scores, out.cells, out.path_count)
        ctx.labels, ctx.options = labels, {"entropy": entropy, "softmax": softmax}
        ctx.mark_non_differentiable(out.path_count)
        ctx.set_materialize_grads(False)
        return out.nll.to(sums.computed), out.entropy.to(sums.computed), out.path_count

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_nll: Tensor | None, grad_entropy: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        scores, posteriors, path_count = ctx.saved_tensors
        sums = native.CtcSums(CtcTensors(scores, *ctx.labels), **ctx.options)
        by_nll, by_entropy = (
            torch.zeros(path_count.shape, dtype=torch.float64) if g is None else g.double()
            for g in (grad_nll, grad_entropy)
        )
        grad = native.ctc_backward(sums, posteriors, path_count, by_nll, by_entropy)
        grad = differentiable_once(grad, scores, grad_nll, grad_entropy)
        return grad, None, None, None, None, None
