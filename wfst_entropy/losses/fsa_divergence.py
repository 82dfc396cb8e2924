"""How far a student's alignments of any graphs are from a teacher's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wfst_entropy._native as _native
from wfst_entropy._native import dense as native
from wfst_entropy._native import dense_kl as native_kl
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms._intersect_dense_kernel import kernel_graphs
from wfst_entropy.algorithms.dense_pairing import check_graph
from wfst_entropy.algorithms.intersect_dense import check_same_lengths, models_tot_scores
from wfst_entropy.algorithms.kernel_gradient import bad_score, differentiable_once
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import AlignmentKL, as_lengths, zero_of
from wfst_entropy.losses.divergence import Direction, alignment_kl
from wfst_entropy.semirings import ConditionalKLSemiring


@eager
def fsa_alignment_kl(
    graph: Fsa,
    student_dense: DenseFsaVec,
    teacher_dense: DenseFsaVec,
    target_lengths: Tensor | list[int] | None = None,
    *,
    kind: str = "conditional",
    reverse: bool = False,
    teacher_grad: bool = False,
) -> AlignmentKL:
    r"""Computes the divergence of a teacher's alignments of graphs from a student's.

    Both models take the same graph, whose scores are part of the path weights :math:`w(\pi)` (see
    `fsa_alignment`) of either. With :math:`p(\pi) = e^{w(\pi)} / Z`,

    .. math::
        KL_c = \sum_\pi p_T(\pi) \left(\log p_T(\pi) - \log p_S(\pi)\right) .

    Args:
        graph: one FSA (or a vector of one) shared by all sequences, or one FSA for each.
        student_dense: the student's frame scores, with S sequences.
        teacher_dense: the teacher's, with sequences of the same lengths.
        target_lengths: (S,) labels of each sequence, which ``kind="per_label"`` needs.
        kind: ``"conditional"`` (:math:`KL_c`), ``"raw"`` (the paper's :math:`\sum_\pi e^{w_T(\pi)}
            (w_T(\pi) - w_S(\pi)) = Z_T (KL_c + \log Z_T - \log Z_S)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`KL_c` divided by the length).
        reverse: KL(student || teacher) instead; the models change places in the formulas.
        teacher_grad: whether the teacher is given a gradient too. Without it the gradient of
            ``graph.scores`` is that through the student's path weights alone.

    Returns:
        ``kl``, the student's ``nll``, ``valid`` and ``teacher_nll``, each (S,), as of
        `ctc_alignment_kl`; also differentiable in ``graph.scores``.

    Raises:
        FsaValueError: see `fsa_alignment`; also for sequences of different lengths.

    Source: "Entropy semirings" (arXiv 2312.10087), Definition 4.2 and Eq. 13, for the raw
    divergence; the conditional one is that of the normalised paths.

    >>> graph = Fsa.from_str("0 1 0 0\n0 1 1 0\n1 2 -1 0\n2")
    >>> student = torch.tensor([[[0.5, 0.5]]]).log()
    >>> teacher = torch.tensor([[[0.25, 0.75]]]).log()
    >>> dense = [DenseFsaVec.from_lengths(x, torch.tensor([1])) for x in (student, teacher)]
    >>> fsa_alignment_kl(graph, *dense).kl
    tensor([0.1308])
    """
    direction = Direction(kind, bool(reverse), bool(teacher_grad))
    direction.check()
    lengths = student_dense.lengths
    if target_lengths is not None:
        labels = as_lengths("target_lengths", target_lengths, student_dense.num_seqs)
    elif kind == "per_label":
        raise FsaValueError(
            'target_lengths: kind="per_label" needs the number of labels of each sequence'
        )
    else:
        labels = lengths
    value = _totals(graph, student_dense, teacher_dense, direction)
    return alignment_kl(value, direction, student_dense.dtype, lengths, labels)


def _totals(
    graph: Fsa, student: DenseFsaVec, teacher: DenseFsaVec, direction: Direction
) -> tuple[Tensor, Tensor, Tensor]:
    """log Z of the second and first model, and the conditional divergence."""
    if not direction.teacher_grad:
        teacher = teacher.detach()
    names = direction.models("student_dense", "teacher_dense")
    if _native.can_run(student.scores) and teacher.device == student.device:
        check_same_lengths((student, teacher), ("student_dense", "teacher_dense"))
        return _native_totals(graph, student, teacher.to(student.dtype), direction, names)
    fixed = graph if direction.teacher_grad else graph.detach()
    models = direction.models((graph, student), (fixed, teacher))
    precise = student.dtype if student.device.type == "mps" else torch.float64
    second, first, kl = models_tot_scores(models, ConditionalKLSemiring(), precise, names)
    nothing = zero_of(student.scores) + zero_of(teacher.scores)
    return second + nothing, first + nothing, kl + nothing


def _native_totals(
    graph: Fsa,
    student: DenseFsaVec,
    teacher: DenseFsaVec,
    direction: Direction,
    names: tuple[str, str],
) -> tuple[Tensor, Tensor, Tensor]:
    check_graph(graph, student)
    check_graph(graph, teacher)
    q, p = direction.models(student, teacher)
    graph_scores = graph.scores.to(student.dtype)
    graphs = kernel_graphs(graph, graph_scores, min(p.vocab_size, q.vocab_size))
    segments = [(x.utterances, x.start_frames, x.lengths) for x in (p, q)]
    in_q, in_p = direction.models(True, direction.teacher_grad)
    inputs = (p.scores, q.scores, graph_scores)
    save = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    second, first, kl = _NativeFsaKl.apply(*inputs, graphs, segments, (in_p, in_q), names, save)
    return second, first, kl


class _NativeFsaKl(torch.autograd.Function):
    """The C++ engine, KL(p || q): one backward sweep gives the gradients of all outputs."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        p: Tensor,
        q: Tensor,
        graph_scores: Tensor,
        graphs: native.DenseGraphs,
        segments: list[tuple[Tensor, Tensor, Tensor]],
        followed: tuple[bool, bool],  # whether the graph's scores in p, and in q, get gradients
        names: tuple[str, str],
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.moments = p.requires_grad or (graph_scores.requires_grad and followed[0])
        batch = _pair(graphs, p, q, segments)
        out = native_kl.intersect_dense_kl_forward(batch, moments=ctx.moments, save=save)
        for s in (out.bad_frame >= 0).nonzero().flatten().tolist()[:1]:
            in_q = int(out.bad_model[s])
            name, scores = (names[0], q) if in_q else (names[1], p)
            utterances, starts, _ = segments[in_q]
            n, c = int(utterances[s]), int(out.bad_symbol[s])
            t = int(starts[s] + out.bad_frame[s])
            raise bad_score(name, n, t, c, float(scores[n, t, c]))
        ctx.save_for_backward(
            p, q, graph_scores, *segments[0], *segments[1], out.cells, out.cell_offsets, out.status
        )
        ctx.graphs, ctx.followed = graphs, followed
        ctx.set_materialize_grads(False)
        return out.log_q, out.log_p, out.kl

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_log_q: Tensor | None, grad_log_p: Tensor | None, grad_kl: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        p, q, graph_scores, *segments, cells, cell_offsets, status = ctx.saved_tensors
        zeros = torch.zeros(status.shape, dtype=torch.float64)
        by_kl, by_p, by_q = (
            zeros if grad is None else grad for grad in (grad_kl, grad_log_p, grad_log_q)
        )
        need_p, need_q, need_graph = ctx.needs_input_grad[:3]
        in_p, in_q = ctx.followed
        grads = native_kl.intersect_dense_kl_backward(
            _pair(ctx.graphs, p, q, [tuple(segments[:3]), tuple(segments[3:])]),
            cells,
            cell_offsets,
            status,
            by_kl,
            by_p,
            by_q,
            moments=ctx.moments,
            wanted=native_kl.WantedGradients(
                need_p, need_q, need_graph and in_p, need_graph and in_q
            ),
        )
        depends = (p, q, graph_scores, grad_log_q, grad_log_p, grad_kl)
        once = (None if g is None else differentiable_once(g, *depends) for g in grads)
        return (*once, None, None, None, None, None)


def _pair(
    graphs: native.DenseGraphs, p: Tensor, q: Tensor, segments: list[tuple[Any, ...]]
) -> native_kl.DensePair:
    first, second = (native.DenseSequences(x, *s) for x, s in zip((p, q), segments, strict=True))
    return native_kl.DensePair(graphs, first, second)
