"""Lattices of what transducers found: scores, their gradients, attributes of the graphs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy._native.search import Found
from wfst_entropy.algorithms._surgery import select_scores
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.intersect_dense_pruned import structure_of, with_search_attributes
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


class LogProbRows:
    """The log-probabilities of all frames, for lattices that are differentiable in them.

    Args:
      log_probs: `(rows, vocab_size)`.
      shape: of the rows, `[frame][stream][context]`.
      vocab_size: C.

    Raises:
      FsaTypeError, FsaValueError: the two do not fit.
    """

    def __init__(self, log_probs: Tensor, shape: RaggedShape, vocab_size: int) -> None:
        if not isinstance(shape, RaggedShape) or shape.num_axes != 3:
            raise FsaTypeError(
                "t2s2c_shape: must be a RaggedShape with the axes [frame][stream][context], got "
                f"{shape!r}"
            )
        if log_probs.shape != (shape.tot_size(2), vocab_size):
            raise FsaValueError(
                f"log_probs: must be ({shape.tot_size(2)}, {vocab_size}), a row for each context "
                f"of t2s2c_shape, got {tuple(log_probs.shape)}"
            )
        self.log_probs, self.shape = log_probs, shape

    def read(self, found: Found) -> Tensor:
        """The log-probability of each arc, 0 for those that emit nothing; differentiable.

        Raises:
          FsaValueError: the search had other contexts.
        """
        device = self.log_probs.device
        splits1, splits2 = (self.shape.row_splits(axis).cpu() for axis in (1, 2))
        num_streams = found.fsa_splits.numel() - 1
        arcs_of = found.state_splits[found.fsa_splits].diff()
        stream = torch.arange(num_streams).repeat_interleave(arcs_of)
        emits = found.rows >= 0
        frame = found.frames.long().masked_fill(~emits, 0)
        frames = int(frame.max()) + 1 if frame.numel() and bool(emits.any()) else 0
        if frames > self.shape.dim0 or bool((splits1.diff() != num_streams).any()):
            raise FsaValueError(
                f"t2s2c_shape: must have at least {frames} frames of {num_streams} streams each, "
                f"got {self.shape.dim0} frames and {self.shape.tot_size(1)} lists of contexts; are "
                "there frames of before, which are not in log_probs?"
            )
        if not frames:
            return found.read.to(device)
        place = splits1[frame] + stream
        row = splits2[place] + found.rows
        if bool((emits & (row >= splits2[place + 1])).any()):
            raise FsaValueError(
                "t2s2c_shape: has fewer contexts for a stream and frame than the search had; it "
                "must be made of the shapes that get_contexts() gave, frame by frame"
            )
        label = found.arcs.view(-1, 3)[:, 2]
        position = (row * self.log_probs.shape[1] + label).masked_fill(~emits, -1)
        return select_scores(self.log_probs.reshape(-1), position.to(device))


def build_lattices(
    graphs: Sequence[DecodingGraph], found: Found, rows: LogProbRows | None = None
) -> Fsa:
    """The lattices of streams: scores, attributes of the graphs, `frame_idx` and the like.

    Args:
      graphs: of each stream.
      found: their lattices or paths.
      rows: to be differentiable in the log-probabilities.

    Raises:
      FsaValueError: `rows` do not fit, or an attribute is of another kind in another graph.
    """
    read = found.read if rows is None else rows.read(found)
    if all(graph is graphs[0] for graph in graphs):
        return _of_one_graph(graphs[0].fsa, found, read)
    arc_splits = found.state_splits[found.fsa_splits].tolist()
    parts = []
    for i, graph in enumerate(graphs):
        arcs = slice(arc_splits[i], arc_splits[i + 1])
        parts.append(_of_one_graph(graph.fsa, _part(found, i, arcs), read[arcs]))
    return Fsa.from_fsas(_with_all_attributes(parts, [graph.fsa for graph in graphs]))


def _of_one_graph(graph: Fsa, found: Found, read: Tensor) -> Fsa:
    shape, arcs, arc_map, frames = structure_of(found, graph.device)
    scores = select_scores(graph.scores, arc_map) + read.to(graph.device)
    attributes = graph.select_attributes(arc_map, arcs[:, 2])
    lattice = graph._like(shape, arcs, scores, attributes)
    lattice.set_attribute_("frame_idx", frames)
    return with_search_attributes(lattice, graph, arc_map)


def _part(found: Found, i: int, arcs: slice) -> Found:
    """The lattice of one stream."""
    states = slice(int(found.fsa_splits[i]), int(found.fsa_splits[i + 1]) + 1)
    state_splits = found.state_splits[states] - arcs.start
    empty = state_splits.numel() == 1
    return found._replace(
        fsa_splits=torch.tensor([0, state_splits.numel() - 1]),
        state_splits=state_splits.new_zeros(1) if empty else state_splits,
        arcs=found.arcs.view(-1, 3)[arcs].reshape(-1),
        arc_map=found.arc_map[arcs],
        frames=found.frames[arcs],
    )


def _with_all_attributes(lattices: list[Fsa], graphs: list[Fsa]) -> list[Fsa]:
    """Gives each lattice the attributes that only graphs of other streams have: fillers.

    Attributes that are no tensors are those of the first graph that has them.
    """
    owners: dict[str, Fsa] = {}
    for graph in graphs:
        for name in graph.attributes:
            owners.setdefault(name, graph)
    for lattice in lattices:
        nothing = torch.full((lattice.num_arcs,), -1, device=lattice.device)
        for name, owner in owners.items():
            value = owner.attributes[name]
            per_arc = isinstance(value, (Tensor, RaggedTensor))
            if name not in lattice.attributes:
                fillers = owner.select_attributes(nothing, lattice.labels)
                lattice.set_attribute_(name, fillers[name])
            elif not per_arc:
                lattice.set_attribute_(name, value)
    return lattices
