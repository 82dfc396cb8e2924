"""The k-best tropical semiring: the k best paths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings.base import Semiring, Value
from wfst_entropy.semirings.tropical import require_no_gain

_INF = float("inf")


class KBestTropicalSemiring(Semiring):
    r"""The log-weights of the k best paths, best first; -inf where there are fewer.

    A value has k slots in descending order. :math:`\oplus` keeps the k largest of both lists
    (equal weights of different paths count separately), :math:`\otimes` the k largest sums of one
    of each, :math:`\bar 0 = (-\infty, \dots)`, :math:`\bar 1 = (0, -\infty, \dots)`, and
    :math:`a^* = \bar 1 \oplus a \oplus \dots \oplus a^{k-1}` if no number is above 0: more
    passes only add paths that are no better than these.

    The gradient of a slot is 1 on the arcs of one path and 0 elsewhere.

    Source: Mohri 2002, "Semiring frameworks and algorithms for shortest-distance problems",
    Section 6 (k-shortest distances).

    Args:
        k: how many, at least 1.

    Raises:
        ValueError: if k is not a positive integer.

    >>> semiring = KBestTropicalSemiring(2)
    >>> semiring.sum(semiring.convert(torch.tensor([-3.0, -1.0, -2.0])), 0)
    (tensor(-1.), tensor(-2.))
    """

    has_star = True

    def __init__(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ValueError(f"k: must be an integer of at least 1, got {k!r}")
        self.k = k
        self.zero_element = (-_INF,) * k
        self.one_element = (0.0,) + (-_INF,) * (k - 1)
        self.idempotent = self.path = k == 1

    def _slots(self, value: Value) -> tuple[Tensor, ...]:
        return value if isinstance(value, tuple) else (value,)

    def _best(self, candidates: Sequence[Tensor]) -> Value:
        best = torch.stack(torch.broadcast_tensors(*candidates)).topk(self.k, 0).values
        # No path: no gradient either.
        best = best.masked_fill(best == -_INF, -_INF)
        return tuple(best.unbind(0)) if self.k > 1 else best[0]

    @override
    def plus(self, a: Value, b: Value) -> Value:
        return self._best(self._slots(a) + self._slots(b))

    @override
    def times(self, a: Value, b: Value) -> Value:
        # Both are sorted: the sum of places i and j is beaten by all (i + 1)(j + 1) - 1 before it.
        left, right = self._slots(a), self._slots(b)
        return self._best(
            [
                left[i] + right[j]
                for i in range(self.k)
                for j in range(self.k)
                if (i + 1) * (j + 1) <= self.k
            ]
        )

    @override
    def convert(self, log_weights: Tensor) -> Value:
        none = torch.full_like(log_weights, -_INF)
        return (log_weights, *[none] * (self.k - 1)) if self.k > 1 else log_weights

    @override
    def star(self, value: Value) -> Value:
        best = self._slots(value)[0]
        require_no_gain(best, self)
        one = self.one(best.shape, best.dtype, best.device)
        star = one
        for _ in range(self.k - 1):
            star = self.plus(one, self.times(value, star))
        return star

    def __repr__(self) -> str:
        return f"KBestTropicalSemiring({self.k})"
