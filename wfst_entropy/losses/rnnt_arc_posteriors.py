"""How probable each arc of a transducer's lattice is, beside likelihood and entropy."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import wfst_entropy._native as _native
import wfst_entropy._native.rnnt_grid as native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.kernel_gradient import differentiable_once
from wfst_entropy.losses.rnnt_grid import grid_totals, refuse_bad


class RnntArcPosteriors(NamedTuple):
    """How probable each arc of the lattice is to be on an alignment: posteriors, in 0..1.

    Attributes:
        blank: (N, T, U + 1) of the blank at each node.
        label: (N, T, U) of the next label at each node.
    """

    blank: Tensor
    label: Tensor


def grid_totals_and_posteriors(
    blank_scores: Tensor,
    label_scores: Tensor,
    frames: Tensor,
    labels: Tensor,
    rnnt_type: str,
    *,
    entropy: bool = True,
    fastemit_lambda: float = 0.0,
) -> tuple[tuple[Tensor, Tensor, Tensor], RnntArcPosteriors]:
    """`grid_totals`, and the posteriors of all arcs, from the sweeps that make the gradient."""
    if _native.can_run(blank_scores):
        nll, conditional, path_count, by_blank, by_label = _NativeGridPosteriors.apply(
            blank_scores, label_scores, (frames, labels, rnnt_type), (entropy, fastemit_lambda)
        )
        totals = nll, conditional, path_count > 0
    else:
        lengths = (frames, labels, rnnt_type)
        totals = grid_totals(blank_scores, label_scores, *lengths, fastemit_lambda=fastemit_lambda)
        with torch.enable_grad():
            planes = [x.detach().requires_grad_() for x in (blank_scores, label_scores)]
            plain, _, _ = grid_totals(planes[0], planes[1], *lengths)
            by_blank, by_label = torch.autograd.grad(-plain.sum(), planes)
    if rnnt_type == "constrained":
        # The gradient of a blank is here also that of the label which must be followed by it.
        by_blank = torch.cat([by_blank[:, :, :1], by_blank[:, :, 1:] - by_label], 2).clamp(min=0)
    return totals, RnntArcPosteriors(by_blank, by_label)


class _NativeGridPosteriors(torch.autograd.Function):
    """The C++ engine: the backward sweep is run at once, and kept for the gradient of the nll."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        blank: Tensor,
        label: Tensor,
        shape: tuple[Tensor, Tensor, str],
        options: tuple[bool, float],
    ) -> tuple[Tensor, ...]:
        frames, labels, rnnt_type = shape
        entropy, ctx.fastemit_lambda = options
        grid = native.RnntGrid(blank, label, frames, labels, rnnt_type)
        out = native.rnnt_grid_forward(grid, entropy=entropy, save=True)
        refuse_bad(out.bad, blank, label)
        zeros = torch.zeros(out.nll.shape, dtype=torch.float64) if entropy else None
        posteriors = native.rnnt_grid_backward(
            grid, out.cells, out.path_count, -torch.ones_like(out.nll), zeros
        )
        kept = (blank, label, frames, labels, out.cells, out.path_count)
        ctx.save_for_backward(*kept, *posteriors)
        ctx.rnnt_type = rnnt_type
        ctx.mark_non_differentiable(out.path_count, *posteriors)
        ctx.set_materialize_grads(False)
        totals = (out.nll.to(blank.dtype), out.entropy.to(blank.dtype), out.path_count)
        return *totals, *posteriors

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_nll: Tensor | None, grad_entropy: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        blank, label, frames, labels, cells, path_count, *posteriors = ctx.saved_tensors
        zeros = torch.zeros(path_count.shape, dtype=torch.float64)
        by_nll = zeros if grad_nll is None else grad_nll.double()
        if grad_entropy is None:
            scale = -by_nll.to(blank.dtype)[:, None, None]
            louder = scale * (1 + ctx.fastemit_lambda)
            grads = (scale * posteriors[0], louder * posteriors[1])
        else:
            grid = native.RnntGrid(blank, label, frames, labels, ctx.rnnt_type)
            grads = native.rnnt_grid_backward(
                grid, cells, path_count, by_nll, grad_entropy.double(), ctx.fastemit_lambda
            )
        inputs = (blank, label, grad_nll, grad_entropy)
        by_blank, by_label = (differentiable_once(grad, *inputs) for grad in grads)
        return by_blank, by_label, None, None
