"""From frame scores to tokens, words and their times."""

from wfst_entropy.decoding.alignment import forced_align
from wfst_entropy.decoding.best_path import beam_search_best_path
from wfst_entropy.decoding.best_path_results import (
    BestPathResult,
    TokenHypothesis,
    WordHypothesis,
    best_path_results,
)
from wfst_entropy.decoding.confusion_network import (
    ConfusionNetwork,
    ConfusionSet,
    confusion_network,
    mbr_decoding,
)
from wfst_entropy.decoding.ctc_greedy_search import ctc_greedy_search
from wfst_entropy.decoding.ctc_prefix_beam_search import (
    OnlineCtcPrefixBeamSearch,
    ctc_prefix_beam_search,
)
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.fast_beam_search import FastBeamSearch, FastBeamState
from wfst_entropy.decoding.fast_beam_search_nbest import (
    fast_beam_search_nbest,
    fast_beam_search_nbest_LG,
    fast_beam_search_nbest_oracle,
    fast_beam_search_one_best,
)
from wfst_entropy.decoding.frame_posteriors import frame_posteriors
from wfst_entropy.decoding.intersect_dense_pruned import intersect_dense_pruned
from wfst_entropy.decoding.lattice_entropy import LatticeEntropy, lattice_entropy, local_entropy
from wfst_entropy.decoding.lattice_file import Lattices, read_lattices, write_lattices
from wfst_entropy.decoding.lattice_oracle import LatticeOracle, lattice_oracle
from wfst_entropy.decoding.lattice_scores import scaled_lattice
from wfst_entropy.decoding.nbest import Nbest
from wfst_entropy.decoding.one_best import get_aux_labels, one_best_decoding
from wfst_entropy.decoding.online_ctc_greedy_search import OnlineCtcGreedySearch
from wfst_entropy.decoding.online_intersect_dense import DecodeStateInfo, OnlineDenseIntersecter
from wfst_entropy.decoding.rescoring import rescore_with_n_best_list, rescore_with_whole_lattice
from wfst_entropy.decoding.rnnt_decoding_streams import (
    RnntDecodingConfig,
    RnntDecodingStream,
    RnntDecodingStreams,
)
from wfst_entropy.decoding.transducer import Transducer, TransducerHypothesis
from wfst_entropy.decoding.transducer_alignment import (
    TransducerAlignment,
    transducer_forced_align,
)
from wfst_entropy.decoding.transducer_greedy_search import TransducerGreedySearch, greedy_search
from wfst_entropy.decoding.transducer_search import (
    ModifiedBeamSearch,
    TransducerNbest,
    modified_beam_search,
)
from wfst_entropy.decoding.words_of_tokens import ranges_of_words

__all__ = [
    "BestPathResult",
    "ConfusionNetwork",
    "ConfusionSet",
    "DecodeStateInfo",
    "DecodingGraph",
    "FastBeamSearch",
    "FastBeamState",
    "LatticeEntropy",
    "LatticeOracle",
    "Lattices",
    "ModifiedBeamSearch",
    "Nbest",
    "OnlineCtcGreedySearch",
    "OnlineCtcPrefixBeamSearch",
    "OnlineDenseIntersecter",
    "RnntDecodingConfig",
    "RnntDecodingStream",
    "RnntDecodingStreams",
    "TokenHypothesis",
    "Transducer",
    "TransducerAlignment",
    "TransducerGreedySearch",
    "TransducerHypothesis",
    "TransducerNbest",
    "WordHypothesis",
    "beam_search_best_path",
    "best_path_results",
    "confusion_network",
    "ctc_greedy_search",
    "ctc_prefix_beam_search",
    "fast_beam_search_nbest",
    "fast_beam_search_nbest_LG",
    "fast_beam_search_nbest_oracle",
    "fast_beam_search_one_best",
    "forced_align",
    "frame_posteriors",
    "get_aux_labels",
    "greedy_search",
    "intersect_dense_pruned",
    "lattice_entropy",
    "lattice_oracle",
    "local_entropy",
    "mbr_decoding",
    "modified_beam_search",
    "one_best_decoding",
    "ranges_of_words",
    "read_lattices",
    "rescore_with_n_best_list",
    "rescore_with_whole_lattice",
    "scaled_lattice",
    "transducer_forced_align",
    "write_lattices",
]
