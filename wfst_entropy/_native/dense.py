"""The kernels of graphs against dense frame scores: checks, and what goes to C++ and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import Forward, check, kernel
from wfst_entropy._native.eager import eager


class DenseGraphs:
    """Graphs, checked and regrouped for the kernels; they do not refer to the tensors any more.

    Args:
        arcs: (A, 3) int32, as in `Fsa.arcs`.
        scores: (A,) float32 or float64, the dtype in which the kernels will compute.
        state_splits: (G + 1,) int64, the states of each graph.
        arc_splits: (G + 1,) int64, the arcs of each graph.
        num_symbols: labels must lie in -1..num_symbols-1.
    """

    @eager
    def __init__(
        self,
        arcs: Tensor,
        scores: Tensor,
        state_splits: Tensor,
        arc_splits: Tensor,
        num_symbols: int,
    ) -> None:
        self.num_arcs, self.num_graphs = arcs.shape[0], state_splits.numel() - 1
        self.num_symbols, self.dtype = num_symbols, scores.dtype
        arcs = check(arcs, "arcs", torch.int32, (self.num_arcs, 3))
        scores = check(scores.detach(), "scores", self.dtype, (self.num_arcs,))
        state_splits = check(state_splits, "state_splits", torch.int64, (self.num_graphs + 1,))
        arc_splits = check(arc_splits, "arc_splits", torch.int64, (self.num_graphs + 1,))
        _check_arcs(arcs, state_splits, arc_splits, num_symbols)
        self.native = kernel("DenseGraphs" + _kind(self.dtype)).make(
            self.num_graphs,
            arcs.data_ptr(),
            scores.data_ptr(),
            state_splits.data_ptr(),
            arc_splits.data_ptr(),
            torch.get_num_threads(),
        )


def _kind(dtype: torch.dtype) -> str:
    return "Float32" if dtype == torch.float32 else "Float64"


def _check_arcs(arcs: Tensor, state_splits: Tensor, arc_splits: Tensor, num_symbols: int) -> None:
    # An Fsa checks its arcs when it is made, but its tensors can be written to afterwards.
    num_states, num_arcs = state_splits.diff(), arc_splits.diff()
    if int(arc_splits[0]) != 0 or bool(((num_states < 0) | (num_arcs < 0)).any()):
        raise ValueError("state_splits, arc_splits: must start at 0 and never fall")
    if int(arc_splits[-1]) != arcs.shape[0]:
        raise ValueError(f"arc_splits: must end at the {arcs.shape[0]} arcs")
    states, labels = arcs[:, :2], arcs[:, 2]
    beyond = num_states.repeat_interleave(num_arcs)[:, None]
    inside = bool(((states >= 0) & (states < beyond)).all())
    if not inside or bool(((labels < -1) | (labels >= num_symbols)).any()):
        raise ValueError(
            "arcs: states must lie in their own graph and labels in "
            f"-1..{num_symbols - 1}; make a new Fsa instead of writing to fsa.arcs"
        )


class DenseSequences:
    """Sequences of frame scores, checked and kept alive while C++ reads them.

    Args:
        scores: (N, T, C) float32 or float64 on the CPU, in any memory order.
        utterances: (S,) int64, the utterance of each sequence.
        start_frames: (S,) int64.
        lengths: (S,) int64.
    """

    def __init__(
        self, scores: Tensor, utterances: Tensor, start_frames: Tensor, lengths: Tensor
    ) -> None:
        if scores.device.type != "cpu" or scores.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"scores: need float32 or float64 on the CPU, got {scores.dtype} on {scores.device}"
            )
        self.num_sequences = s = lengths.numel()
        self.scores = scores if scores.stride(2) == 1 else scores.contiguous()
        self.utterances = check(utterances, "utterances", torch.int64, (s,))
        self.start_frames = check(start_frames, "start_frames", torch.int64, (s,))
        self.lengths = check(lengths, "lengths", torch.int64, (s,))
        n, num_frames, _ = scores.shape
        inside = (self.utterances >= 0) & (self.utterances < n) & (self.start_frames >= 0)
        inside &= (self.lengths >= 0) & (self.start_frames <= num_frames - self.lengths)
        if not bool(inside.all()):
            raise ValueError(f"lengths: sequences must lie inside {n} utterances of {num_frames}")

    def native(self) -> Any:
        """Returns the extension's view."""
        return kernel("DenseVec" + _kind(self.scores.dtype)).make(
            self.num_sequences,
            self.scores.data_ptr(),
            *self.scores.shape,
            self.scores.stride(0),
            self.scores.stride(1),
            self.utterances.data_ptr(),
            self.start_frames.data_ptr(),
            self.lengths.data_ptr(),
            torch.get_num_threads(),
        )


class DenseIntersection:
    """Graphs and the sequences of frame scores that they meet.

    Args:
        graphs: one for each sequence, or one that is shared by all.
        sequences: of the dtype of the graphs.
    """

    def __init__(self, graphs: DenseGraphs, sequences: DenseSequences) -> None:
        self.graphs, self.sequences = graphs, sequences
        self.num_sequences, self.scores = sequences.num_sequences, sequences.scores
        if graphs.num_graphs not in (1, self.num_sequences):
            raise ValueError(f"graphs: need 1 or {self.num_sequences}, got {graphs.num_graphs}")
        if graphs.num_symbols > self.scores.shape[2]:
            raise ValueError(
                f"scores: need {graphs.num_symbols} symbols, got {self.scores.shape[2]}"
            )
        if graphs.dtype != self.scores.dtype:
            raise ValueError(f"scores: need {graphs.dtype} as the graphs, got {self.scores.dtype}")

    def workspace(self, entropy: bool) -> tuple[int, Tensor]:
        """Returns the number of values of all saved cells, and where each sequence's begin."""
        offsets = torch.zeros(self.num_sequences, dtype=torch.int64)
        lengths = (self.num_sequences, self.sequences.lengths.data_ptr())
        return int(self.graphs.native.workspace(*lengths, entropy, offsets.data_ptr())), offsets

    def native(self) -> tuple[Any, Any]:
        """Returns the extension's views of the graphs and of the sequences."""
        return self.graphs.native, self.sequences.native()


def intersect_dense_forward(batch: DenseIntersection, *, entropy: bool, save: bool) -> Forward:
    """Runs the forward sweep of graphs against frame scores.

    Args:
        batch: the graphs and sequences.
        entropy: whether the conditional entropy is wanted beside the likelihood.
        save: whether a call of `intersect_dense_backward` will follow.
    """
    dtype = batch.scores.dtype
    size, offsets = batch.workspace(entropy)
    result = Forward.empty(batch.num_sequences, size if save else 0, dtype, offsets)
    kernel("intersect_dense_forward", dtype)(
        *batch.native(),
        result.cells.data_ptr() if save else 0,
        offsets.data_ptr(),
        result.nll.data_ptr(),
        result.entropy.data_ptr() if entropy else 0,
        result.path_count.data_ptr(),
        result.bad_frame.data_ptr(),
        result.bad_symbol.data_ptr(),
    )
    return result


def intersect_dense_backward(
    batch: DenseIntersection,
    cells: Tensor,
    cell_offsets: Tensor,
    path_count: Tensor,
    grad_nll: Tensor,
    grad_entropy: Tensor | None,
    *,
    graph_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Returns the gradient of ``sum(grad_nll * nll + grad_entropy * entropy)``.

    Args:
        batch: the graphs and sequences, as in the forward call.
        cells: from the forward call with ``save=True``.
        cell_offsets: likewise.
        path_count: likewise.
        grad_nll: (S,) float64.
        grad_entropy: (S,) float64; None exactly if the forward call had ``entropy=False``.
        graph_gradient: whether the gradient of the graphs' scores is wanted.

    Returns:
        The gradients of the frame scores (N, T, C) and, if wanted, of the graph scores (A,).
    """
    s, dtype, num_arcs = batch.num_sequences, batch.scores.dtype, batch.graphs.num_arcs
    size, offsets = batch.workspace(grad_entropy is not None)
    cells = check(cells, "cells", dtype, (size,))
    cell_offsets = check(cell_offsets, "cell_offsets", torch.int64, (s,))
    if not torch.equal(cell_offsets, offsets):
        raise ValueError("cell_offsets: must come from the forward call with the same sequences")
    path_count = check(path_count, "path_count", torch.uint8, (s,))
    grad_nll = check(grad_nll, "grad_nll", torch.float64, (s,))
    if grad_entropy is not None:
        grad_entropy = check(grad_entropy, "grad_entropy", torch.float64, (s,))
    shape = (s if batch.graphs.num_graphs == 1 else 1, num_arcs) if graph_gradient else (0, 0)
    grad_graph = torch.zeros(shape, dtype=dtype)
    grad = torch.empty(batch.scores.shape, dtype=dtype)
    kernel("intersect_dense_backward", dtype)(
        *batch.native(),
        cells.data_ptr(),
        cell_offsets.data_ptr(),
        path_count.data_ptr(),
        grad_nll.data_ptr(),
        grad_entropy.data_ptr() if grad_entropy is not None else 0,
        grad.data_ptr(),
        grad_graph.data_ptr() if graph_gradient else 0,
    )
    return grad, grad_graph.sum(0) if graph_gradient else None
