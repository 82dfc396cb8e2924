"""How far a student's alignments of any graphs are from a teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.algorithms.intersect_dense import models_tot_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import AlignmentKL, as_lengths
from wfst_entropy.losses.divergence import Direction, alignment_kl
from wfst_entropy.semirings import ConditionalKLSemiring


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
        ``kl``, the student's ``nll``, and ``valid``, each (S,), as of `ctc_alignment_kl`; also
        differentiable in ``graph.scores``.

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
    direction = Direction(kind, reverse, teacher_grad)
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
    student = (graph, student_dense)
    teacher = (graph, teacher_dense)
    if not teacher_grad:
        teacher = (graph.detach(), teacher_dense.detach())
    value = _totals(student, teacher, reverse)
    return alignment_kl(value, direction, student_dense.dtype, lengths, labels)


def _totals(
    student: tuple[Fsa, DenseFsaVec], teacher: tuple[Fsa, DenseFsaVec], reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """log Z of the second and first model, and the conditional divergence."""
    dense = student[1]
    precise = dense.dtype if dense.device.type == "mps" else torch.float64  # mps has no float64
    names = ("student_dense", "teacher_dense")
    models, names = ((teacher, student), names[::-1]) if reverse else ((student, teacher), names)
    second, first, kl = models_tot_scores(models, ConditionalKLSemiring(), precise, names)
    return second, first, kl
