"""k2's operations on paths: the best ones, random ones, and pruning by posterior."""

from __future__ import annotations

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
import wfst_entropy.fsa as core
from wfst_entropy.compat.k2.compose import intersect_device
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.graphs import OFFSET
from wfst_entropy.compat.k2.operations import remove_epsilon_self_loops
from wfst_entropy.compat.k2.propagation import fsa_from_unary_function_tensor
from wfst_entropy.compat.k2.ragged import RaggedTensor, k2_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def _graph(fsa: Fsa, use_double_scores: bool) -> core.Fsa:
    return fsa.bare().to(torch.float64) if use_double_scores else fsa.bare()


def shortest_path(fsa: Fsa, use_double_scores: bool) -> Fsa:
    """The best path of each FSA as a linear FSA, in the tropical semiring.

    Args:
      fsa: one FSA or a vector.
      use_double_scores: whether to add scores up in float64.

    Example:
      >>> fsa = Fsa.from_str("0 1 1 1\\n0 1 2 2\\n1 2 -1 0.5\\n2")
      >>> shortest_path(fsa, use_double_scores=True).labels.tolist()
      [2, -1]
    """
    _ = fsa.properties
    graph, arc_map = algorithms.shortest_path(
        _graph(fsa, use_double_scores).detach(), ret_arc_map=True
    )
    return fsa_from_unary_function_tensor(fsa, RaggedArc.of(graph), arc_map.to(torch.int32))


def random_paths(fsas: Fsa, use_double_scores: bool, num_paths: int) -> RaggedTensor:
    """Arc numbers of paths through each FSA, spread by posterior, `[fsa][path][arc]`.

    The same paths at every call, as in k2: path `i` of `n` is the one at the quantile
    `(i + 0.5) / n` of all paths.

    Args:
      fsas: a vector of acyclic FSAs.
      use_double_scores: whether to compute in float64.
      num_paths: how many for each FSA that has a path at all.
    """
    if fsas.arcs.num_axes() != 3:
        raise FsaTypeError("random_paths: needs a vector; make one by k2.create_fsa_vec([fsa]).")
    paths = algorithms.random_paths(_graph(fsas, use_double_scores).detach(), num_paths)
    return k2_ragged(paths.to(torch.int32))


def prune_on_arc_post(fsas: Fsa, threshold_prob: float, use_double_scores: bool) -> Fsa:
    """Without the arcs whose posterior (log semiring) is below a probability.

    Args:
      fsas: a vector of acyclic FSAs.
      threshold_prob: above 0 and below 1.
      use_double_scores: whether to compute in float64.
    """
    _ = fsas.properties
    graph, arc_map = algorithms.prune_on_arc_post(
        _graph(fsas, use_double_scores).detach(), threshold_prob, ret_arc_map=True
    )
    return fsa_from_unary_function_tensor(fsas, RaggedArc.of(graph), arc_map.to(torch.int32))


def levenshtein_alignment(
    refs: Fsa, hyps: Fsa, hyp_to_ref_map: Tensor, sorted_match_ref: bool = False
) -> Fsa:
    """The best alignment of each hypothesis with its reference.

    Args:
      refs: what `levenshtein_graph` gave.
      hyps: likewise; unlike in k2 it stays as it is.
      hyp_to_ref_map: int32, the number of the reference of each hypothesis.
      sorted_match_ref: as `sorted_match_a` of `intersect_device`.

    Returns:
      Linear FSAs with the int32 attributes `ref_labels` and `hyp_labels`, aligned, 0 for nothing;
      their labels are those of matches.  The total score is minus the edit distance.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> refs, hyps = k2.levenshtein_graph([[1, 2, 4]]), k2.levenshtein_graph([[1, 2, 3]])
      >>> best = levenshtein_alignment(refs, hyps, torch.tensor([0], dtype=torch.int32))
      >>> best.labels.tolist(), best.ref_labels.tolist(), best.hyp_labels.tolist()
      ([1, 2, 0, -1], [1, 2, 4, -1], [1, 2, 3, -1])
    """
    for name, fsas in (("refs", refs), ("hyps", hyps)):
        if not (hasattr(fsas, "aux_labels") and hasattr(fsas, OFFSET)):
            raise FsaValueError(f"{name}: must be what k2.levenshtein_graph made.")
    hyps = hyps.clone().rename_tensor_attribute_("aux_labels", "hyp_labels")
    lattice = intersect_device(refs, hyps, hyp_to_ref_map, sorted_match_ref)
    best = shortest_path(remove_epsilon_self_loops(lattice), use_double_scores=True).invert_()
    best.rename_tensor_attribute_("labels", "ref_labels")
    best.rename_tensor_attribute_("aux_labels", "labels")
    best.scores = best.scores - getattr(best, OFFSET)
    return best
