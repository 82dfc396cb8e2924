"""Likelihood and entropy of the alignments of any graphs against frame scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wfst_entropy._native as _native
from wfst_entropy.algorithms.intersect_dense import check_graph, intersect_dense_tot_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    as_lengths,
    bad_score,
    check_choice,
    differentiable_once,
    entropy_of_kind,
    reduce_loss,
)
from wfst_entropy.semirings import ConditionalEntropySemiring


def fsa_alignment(
    graph: Fsa,
    dense: DenseFsaVec,
    kind: str = "conditional",
    target_lengths: Tensor | list[int] | None = None,
) -> Alignment:
    r"""Computes the total of all alignments of graphs to frame scores, and their entropy.

    A path :math:`\pi` of a graph takes one arc per frame and one into the final state, with
    :math:`w(\pi) = \sum_t (w(a_t) + x_{t, \mathrm{label}(a_t)})`:

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    Paths are what is counted: two paths with the same labels are two alignments. On the CPU a C++
    kernel computes in the dtype of the frame scores and can be differentiated once; elsewhere, and
    inside ``_native.disabled()``, torch computes in float64 and can be differentiated twice. No
    lattice is built.

    Args:
        graph: one FSA (or a vector of one) shared by all sequences, or one FSA for each; label 0
            is the blank and consumes a frame like any other.
        dense: the frame scores (N, T, C) in nats, with S sequences. They need not be normalised.
        kind: the entropy wanted: ``"conditional"`` (:math:`H_c`), ``"raw"``
            (:math:`-\sum_\pi e^{w(\pi)} w(\pi) = Z (H_c - \log Z)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`H_c` divided by the number of frames or of labels).
        target_lengths: (S,) labels of each sequence, which ``"per_label"`` needs.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (S,), the first two in nats, in the dtype of the
        frame scores, and differentiable in these and in ``graph.scores``.

    Raises:
        FsaValueError: a graph does not fit the frame scores (see `intersect_dense`), or a score
            that is read is NaN or above 2**26; it names the place. Also for a raw entropy that
            overflows.

    Source: the "Entropy semirings" paper (arXiv 2312.10087), Section 4, for entropies of lattices;
    here in conditional form.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 4, 2), torch.tensor([4]))
    >>> fsa_alignment(graph, dense).entropy     # four paths of equal weight: ln 4
    tensor([1.3863])
    """
    check_choice("kind", kind, KINDS)
    check_graph(graph, dense)
    lengths = dense.lengths
    if target_lengths is not None:
        labels = as_lengths("target_lengths", target_lengths, dense.num_seqs)
    elif kind == "per_label":
        raise FsaValueError(
            'target_lengths: kind="per_label" needs the number of labels of each sequence'
        )
    else:
        labels = lengths
    if _native.can_run(dense.scores):
        nll, entropy, valid = _native_alignment(graph, dense)
    else:
        semiring = ConditionalEntropySemiring()
        precise = dense.scores.dtype if dense.device.type == "mps" else torch.float64
        mass, entropy = intersect_dense_tot_scores(graph, dense, semiring, dtype=precise)
        nll, entropy = -mass.to(dense.dtype), entropy.to(dense.dtype)
        valid = nll.detach() < torch.inf
    return Alignment(nll, entropy_of_kind(kind, nll, entropy, lengths, labels), valid)


def fsa_loss(
    graph: Fsa,
    dense: DenseFsaVec,
    target_lengths: Tensor | list[int] | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
) -> Tensor:
    r"""Computes ``nll - entropy_scale * entropy`` of graphs against frame scores.

    With `ctc_graph` graphs this is `ctc_loss`. A positive scale rewards entropy.

    Args:
        graph: see `fsa_alignment`.
        dense: see `fsa_alignment`.
        target_lengths: (S,) labels of each sequence, for ``reduction="mean"`` and
            ``kind="per_label"``.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each sequence's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether a sequence without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy.
        kind: see `fsa_alignment`.

    Returns:
        A scalar, or (S,) for ``reduction="none"``.

    Raises:
        FsaValueError: see `fsa_alignment`, and for missing ``target_lengths`` or the mean of an
            empty batch.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 4, 2), torch.tensor([4]))
    >>> fsa_loss(graph, dense, reduction="sum", entropy_scale=0.5)     # -1.5 ln 4
    tensor(-2.0794)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    alignment = fsa_alignment(graph, dense, kind, target_lengths)
    if target_lengths is not None:
        counts = as_lengths("target_lengths", target_lengths, dense.num_seqs)
    elif reduction == "mean":
        raise FsaValueError(
            'target_lengths: reduction="mean" divides by the number of labels of each sequence; '
            'pass it, or reduction="sum"'
        )
    else:
        counts = dense.lengths
    return reduce_loss(
        alignment,
        counts,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


def _native_alignment(graph: Fsa, dense: DenseFsaVec) -> tuple[Tensor, Tensor, Tensor]:
    shape = graph.shape
    if graph.num_axes == 3:
        state_splits = shape.row_splits(1)
    else:
        state_splits = torch.tensor([0, graph.num_states])
    arc_splits = shape.row_splits(shape.num_axes - 1)[state_splits]
    tables = (graph.arcs, state_splits, arc_splits)
    sequences = (dense.utterances, dense.start_frames, dense.lengths)
    wanted = dense.scores.requires_grad or graph.scores.requires_grad
    nll, entropy, path_count = _NativeAlignment.apply(
        dense.scores,
        graph.scores.to(dense.dtype),
        *tables,
        *sequences,
        torch.is_grad_enabled() and wanted,
    )
    return nll, entropy, path_count > 0


class _NativeAlignment(torch.autograd.Function):
    """The C++ engine: one backward sweep gives the gradient of both outputs in both inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        graph_scores: Tensor,
        arcs: Tensor,
        state_splits: Tensor,
        arc_splits: Tensor,
        utterances: Tensor,
        start_frames: Tensor,
        lengths: Tensor,
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tables = (arcs, graph_scores, state_splits, arc_splits)
        sequences = (scores, utterances, start_frames, lengths)
        batch = _native.DenseIntersection(*tables, *sequences)
        out = _native.intersect_dense_forward(batch, save=save)
        for s in (out.bad_frame >= 0).nonzero().flatten().tolist()[:1]:
            n, c = int(utterances[s]), int(out.bad_symbol[s])
            t = int(start_frames[s] + out.bad_frame[s])
            raise bad_score("dense", n, t, c, float(scores[n, t, c]))
        ctx.save_for_backward(*tables, *sequences, out.cells, out.cell_offsets, out.path_count)
        ctx.mark_non_differentiable(out.path_count)
        ctx.set_materialize_grads(False)
        return out.nll.to(scores.dtype), out.entropy.to(scores.dtype), out.path_count

    @staticmethod
    def backward(
        ctx: Any, grad_nll: Tensor | None, grad_entropy: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        *inputs, cells, cell_offsets, path_count = ctx.saved_tensors
        graph_scores, scores = inputs[1], inputs[4]
        zeros = torch.zeros(path_count.shape, dtype=torch.float64)
        grad, grad_graph = _native.intersect_dense_backward(
            _native.DenseIntersection(*inputs),
            cells,
            cell_offsets,
            path_count,
            zeros if grad_nll is None else grad_nll.double(),
            zeros if grad_entropy is None else grad_entropy.double(),
            graph_gradient=ctx.needs_input_grad[1],
        )
        depends = (scores, graph_scores, grad_nll, grad_entropy)
        grad = differentiable_once(grad, *depends)
        if grad_graph is not None:
            grad_graph = differentiable_once(grad_graph, *depends)
        return grad, grad_graph, None, None, None, None, None, None, None
