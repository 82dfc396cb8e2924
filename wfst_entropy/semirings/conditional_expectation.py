"""Log-mass and mean of a quantity over the normalised paths."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, log_mix, segment_add, segment_log_mix
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.expectation import require_tensors
from wfst_entropy.semirings.log import require_convergence

_INF = float("inf")


class ConditionalExpectationSemiring(Semiring):
    r"""Pairs (m, e): the log-mass of a set of paths, and the mean of a quantity over them.

    The quantity adds up along a path. :math:`\otimes` adds both slots; merging pairs takes
    :math:`m = \log\sum_i e^{m_i}` and :math:`e = \sum_i e^{m_i - m} e_i`;
    :math:`\bar 0 = (-\infty, 0)`, :math:`\bar 1 = (0, 0)`, and with :math:`p = e^m < 1` the
    closure is :math:`m^* = -\log(1-p)`, :math:`e^* = e\,p/(1-p)`: the number of passes is
    geometrically distributed. A pair with m = -inf stands for no path, and its e is taken to be 0.

    Dividing by a total leaves, for an arc, its log posterior and by how much the mean over the
    paths through it exceeds that of all paths. The pairs <p, r> of ``ExpectationSemiring`` are
    :math:`p = e^m`, :math:`r = p\,e`.

    Source: Eisner 2002, "Parameter estimation for probabilistic finite-state transducers".

    >>> semiring = ConditionalExpectationSemiring()
    >>> weights = torch.tensor([0.25, 0.75]).log(), torch.tensor([4.0, 8.0])
    >>> semiring.sum(semiring.convert(weights), 0)
    (tensor(0.), tensor(7.))
    """

    zero_element = (-_INF, 0.0)
    one_element = (0.0, 0.0)
    has_star = True
    has_divide = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        pairs = map_slots(lambda x, y: torch.stack(torch.broadcast_tensors(x, y)), a, b)
        return self.sum(pairs, 0)

    @override
    def times(self, a: Value, b: Value) -> Value:
        mass = a[0] + b[0]
        return mass, (a[1] + b[1]).masked_fill(mass == -_INF, 0.0)

    @override
    def convert(self, log_weights: tuple[Tensor, Tensor]) -> Value:
        """The slots from (log-weights, values).

        Args:
            log_weights: the log-weights in nats and what each arc contributes, of equal shape.

        Raises:
            TypeError: if not a pair.
            ValueError: if the shapes differ.
        """
        weights, values = require_tensors(
            log_weights, "log_weights, values", "ConditionalExpectationSemiring"
        )
        return weights, values.masked_fill(weights == -_INF, 0.0)

    @override
    def star(self, value: Value) -> Value:
        require_convergence(value[0], self)
        passes = (value[0] - log1mexp(value[0])).exp()  # p / (1 - p), their mean number
        return -log1mexp(value[0]), passes * value[1]

    @override
    def divide(self, a: Value, b: Value) -> Value:
        empty = (a[0] == -_INF) | (b[0] == -_INF)
        return torch.where(empty, -_INF, a[0] - b[0]), (a[1] - b[1]).masked_fill(empty, 0.0)

    @override
    def sum(self, value: Value, dim: int) -> Value:
        if value[0].shape[dim] == 0:
            return super().sum(value, dim)
        mass, mix = log_mix(value[0], dim)
        return mass, (mix.exp() * value[1]).sum(dim)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        mass, mix = segment_log_mix(value[0], index, num_segments)
        return mass, segment_add(mix.exp() * value[1], index, num_segments)
