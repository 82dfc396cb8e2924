"""What all divergences of a teacher's alignments from a student's have in common."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from wfst_entropy.algorithms.path_divergence import raw_divergence
from wfst_entropy.losses.alignment import KINDS, AlignmentKL, check_choice

_Model = TypeVar("_Model")


class Direction(NamedTuple):
    """Which divergence of two models is wanted."""

    kind: str
    reverse: bool
    teacher_grad: bool

    def check(self) -> None:
        """Refuses an unknown kind.

        Raises:
            FsaValueError: it is none of ``KINDS``.
        """
        check_choice("kind", self.kind, KINDS)

    def teacher(self, scores: Tensor) -> Tensor:
        """The teacher's scores, without gradient unless that is wanted."""
        return scores if self.teacher_grad else scores.detach()

    def models(self, student: _Model, teacher: _Model) -> tuple[_Model, _Model]:
        """The second and the first model of the divergence: the order of the semiring's slots."""
        return (teacher, student) if self.reverse else (student, teacher)


def precise(scores: Tensor) -> Tensor:
    """The scores in the dtype in which the torch engine computes: float64 where there is one."""
    return scores.float() if scores.device.type == "mps" else scores.double()


def result_dtype(scores: Tensor) -> torch.dtype:
    """The dtype of results: the scores' own, or float32 for half precision."""
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def alignment_kl(
    value: tuple[Tensor, Tensor, Tensor],
    direction: Direction,
    dtype: torch.dtype,
    num_frames: Tensor,
    num_labels: Tensor,
) -> AlignmentKL:
    r"""Returns what was asked for from :math:`\log Z` of the second and first model, and the KL.

    ``raw`` is :math:`Z_1 (KL_c + \log Z_1 - \log Z_2)`, ``per_frame`` is :math:`KL_c / T` and
    ``per_label`` :math:`KL_c / U`, with a divisor of at least 1.

    Args:
        value: each (N,), in the order of ``ConditionalKLSemiring``.
        direction: of the divergence.
        dtype: of the result.
        num_frames: (N,).
        num_labels: (N,).
    """
    log_second, log_first, kl = value
    valid = (log_first.detach() > -torch.inf) & (kl.detach() < torch.inf)
    student, teacher = direction.models(log_second, log_first)
    teacher = direction.teacher(teacher)
    if direction.kind == "raw":
        kl = raw_divergence(kl, log_first, log_second, dtype)
    elif direction.kind != "conditional":
        divisor = num_frames if direction.kind == "per_frame" else num_labels
        kl = kl / divisor.clamp(min=1).to(kl)
    return AlignmentKL(kl.to(dtype), -student.to(dtype), valid, -teacher.to(dtype))
