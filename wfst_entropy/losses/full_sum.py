"""Full-sum distillation: a student that finds transcripts as likely as its teacher does."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import (
    REDUCTIONS,
    as_lengths,
    check_choice,
    check_floating,
    reduced,
)
from wfst_entropy.losses.ctc import ctc_batch_alignment
from wfst_entropy.losses.ctc_batch import checked_ctc_batch
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.rnnt import rnnt_batch_alignment
from wfst_entropy.losses.rnnt_batch import RnntOptions, checked_rnnt_batch

DISTANCES = ("squared", "absolute")


def full_sum_distillation(
    student_nll: Tensor,
    teacher_nll: Tensor,
    target_lengths: Tensor | list[int] | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    distance: str = "squared",
    teacher_grad: bool = False,
) -> Tensor:
    r"""Computes how far two models' log-likelihoods of the same transcripts are apart.

    Per transcript :math:`(\log P_T(y|x) - \log P_S(y|x))^2`, or the absolute value of that
    difference. Both likelihoods are sums over all alignments of whatever model each one is: CTC,
    transducers or graphs, with other frame rates and alignments; nothing else of them is compared,
    so this is the natural control of semiring distillation, which compares the alignments alone.

    Args:
        student_nll: (N,) negative log-likelihoods: ``ctc_alignment(...).nll``,
            ``rnnt_alignment(...).nll``, ``fsa_alignment(...).nll``; for n-best lists one per
            hypothesis.
        teacher_nll: (N,), likewise.
        target_lengths: (N,) labels, what ``"mean"`` divides by; 1 if not given.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each transcript's loss by its
            length (at least 1) and averages.
        zero_infinity: whether a transcript that one model excludes counts 0 instead of +inf. Its
            gradient is 0 either way. One that both exclude counts 0.
        distance: ``"squared"`` or ``"absolute"``.
        teacher_grad: whether the teacher is given a gradient too.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError: for nlls that are not floating-point.
        FsaValueError: for wrong shapes, lengths or options, and for an nll of NaN or -inf.

    Source: Zeineldeen et al. 2023, "Robust knowledge distillation from RNN-T models with noisy
    training labels using full-sum loss" (arXiv 2303.05958), for matching log P(y|x).

    >>> student, teacher = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 2.0])
    >>> full_sum_distillation(student, teacher, [2, 1])     # (2**2 / 2 + 1) / 2
    tensor(1.5000)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("distance", distance, DISTANCES)
    for name, nll in (("student_nll", student_nll), ("teacher_nll", teacher_nll)):
        check_floating(name, nll, "(N,)")
        if nll.dim() != 1 or nll.shape != student_nll.shape:
            raise FsaValueError(
                f"{name}: must have shape (N,), the same for both models, got {tuple(nll.shape)}"
            )
        for i in (~(nll.detach() > -torch.inf)).nonzero().flatten().tolist()[:1]:
            raise FsaValueError(
                f"{name}: utterance {i} has {float(nll[i].detach())}; negative log-likelihoods are "
                "numbers, or +inf without an alignment"
            )
    lengths = torch.ones(student_nll.shape)
    if target_lengths is not None:
        lengths = as_lengths("target_lengths", target_lengths, len(student_nll))
    if not teacher_grad:
        teacher_nll = teacher_nll.detach()
    # squares of common nlls are beyond half precision
    student_nll, teacher_nll = (
        x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        for x in (student_nll, teacher_nll)
    )
    teacher_nll = teacher_nll.to(student_nll.dtype)
    no_student, no_teacher = (x.detach() == torch.inf for x in (student_nll, teacher_nll))
    undefined = no_student | no_teacher
    difference = student_nll.masked_fill(undefined, 0.0) - teacher_nll.masked_fill(undefined, 0.0)
    loss = difference.square() if distance == "squared" else difference.abs()
    if not zero_infinity:
        loss = loss.masked_fill(no_student != no_teacher, torch.inf)
    return reduced(loss, lengths, reduction)


class FullSumDistillation(LossModule):
    """`full_sum_distillation` as a module.

    Args:
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: see `full_sum_distillation`, as the following.
        distance: ``"squared"`` or ``"absolute"``.
        teacher_grad: whether the teacher is given a gradient too.

    >>> FullSumDistillation("sum")(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor(5.)
    """

    def __init__(
        self,
        reduction: str = "mean",
        zero_infinity: bool = False,
        *,
        distance: str = "squared",
        teacher_grad: bool = False,
    ) -> None:
        super().__init__(
            reduction=reduction,
            zero_infinity=zero_infinity,
            distance=distance,
            teacher_grad=teacher_grad,
        )
        check_choice("reduction", reduction, REDUCTIONS)

    def forward(
        self,
        student_nll: Tensor,
        teacher_nll: Tensor,
        target_lengths: Tensor | list[int] | None = None,
    ) -> Tensor:
        """Returns the loss; the arguments are those of `full_sum_distillation`."""
        return full_sum_distillation(student_nll, teacher_nll, target_lengths, **self.options)


def ctc_full_sum_distillation(
    student_log_probs: Tensor,
    teacher_log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    distance: str = "squared",
    teacher_grad: bool = False,
    fused_log_softmax: bool = False,
) -> Tensor:
    r"""Computes `full_sum_distillation` of two CTC models.

    Per utterance :math:`(\log P_T(y|x) - \log P_S(y|x))^2`, or the absolute difference.

    Args:
        student_log_probs: (N, T, C), see `ctc_alignment`.
        teacher_log_probs: likewise. For models of different frame rates take
            `full_sum_distillation`.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``, as of `ctc_loss`.
        zero_infinity: see `full_sum_distillation`, as the following.
        distance: ``"squared"`` or ``"absolute"``.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether the scores are logits, which are then normalised here.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_alignment` and `full_sum_distillation`.

    Source: Zeineldeen et al. 2023 (arXiv 2303.05958).

    >>> half = torch.tensor([0.5, 0.5]).log().expand(1, 2, 2)    # one label, two frames: 3/4
    >>> ctc_full_sum_distillation(half, half - 1, torch.tensor([[1]]), [2], [1])
    tensor(4.)
    """
    batch = (targets, input_lengths, target_lengths, blank)
    models = {
        "student_log_probs": student_log_probs,
        "teacher_log_probs": _of_teacher("teacher_log_probs", teacher_log_probs, teacher_grad),
    }
    student, teacher = (
        ctc_batch_alignment(
            checked_ctc_batch(scores, *batch, name=name),
            "conditional",
            entropy=False,
            fused_log_softmax=fused_log_softmax,
        )
        for name, scores in models.items()
    )
    return full_sum_distillation(
        student.nll,
        teacher.nll,
        target_lengths,
        reduction,
        zero_infinity,
        distance=distance,
        teacher_grad=teacher_grad,
    )


def rnnt_full_sum_distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    rnnt_type: str = "regular",
    distance: str = "squared",
    teacher_grad: bool = False,
    fused_log_softmax: bool = True,
) -> Tensor:
    r"""Computes `full_sum_distillation` of two transducers.

    Per utterance :math:`(\log P_T(y|x) - \log P_S(y|x))^2`, or the absolute difference.

    Args:
        student_logits: (N, T, U + 1, C), see `rnnt_alignment`.
        teacher_logits: likewise. For models of different frame rates take `full_sum_distillation`.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``, as of `rnnt_loss`.
        zero_infinity: see `full_sum_distillation`.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        distance: see `full_sum_distillation`, as the following.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the logits of both models.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment` and `full_sum_distillation`.

    Source: Zeineldeen et al. 2023 (arXiv 2303.05958).

    >>> student = torch.tensor([0.5, 0.25, 0.25]).log().expand(1, 2, 2, 3)
    >>> teacher = torch.tensor([0.5, 0.5, 0.0]).log().expand(1, 2, 2, 3)      # twice as likely
    >>> labels = torch.tensor([[1]]), [2], [1]
    >>> rnnt_full_sum_distillation(student, teacher, *labels, distance="absolute")
    tensor(0.6931)
    """
    batch = (targets, logit_lengths, target_lengths, blank)
    models = {
        "student_logits": student_logits,
        "teacher_logits": _of_teacher("teacher_logits", teacher_logits, teacher_grad),
    }
    options = RnntOptions(rnnt_type, fused_log_softmax)
    student, teacher = (
        rnnt_batch_alignment(
            checked_rnnt_batch(logits, *batch, name=name), options, "conditional", False
        )
        for name, logits in models.items()
    )
    return full_sum_distillation(
        student.nll,
        teacher.nll,
        target_lengths,
        reduction,
        zero_infinity,
        distance=distance,
        teacher_grad=teacher_grad,
    )


def _of_teacher(name: str, scores: Tensor, teacher_grad: bool) -> Tensor:
    """The teacher's scores, without gradient unless that is wanted."""
    if not isinstance(scores, Tensor):
        raise FsaTypeError(f"{name}: must be a floating-point tensor, got {type(scores).__name__}")
    return scores if teacher_grad else scores.detach()
