"""The expectation semiring: the mass of paths and the sum of a quantity over them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import segment_add
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.real import quotient, require_below_one


def require_tensors(log_weights: Any, names: str, semiring: str) -> tuple[Tensor, ...]:
    """The Tensors that a semiring over weights and other numbers per arc takes.

    Args:
        log_weights: what ``convert`` was given.
        names: what it has to be, such as ``"log_weights, values"``.
        semiring: for the message.

    Raises:
        TypeError: if it is not a tuple of that many Tensors.
        ValueError: if the shapes differ.
    """
    count = names.count(",") + 1
    if not (isinstance(log_weights, tuple) and len(log_weights) == count):
        got = type(log_weights).__name__
        raise TypeError(
            f"{semiring}: needs the tuple ({names}), got {got}; on an Fsa pass "
            f"scores=({names.replace('log_weights', 'fsa.scores')})"
        )
    shapes = [tuple(part.shape) for part in log_weights]
    if len(set(shapes)) > 1:
        raise ValueError(f"{semiring}: ({names}) must have the same shape, got {shapes}")
    return log_weights


class ExpectationSemiring(Semiring):
    r"""Pairs <p, r>: the probability of a set of paths, and the sum of p times a quantity over it.

    The quantity adds up along a path. An arc of log-weight w that contributes v has the weight
    :math:`\langle e^w, e^w v\rangle`; :math:`\oplus` adds both slots,
    :math:`\langle p,r\rangle \otimes \langle q,s\rangle = \langle pq,\, ps + rq\rangle`,
    :math:`\bar 0 = \langle 0,0\rangle`, :math:`\bar 1 = \langle 1,0\rangle`,
    :math:`\langle p,r\rangle^* = \langle p^*, p^* r p^*\rangle`, :math:`p^* = 1/(1-p)`.

    From a total, r / p is the expectation. Probabilities are kept as they are and vanish on long
    paths; ``ConditionalExpectationSemiring`` gives the same without.

    Source: Eisner 2002, "Parameter estimation for probabilistic finite-state transducers".

    >>> semiring = ExpectationSemiring()
    >>> weights = torch.tensor([0.25, 0.75]).log(), torch.tensor([4.0, 8.0])
    >>> semiring.sum(semiring.convert(weights), 0)
    (tensor(1.), tensor(7.))
    """

    zero_element = (0.0, 0.0)
    one_element = (1.0, 0.0)
    has_star = True
    has_divide = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        return map_slots(torch.add, a, b)

    @override
    def times(self, a: Value, b: Value) -> Value:
        return a[0] * b[0], a[0] * b[1] + a[1] * b[0]

    @override
    def convert(self, log_weights: tuple[Tensor, Tensor]) -> Value:
        """The slots from (log-weights, values).

        Args:
            log_weights: the log-weights in nats and what each arc contributes, of equal shape.

        Raises:
            TypeError: if not a pair.
            ValueError: if the shapes differ.
        """
        weights, values = require_tensors(log_weights, "log_weights, values", "ExpectationSemiring")
        p = weights.exp()
        return p, p * values

    @override
    def star(self, value: Value) -> Value:
        require_below_one(value[0], self)
        star = (1 - value[0]).reciprocal()
        return star, star * star * value[1]

    @override
    def divide(self, a: Value, b: Value) -> Value:
        share = quotient(a[0], b[0])
        return share, quotient(a[1] - share * b[1], b[0])

    @override
    def sum(self, value: Value, dim: int) -> Value:
        return map_slots(lambda slot: slot.sum(dim), value)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        return map_slots(lambda slot: segment_add(slot, index, num_segments), value)
