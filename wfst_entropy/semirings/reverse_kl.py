"""The log-reverse-KL semiring of the entropy-semiring paper: raw divergence in four slots."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, logaddexp, logsumexp, segment_logsumexp
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.entropy import log_surprisal, require_log_probabilities
from wfst_entropy.semirings.log import require_convergence

_INF = float("inf")


def require_pair(log_weights: Any, semiring: str) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's log-weights.

    Raises:
        TypeError: if ``log_weights`` is not a pair.
        ValueError: if the shapes differ.
    """
    if not (isinstance(log_weights, tuple) and len(log_weights) == 2):
        raise TypeError(
            f"{semiring}: log_weights must be a pair (student, teacher), got "
            f"{type(log_weights).__name__}; on an Fsa pass scores=(student, teacher)"
        )
    student, teacher = log_weights
    if student.shape != teacher.shape:
        raise ValueError(
            f"{semiring}: student and teacher must have the same shape, got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    return student, teacher


def _log_product(a: Tensor, b: Tensor) -> Tensor:
    """``a + b`` for logarithms of masses, with 0 times infinity = 0 and gradient 0 there."""
    return torch.where((a == -_INF) | (b == -_INF), -_INF, a + b)


class LogReverseKLSemiring(Semiring):
    r"""Student, teacher, the teacher's raw entropy and the raw cross entropy, all as logarithms.

    With p the student and q the teacher a weight is
    :math:`\langle \log p, \log q, \log(-q\log q), \log(-q\log p)\rangle`;
    :math:`\oplus` is :math:`\log(e^x+e^y)` in every slot, and
    :math:`\langle a,b,c,d\rangle \otimes \langle f,g,h,i\rangle =
    \langle a+f,\, b+g,\, \log(e^{b+h}+e^{c+g}),\, \log(e^{b+i}+e^{d+g})\rangle`;
    :math:`\bar 0 = \langle-\infty,-\infty,-\infty,-\infty\rangle`,
    :math:`\bar 1 = \langle 0,0,-\infty,-\infty\rangle`,
    :math:`\langle a,b,c,d\rangle^* = \langle a^*, b^*, c+2b^*, d+2b^*\rangle`.

    From a total, ``KL(teacher || student) = exp(slot 3) - exp(slot 2)`` (counting from 0) in nats,
    the *raw* divergence :math:`\sum_\pi q(\pi)(\log q(\pi) - \log p(\pi))` of path probabilities
    that are not divided by their sums. The name is the paper's; the direction is the usual one of
    distillation. Where the teacher has mass and the student none, slot 3 is +inf with gradient 0.

    Source: "Revisiting the Entropy Semiring for Neural Speech Recognition" (ICLR 2023,
    arXiv 2312.10087), Definition 4.2.

    >>> student, teacher = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    >>> semiring = LogReverseKLSemiring()
    >>> total = semiring.sum(semiring.convert((student, teacher)), 0)
    >>> total[3].exp() - total[2].exp()
    tensor(0.1308)
    """

    zero_element = (-_INF, -_INF, -_INF, -_INF)
    one_element = (0.0, 0.0, -_INF, -_INF)
    has_star = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        return map_slots(logaddexp, a, b)

    @override
    def times(self, a: Value, b: Value) -> Value:
        return (
            a[0] + b[0],
            a[1] + b[1],
            logaddexp(_log_product(a[1], b[2]), _log_product(a[2], b[1])),
            logaddexp(_log_product(a[1], b[3]), _log_product(a[3], b[1])),
        )

    @override
    def convert(self, log_weights: tuple[Tensor, Tensor]) -> Value:
        """The four slots from (student, teacher).

        Args:
            log_weights: the student's and the teacher's log-weights, of equal shape.

        Raises:
            TypeError: if not a pair.
            ValueError: if the shapes differ, or a log-weight is above 0 or NaN.
        """
        student, teacher = require_pair(log_weights, "LogReverseKLSemiring")
        for name, weights in (("student", student), ("teacher", teacher)):
            require_log_probabilities(
                weights,
                f"LogReverseKLSemiring: {name}",
                "-q log p is negative above probability 1 and has no logarithm",
                "ConditionalKLSemiring accepts any log-weights",
            )
        entropy = log_surprisal(teacher, teacher)
        return student, teacher, entropy, log_surprisal(teacher, student)

    @override
    def star(self, value: Value) -> Value:
        require_convergence(value[0], self)
        require_convergence(value[1], self)
        star = -log1mexp(value[1])
        return -log1mexp(value[0]), star, value[2] + 2 * star, value[3] + 2 * star

    @override
    def sum(self, value: Value, dim: int) -> Value:
        return map_slots(lambda slot: logsumexp(slot, dim), value)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        return map_slots(lambda slot: segment_logsumexp(slot, index, num_segments), value)
