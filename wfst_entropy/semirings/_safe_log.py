"""Log-sums with the value -inf and the gradient 0 where there is no mass, and exact when certain.

``torch.logsumexp`` and ``torch.logaddexp`` have the gradient NaN when all terms are -inf, which is
an ordinary state of affairs on a graph (a state that no path reaches). Also, both add the largest
term's 1 to the others before taking the logarithm, so that a nearly certain merge loses its small
``-log p``; here the others are summed alone and go through ``log1p``.

A term of +inf gives the total +inf and, having no meaningful mixing weights, the gradient 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_INF = float("inf")


def segment_add(x: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Ordinary sums of ragged groups; x (num_items, ...), index int64 (num_items,)."""
    return x.new_zeros((num_segments, *x.shape[1:])).index_add(0, index, x)


def log_mix(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    r"""Log-sum-exp along a dimension and the log-weights with which each term enters.

    :math:`m = \log\sum_i e^{x_i}` and :math:`\log\mathrm{mix}_i = x_i - m`, the latter taken from
    max-shifted terms rather than from the rounded ``m``. Twice differentiable.

    Args:
        x: log-masses, ``x.shape[dim] >= 1``.
        dim: the dimension to reduce.

    Returns:
        ``m`` without the dimension, and the mixing log-weights in the shape of ``x`` (-inf for
        terms without mass).
    """
    total, mix = _LogMix.apply(x, dim)
    return total, mix


def segment_log_mix(x: Tensor, index: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """``log_mix`` over ragged groups; x (num_items, ...), index int64 (num_items,).

    Returns:
        Totals (num_segments, ...), -inf for empty groups, and mixing log-weights (num_items, ...).
    """
    total, mix = _SegmentLogMix.apply(x, index, num_segments)
    return total, mix


def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp(a) + exp(b))`` with the conventions of this module."""
    return log_mix(torch.stack(torch.broadcast_tensors(a, b)), 0)[0]


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """``log(sum(exp(x)))`` along a dimension, -inf if that is empty."""
    if x.shape[dim] == 0:
        return x.sum(dim) - _INF
    return log_mix(x, dim)[0]


def segment_logsumexp(x: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """``logsumexp`` over ragged groups; x (num_items, ...), index int64 (num_items,)."""
    return segment_log_mix(x, index, num_segments)[0]


def segment_max(x: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Maxima of ragged groups without gradient, -inf for empty groups."""
    top = x.new_full((num_segments, *x.shape[1:]), -_INF)
    rows = index.view(-1, *[1] * (x.dim() - 1)).expand_as(x)
    return top.scatter_reduce_(0, rows, x.detach(), "amax")


def log1mexp(x: Tensor) -> Tensor:
    """``log(1 - exp(x))`` for x < 0, precise at both ends; 0 with gradient 0 at x = -inf.

    Source: Maechler 2012, "Accurately computing log(1 - exp(-|a|))".
    """
    near_one = x > -0.6931
    # Each branch sees a harmless argument where the other one is chosen, else its infinite
    # derivative would turn into NaN when multiplied by the zero of torch.where.
    inside = torch.where(near_one, x, -1.0)
    outside = torch.where(near_one, -1.0, x)
    return torch.where(near_one, (-inside.expm1()).log(), (-outside.exp()).log1p())


def _without_leaders(difference: Tensor) -> tuple[Tensor, Tensor]:
    """exp of max-shifted terms with the largest ones set to 0, and the mask of those."""
    leads = difference == 0
    return difference.exp().masked_fill(leads, 0.0), leads


class _LogMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        top = x.amax(dim, keepdim=True)
        shift = top.masked_fill(top.isinf(), 0.0)
        difference = x - shift
        rest, leads = _without_leaders(difference)
        # All terms -inf: no leading term, so log1p(0 + 0 - 1) is the -inf that is wanted.
        log_ratio = (rest.sum(dim, keepdim=True) + (leads.sum(dim, keepdim=True) - 1)).log1p()
        mix = torch.where(top.isfinite(), difference - log_ratio, -_INF)
        ctx.dim = dim
        ctx.save_for_backward(mix)
        ctx.set_materialize_grads(False)
        return (shift + log_ratio).squeeze(dim), mix

    @staticmethod
    def backward(
        ctx: Any, grad_total: Tensor | None, grad_mix: Tensor | None
    ) -> tuple[Tensor | None, None]:
        (mix,) = ctx.saved_tensors
        if grad_mix is not None:
            grad_mix = grad_mix.masked_fill(mix == -_INF, 0.0)
            spread = grad_mix.sum(ctx.dim)
            grad_total = -spread if grad_total is None else grad_total - spread
        if grad_total is None:
            return None, None
        grad = mix.exp() * grad_total.unsqueeze(ctx.dim)
        return (grad if grad_mix is None else grad + grad_mix), None


class _SegmentLogMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
        top = segment_max(x, index, num_segments)
        shift = top.masked_fill(top.isinf(), 0.0)
        difference = x - shift.index_select(0, index)
        rest, leads = _without_leaders(difference)
        others = segment_add(rest, index, num_segments)
        log_ratio = (others + (segment_add(leads.to(x.dtype), index, num_segments) - 1)).log1p()
        # +inf stands for "no mixing weights": x - inf is -inf for every finite difference.
        ratio = torch.where(top.isfinite(), log_ratio, _INF).index_select(0, index)
        mix = (difference - ratio).masked_fill(ratio == _INF, -_INF)
        total = shift + log_ratio
        ctx.num_segments = num_segments
        ctx.save_for_backward(index, mix)
        ctx.set_materialize_grads(False)
        return total, mix

    @staticmethod
    def backward(
        ctx: Any, grad_total: Tensor | None, grad_mix: Tensor | None
    ) -> tuple[Tensor | None, None, None]:
        index, mix = ctx.saved_tensors
        if grad_mix is not None:
            grad_mix = grad_mix.masked_fill(mix == -_INF, 0.0)
            spread = segment_add(grad_mix, index, ctx.num_segments)
            grad_total = -spread if grad_total is None else grad_total - spread
        if grad_total is None:
            return None, None, None
        grad = mix.exp() * grad_total.index_select(0, index)
        return (grad if grad_mix is None else grad + grad_mix), None, None
