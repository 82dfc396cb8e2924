"""Log-masses of two models and the divergence of their normalised paths."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, log_mix, segment_add, segment_log_mix
from wfst_entropy.semirings.base import Semiring, Value, map_slots
from wfst_entropy.semirings.log import require_convergence
from wfst_entropy.semirings.reverse_kl import require_pair

_INF = float("inf")


def _canonical(student: Tensor, teacher: Tensor, divergence: Tensor) -> Value:
    """0 where the teacher has no mass, +inf where it has and the student has none."""
    lost = (student == -_INF) & (teacher > -_INF)
    divergence = divergence.masked_fill(teacher == -_INF, 0.0).masked_fill(lost, _INF)
    return student, teacher, divergence


def _mixed(student: Tensor, teacher: Tensor, divergence: Tensor) -> Tensor:
    """``mixT (k + log mixT - log mixS)`` from both log mixes; 0 where the teacher has no mass."""
    none = teacher == -_INF
    infinite = ~none & ((student == -_INF) | (divergence == _INF))
    teacher = teacher.masked_fill(none, 0.0)
    finite = divergence.masked_fill(infinite | none, 0.0) + teacher
    term = teacher.exp() * (finite - student.masked_fill(student == -_INF, 0.0))
    return term.masked_fill(none, 0.0).masked_fill(infinite, _INF)


class ConditionalKLSemiring(Semiring):
    r"""Triples (s, t, k): log-masses of student and teacher, KL(teacher || student) of the paths.

    Merging: :math:`s = \log\sum e^{s_i}`, :math:`t = \log\sum e^{t_i}`,
    :math:`k = \sum_i \mathrm{mix}^T_i (k_i + \log\mathrm{mix}^T_i - \log\mathrm{mix}^S_i)` with
    the mixing weights :math:`e^{t_i - t}` and :math:`e^{s_i - s}`. :math:`\otimes` adds all slots,
    :math:`\bar 0 = (-\infty, -\infty, 0)`, :math:`\bar 1 = (0, 0, 0)`, and with
    :math:`p = e^t < 1`, :math:`q = e^s < 1` the closure has
    :math:`k^* = \frac{p}{1-p}(k + t - s) + \ln(1-p) - \ln(1-q)`.

    The last slot of a total is the divergence of the *normalised* paths in nats; weights need not
    be log-probabilities. It is 0 if the teacher has no path, and +inf with gradient 0 if the
    teacher has a path where the student has none.

    Source: the entropy-semiring paper (arXiv 2312.10087) in the chain-rule form of the divergence
    (Cover and Thomas, "Elements of Information Theory", Theorem 2.5.3).

    >>> student, teacher = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    >>> semiring = ConditionalKLSemiring()
    >>> semiring.sum(semiring.convert((student, teacher)), 0)[2]
    tensor(0.1308)
    """

    zero_element = (-_INF, -_INF, 0.0)
    one_element = (0.0, 0.0, 0.0)
    has_star = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        pairs = map_slots(lambda x, y: torch.stack(torch.broadcast_tensors(x, y)), a, b)
        return self.sum(pairs, 0)

    @override
    def times(self, a: Value, b: Value) -> Value:
        return _canonical(a[0] + b[0], a[1] + b[1], a[2] + b[2])

    @override
    def convert(self, log_weights: tuple[Tensor, Tensor]) -> Value:
        """The slots from (student, teacher).

        Args:
            log_weights: the student's and the teacher's log-weights, of equal shape.

        Raises:
            TypeError: if not a pair.
            ValueError: if the shapes differ.
        """
        student, teacher = require_pair(log_weights, "ConditionalKLSemiring")
        return _canonical(student, teacher, torch.zeros_like(teacher))

    @override
    def star(self, value: Value) -> Value:
        require_convergence(value[0], self)
        require_convergence(value[1], self)
        student, teacher, divergence = value
        none = teacher == -_INF
        lost = ((student == -_INF) & ~none) | (divergence == _INF)
        log_rest = log1mexp(teacher)
        ratio = (teacher - log_rest).exp()  # p / (1 - p)
        step = (divergence + teacher - student).masked_fill(none | lost, 0.0)
        divergence = (ratio * step + log_rest - log1mexp(student)).masked_fill(lost, _INF)
        return -log1mexp(student), -log_rest, divergence

    @override
    def sum(self, value: Value, dim: int) -> Value:
        if value[0].shape[dim] == 0:
            return super().sum(value, dim)
        student, student_mix = log_mix(value[0], dim)
        teacher, teacher_mix = log_mix(value[1], dim)
        divergence = _mixed(student_mix, teacher_mix, value[2]).sum(dim)
        return student, teacher, divergence.masked_fill(divergence == _INF, _INF)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        student, student_mix = segment_log_mix(value[0], index, num_segments)
        teacher, teacher_mix = segment_log_mix(value[1], index, num_segments)
        divergence = segment_add(_mixed(student_mix, teacher_mix, value[2]), index, num_segments)
        return student, teacher, divergence.masked_fill(divergence == _INF, _INF)
