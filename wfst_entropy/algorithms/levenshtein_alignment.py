"""The best edits that turn references into hypotheses."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.epsilon_self_loops import remove_epsilon_self_loops
from wfst_entropy.algorithms.intersect_device import intersect_device
from wfst_entropy.algorithms.shortest_path import shortest_path
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError

_OFFSET = "ins_del_score_offset"


def levenshtein_alignment(
    refs: Fsa,
    hyps: Fsa,
    hyp_to_ref_map: Tensor,
    sorted_match_ref: bool = False,
    *,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa:
    """Aligns each hypothesis with its reference by the fewest edits.

    The best path of the intersection of two Levenshtein graphs, with the scores' bias against
    insertions and deletions taken out again: a match scores 0, every edit -1.  Of several best
    alignments one with the most substitutions is taken.

    Args:
      refs, hyps: vectors made by `levenshtein_graph`, with the same `ins_del_score`.
      hyp_to_ref_map: int32 or int64 `(hyps.num_fsas,)`, the number in `refs` for each of `hyps`.
      sorted_match_ref: k2's promise that `refs` is arc-sorted, which is checked; see
        `intersect_device`.
      max_states, max_arcs: limits of the intersections, over all pairs: one state for each place in
        a reference and in its hypothesis.

    Returns:
      A vector of linear FSAs, one per hypothesis.  `labels` holds the token of a match and 0 for an
      edit; the int32 attributes `ref_labels` and `hyp_labels` hold the token on each side, 0 where
      it has none: a deletion has 0 in `hyp_labels`, an insertion in `ref_labels`.  The sum of the
      scores is minus the Levenshtein distance.

    Raises:
      FsaTypeError: no vectors of FSAs.
      FsaValueError: an operand was not made by `levenshtein_graph`, or a map as in
        `intersect_device`.
      FsaRuntimeError: the intersections outgrow a limit.

    Source: k2, the operation of the same name; Levenshtein 1966.

    >>> import torch
    >>> from wfst_entropy.topologies import levenshtein_graph
    >>> refs, hyps = levenshtein_graph([[1, 2, 4]]), levenshtein_graph([[1, 2, 3], [1, 4]])
    >>> alignment = levenshtein_alignment(refs, hyps, torch.tensor([0, 0]))
    >>> alignment[0].ref_labels.tolist(), alignment[0].hyp_labels.tolist()
    ([1, 2, 4, -1], [1, 2, 3, -1])
    >>> alignment[1].ref_labels.tolist(), alignment[1].hyp_labels.tolist()
    ([1, 2, 4, -1], [1, 0, 4, -1])
    """
    lattice = intersect_device(
        _with_labels_named("refs", refs, "ref_labels"),
        _with_labels_named("hyps", hyps, "hyp_labels"),
        hyp_to_ref_map,
        sorted_match_ref,
        max_states=max_states,
        max_arcs=max_arcs,
    )
    # Both sides insert at once in such a loop, which no best path does.
    best = shortest_path(remove_epsilon_self_loops(lattice))
    return best.with_scores(best.scores - best.attributes[_OFFSET])


def _with_labels_named(operand: str, graphs: Fsa, name: str) -> Fsa:
    """The same graphs with `aux_labels` under another name."""
    if not isinstance(graphs, Fsa):
        raise FsaTypeError(
            f"levenshtein_alignment: {operand} must be an Fsa, got {type(graphs).__name__}."
        )
    attributes = dict(graphs.attributes)
    if not {"aux_labels", _OFFSET} <= attributes.keys():
        raise FsaValueError(
            f"levenshtein_alignment: {operand} must be made by levenshtein_graph, which gives its "
            f"arcs aux_labels and {_OFFSET}; got arcs with {', '.join(attributes) or 'neither'}."
        )
    attributes[name] = attributes.pop("aux_labels")
    return graphs._like(graphs.shape, graphs.arcs, graphs.scores, attributes)
