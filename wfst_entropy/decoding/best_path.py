"""The one best path through a graph, without a lattice: the role of Kaldi's FasterDecoder."""

from __future__ import annotations

from wfst_entropy.algorithms._dense_lattice import FrameNames
from wfst_entropy.algorithms._surgery import MAX_ARCS, MAX_STATES
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.intersect_dense_pruned import run_search, search_options
from wfst_entropy.fsa import DenseFsaVec, Fsa


def beam_search_best_path(
    a_fsas: Fsa | DecodingGraph,
    b_fsas: DenseFsaVec,
    *,
    search_beam: float = 20.0,
    min_active_states: int = 30,
    max_active_states: int = 10000,
    allow_partial: bool = True,
    frame_idx_name: str | None = "frame_idx",
) -> Fsa:
    r"""Searches graphs along frame scores for the best path of each sequence.

    :math:`\arg\max_\pi \sum_{a \in \pi} (w(a) + x_{t, \mathrm{label}(a)})` over the paths that the
    beam keeps: those of the best path of `intersect_dense_pruned`, but faster, since only the way
    back to each state is remembered. Memory does not grow with what the search has given up, so
    sequences may be hours long.

    Args:
      a_fsas, b_fsas: see `intersect_dense_pruned`.
      search_beam, min_active_states, max_active_states, allow_partial: likewise.
      frame_idx_name: likewise.

    Returns:
      An FsaVec of linear FSAs, one per sequence, empty where nothing was left. Its arcs have the
      labels, scores (differentiable) and attributes of a lattice of `intersect_dense_pruned`: the
      labels are what each frame emits, `aux_labels` the words.

    Raises:
      FsaValueError, KeyboardInterrupt: see `intersect_dense_pruned`.

    Example:
      >>> import torch
      >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
      >>> scores = torch.tensor([[[0.4, 0.6], [0.1, 0.9]]]).log()
      >>> dense = DenseFsaVec.from_lengths(scores, torch.tensor([2]))
      >>> path = beam_search_best_path(graph, dense)
      >>> path.labels.tolist(), path.frame_idx.tolist()
      ([1, 1, -1], [0, 1, 2])
    """
    options = search_options(search_beam, 0.0, min_active_states, max_active_states, allow_partial)
    names = FrameNames(frame_idx_name)
    graph, limits = DecodingGraph.of(a_fsas), (MAX_STATES, MAX_ARCS)
    return run_search(
        "search_best_paths", "beam_search_best_path", graph, b_fsas, options, names, limits
    )
