"""Totals of graphs against frame scores by the C++ kernel, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import dense as native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.kernel_gradient import bad_score, differentiable_once
from wfst_entropy.fsa import DenseFsaVec, Fsa


@eager
def kernel_totals(
    graph: Fsa, dense: DenseFsaVec, name: str, *, entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the total of all alignments of each sequence, and the entropy of these.

    Args:
        graph: checked by `check_graph`.
        dense: on the CPU; its dtype is the one of the computation.
        name: of the argument ``dense``, for messages.
        entropy: whether the entropy is wanted; else it comes back as zeros.

    Returns:
        The negative log of the total weight, the conditional entropy (both in the dtype of
        ``dense`` and differentiable once in both inputs), and whether there is any alignment.

    Raises:
        FsaValueError: a score that is read is NaN or above 2**26.
    """
    wanted = dense.scores.requires_grad or graph.scores.requires_grad
    graph_scores = graph.scores.to(dense.dtype)
    graphs = kernel_graphs(graph, graph_scores, dense.vocab_size)
    nll, entropies, path_count = _KernelTotals.apply(
        dense.scores,
        graph_scores,
        graphs,
        (dense.utterances, dense.start_frames, dense.lengths),
        name,
        entropy,
        torch.is_grad_enabled() and wanted,
    )
    return nll, entropies, path_count > 0


def kernel_graphs(graph: Fsa, scores: Tensor, num_symbols: int) -> native.DenseGraphs:
    """Returns graphs in the form that the kernels take.

    Args:
        graph: checked by `check_graph`.
        scores: of its arcs, in the dtype of the computation.
        num_symbols: of the frame scores.
    """
    shape = graph.shape
    if graph.num_axes == 3:
        state_splits = shape.row_splits(1)
    else:
        state_splits = torch.tensor([0, graph.num_states])
    arc_splits = shape.row_splits(shape.num_axes - 1)[state_splits]
    return native.DenseGraphs(graph.arcs, scores, state_splits, arc_splits, num_symbols)


class _KernelTotals(torch.autograd.Function):
    """One backward sweep gives the gradient of both outputs in both inputs."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        scores: Tensor,
        graph_scores: Tensor,
        graphs: native.DenseGraphs,
        sequences: tuple[Tensor, Tensor, Tensor],
        name: str,
        entropy: bool,
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch = native.DenseIntersection(graphs, native.DenseSequences(scores, *sequences))
        out = native.intersect_dense_forward(batch, entropy=entropy, save=save)
        utterances, start_frames, _ = sequences
        for s in (out.bad_frame >= 0).nonzero().flatten().tolist()[:1]:
            n, c = int(utterances[s]), int(out.bad_symbol[s])
            t = int(start_frames[s] + out.bad_frame[s])
            raise bad_score(name, n, t, c, float(scores[n, t, c]))
        ctx.save_for_backward(
            scores, graph_scores, *sequences, out.cells, out.cell_offsets, out.path_count
        )
        ctx.graphs, ctx.entropy = graphs, entropy
        ctx.mark_non_differentiable(out.path_count)
        ctx.set_materialize_grads(False)
        return out.nll.to(scores.dtype), out.entropy.to(scores.dtype), out.path_count

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_nll: Tensor | None, grad_entropy: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        scores, graph_scores, *sequences, cells, cell_offsets, path_count = ctx.saved_tensors
        zeros = torch.zeros(path_count.shape, dtype=torch.float64)
        by_entropy = zeros if grad_entropy is None else grad_entropy.double()
        grad, grad_graph = native.intersect_dense_backward(
            native.DenseIntersection(ctx.graphs, native.DenseSequences(scores, *sequences)),
            cells,
            cell_offsets,
            path_count,
            zeros if grad_nll is None else grad_nll.double(),
            by_entropy if ctx.entropy else None,
            graph_gradient=ctx.needs_input_grad[1],
        )
        depends = (scores, graph_scores, grad_nll, grad_entropy)
        grad = differentiable_once(grad, *depends)
        if grad_graph is not None:
            grad_graph = differentiable_once(grad_graph, *depends)
        return grad, grad_graph, None, None, None, None, None
