"""The tropical semiring: the best path."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import segment_max
from wfst_entropy.semirings.base import Semiring

_INF = float("inf")


def require_no_gain(value: Tensor, semiring: Semiring) -> None:
    """Raise unless no log-weight is above 0, where repeating a cycle never pays.

    Up to 8e-6 (float32) or 1e-14 (float64) is taken for a rounded 0: the scores of a cycle that
    cancel exactly on paper rarely do in floating point.

    Raises:
        ValueError: naming the first element above 0.
    """
    bad = ~(value <= 64 * torch.finfo(value.dtype).eps)
    if bool(bad.any()):
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{type(semiring).__name__}.star needs log-weights <= 0, got {value[where].item():g} "
            f"at {list(where)}: repeating the cycle has no best number of passes; lower its weight"
        )


class TropicalSemiring(Semiring):
    r"""Log-weights of best paths (k2's sign: larger is better).

    :math:`a \oplus b = \max(a, b)`, :math:`a \otimes b = a + b`, :math:`\bar 0 = -\infty`,
    :math:`\bar 1 = 0`, :math:`a^* = 0` for :math:`a \le 0`. Nats, one slot.

    The gradient of a total is 1 on the arcs of one best path and 0 elsewhere: of equal
    alternatives the first one wins, so ties never share a gradient.

    >>> TropicalSemiring().plus(torch.tensor(-1.0), torch.tensor(-2.0))
    tensor(-1.)
    """

    zero_element = (-_INF,)
    one_element = (0.0,)
    idempotent = True
    path = True
    has_star = True
    has_divide = True

    @override
    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        best = torch.where((b > a) | b.isnan(), b, a)
        return best.masked_fill(best == -_INF, -_INF)  # no path: no gradient either

    @override
    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    @override
    def convert(self, log_weights: Tensor) -> Tensor:
        return log_weights

    @override
    def star(self, value: Tensor) -> Tensor:
        require_no_gain(value, self)
        return torch.zeros_like(value)

    @override
    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.where((a == -_INF) | (b == -_INF), -_INF, a - b)

    @override
    def sum(self, value: Tensor, dim: int) -> Tensor:
        if value.shape[dim] == 0:
            return super().sum(value, dim)
        first = value.argmax(dim, keepdim=True)
        best = value.gather(dim, first).squeeze(dim)
        return best.masked_fill(best == -_INF, -_INF)

    @override
    def prod(self, value: Tensor, dim: int) -> Tensor:
        return value.sum(dim)

    @override
    def segment_sum(self, value: Tensor, index: Tensor, num_segments: int) -> Tensor:
        if index.numel() == 0:
            return self.zero((num_segments, *value.shape[1:]), value.dtype, value.device)
        top = segment_max(value, index, num_segments)
        rows = index.view(-1, *[1] * (value.dim() - 1)).expand_as(value)
        item = torch.arange(index.numel(), device=index.device)
        item = item.view(-1, *[1] * (value.dim() - 1)).expand_as(value)
        last = index.numel() - 1
        candidates = item.masked_fill(value != top.index_select(0, index), last)
        first = torch.full_like(top, last, dtype=torch.int64)
        first.scatter_reduce_(0, rows, candidates, "amin")
        # A group without items points at the last item, which must not leak into it; a NaN is
        # equal to no item.
        return torch.where(top.isnan() | (top == -_INF), top, value.gather(0, first))
