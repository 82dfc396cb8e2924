"""Semiring distillation: the likelihood, and the divergence from a teacher's alignments."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    AlignmentKL,
    as_lengths,
    check_choice,
    check_number,
    reduced,
)
from wfst_entropy.losses.ctc_divergence import ctc_alignment_kl
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.rnnt_divergence import rnnt_alignment_kl
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES


def ctc_distillation_loss(
    student_log_probs: Tensor,
    teacher_log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    kl_scale: float = 1.0,
    kind: str = "conditional",
    *,
    reverse: bool = False,
    teacher_grad: bool = False,
    fused_log_softmax: bool = False,
) -> Tensor:
    r"""Computes the CTC loss of a student that is also to align as its teacher does.

    Per utterance :math:`\mathrm{nll} + \mathrm{kl\_scale} \cdot KL`, with the student's likelihood
    and the divergence of the teacher's alignments from the student's; see `ctc_alignment_kl`.

    Args:
        student_log_probs: (N, T, C) scores in nats.
        teacher_log_probs: of the same shape.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether an nll or a divergence that is infinite counts 0. Its gradient is 0
            either way.
        kl_scale: the weight of the divergence, not negative.
        kind: see `ctc_alignment_kl`, as the following.
        reverse: KL(student || teacher) instead.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the scores over the symbols first.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_alignment_kl`; also for the mean of an empty batch.

    Source: "Entropy semirings" (arXiv 2312.10087), Eqs. 13 and 14.

    >>> student = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> teacher = torch.tensor([[[0.2, 0.7, 0.1], [0.3, 0.5, 0.2], [0.5, 0.25, 0.25]]]).log()
    >>> args = (student, teacher, torch.tensor([[1, 2]]), [3], [2])
    >>> ctc_distillation_loss(*args, reduction="sum", kl_scale=0.5)     # 1.6820 + 0.1660 / 2
    tensor(1.7650)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("kl_scale", kl_scale, 0.0)
    alignment = ctc_alignment_kl(
        student_log_probs,
        teacher_log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank,
        kind=kind,
        reverse=reverse,
        teacher_grad=teacher_grad,
        fused_log_softmax=fused_log_softmax,
    )
    return _loss(alignment, target_lengths, reduction, zero_infinity, kl_scale)


def rnnt_distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    kl_scale: float = 1.0,
    kind: str = "conditional",
    *,
    rnnt_type: str = "regular",
    reverse: bool = False,
    teacher_grad: bool = False,
    fused_log_softmax: bool = True,
) -> Tensor:
    r"""Computes the RNN-T loss of a student that is also to align as its teacher does.

    Per utterance :math:`\mathrm{nll} + \mathrm{kl\_scale} \cdot KL`, with the student's likelihood
    and the divergence of the teacher's alignments from the student's; see `rnnt_alignment_kl`.

    Args:
        student_logits: (N, T, U + 1, C).
        teacher_logits: of the same shape.
        targets: (N, U) or (sum of target_lengths,).
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: see `ctc_distillation_loss`, as the following.
        zero_infinity: whether an nll or a divergence that is infinite counts 0.
        kl_scale: the weight of the divergence, not negative.
        kind: see `rnnt_alignment_kl`, as the following.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        reverse: KL(student || teacher) instead.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the logits.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment_kl`; also for the mean of an empty batch.

    Source: "Entropy semirings" (arXiv 2312.10087), Eqs. 13 and 14.

    >>> student = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> args = (student, torch.zeros(1, 2, 2, 2), torch.tensor([[1]]), [2], [1])
    >>> rnnt_distillation_loss(*args, kl_scale=100.0)       # 0.7679 + 100 * 0.000595
    tensor(0.8274)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("kl_scale", kl_scale, 0.0)
    alignment = rnnt_alignment_kl(
        student_logits,
        teacher_logits,
        targets,
        logit_lengths,
        target_lengths,
        blank,
        kind=kind,
        rnnt_type=rnnt_type,
        reverse=reverse,
        teacher_grad=teacher_grad,
        fused_log_softmax=fused_log_softmax,
    )
    return _loss(alignment, target_lengths, reduction, zero_infinity, kl_scale)


class CTCDistillationLoss(LossModule):
    """`ctc_distillation_loss` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an nll or a divergence that is infinite counts 0.
        kl_scale: the weight of the divergence.
        kind: see `ctc_alignment_kl`, as the following.
        reverse: KL(student || teacher) instead.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the scores.

    >>> same = torch.zeros(1, 2, 3)
    >>> CTCDistillationLoss()(same, same, torch.tensor([[1]]), [2], [1])     # 3 paths of weight 1
    tensor(-1.0986)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        kl_scale: float = 1.0,
        kind: str = "conditional",
        *,
        reverse: bool = False,
        teacher_grad: bool = False,
        fused_log_softmax: bool = False,
    ) -> None:
        super().__init__(
            blank=blank,
            reduction=reduction,
            zero_infinity=zero_infinity,
            kl_scale=kl_scale,
            kind=kind,
            reverse=reverse,
            teacher_grad=teacher_grad,
            fused_log_softmax=fused_log_softmax,
        )
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)

    def forward(
        self,
        student_log_probs: Tensor,
        teacher_log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `ctc_distillation_loss`."""
        batch = (student_log_probs, teacher_log_probs, targets, input_lengths, target_lengths)
        return ctc_distillation_loss(*batch, **self.options)


class RNNTDistillationLoss(LossModule):
    """`rnnt_distillation_loss` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an nll or a divergence that is infinite counts 0.
        kl_scale: the weight of the divergence.
        kind: see `rnnt_alignment_kl`, as the following.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        reverse: KL(student || teacher) instead.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the scores.

    >>> same = torch.zeros(1, 2, 2, 2)
    >>> RNNTDistillationLoss()(same, same, torch.tensor([[1]]), [2], [1])   # 2 paths of weight 1/8
    tensor(1.3863)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        kl_scale: float = 1.0,
        kind: str = "conditional",
        *,
        rnnt_type: str = "regular",
        reverse: bool = False,
        teacher_grad: bool = False,
        fused_log_softmax: bool = True,
    ) -> None:
        super().__init__(
            blank=blank,
            reduction=reduction,
            zero_infinity=zero_infinity,
            kl_scale=kl_scale,
            kind=kind,
            rnnt_type=rnnt_type,
            reverse=reverse,
            teacher_grad=teacher_grad,
            fused_log_softmax=fused_log_softmax,
        )
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("rnnt_type", rnnt_type, RNNT_TYPES)

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `rnnt_distillation_loss`."""
        batch = (student_logits, teacher_logits, targets, logit_lengths, target_lengths)
        return rnnt_distillation_loss(*batch, **self.options)


def _loss(
    alignment: AlignmentKL,
    target_lengths: Tensor | list[int],
    reduction: str,
    zero_infinity: bool,
    kl_scale: float,
) -> Tensor:
    kl, nll = alignment.kl, alignment.nll
    if zero_infinity:
        nll = nll.masked_fill(nll.detach() == torch.inf, 0.0)
        kl = kl.masked_fill(kl.detach() == torch.inf, 0.0)
    loss = nll + kl_scale * kl if kl_scale != 0 else nll
    return reduced(loss, as_lengths("target_lengths", target_lengths, len(nll)), reduction)
