"""k2's dense intersection."""

from __future__ import annotations

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2.autograd_utils import phantom_set_scores_to
from wfst_entropy.compat.k2.dense_fsa_vec import DenseFsaVec
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.propagation import select_attributes
from wfst_entropy.compat.k2.ragged_arc import RaggedArc


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
    frame = lattice.frame.to(torch.int32)
    if frame_idx_name is not None:
        setattr(ans, frame_idx_name, frame)
    if seqframe_idx_name is not None:
        first = b_fsas.row_splits()[:-1].to(lattice.device)
        if a_to_b_map is not None:
            first = first[a_to_b_map.to(lattice.device, torch.int64)]
        # k2's rows of scores: those of a segment, and one more.
        setattr(ans, seqframe_idx_name, (first[lattice.arc_to_fsa()] + frame).to(torch.int32))
    return ans
