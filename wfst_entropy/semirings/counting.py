"""The counting semiring: how many paths there are."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import segment_add
from wfst_entropy.semirings.base import Semiring
from wfst_entropy.semirings.real import quotient


class CountingSemiring(Semiring):
    r"""Numbers of paths: every arc counts 1, an arc with the log-weight -inf counts 0.

    :math:`a \oplus b = a + b`, :math:`a \otimes b = ab`, :math:`\bar 0 = 0`, :math:`\bar 1 = 1`,
    and :math:`0^* = 1`: anything that can be repeated at all can be so without end, and has no
    star. Divided by the total, the count of an arc is the share of the paths that take it.

    Counts are floating-point numbers, exact up to 2^53 in float64 (2^24 in float32). They have no
    gradient.

    >>> semiring = CountingSemiring()
    >>> semiring.sum(semiring.convert(torch.tensor([-1.0, -torch.inf, 3.0])), 0)
    tensor(2.)
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
        # A number of paths that overflows is inf, and still none if it is followed by none.
        return (a * b).masked_fill((a == 0) | (b == 0), 0.0)

    @override
    def convert(self, log_weights: Tensor) -> Tensor:
        return (log_weights > -float("inf")).to(log_weights.dtype)

    @override
    def star(self, value: Tensor) -> Tensor:
        bad = value != 0
        if bool(bad.any()):
            where = tuple(bad.nonzero()[0].tolist())
            raise ValueError(
                f"CountingSemiring.star needs 0, got {value[where].item():g} at {list(where)}: a "
                "cycle can be repeated any number of times, so the number of paths is infinite"
            )
        return torch.ones_like(value)

    @override
    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return quotient(a, b)

    @override
    def sum(self, value: Tensor, dim: int) -> Tensor:
        return value.sum(dim)

    @override
    def segment_sum(self, value: Tensor, index: Tensor, num_segments: int) -> Tensor:
        return segment_add(value, index, num_segments)
