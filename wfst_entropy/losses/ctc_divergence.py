"""How far a student's CTC alignments are from a teacher's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wfst_entropy._native as _native
from wfst_entropy._native import ctc_kl as native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.kernel_gradient import bad_score, differentiable_once
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import AlignmentKL, check_floating, zero_of
from wfst_entropy.losses.ctc_batch import CtcBatch, checked_ctc_batch
from wfst_entropy.losses.ctc_recursion import ctc_recursion, log_softmax
from wfst_entropy.losses.divergence import Direction, alignment_kl, precise, result_dtype
from wfst_entropy.semirings import ConditionalKLSemiring

_STUDENT, _TEACHER = "student_log_probs", "teacher_log_probs"


def ctc_alignment_kl(
    student_log_probs: Tensor,
    teacher_log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    kind: str = "conditional",
    reverse: bool = False,
    teacher_grad: bool = False,
    fused_log_softmax: bool = False,
) -> AlignmentKL:
    r"""Computes the divergence of a teacher's CTC alignments of each transcript from a student's.

    With :math:`w(\pi) = \sum_t x_{t,\pi_t}` over the paths that collapse to the transcript, and
    :math:`p(\pi) = e^{w(\pi)} / Z` for each of the two models,

    .. math::
        KL_c = \sum_\pi p_T(\pi) \left(\log p_T(\pi) - \log p_S(\pi)\right), \qquad
        \frac{\partial KL_c}{\partial x^S_{t,c}} = \gamma^S_{t,c} - \gamma^T_{t,c} .

    Only the alignment is distilled: how likely the teacher finds the transcript does not matter
    (except for ``kind="raw"``).

    Args:
        student_log_probs: (N, T, C) scores in nats, see `ctc_alignment`.
        teacher_log_probs: of the same shape.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        kind: ``"conditional"`` (:math:`KL_c`), ``"raw"`` (the paper's :math:`\sum_\pi e^{w_T(\pi)}
            (w_T(\pi) - w_S(\pi)) = Z_T (KL_c + \log Z_T - \log Z_S)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`KL_c` divided by the length).
        reverse: KL(student || teacher) instead; the models change places in the formulas.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the scores of both models over the symbols first.

    Returns:
        ``kl``, the student's ``nll``, ``valid``, and ``teacher_nll``, each (N,), in nats, in the
        dtype of the student's scores (float32 for half precision). If the first model has no path,
        ``kl`` is 0; if it has one where the second has none, +inf; ``valid`` is false and all
        gradients of ``kl`` are 0 in both cases.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels, and for a score that is NaN or above
            2**26; it names the model, the utterance and the position. Also for a raw divergence
            that overflows.

    Source: "Entropy semirings" (arXiv 2312.10087), Definition 4.2 and Eq. 13, for the raw
    divergence; the conditional one is that of the normalised paths.

    >>> import torch
    >>> student = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> teacher = torch.tensor([[[0.2, 0.7, 0.1], [0.3, 0.5, 0.2], [0.5, 0.25, 0.25]]]).log()
    >>> out = ctc_alignment_kl(student, teacher, torch.tensor([[1, 2]]), [3], [2])
    >>> [round(float(field), 4) for field in out]
    [0.166, 1.682, 1.0, 1.3093]
    """
    direction = Direction(kind, reverse, teacher_grad)
    direction.check()
    args = (targets, input_lengths, target_lengths, blank)
    batch = checked_ctc_batch(student_log_probs, *args, name=_STUDENT)
    _check_teacher(student_log_probs, teacher_log_probs)
    teacher = direction.teacher(teacher_log_probs)
    if fused_log_softmax:
        dtype = result_dtype(student_log_probs)
        teacher = log_softmax(batch, teacher.to(dtype), _TEACHER)
        normalised = log_softmax(batch, student_log_probs.to(dtype), _STUDENT)
        batch = batch._replace(log_probs=normalised)
    value = _totals(batch, teacher, direction)
    lengths = (batch.input_lengths, batch.targets.lengths)
    return alignment_kl(value, direction, result_dtype(student_log_probs), *lengths)


def _check_teacher(student: Tensor, teacher: Tensor) -> None:
    check_floating(_TEACHER, teacher, "(N, T, C)")
    if teacher.shape != student.shape or teacher.device != student.device:
        raise FsaValueError(
            f"{_TEACHER}: must have the shape and device of {_STUDENT}, {tuple(student.shape)} on "
            f"{student.device}, got {tuple(teacher.shape)} on {teacher.device}; models with "
            "different subsampling or symbols have no common paths"
        )


def _totals(
    batch: CtcBatch, teacher: Tensor, direction: Direction
) -> tuple[Tensor, Tensor, Tensor]:
    """log Z of the second and first model, and the conditional divergence."""
    dtype = result_dtype(batch.log_probs)
    names = direction.models(_STUDENT, _TEACHER)
    if batch.log_probs.device.type == "cpu" and _native.is_available():
        second, first = direction.models(batch.log_probs.to(dtype), teacher.to(dtype))
        save = torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)
        labels = (*batch.targets, batch.input_lengths, batch.blank)
        log_second, log_first, kl = _NativeCtcKl.apply(first, second, labels, names, save)
        return log_second, log_first, kl
    scores = direction.models(precise(batch.log_probs), precise(teacher))
    log_second, log_first, kl = ctc_recursion(batch, scores, ConditionalKLSemiring(), names)
    nothing = zero_of(scores[0]) + zero_of(scores[1])
    return log_second + nothing, log_first + nothing, kl + nothing


class _NativeCtcKl(torch.autograd.Function):
    """The C++ engine, KL(p || q): one backward sweep gives the gradients of all outputs."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        p: Tensor,
        q: Tensor,
        labels: tuple[Tensor, Tensor, Tensor, Tensor, int],
        names: tuple[str, str],
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.moments = p.requires_grad
        out = native.ctc_kl_forward(_pair(p, q, labels), moments=ctx.moments, save=save)
        for n in (out.bad_frame >= 0).nonzero().flatten().tolist()[:1]:
            t, c = int(out.bad_frame[n]), int(out.bad_symbol[n])
            name, scores = (names[0], q) if int(out.bad_model[n]) else (names[1], p)
            raise bad_score(name, n, t, c, float(scores[n, t, c]))
        ctx.save_for_backward(p, q, *labels[:4], out.cells, out.cell_offsets, out.status)
        ctx.blank = labels[4]
        ctx.set_materialize_grads(False)
        return out.log_q, out.log_p, out.kl

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_log_q: Tensor | None, grad_log_p: Tensor | None, grad_kl: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        p, q, *labels, cells, cell_offsets, status = ctx.saved_tensors
        zeros = torch.zeros(status.shape, dtype=torch.float64)
        by_kl, by_p, by_q = (
            zeros if grad is None else grad for grad in (grad_kl, grad_log_p, grad_log_q)
        )
        grads = native.ctc_kl_backward(
            _pair(p, q, (*labels, ctx.blank)),
            cells,
            cell_offsets,
            status,
            by_kl,
            by_p,
            by_q,
            moments=ctx.moments,
            wanted=(ctx.needs_input_grad[0], ctx.needs_input_grad[1]),
        )
        depends = (p, q, grad_log_q, grad_log_p, grad_kl)
        once = (None if g is None else differentiable_once(g, *depends) for g in grads)
        return (*once, None, None, None)


def _pair(p: Tensor, q: Tensor, labels: tuple[Any, ...]) -> native.CtcPair:
    targets, offsets, counts, frames, blank = labels
    return native.CtcPair(_native.CtcBatch(p, targets, offsets, frames, counts, blank), q)
