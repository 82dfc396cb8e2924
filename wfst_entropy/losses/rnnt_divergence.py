"""How far a student transducer's alignments are from a teacher's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wfst_entropy._native as _native
import wfst_entropy._native.rnnt_kl as native
from wfst_entropy._native.eager import eager
from wfst_entropy._native.rnnt_grid import RnntGrid
from wfst_entropy.algorithms.kernel_gradient import differentiable_once
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import AlignmentKL, as_lengths, check_choice, zero_of
from wfst_entropy.losses.divergence import Direction, alignment_kl, precise, result_dtype
from wfst_entropy.losses.rnnt_batch import RnntOptions, checked_rnnt_batch
from wfst_entropy.losses.rnnt_planes import logit_planes
from wfst_entropy.losses.rnnt_recursion import (
    RNNT_TYPES,
    bad_node_score,
    checked_grid,
    rnnt_recursion,
)
from wfst_entropy.semirings import ConditionalKLSemiring


def rnnt_alignment_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    kind: str = "conditional",
    rnnt_type: str = "regular",
    reverse: bool = False,
    teacher_grad: bool = False,
    fused_log_softmax: bool = True,
) -> AlignmentKL:
    r"""Computes the divergence of a teacher's RNN-T alignments of transcripts from a student's.

    With the path weights :math:`w(\pi)` of `rnnt_alignment` and :math:`p(\pi) = e^{w(\pi)} / Z`
    for each of the two models,

    .. math::
        KL_c = \sum_\pi p_T(\pi) \left(\log p_T(\pi) - \log p_S(\pi)\right) .

    Args:
        student_logits: (N, T, U + 1, C), see `rnnt_alignment`.
        teacher_logits: of the same shape.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        kind: ``"conditional"`` (:math:`KL_c`), ``"raw"`` (the paper's :math:`\sum_\pi e^{w_T(\pi)}
            (w_T(\pi) - w_S(\pi)) = Z_T (KL_c + \log Z_T - \log Z_S)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`KL_c` divided by the length).
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        reverse: KL(student || teacher) instead; the models change places in the formulas.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the logits; False takes them as log-weights.

    Returns:
        ``kl``, the student's ``nll``, ``valid`` and ``teacher_nll``, each (N,), as of
        `ctc_alignment_kl`.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment`; also for models of different shapes.

    Source: "Entropy semirings" (arXiv 2312.10087), Definition 4.2 and Eq. 13, for the raw
    divergence; the conditional one is that of the normalised paths.

    >>> student = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> out = rnnt_alignment_kl(student, torch.zeros(1, 2, 2, 2), torch.tensor([[1]]), [2], [1])
    >>> [round(float(field), 4) for field in out]      # two paths, 1/2 each and 0.224 : 0.24
    [0.0006, 0.7679, 1.0, 1.3863]
    """
    direction = Direction(kind, reverse, teacher_grad)
    direction.check()
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    args = (targets, logit_lengths, target_lengths, blank)
    student = checked_rnnt_batch(student_logits, *args, name="student_logits")
    teacher = checked_rnnt_batch(teacher_logits, *args, name="teacher_logits")
    _check_teacher("logits", student.logits, teacher.logits)
    teacher = teacher._replace(logits=direction.teacher(teacher.logits))
    options = RnntOptions(rnnt_type, fused_log_softmax)
    lengths = (student.logit_lengths, student.targets.lengths)
    value = _totals(
        logit_planes(student, options),
        logit_planes(teacher, options),
        lengths,
        rnnt_type,
        direction,
    )
    return alignment_kl(value, direction, result_dtype(student_logits), *lengths)


def rnnt_grid_alignment_kl(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    *,
    kind: str = "conditional",
    rnnt_type: str = "regular",
    reverse: bool = False,
    teacher_grad: bool = False,
) -> AlignmentKL:
    r"""Computes the divergence of two transducers' alignments from their (blank, label) planes.

    Args:
        student: the blank scores (N, T, U + 1) and label scores (N, T, U) or (N, T, U + 1), see
            `rnnt_grid_alignment`.
        teacher: likewise, for the same lattice.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        kind: see `rnnt_alignment_kl`, as the following.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        reverse: KL(student || teacher) instead.
        teacher_grad: whether the teacher is given a gradient too.

    Returns:
        ``kl``, the student's ``nll``, ``valid`` and ``teacher_nll``, each (N,), as of
        `ctc_alignment_kl`.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_grid_alignment`; also for models of different shapes.

    >>> blank = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]]).log()
    >>> label = torch.tensor([[[0.4], [0.5]]]).log()
    >>> zeros = (torch.zeros(1, 2, 2), torch.zeros(1, 2, 1))
    >>> out = rnnt_grid_alignment_kl((blank, label), zeros, [2], [1])
    >>> [round(float(field), 4) for field in out]
    [0.0006, 0.7679, 1.0, -0.6931]
    """
    direction = Direction(kind, reverse, teacher_grad)
    direction.check()
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    n, num_frames, width = checked_grid(*student)
    checked_grid(*teacher)
    _check_teacher("blank_scores", student[0], teacher[0])
    frames = as_lengths("logit_lengths", logit_lengths, n, num_frames, "frames of blank_scores")
    labels = as_lengths("target_lengths", target_lengths, n, width - 1, "labels of blank_scores")
    fixed = (direction.teacher(teacher[0]), direction.teacher(teacher[1]))
    value = _totals(student, fixed, (frames, labels), rnnt_type, direction)
    return alignment_kl(value, direction, result_dtype(student[0]), frames, labels)


def _check_teacher(name: str, student: Tensor, teacher: Tensor) -> None:
    if teacher.shape != student.shape or teacher.device != student.device:
        raise FsaValueError(
            f"teacher's {name}: must have the shape and device of the student's, "
            f"{tuple(student.shape)} on {student.device}, got {tuple(teacher.shape)} on "
            f"{teacher.device}"
        )


def _totals(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    lengths: tuple[Tensor, Tensor],
    rnnt_type: str,
    direction: Direction,
) -> tuple[Tensor, Tensor, Tensor]:
    """log Z of the second and first model, and the conditional divergence."""
    width, device = student[0].shape[2] - 1, student[0].device
    pairs = ((student[0], teacher[0]), (student[1][:, :, :width], teacher[1][:, :, :width]))
    if device.type == "cpu" and _native.is_available():
        dtype = result_dtype(student[0])
        blank, label = (direction.models(s.to(dtype), t.to(dtype)) for s, t in pairs)
        planes = (blank[1], label[1], blank[0], label[0])
        first_name, second_name = direction.models("student", "teacher")[::-1]
        return _kernel_totals(planes, (*lengths, rnnt_type), (first_name, second_name))
    blank, label = (direction.models(precise(s), precise(t)) for s, t in pairs)
    frames, labels = (x.to(device) for x in lengths)
    second, first, kl = rnnt_recursion(
        blank, label, frames, labels, ConditionalKLSemiring(), rnnt_type
    )
    nothing = sum(zero_of(plane) for plane in (*blank, *label))
    return second + nothing, first + nothing, kl + nothing


@eager
def _kernel_totals(
    planes: tuple[Tensor, ...], shape: tuple[Tensor, Tensor, str], names: tuple[str, str]
) -> tuple[Tensor, Tensor, Tensor]:
    save = torch.is_grad_enabled() and any(x.requires_grad for x in planes)
    log_q, log_p, kl = _NativeKl.apply(*planes, shape, names, save)
    return log_q, log_p, kl


class _NativeKl(torch.autograd.Function):
    """The C++ engine, KL(p || q): one backward sweep gives the gradients of all outputs."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        p_blank: Tensor,
        p_label: Tensor,
        q_blank: Tensor,
        q_label: Tensor,
        shape: tuple[Tensor, Tensor, str],
        names: tuple[str, str],
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        planes = (p_blank, p_label, q_blank, q_label)
        ctx.moments = p_blank.requires_grad or p_label.requires_grad
        out = native.rnnt_kl_forward(_pair(planes, *shape), moments=ctx.moments, save=save)
        for n in (out.bad[:, 0] >= 0).nonzero().flatten().tolist()[:1]:
            model, plane, t, u = out.bad[n].tolist()
            what = f"{names[model]}'s {('blank', 'label')[plane]}"
            raise bad_node_score(what, [n, t, u], float(planes[2 * model + plane][n, t, u]))
        ctx.save_for_backward(*planes, shape[0], shape[1], out.cells, out.status)
        ctx.rnnt_type = shape[2]
        ctx.set_materialize_grads(False)
        return out.log_q, out.log_p, out.kl

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_log_q: Tensor | None, grad_log_p: Tensor | None, grad_kl: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *planes, frames, labels, cells, status = ctx.saved_tensors
        zeros = torch.zeros(status.shape, dtype=torch.float64)
        by_kl, by_p, by_q = (
            zeros if grad is None else grad for grad in (grad_kl, grad_log_p, grad_log_q)
        )
        needed = ctx.needs_input_grad
        grads = native.rnnt_kl_backward(
            _pair(tuple(planes), frames, labels, ctx.rnnt_type),
            cells,
            status,
            by_kl,
            by_p,
            by_q,
            moments=ctx.moments,
            wanted=(needed[0] or needed[1], needed[2] or needed[3]),
        )
        depends = (*planes, grad_log_q, grad_log_p, grad_kl)
        once = (None if g is None else differentiable_once(g, *depends) for g in grads)
        return (*once, None, None, None)


def _pair(
    planes: tuple[Tensor, ...], frames: Tensor, labels: Tensor, rnnt_type: str
) -> native.RnntGridPair:
    p_blank, p_label, q_blank, q_label = planes
    p, q = (
        RnntGrid(blank, label, frames, labels, rnnt_type)
        for blank, label in ((p_blank, p_label), (q_blank, q_label))
    )
    return native.RnntGridPair(p, q)
