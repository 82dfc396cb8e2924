"""The C++ kernel of the divergence of two models' alignments of any graphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.dense import DenseGraphs, DenseIntersection, DenseSequences
from wfst_entropy._native.kl_forward import KlForward


class DensePair:
    """Graphs and the sequences of two models' frame scores that they meet.

    Args:
        graphs: one for each sequence, or one that is shared by all.
        p: the model over which the divergence KL(p || q) takes the expectation.
        q: with sequences of the same lengths and dtype.
    """

    def __init__(self, graphs: DenseGraphs, p: DenseSequences, q: DenseSequences) -> None:
        self.graphs = graphs
        self.p, self.q = DenseIntersection(graphs, p), DenseIntersection(graphs, q)
        self.num_sequences, self.dtype = p.num_sequences, p.scores.dtype
        if not torch.equal(p.lengths, q.lengths):
            raise ValueError("q: must have sequences as long as those of p")

    def workspace(self, moments: bool) -> tuple[int, Tensor]:
        """Returns the number of values of all saved cells, and where each sequence's begin."""
        offsets = torch.zeros(self.num_sequences, dtype=torch.int64)
        lengths = (self.num_sequences, self.p.sequences.lengths.data_ptr())
        workspace = kernel("intersect_dense_kl_workspace", self.dtype)
        return int(workspace(self.graphs.native, *lengths, moments, offsets.data_ptr())), offsets

    def native(self) -> tuple[Any, Any, Any]:
        """Returns the extension's views of the graphs and of the sequences."""
        return self.graphs.native, self.p.sequences.native(), self.q.sequences.native()


def intersect_dense_kl_forward(batch: DensePair, *, moments: bool, save: bool) -> KlForward:
    """Runs the forward sweep of graphs against both models' frame scores.

    Args:
        batch: the graphs and sequences.
        moments: whether the backward call is to give ``p`` a gradient.
        save: whether a call of `intersect_dense_kl_backward` will follow.
    """
    size, offsets = batch.workspace(moments)
    result = KlForward.empty(batch.num_sequences, size if save else 0, batch.dtype, offsets)
    kernel("intersect_dense_kl_forward", batch.dtype)(
        *batch.native(),
        moments,
        result.cells.data_ptr() if save else 0,
        offsets.data_ptr(),
        *result.outputs(),
    )
    return result


class WantedGradients(NamedTuple):
    """Which gradients a backward sweep computes; all but the second need the moments."""

    p: bool
    q: bool
    graph_in_p: bool  # of the graphs' scores, through the path weights of p
    graph_in_q: bool


def intersect_dense_kl_backward(
    batch: DensePair,
    cells: Tensor,
    cell_offsets: Tensor,
    status: Tensor,
    by_kl: Tensor,
    by_p: Tensor,
    by_q: Tensor,
    *,
    moments: bool,
    wanted: WantedGradients,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Returns the gradients of ``sum(by_kl * kl + by_p * log_p + by_q * log_q)``.

    Args:
        batch: the graphs and sequences, as in the forward call.
        cells: from the forward call with ``save=True``.
        cell_offsets: likewise.
        status: likewise.
        by_kl: (S,) float64, as the following.
        by_p: of log Z of p.
        by_q: of log Z of q.
        moments: as in the forward call.
        wanted: what to return.

    Returns:
        The gradients of the frame scores of p and of q, and of the graphs' scores (A,).
    """
    s, dtype, num_arcs = batch.num_sequences, batch.dtype, batch.graphs.num_arcs
    if (wanted.p or wanted.graph_in_p) and not moments:
        raise ValueError("wanted: gradients through p need moments=True in both calls")
    size, offsets = batch.workspace(moments)
    cells = check(cells, "cells", dtype, (size,))
    cell_offsets = check(cell_offsets, "cell_offsets", torch.int64, (s,))
    if not torch.equal(cell_offsets, offsets):
        raise ValueError("cell_offsets: must come from the forward call with the same sequences")
    status = check(status, "status", torch.uint8, (s,))
    factors = [
        check(x, name, torch.float64, (s,))
        for x, name in ((by_kl, "by_kl"), (by_p, "by_p"), (by_q, "by_q"))
    ]
    grad_p = torch.empty(batch.p.scores.shape, dtype=dtype) if wanted.p else None
    grad_q = torch.empty(batch.q.scores.shape, dtype=dtype) if wanted.q else None
    grad_graph = None
    if wanted.graph_in_p or wanted.graph_in_q:
        shape = (s if batch.graphs.num_graphs == 1 else 1, num_arcs)
        grad_graph = torch.zeros(shape, dtype=dtype)
    kernel("intersect_dense_kl_backward", dtype)(
        *batch.native(),
        moments,
        cells.data_ptr(),
        cell_offsets.data_ptr(),
        status.data_ptr(),
        *(x.data_ptr() for x in factors),
        *(0 if grad is None else grad.data_ptr() for grad in (grad_p, grad_q, grad_graph)),
        wanted.graph_in_p,
        wanted.graph_in_q,
    )
    return grad_p, grad_q, None if grad_graph is None else grad_graph.sum(0)
