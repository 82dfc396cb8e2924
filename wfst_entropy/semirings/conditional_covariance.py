"""Log-mass, means and covariance of two quantities over the normalised paths."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, log_mix, segment_add, segment_log_mix
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.expectation import require_tensors
from wfst_entropy.semirings.log import require_convergence

_INF = float("inf")


class ConditionalCovarianceSemiring(Semiring):
    r"""Quadruples (m, x, y, c): log-mass, the means of two quantities, and their covariance.

    The quantities add up along a path. :math:`\otimes` adds all slots. Merging takes
    :math:`m = \log\sum_i e^{m_i}`, with :math:`\mathrm{mix}_i = e^{m_i - m}` the means
    :math:`x = \sum_i \mathrm{mix}_i x_i` and y alike, and
    :math:`c = \sum_i \mathrm{mix}_i (c_i + (x_i - x)(y_i - y))`, so that no large numbers are
    subtracted. :math:`\bar 0 = (-\infty, 0, 0, 0)`, :math:`\bar 1 = (0, 0, 0, 0)`, and with
    :math:`p = e^m < 1` the closure has the means :math:`x\,p/(1-p)`, :math:`y\,p/(1-p)` and the
    covariance :math:`c\,p/(1-p) + xy\,p/(1-p)^2`.

    With x = y the last slot of a total is a variance. A quadruple with m = -inf stands for no path;
    its other slots are taken to be 0.

    Source: Li and Eisner 2009, "First- and second-order expectation semirings with applications to
    minimum-risk training on translation forests", with the law of total covariance.

    >>> semiring = ConditionalCovarianceSemiring()
    >>> x = torch.tensor([4.0, 8.0])
    >>> weights = torch.tensor([0.25, 0.75]).log(), x, x
    >>> semiring.sum(semiring.convert(weights), 0)
    (tensor(0.), tensor(7.), tensor(7.), tensor(3.))
    """

    zero_element = (-_INF, 0.0, 0.0, 0.0)
    one_element = (0.0, 0.0, 0.0, 0.0)
    has_star = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        pairs = map_slots(lambda x, y: torch.stack(torch.broadcast_tensors(x, y)), a, b)
        return self.sum(pairs, 0)

    @override
    def times(self, a: Value, b: Value) -> Value:
        mass = a[0] + b[0]
        moments = map_slots(torch.add, a[1:], b[1:])
        return (mass, *map_slots(lambda v: v.masked_fill(mass == -_INF, 0.0), moments))

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
            log_weights, "log_weights, x, y", "ConditionalCovarianceSemiring"
        )
        none = weights == -_INF
        return weights, x.masked_fill(none, 0.0), y.masked_fill(none, 0.0), torch.zeros_like(x)

    @override
    def star(self, value: Value) -> Value:
        mass, x, y, c = value
        require_convergence(mass, self)
        log_rest = log1mexp(mass)
        passes = (mass - log_rest).exp()  # their mean; the variance is passes / (1 - p)
        spread = passes * (-log_rest).exp()
        return -log_rest, passes * x, passes * y, passes * c + spread * x * y

    @override
    def sum(self, value: Value, dim: int) -> Value:
        if value[0].shape[dim] == 0:
            return super().sum(value, dim)
        mass, mix = log_mix(value[0], dim)
        share = mix.exp()
        x, y = ((share * slot).sum(dim, keepdim=True) for slot in value[1:3])
        c = (share * (value[3] + (value[1] - x) * (value[2] - y))).sum(dim)
        return mass, x.squeeze(dim), y.squeeze(dim), c

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        mass, mix = segment_log_mix(value[0], index, num_segments)
        share = mix.exp()
        x, y = (segment_add(share * slot, index, num_segments) for slot in value[1:3])
        deviation = (value[1] - x.index_select(0, index)) * (value[2] - y.index_select(0, index))
        return mass, x, y, segment_add(share * (value[3] + deviation), index, num_segments)
