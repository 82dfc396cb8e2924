"""Graphs built from label sequences and vocabularies."""

from wfst_entropy.topologies.ctc import ctc_graph, ctc_topo, min_num_frames
from wfst_entropy.topologies.levenshtein import levenshtein_graph
from wfst_entropy.topologies.linear import linear_fsa, linear_fst

__all__ = [
    "ctc_graph",
    "ctc_topo",
    "levenshtein_graph",
    "linear_fsa",
    "linear_fst",
    "min_num_frames",
]
