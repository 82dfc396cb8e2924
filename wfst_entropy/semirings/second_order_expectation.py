"""The second-order expectation semiring: mass, sums of two quantities and of their product."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import segment_add
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.expectation import require_tensors
from wfst_entropy.semirings.real import require_below_one


class SecondOrderExpectationSemiring(Semiring):
    r"""Quadruples <p, r, s, t>: sums over paths of p, p x, p y and p x y.

    x and y add up along a path. An arc of log-weight w that contributes x and y has the weight
    :math:`e^w \langle 1, x, y, xy\rangle`; :math:`\oplus` adds the slots,
    :math:`\langle p_1,r_1,s_1,t_1\rangle \otimes \langle p_2,r_2,s_2,t_2\rangle =
    \langle p_1p_2,\, p_1r_2+r_1p_2,\, p_1s_2+s_1p_2,\,
    p_1t_2+r_1s_2+s_1r_2+t_1p_2\rangle`, :math:`\bar 0 = \langle 0,0,0,0\rangle`,
    :math:`\bar 1 = \langle 1,0,0,0\rangle`, and with :math:`q = p^* = 1/(1-p)`
    :math:`\langle p,r,s,t\rangle^* = \langle q,\, q^2 r,\, q^2 s,\, q^2(t + 2 q r s)\rangle`.

    From a total, the covariance is t / p - (r / p)(s / p), a difference of large numbers;
    ``ConditionalCovarianceSemiring`` gives it without.

    Source: Li and Eisner 2009, "First- and second-order expectation semirings with applications to
    minimum-risk training on translation forests".

    >>> semiring = SecondOrderExpectationSemiring()
    >>> x = torch.tensor([4.0, 8.0])
    >>> semiring.sum(semiring.convert((torch.tensor([0.25, 0.75]).log(), x, x)), 0)
    (tensor(1.), tensor(7.), tensor(7.), tensor(52.))
    """

    zero_element = (0.0, 0.0, 0.0, 0.0)
    one_element = (1.0, 0.0, 0.0, 0.0)
    has_star = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        return map_slots(torch.add, a, b)

    @override
    def times(self, a: Value, b: Value) -> Value:
        return (
            a[0] * b[0],
            a[0] * b[1] + a[1] * b[0],
            a[0] * b[2] + a[2] * b[0],
            a[0] * b[3] + a[1] * b[2] + a[2] * b[1] + a[3] * b[0],
        )

    @override
    def convert(self, log_weights: tuple[Tensor, Tensor, Tensor]) -> Value:
        """The slots from (log-weights, x, y).

        Args:
            log_weights: the log-weights in nats, and what each arc adds to either quantity.

        Raises:
            TypeError: if not a triple.
            ValueError: if the shapes differ.
        """
        weights, x, y = require_tensors(
            log_weights, "log_weights, x, y", "SecondOrderExpectationSemiring"
        )
        p = weights.exp()
        return p, p * x, p * y, p * x * y

    @override
    def star(self, value: Value) -> Value:
        p, r, s, t = value
        require_below_one(p, self)
        star = (1 - p).reciprocal()
        square = star * star
        return star, square * r, square * s, square * (t + 2 * star * r * s)

    @override
    def sum(self, value: Value, dim: int) -> Value:
        return map_slots(lambda slot: slot.sum(dim), value)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        return map_slots(lambda slot: segment_add(slot, index, num_segments), value)
