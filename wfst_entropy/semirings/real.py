"""The real semiring: sums of path probabilities, as they are."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import segment_add
from wfst_entropy.semirings.base import Semiring


def require_below_one(value: Tensor, semiring: Semiring) -> None:
    """Raise unless every number lies in (-1, 1), where ``1 + p + p^2 + ...`` converges.

    Raises:
        ValueError: naming the first element for which the series diverges.
    """
    bad = ~(value.abs() < 1)
    if bool(bad.any()):
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{type(semiring).__name__}.star needs numbers between -1 and 1, got "
            f"{value[where].item():g} at {list(where)}: the sum over repeated passes diverges; "
            "lower the weight of the cycle"
        )


def quotient(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, and 0 with gradient 0 where b is 0."""
    none = b == 0
    return (a / b.masked_fill(none, 1.0)).masked_fill(none, 0.0)


class RealSemiring(Semiring):
    r"""Probabilities: the total of all paths, without logarithms.

    :math:`a \oplus b = a + b`, :math:`a \otimes b = ab`, :math:`\bar 0 = 0`, :math:`\bar 1 = 1`,
    :math:`a^* = 1/(1-a)` for :math:`|a| < 1`. Arcs have the weight :math:`e^{w}`, w in nats.

    Totals below 1e-38 (float32) or 1e-308 (float64) vanish, and a path of a few hundred frames is
    far below: ``LogSemiring`` is the same algebra with the range of logarithms.

    >>> import torch
    >>> RealSemiring().plus(torch.tensor(0.25), torch.tensor(0.5))
    tensor(0.7500)
    """

    zero_element = (0.0,)
    one_element = (1.0,)
    has_star = True
    has_divide = True

    @override
    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    @override
    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    @override
    def convert(self, log_weights: Tensor) -> Tensor:
        return log_weights.exp()

    @override
    def star(self, value: Tensor) -> Tensor:
        require_below_one(value, self)
        return (1 - value).reciprocal()

    @override
    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return quotient(a, b)

    @override
    def sum(self, value: Tensor, dim: int) -> Tensor:
        return value.sum(dim)

    @override
    def segment_sum(self, value: Tensor, index: Tensor, num_segments: int) -> Tensor:
        return segment_add(value, index, num_segments)
