"""From frame scores to tokens, words and their times."""

from wfst_entropy.decoding.alignment import forced_align
from wfst_entropy.decoding.best_path import beam_search_best_path
from wfst_entropy.decoding.ctc_greedy_search import ctc_greedy_search
from wfst_entropy.decoding.ctc_prefix_beam_search import (
    OnlineCtcPrefixBeamSearch,
    ctc_prefix_beam_search,
)
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.intersect_dense_pruned import intersect_dense_pruned
from wfst_entropy.decoding.lattice_file import Lattices, read_lattices, write_lattices
from wfst_entropy.decoding.lattice_scores import scaled_lattice
from wfst_entropy.decoding.nbest import Nbest
from wfst_entropy.decoding.one_best import get_aux_labels, one_best_decoding
from wfst_entropy.decoding.rescoring import rescore_with_n_best_list, rescore_with_whole_lattice

__all__ = [
    "DecodingGraph",
    "Lattices",
    "Nbest",
    "OnlineCtcPrefixBeamSearch",
    "beam_search_best_path",
    "ctc_greedy_search",
    "ctc_prefix_beam_search",
    "forced_align",
    "get_aux_labels",
    "intersect_dense_pruned",
    "one_best_decoding",
    "read_lattices",
    "rescore_with_n_best_list",
    "rescore_with_whole_lattice",
    "scaled_lattice",
    "write_lattices",
]
