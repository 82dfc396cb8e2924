"""Graphs built from label sequences and vocabularies."""

from wfst_entropy.topologies.asg import asg_graph, asg_topo, pack_repeats
from wfst_entropy.topologies.ctc import ctc_graph, ctc_topo, min_num_frames
from wfst_entropy.topologies.levenshtein import levenshtein_graph
from wfst_entropy.topologies.linear import linear_fsa, linear_fst
from wfst_entropy.topologies.linear_with_self_loops import (
    linear_fsa_with_self_loops,
    linear_fst_with_self_loops,
)
from wfst_entropy.topologies.mmi import mmi_denominator, mmi_numerator
from wfst_entropy.topologies.rnnt import rnnt_graph, rnnt_grid_lattice, rnnt_lattice
from wfst_entropy.topologies.token_ngram import token_ngram
from wfst_entropy.topologies.trivial import trivial_graph

__all__ = [
    "asg_graph",
    "asg_topo",
    "ctc_graph",
    "ctc_topo",
    "levenshtein_graph",
    "linear_fsa",
    "linear_fsa_with_self_loops",
    "linear_fst",
    "linear_fst_with_self_loops",
    "min_num_frames",
    "mmi_denominator",
    "mmi_numerator",
    "pack_repeats",
    "rnnt_graph",
    "rnnt_grid_lattice",
    "rnnt_lattice",
    "token_ngram",
    "trivial_graph",
]
