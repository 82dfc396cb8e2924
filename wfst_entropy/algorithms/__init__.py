"""Operations on graphs, one file each."""

from wfst_entropy.algorithms.arc_sort import arc_sort
from wfst_entropy.algorithms.arc_sum import arc_sum
from wfst_entropy.algorithms.closure import closure
from wfst_entropy.algorithms.compose import compose
from wfst_entropy.algorithms.concat import concat
from wfst_entropy.algorithms.connect import connect
from wfst_entropy.algorithms.convert_dense_to_fsa_vec import convert_dense_to_fsa_vec
from wfst_entropy.algorithms.ctc_compose import ctc_compose
from wfst_entropy.algorithms.determinize import determinize
from wfst_entropy.algorithms.difference import difference
from wfst_entropy.algorithms.disambiguate import disambiguate
from wfst_entropy.algorithms.edit_counts import ExpectedEditCounts, expected_edit_counts
from wfst_entropy.algorithms.edit_distance import edit_distance
from wfst_entropy.algorithms.encode import EncodeTable, decode, encode
from wfst_entropy.algorithms.epsilon_self_loops import (
    add_epsilon_self_loops,
    remove_epsilon_self_loops,
)
from wfst_entropy.algorithms.epsnormalize import epsnormalize
from wfst_entropy.algorithms.equal import equal
from wfst_entropy.algorithms.equivalence import equivalent, first_difference, is_rand_equivalent
from wfst_entropy.algorithms.expand_ragged_attributes import expand_ragged_attributes
from wfst_entropy.algorithms.frame_entropy import FrameEntropy, frame_entropy
from wfst_entropy.algorithms.intersect import intersect
from wfst_entropy.algorithms.intersect_dense import intersect_dense, intersect_dense_tot_scores
from wfst_entropy.algorithms.intersect_device import intersect_device
from wfst_entropy.algorithms.invert import invert
from wfst_entropy.algorithms.isomorphic import isomorphic
from wfst_entropy.algorithms.k_best_scores import k_best_scores
from wfst_entropy.algorithms.levenshtein_alignment import levenshtein_alignment
from wfst_entropy.algorithms.minimize import minimize
from wfst_entropy.algorithms.n_shortest_paths import n_shortest_paths
from wfst_entropy.algorithms.num_paths import num_paths
from wfst_entropy.algorithms.path_divergence import path_cross_entropy, path_kl
from wfst_entropy.algorithms.path_entropy import path_entropy
from wfst_entropy.algorithms.path_moments import expected_counts, score_covariance, score_variance
from wfst_entropy.algorithms.phi_compose import phi_compose
from wfst_entropy.algorithms.project import project
from wfst_entropy.algorithms.prune import prune
from wfst_entropy.algorithms.prune_on_arc_post import prune_on_arc_post
from wfst_entropy.algorithms.push import push
from wfst_entropy.algorithms.random_fsa import random_fsa, random_fsa_vec
from wfst_entropy.algorithms.random_paths import random_paths
from wfst_entropy.algorithms.relabel import relabel
from wfst_entropy.algorithms.remove_epsilon import remove_epsilon
from wfst_entropy.algorithms.remove_epsilon_and_add_self_loops import (
    remove_epsilon_and_add_self_loops,
)
from wfst_entropy.algorithms.remove_epsilon_local import remove_epsilon_local
from wfst_entropy.algorithms.renyi_entropy import renyi_entropy, tsallis_entropy
from wfst_entropy.algorithms.replace import replace, replace_fsa
from wfst_entropy.algorithms.reverse import reverse
from wfst_entropy.algorithms.reweight import reweight
from wfst_entropy.algorithms.shortest_distance import (
    get_arc_post,
    get_backward_scores,
    get_forward_scores,
    get_tot_scores,
    shortest_distance,
)
from wfst_entropy.algorithms.shortest_path import shortest_path
from wfst_entropy.algorithms.state_sort import state_sort
from wfst_entropy.algorithms.synchronize import synchronize
from wfst_entropy.algorithms.top_sort import top_sort
from wfst_entropy.algorithms.union import union

__all__ = [
    "EncodeTable",
    "ExpectedEditCounts",
    "FrameEntropy",
    "add_epsilon_self_loops",
    "arc_sort",
    "arc_sum",
    "closure",
    "compose",
    "concat",
    "connect",
    "convert_dense_to_fsa_vec",
    "ctc_compose",
    "decode",
    "determinize",
    "difference",
    "disambiguate",
    "edit_distance",
    "encode",
    "epsnormalize",
    "equal",
    "equivalent",
    "expand_ragged_attributes",
    "expected_counts",
    "expected_edit_counts",
    "first_difference",
    "frame_entropy",
    "get_arc_post",
    "get_backward_scores",
    "get_forward_scores",
    "get_tot_scores",
    "intersect",
    "intersect_dense",
    "intersect_dense_tot_scores",
    "intersect_device",
    "invert",
    "is_rand_equivalent",
    "isomorphic",
    "k_best_scores",
    "levenshtein_alignment",
    "minimize",
    "n_shortest_paths",
    "num_paths",
    "path_cross_entropy",
    "path_entropy",
    "path_kl",
    "phi_compose",
    "project",
    "prune",
    "prune_on_arc_post",
    "push",
    "random_fsa",
    "random_fsa_vec",
    "random_paths",
    "relabel",
    "remove_epsilon",
    "remove_epsilon_and_add_self_loops",
    "remove_epsilon_local",
    "remove_epsilon_self_loops",
    "renyi_entropy",
    "replace",
    "replace_fsa",
    "reverse",
    "reweight",
    "score_covariance",
    "score_variance",
    "shortest_distance",
    "shortest_path",
    "state_sort",
    "synchronize",
    "top_sort",
    "tsallis_entropy",
    "union",
]
