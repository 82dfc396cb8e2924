r"""How far a student is from its teacher, head by head, from what the two networks put out.

All values are per utterance, ``(N,)``, in nats, before the scales of the loss.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.losses.alignment import AlignmentKL
from wfst_entropy.losses.arc_scores import rnnt_arc_scores
from wfst_entropy.losses.ctc import ctc_loss
from wfst_entropy.losses.ctc_divergence import ctc_alignment_kl
from wfst_entropy.losses.full_sum import full_sum_distillation
from wfst_entropy.losses.pruned_soft_distillation import rnnt_pruned_soft_distillation
from wfst_entropy.losses.rnnt_divergence import rnnt_grid_alignment_kl
from wfst_entropy.losses.rnnt_grid import rnnt_grid_alignment
from wfst_entropy.losses.soft_distillation import ctc_soft_distillation, rnnt_soft_distillation


@dataclasses.dataclass
class Labels:
    """What both models are asked about: label sequences and the frames they are aligned with.

    Args:
      targets: ``(N, U)`` padded.
      frames: ``(N,)``, output frames.
      lengths: ``(N,)``, labels.

    >>> Labels(torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1])).lattice
    (tensor([[1]]), tensor([2]), tensor([1]))
    """

    targets: Tensor
    frames: Tensor
    lengths: Tensor

    @property
    def lattice(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of losses."""
        return self.targets, self.frames, self.lengths


class Lattices(NamedTuple):
    """The same lattice scored by both transducers.

    Attributes:
      student: logits ``(N, T, U + 1, C)``, or in windows ``(N, T, S, C)``.
      teacher: likewise, without a gradient.
      ranges: ``(N, T, S)``, the label positions of the windows; None for the whole lattice.
      student_scores: what `rnnt_arc_scores` makes of the student's logits, where that is known.
      rnnt_type: see `rnnt_alignment`.
    """

    student: Tensor
    teacher: Tensor
    ranges: Tensor | None = None
    student_scores: tuple[Tensor, Tensor] | None = None
    rnnt_type: str = "regular"


def ctc_distill_terms(
    student: Tensor,
    teacher: Tensor,
    labels: Labels,
    options: DistillOptions,
    student_nll: Tensor | None = None,
) -> dict[str, Tensor]:
    r"""The terms of two CTC outputs of the same frames whose scales are not 0.

    With the temperature :math:`\tau` and :math:`p^\tau` the softmax of the log-probabilities
    divided by it:

    * ``state_kl``: :math:`\tau^2 \sum_t KL(p^\tau_T(\cdot | t) \| p^\tau_S(\cdot | t))`;
    * ``seq_kl``: :math:`\tau^2 KL(p^\tau_T(\pi | y) \| p^\tau_S(\pi | y))` over alignments, or the
      raw divergence, see `ctc_alignment_kl`;
    * ``fullsum``: :math:`(\log p_T(y) - \log p_S(y))^2`.

    Args:
      student: log-probabilities ``(N, T, C)``.
      teacher: likewise.
      labels: the label sequences y.
      options: scales, temperature, kind.
      student_nll: :math:`-\log p_S(y)`, if it is known already.

    >>> student, teacher = torch.zeros(1, 2, 3).log_softmax(2), torch.eye(2, 3)[None].log_softmax(2)
    >>> options = DistillOptions(teacher_exp_dir="t", state_distill_loss_scale=0.1)
    >>> labels = Labels(torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]))
    >>> ctc_distill_terms(student, teacher, labels, options)
    {'state_kl': tensor([0.2466])}
    """
    tau, terms = options.distill_temperature, {}
    kl: AlignmentKL | None = None
    if options.state_distill_loss_scale > 0:
        terms["state_kl"] = ctc_soft_distillation(
            student, teacher, labels.frames, "none", temperature=tau
        )
    if options.seq_distill_loss_scale > 0:
        models = (student, teacher) if tau == 1 else (student / tau, teacher / tau)
        kl = ctc_alignment_kl(
            *models, *labels.lattice, kind=options.seq_distill_kind, fused_log_softmax=tau != 1
        )
        terms["seq_kl"] = tau**2 * kl.kl
    if options.fullsum_distill_loss_scale > 0:
        if kl is not None and tau == 1:
            terms["fullsum"] = fullsum(kl.nll, kl.teacher_nll)
        else:
            if student_nll is None:
                student_nll = ctc_loss(student, *labels.lattice, reduction="none")
            terms["fullsum"] = fullsum(
                student_nll, ctc_loss(teacher, *labels.lattice, reduction="none")
            )
    return terms


def transducer_distill_terms(
    lattices: Lattices,
    labels: Labels,
    options: DistillOptions,
    student_nll: Tensor | None = None,
) -> dict[str, Tensor]:
    r"""The terms of two transducers' lattices whose scales are not 0.

    Those of :func:`ctc_distill_terms`, with the nodes (t, u) of the lattice in place of frames. In
    a pruned lattice both models are compared in the student's windows: ``state_kl`` sums over the
    nodes in them, and the likelihoods and alignments of the other two are those of the paths that
    stay inside.

    Args:
      lattices: what the joiners of both make of the same nodes.
      labels: the label sequences y.
      options: scales, temperature, kind.
      student_nll: the student's :math:`-\log p_S(y)` on this lattice, if it is known already.

    >>> student, teacher = torch.zeros(1, 2, 2, 3), torch.eye(4, 3).view(1, 2, 2, 3)
    >>> options = DistillOptions(teacher_exp_dir="t", seq_distill_loss_scale=0.1)
    >>> labels = Labels(torch.tensor([[1]]), torch.tensor([2]), torch.tensor([1]))
    >>> transducer_distill_terms(Lattices(student, teacher), labels, options)
    {'seq_kl': tensor([0.1109])}
    """
    tau, terms = options.distill_temperature, {}
    kl: AlignmentKL | None = None
    if options.state_distill_loss_scale > 0:
        terms["state_kl"] = _node_kl(lattices, labels, tau)
    if options.seq_distill_loss_scale > 0:
        scores = _scores_of_both(lattices, labels, tau)
        kind = options.seq_distill_kind
        kl = rnnt_grid_alignment_kl(
            *scores, labels.frames, labels.lengths, kind=kind, rnnt_type=lattices.rnnt_type
        )
        terms["seq_kl"] = tau**2 * kl.kl
    if options.fullsum_distill_loss_scale > 0:
        if kl is not None and tau == 1:
            terms["fullsum"] = fullsum(kl.nll, kl.teacher_nll)
        else:
            terms["fullsum"] = _fullsum_of_lattices(lattices, labels, student_nll)
    return terms


def fullsum(student_nll: Tensor, teacher_nll: Tensor) -> Tensor:
    """The squared difference of log-likelihoods ``(N,)``; 0 where a model has no alignment.

    >>> fullsum(torch.tensor([3.0]), torch.tensor([1.0]))
    tensor([4.])
    """
    return full_sum_distillation(student_nll, teacher_nll, reduction="none", zero_infinity=True)


def _node_kl(lattices: Lattices, labels: Labels, temperature: float) -> Tensor:
    models = (lattices.student, lattices.teacher)
    if lattices.ranges is None:
        return rnnt_soft_distillation(
            *models, *labels.lattice, reduction="none", temperature=temperature
        )
    return rnnt_pruned_soft_distillation(
        *models, lattices.ranges, *labels.lattice, reduction="none", temperature=temperature
    )


def _scores_of_both(
    lattices: Lattices, labels: Labels, temperature: float
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The scores of the student's arcs and of the teacher's."""
    student, teacher = lattices.student, lattices.teacher
    if temperature != 1:
        student, teacher = (
            (x if x.dtype == torch.float64 else x.float()) / temperature for x in (student, teacher)
        )
    fixed = rnnt_arc_scores(teacher, *labels.lattice, ranges=lattices.ranges)
    if temperature == 1 and lattices.student_scores is not None:
        return lattices.student_scores, fixed
    return rnnt_arc_scores(student, *labels.lattice, ranges=lattices.ranges), fixed


def _fullsum_of_lattices(lattices: Lattices, labels: Labels, student_nll: Tensor | None) -> Tensor:
    lengths = (labels.frames, labels.lengths)
    student, teacher = _scores_of_both(lattices, labels, 1.0)
    if student_nll is None:
        student_nll = rnnt_grid_alignment(*student, *lengths, rnnt_type=lattices.rnnt_type).nll
    teacher_nll = rnnt_grid_alignment(*teacher, *lengths, rnnt_type=lattices.rnnt_type).nll
    return fullsum(student_nll, teacher_nll)
