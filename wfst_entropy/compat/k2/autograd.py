"""k2's dense intersection."""

from __future__ import annotations

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
import wfst_entropy.decoding as decoding
from wfst_entropy.compat.k2.autograd_utils import phantom_set_scores_to
from wfst_entropy.compat.k2.dense_fsa_vec import DenseFsaVec
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.online_dense_intersecter import lattice_of, ready_graph
from wfst_entropy.compat.k2.propagation import select_attributes
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa import Fsa as CoreFsa


def intersect_dense(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec,
    output_beam: float,
    max_states: int = 15_000_000,
    max_arcs: int = 1 << 30,
    a_to_b_map: Tensor | None = None,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = None,
) -> Fsa:
    """The lattices of all alignments of graphs with frame scores, differentiable in both.

    Args:
      a_fsas: one graph for all segments, or one for each.
      b_fsas: frame scores; segments in any order.
      output_beam: drops arcs that are only on paths so many nats behind the best one.
      max_states: limit of the lattices, over all segments.
      max_arcs: likewise.
      a_to_b_map: int32, the segment of each graph; by default graph `i` has segment `i`.
      seqframe_idx_name: an int32 attribute to be made: the row of each arc in `b_fsas.scores`.
      frame_idx_name: likewise: the frame of each arc within its segment.

    Raises:
      FsaRuntimeError: a lattice outgrows the limits.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> segments = torch.tensor([[0, 0, 2]], dtype=torch.int32)
      >>> dense = DenseFsaVec(torch.zeros(1, 2, 2).log_softmax(-1), segments)
      >>> lattice = intersect_dense(k2.ctc_graph([[1]]), dense, 10.0, frame_idx_name="frame")
      >>> lattice.get_tot_scores(use_double_scores=True, log_semiring=True).exp()
      tensor([0.7500], dtype=torch.float64)
      >>> lattice.frame.tolist()
      [0, 0, 1, 1, 1, 2, 2]
    """
    graph = a_fsas.bare()
    graph.set_attribute_("arc", torch.arange(a_fsas.num_arcs, dtype=torch.int32).to(a_fsas.device))
    lattice = algorithms.intersect_dense(
        graph,
        b_fsas.core,
        output_beam=output_beam,
        max_states=max_states,
        max_arcs=max_arcs,
        a_to_b_map=a_to_b_map,
        frame_idx_name="frame",
    )
    ans = Fsa(RaggedArc.of(lattice))
    select_attributes(a_fsas, ans, lattice.arc)
    phantom_set_scores_to(ans, lattice.scores)
    first = b_fsas.row_splits()[:-1].to(lattice.device)
    if a_to_b_map is not None:
        first = first[a_to_b_map.to(lattice.device, torch.int64)]
    _set_frames(ans, lattice, first, seqframe_idx_name, frame_idx_name)
    return ans


def intersect_dense_pruned(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec,
    search_beam: float,
    output_beam: float,
    min_active_states: int,
    max_active_states: int,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = None,
    allow_partial: bool = False,
) -> Fsa:
    """The lattices of the best alignments, found by a search with a beam; differentiable in both.

    `wfst_entropy.intersect_dense_pruned` under k2's name and with its defaults.

    Args:
      a_fsas: one graph for all segments, or one for each; need not be sorted. It is made ready for
        the search once, unless its arcs or scores change.
      b_fsas: frame scores; segments in any order.
      search_beam: states so many nats behind the best of their frame are given up.
      output_beam: drops arcs that are only on paths so many nats behind the best one.
      min_active_states: at least so many states go on, where there are so many.
      max_active_states: at most so many, the best; k2 takes it for advice.
      seqframe_idx_name: an int32 attribute to be made: the row of each arc in `b_fsas.scores`.
      frame_idx_name: likewise: the frame of each arc within its segment.
      allow_partial: where no final state was reached, takes every state after the last frame for
        one.

    Raises:
      FsaValueError: a beam or a number of states makes no sense, or the graph does not fit.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> dense = DenseFsaVec(torch.zeros(1, 2, 2), torch.tensor([[0, 0, 2]], dtype=torch.int32))
      >>> lattice = intersect_dense_pruned(k2.ctc_graph([[1]]), dense, 20.0, 8.0, 0, 100)
      >>> lattice.get_tot_scores(use_double_scores=True, log_semiring=True).exp()
      tensor([3.0000], dtype=torch.float64)
    """
    lattice = decoding.intersect_dense_pruned(
        ready_graph(a_fsas),
        b_fsas.core,
        search_beam=search_beam,
        output_beam=output_beam,
        min_active_states=min_active_states,
        max_active_states=max_active_states,
        allow_partial=allow_partial,
        frame_idx_name="frame",
    )
    ans = lattice_of(a_fsas, lattice)
    first = b_fsas.row_splits()[:-1].to(lattice.device)
    _set_frames(ans, lattice, first, seqframe_idx_name, frame_idx_name)
    return ans


def _set_frames(
    ans: Fsa,
    lattice: CoreFsa,
    first: Tensor,
    seqframe_idx_name: str | None,
    frame_idx_name: str | None,
) -> None:
    """Says of each arc where in time it is; `first` are the first rows of the segments."""
    frame = lattice.frame.to(torch.int32)
    if frame_idx_name is not None:
        setattr(ans, frame_idx_name, frame)
    if seqframe_idx_name is not None:
        # k2's rows of scores: those of a segment, and one more.
        setattr(ans, seqframe_idx_name, (first[lattice.arc_to_fsa()] + frame).to(torch.int32))
