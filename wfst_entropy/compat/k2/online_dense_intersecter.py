"""k2's pruned search of streams, and what it shares with that of whole utterances."""

from __future__ import annotations

import torch
from torch import Tensor

import wfst_entropy.decoding as decoding
from wfst_entropy.compat.k2.autograd_utils import phantom_set_scores_to
from wfst_entropy.compat.k2.dense_fsa_vec import DenseFsaVec
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.propagation import select_attributes
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.decoding import DecodeStateInfo, DecodingGraph
from wfst_entropy.fsa import Fsa as CoreFsa

__all__ = ["DecodeStateInfo", "OnlineDenseIntersecter"]

_READY = "graph_of_search_by_scores"


def ready_graph(a_fsas: Fsa) -> DecodingGraph:
    """The graph ready for searches, made once as long as the arcs and scores stay the same.

    Its attribute `arc` numbers the arcs.
    """
    scores = a_fsas.scores
    key = (id(scores), scores._version, a_fsas.arcs.values()._version)
    kept = a_fsas._cache.get(_READY)
    if kept is None or kept[0] != key:
        graph = a_fsas.bare()
        number = torch.arange(a_fsas.num_arcs, dtype=torch.int32, device=a_fsas.device)
        graph.set_attribute_("arc", number).set_attribute_("arc_filler", -1)
        kept = (key, scores, DecodingGraph(graph))
        a_fsas._cache[_READY] = kept
    ready: DecodingGraph = kept[2]
    return ready


def lattice_of(a_fsas: Fsa, lattice: CoreFsa) -> Fsa:
    """A lattice of `ready_graph` with the attributes that k2's have."""
    ans = Fsa(RaggedArc.of(lattice))
    arc_map: Tensor = lattice.arc
    select_attributes(a_fsas, ans, arc_map)
    phantom_set_scores_to(ans, lattice.scores)
    return ans


class OnlineDenseIntersecter:
    """Pruned search of streams, chunk by chunk; see `wfst_entropy.OnlineDenseIntersecter`.

    Args:
      decoding_graph: one graph for all streams.
      num_streams: at most so many in a call.
      search_beam: as of `intersect_dense_pruned`, likewise the others.
      output_beam: see there.
      min_active_states: see there.
      max_active_states: see there.
      allow_partial: see there.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> graph = k2.create_fsa_vec([k2.ctc_topo(1)])
      >>> dense = DenseFsaVec(torch.zeros(1, 2, 2), torch.tensor([[0, 0, 2]], dtype=torch.int32))
      >>> search = OnlineDenseIntersecter(graph, 1, 20.0, 8.0, 0, 100)
      >>> lattice, states = search.decode(dense, [None])
      >>> lattice, states = search.decode(dense, states)
      >>> states[0].num_frames, lattice.shape
      (4, (1, None, None))
    """

    def __init__(
        self,
        decoding_graph: Fsa,
        num_streams: int,
        search_beam: float,
        output_beam: float,
        min_active_states: int,
        max_active_states: int,
        allow_partial: bool = True,
    ) -> None:
        self.decoding_graph = decoding_graph
        self.device = decoding_graph.device
        self.num_streams = num_streams
        self._search = decoding.OnlineDenseIntersecter(
            ready_graph(decoding_graph),
            num_streams,
            search_beam,
            output_beam,
            min_active_states,
            max_active_states,
            allow_partial,
        )

    def decode(
        self, dense_fsas: DenseFsaVec, decode_states: list[DecodeStateInfo | None]
    ) -> tuple[Fsa, list[DecodeStateInfo]]:
        """Goes on by one chunk per stream: the lattices of all frames so far, and new states.

        Args:
          dense_fsas: the chunks.
          decode_states: the state of each chunk's stream, None where one begins.

        Raises:
          FsaValueError: the states do not fit the chunks.
        """
        lattice, states = self._search.decode(dense_fsas.core, decode_states)
        return lattice_of(self.decoding_graph, lattice), states
