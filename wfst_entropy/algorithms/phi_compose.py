"""Composition with a graph whose back-off arcs are taken only where nothing else can be."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pairing import Pairing, pair_up
from wfst_entropy.algorithms.arc_sort import arc_sort
from wfst_entropy.algorithms.edit_counts import tokens_of_arcs
from wfst_entropy.fsa import Fsa, FsaValueError, RaggedShape, RaggedTensor

BackOff = Literal["failure", "epsilon"]


@overload
def phi_compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    *,
    phi_label: int | None = None,
    backoff: BackOff = "failure",
    ret_arc_maps: Literal[False] = False,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def phi_compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    *,
    phi_label: int | None = None,
    backoff: BackOff = "failure",
    ret_arc_maps: Literal[True],
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor, RaggedTensor]: ...
def phi_compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    *,
    phi_label: int | None = None,
    backoff: BackOff = "failure",
    ret_arc_maps: bool = False,
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor, RaggedTensor]:
    r"""The paths of `a_fsa` weighted, too, by a back-off language model over what they write.

    :math:`w(\pi) = w_a(\pi) + \log P_b(y(\pi))`, where :math:`y(\pi)` are the words on the path.
    From a state of `b_fsa` that has no arc with the next word, or no arc into the final state where
    the path ends, the arc with `phi_label` leads on, at its score, to a shorter history.  In a
    deterministic n-gram graph every path of `a_fsa` so becomes one path at most, and its score is
    what the ARPA file says.  Taken as epsilons, back-off arcs would also be open where the word is
    there: of those paths the best may score more than the model gives.

    Words may be lists (ragged `aux_labels`).  States are pairs, found from the start; a result of
    top-sorted operands need not be top-sorted.

    Args:
      a_fsa: FSAs or vectors, such as lattices; words are `aux_labels`, or `labels` where there are
        none.  0 and -1 are no words.
      b_fsa: FSAs or vectors, whose `labels` are words.  Two vectors of one length are taken pair by
        pair; a single FSA, or a vector of one, goes with each of the other operand.  It is looked
        up by label: one that is not arc-sorted is sorted in every call.
      phi_label: the label of back-off arcs.  By default that of the arcs where `b_fsa.aux_labels`
        is 0, or 0 if it has no `aux_labels`; such arcs from a state to itself are passed over.
      backoff: `"failure"`, as above; or `"epsilon"`: back-off arcs are also taken where the word is
        there.
      ret_arc_maps: whether to return, too, for each new arc the number of its arc of `a_fsa`, int64
        `(num_new_arcs,)`, and the list of arcs of `b_fsa` that read its words, ragged int64.
      connect: whether to keep only states that reach the final one; without a successful path the
        result is then the empty FSA.
      max_states, max_arcs: limits, before connecting and over all FSAs.  `max_states` also bounds
        the memory of the lists, at 80 bytes per state (64 MB at least).

    Returns:
      A vector unless both operands are single FSAs; `labels` and attributes are those of `a_fsa`,
      scores the sums over both arc maps, differentiable in both operands.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaValueError: vectors of different lengths, or on different devices; another `backoff`; no
        `phi_label`, and `aux_labels` of 0 on arcs of several labels; `a_fsa` has it as a word; or
        `b_fsa` has arcs of label 0 that do not back off.
      CyclicFsaError: the back-off arcs form a cycle.
      FsaRuntimeError: the result outgrows a limit.

    Source: Allauzen, Mohri and Roark 2003, "Generalized algorithms for constructing statistical
    language models", section 3.3 (failure transitions); Kaldi's `fstphicompose`.

    >>> bigram = Fsa.from_str('''
    ... 0 1 7 -0.5
    ... 0 0 8 -2
    ... 0 2 -1 -1
    ... 1 0 0 -3
    ... 1 2 -1 -0.25
    ... 2''', acceptor=True)
    >>> words = Fsa.from_str("0 1 7 0\n1 2 8 0\n2 3 -1 0\n3", acceptor=True)
    >>> scored, _, arcs = phi_compose(words, bigram, ret_arc_maps=True)
    >>> scored.scores.tolist(), arcs        # 8 after 7 by backing off: -3 - 2
    ([-0.5, -5.0, -1.0], [[0], [3, 1], [2]])
    """
    pairing = pair_up("phi_compose", a_fsa, b_fsa)
    if backoff not in ("failure", "epsilon"):
        raise FsaValueError(
            f"phi_compose: backoff must be 'failure' or 'epsilon', got {backoff!r}."
        )
    if phi_label is None:
        phi_label = phi_label_of(b_fsa)
    elif (
        isinstance(phi_label, bool) or not isinstance(phi_label, int) or not 0 <= phi_label < 2**31
    ):
        raise FsaValueError(
            f"phi_compose: phi_label must be a label from 0 to 2**31 - 1, got {phi_label!r}."
        )
    single = a_fsa.num_axes == b_fsa.num_axes == 2
    composed, a_map, b_map = compose_pairs(
        a_fsa, b_fsa, pairing, phi_label, backoff, connect, max_states, max_arcs
    )
    if single:
        composed = composed[0]
    return (composed, a_map, b_map) if ret_arc_maps else composed


def compose_pairs(
    a_fsa: Fsa,
    b_fsa: Fsa,
    pairing: Pairing,
    phi_label: int,
    backoff: BackOff = "failure",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor, RaggedTensor]:
    """`phi_compose` of the FSAs that `pairing` names: a vector with one FSA for each pair."""
    words = tokens_of_arcs(a_fsa, "aux_labels" if "aux_labels" in a_fsa.attributes else "labels")
    if bool((words.values == phi_label).any()):
        raise FsaValueError(
            f"phi_compose: a_fsa has the word {phi_label}, which is phi_label, the label of arcs "
            "that back off."
        )
    _refuse_epsilons(b_fsa, phi_label)
    model, sorted_map = b_fsa, None
    if not b_fsa.properties.arc_sorted:
        model, sorted_map = arc_sort(b_fsa, ret_arc_map=True)
    result = _surgery.run(
        "phi_compose",
        a_fsa,
        model,
        parameters=(
            *pairing.parameters(),
            words.shape.row_splits(1).data_ptr(),
            words.values.data_ptr(),
            phi_label,
            backoff == "failure",
            connect,
        ),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    a_map, trail_of_arc, splits, trails = (part.to(a_fsa.device) for part in result.maps)
    if sorted_map is not None:
        trails = sorted_map[trails]
    b_map = RaggedTensor(RaggedShape(splits), trails).index(trail_of_arc)
    scores = _surgery.select_scores(a_fsa.scores, a_map) + model_scores(b_fsa, b_map).to(
        a_fsa.scores.dtype
    )
    labels = result.arcs[:, 2].to(a_fsa.device)
    attributes = a_fsa.select_attributes(a_map, labels)
    shape, arcs = result.shape.to(a_fsa.device), result.arcs.to(a_fsa.device)
    return a_fsa._like(shape, arcs, scores, attributes), a_map, b_map


def _refuse_epsilons(model: Fsa, phi_label: int) -> None:
    """Arcs that read nothing and do not back off would never be taken."""
    if phi_label == 0 or model.properties.epsilon_free:
        return
    lost = ((model.labels == 0) & ~_loops(model)).nonzero()
    if lost.numel():
        arc = int(lost[0])
        raise FsaValueError(
            f"phi_compose: arc {arc} {model.arcs[arc].tolist()} of b_fsa has the label 0, but arcs "
            f"that back off have phi_label {phi_label}. Remove epsilons before (remove_epsilon), "
            "or pass phi_label=0 if they back off."
        )


def _loops(model: Fsa) -> Tensor:
    return model.src_states() == model.dst_states()


def model_scores(model: Fsa, b_map: RaggedTensor) -> Tensor:
    """For each list of arcs the sum of their scores, `(num_lists,)`; differentiable."""
    return RaggedTensor(b_map.shape, model.scores.index_select(0, b_map.values)).sum()


def phi_label_of(model: Fsa) -> int:
    r"""The label of a language model's back-off arcs, by its `aux_labels`; 0 without any.

    Arcs from a state to itself do not back off.

    Raises:
      FsaValueError: arcs of several labels have `aux_labels` of 0.

    >>> phi_label_of(Fsa.from_str("0 1 9 0 0\n1 2 7 7 0\n2 3 -1 -1 0\n3"))
    9
    """
    words = model.attributes.get("aux_labels")
    if not isinstance(words, Tensor) or words.is_floating_point():
        return 0
    silent = (words == 0) & (model.labels != -1) & ~_loops(model)
    found = torch.unique(model.labels[silent]).tolist()
    if len(found) > 1:
        raise FsaValueError(
            f"phi_compose: b_fsa.aux_labels is 0 on arcs with the labels {found[:5]}; needed is "
            "one label of all back-off arcs. Pass phi_label."
        )
    return int(found[0]) if found else 0
