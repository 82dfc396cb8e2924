"""The log semiring: sums of path probabilities, kept as logarithms."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, logaddexp, logsumexp, segment_logsumexp
from wfst_entropy.semirings.base import Semiring

_INF = float("inf")


def require_convergence(log_mass: Tensor, semiring: Semiring) -> None:
    """Raise unless every log-mass is below 0, where ``1 + p + p^2 + ...`` converges.

    Raises:
        ValueError: naming the first element for which the series diverges.
    """
    bad = ~(log_mass < 0)
    if bool(bad.any()):
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{type(semiring).__name__}.star needs log-masses < 0, got "
            f"{log_mass[where].item():g} at {list(where)}: the sum over repeated passes diverges; "
            "lower the weight of the cycle"
        )


class LogSemiring(Semiring):
    r"""Log-probabilities: the total of all paths.

    :math:`a \oplus b = \log(e^a + e^b)`, :math:`a \otimes b = a + b`, :math:`\bar 0 = -\infty`,
    :math:`\bar 1 = 0`, :math:`a^* = -\log(1 - e^a)` for :math:`a < 0`. Nats, one slot.

    -inf is an ordinary value: merging only -inf gives -inf with gradient 0.

    >>> LogSemiring().plus(torch.tensor(0.25).log(), torch.tensor(0.5).log()).exp()
    tensor(0.7500)
    """

    zero_element = (-_INF,)
    one_element = (0.0,)
    has_star = True
    has_divide = True

    @override
    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        return logaddexp(a, b)

    @override
    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    @override
    def convert(self, log_weights: Tensor) -> Tensor:
        return log_weights

    @override
    def star(self, value: Tensor) -> Tensor:
        require_convergence(value, self)
        return -log1mexp(value)

    @override
    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.where((a == -_INF) | (b == -_INF), -_INF, a - b)

    @override
    def sum(self, value: Tensor, dim: int) -> Tensor:
        return logsumexp(value, dim)

    @override
    def prod(self, value: Tensor, dim: int) -> Tensor:
        return value.sum(dim)

    @override
    def segment_sum(self, value: Tensor, index: Tensor, num_segments: int) -> Tensor:
        return segment_logsumexp(value, index, num_segments)
