"""The log-entropy semiring of the entropy-semiring paper: raw entropy in two slots."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, logaddexp, logsumexp, segment_logsumexp
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.log import require_convergence

_INF = float("inf")


def require_log_probabilities(log_weights: Tensor, argument: str, need: str, instead: str) -> None:
    """Raise unless all log-weights are <= 0.

    Raises:
        ValueError: naming the first offending element and what to use instead.
    """
    bad = ~(log_weights <= 0)
    if bool(bad.any()):
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{argument} must be log-weights <= 0, got {log_weights[where].item():g} at "
            f"{list(where)}: {need}; {instead}"
        )


def log_surprisal(log_p: Tensor, log_weight: Tensor) -> Tensor:
    """``log(-p log w)`` elementwise, from log p and log w <= 0; -inf where p = 0 or w = 1.

    The gradient is 0 where the value is infinite.
    """
    some = (log_p > -_INF) & (log_weight < 0) & (log_weight > -_INF)
    value = torch.where(some, log_p, 0.0) + (-torch.where(some, log_weight, -1.0)).log()
    never = (log_p > -_INF) & (log_weight == -_INF)
    return torch.where(some, value, torch.where(never, _INF, -_INF))


class LogEntropySemiring(Semiring):
    r"""Pairs of logarithms: probability and raw entropy of a set of paths.

    A weight is :math:`\langle \log p, \log(-p\log p)\rangle`;
    :math:`\langle a,b\rangle \oplus \langle c,d\rangle =
    \langle \log(e^a+e^c), \log(e^b+e^d)\rangle`,
    :math:`\langle a,b\rangle \otimes \langle c,d\rangle =
    \langle a+c, \log(e^{a+d}+e^{b+c})\rangle`,
    :math:`\bar 0 = \langle-\infty,-\infty\rangle`, :math:`\bar 1 = \langle 0,-\infty\rangle`,
    :math:`\langle a,b\rangle^* = \langle a^*, b + 2a^*\rangle`.

    The second slot of a total is :math:`\log H_u` with the *raw* entropy
    :math:`H_u = -\sum_\pi p(\pi)\log p(\pi)` in nats, of path probabilities that are not divided
    by their sum. For the entropy of the normalised paths use ``ConditionalEntropySemiring``:
    recovering it from these two slots subtracts two large numbers.

    Source: "Revisiting the Entropy Semiring for Neural Speech Recognition" (ICLR 2023,
    arXiv 2312.10087), Definition 4.1.

    A log-weight of exactly 0 has surprisal 0, whose logarithm has no finite derivative; its
    gradient through the second slot is 0.

    >>> half = LogEntropySemiring().convert(torch.tensor([0.5, 0.5]).log())
    >>> LogEntropySemiring().sum(half, 0)[1].exp()   # one fair coin: ln 2
    tensor(0.6931)
    """

    zero_element = (-_INF, -_INF)
    one_element = (0.0, -_INF)
    has_star = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        return map_slots(logaddexp, a, b)

    @override
    def times(self, a: Value, b: Value) -> Value:
        return a[0] + b[0], logaddexp(a[0] + b[1], a[1] + b[0])

    @override
    def convert(self, log_weights: Tensor) -> Value:
        """Slots log p and log(-p log p).

        Raises:
            ValueError: if a log-weight is above 0 or NaN.
        """
        require_log_probabilities(
            log_weights,
            "LogEntropySemiring: log_weights",
            "-p log p is negative above probability 1 and has no logarithm",
            "ConditionalEntropySemiring accepts any log-weights",
        )
        return log_weights, log_surprisal(log_weights, log_weights)

    @override
    def star(self, value: Value) -> Value:
        require_convergence(value[0], self)
        star = -log1mexp(value[0])
        return star, value[1] + 2 * star

    @override
    def sum(self, value: Value, dim: int) -> Value:
        return map_slots(lambda slot: logsumexp(slot, dim), value)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        return map_slots(lambda slot: segment_logsumexp(slot, index, num_segments), value)
