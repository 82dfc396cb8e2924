"""Composition: the output of one transducer is the input of another."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pairing import pair_up
from wfst_entropy.algorithms.expand_ragged_attributes import expand_ragged_attributes
from wfst_entropy.algorithms.intersect import EpsilonFilter, epsilon_mode, run_intersection
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedTensor


@overload
def compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    inner_labels: str | None = None,
    ret_arc_maps: Literal[False] = False,
    *,
    epsilon_filter: EpsilonFilter = "sequence",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    inner_labels: str | None = None,
    *,
    ret_arc_maps: Literal[True],
    epsilon_filter: EpsilonFilter = "sequence",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor, Tensor]: ...
def compose(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    inner_labels: str | None = None,
    ret_arc_maps: bool = False,
    *,
    epsilon_filter: EpsilonFilter = "sequence",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    r"""The transducer that reads what `a_fsa` reads and writes what `b_fsa` makes of its output.

    :math:`w(x, z) = \bigoplus_y w_a(x, y) \otimes w_b(y, z)` in the log and the tropical semiring:
    `a_fsa.aux_labels` are matched with `b_fsa.labels`, and every pair of paths that match becomes
    one path whose score is the sum of theirs.  An operand without `aux_labels` is an acceptor,
    which writes what it reads.  States and matching are those of `intersect`; neither operand needs
    to be arc-sorted.

    Args:
      a_fsa, b_fsa: FSAs or vectors.  Two vectors of one length are taken pair by pair; a single
        FSA, or a vector of one, goes with each of the other operand.  Where `a_fsa.aux_labels` is
        ragged, arcs are first made into chains by `expand_ragged_attributes`, as in k2.
      treat_epsilons_specially: whether label 0 is epsilon, which each side may write or read on its
        own; else it is a label like others.
      inner_labels: a name under which to keep the labels that were matched, as an int32 attribute.
      ret_arc_maps: whether to return, too, the arcs of `a_fsa` and of `b_fsa` that each new arc
        stands for: int64 `(num_new_arcs,)` each, -1 for none (an epsilon of the other side).
      epsilon_filter: as in `intersect`: `"sequence"` counts every pair of paths once,
        `"interleave"` once per order of epsilons, as k2 does.
      connect: whether to keep only states that reach the final one; without a successful path the
        result is then the empty FSA.  k2 keeps all.
      max_states, max_arcs: limits, before connecting and over all FSAs.

    Returns:
      A vector unless both operands are single FSAs, with the attribute `aux_labels` (none if both
      are acceptors).  Other attributes follow as in `intersect`, but `labels_sym` (the table of
      `labels`) is `a_fsa`'s and `aux_labels_sym` is `b_fsa`'s, or its `labels_sym` if it is an
      acceptor.

    Raises:
      FsaTypeError: an operand is no Fsa, or `a_fsa.aux_labels` is not integer.
      FsaValueError: `a_fsa.aux_labels` is -1 on an arc that is not final, or a symbol on one that
        is; vectors of different lengths, or on different devices.
      FsaRuntimeError: the result outgrows a limit.

    Source: Mohri, Pereira and Riley 2002, "Weighted finite-state transducers in speech
    recognition", section 3.1; for the filter see `intersect`.

    >>> lexicon = Fsa.from_str("0 1 11 1 0\n0 1 12 2 0\n1 0 13 0 0.5\n0 2 -1 -1 0\n2")
    >>> grammar = Fsa.from_str("0 1 2 1\n1 2 -1 0\n2", acceptor=True)
    >>> composed = compose(lexicon, grammar, inner_labels="matched")
    >>> print(composed)
    0 1 12 2 1
    1 2 13 0 0.5
    2 3 -1 -1 0
    3
    >>> composed.matched.tolist()
    [2, 0, -1]
    """
    pairing = pair_up("compose", a_fsa, b_fsa)
    a_fsa, chain_map = _expand(a_fsa)
    matched = _output_labels(a_fsa)
    epsilon = epsilon_mode("compose", treat_epsilons_specially, epsilon_filter)
    result, a_map, b_map = run_intersection(
        "compose", a_fsa, b_fsa, pairing, epsilon, connect, max_states, max_arcs, matched
    )
    composed = _surgery.rebuild_binary(
        _without(a_fsa, "aux_labels", "aux_labels_sym"),
        _without(b_fsa, "aux_labels", "aux_labels_sym", "labels_sym"),
        result,
        a_map,
        b_map,
    )
    a_map, b_map = a_map.to(a_fsa.device), b_map.to(a_fsa.device)
    for name, value in _labels_and_symbols(a_fsa, b_fsa, composed, a_map, b_map, matched).items():
        composed.set_attribute_(name, value)
    if inner_labels is not None:
        own = a_fsa.labels if matched is None else matched
        composed.set_attribute_(inner_labels, _select_labels(own, a_map, composed.labels))
    if not ret_arc_maps:
        return composed
    if chain_map is not None:
        a_map = torch.where(a_map >= 0, chain_map[a_map], -1)
    return composed, a_map, b_map


def _expand(a_fsa: Fsa) -> tuple[Fsa, Tensor | None]:
    """The FSA with one output label per arc, and the arc map if that took new arcs."""
    if not isinstance(a_fsa.attributes.get("aux_labels"), RaggedTensor):
        return a_fsa, None
    return expand_ragged_attributes(a_fsa, True, ["aux_labels"])


def _output_labels(a_fsa: Fsa) -> Tensor | None:
    """What `a_fsa` writes, int32, or None if it is an acceptor; checked."""
    aux_labels = a_fsa.attributes.get("aux_labels")
    if aux_labels is None:
        return None
    if not isinstance(aux_labels, Tensor) or aux_labels.is_floating_point():
        raise FsaTypeError(
            f"compose: a_fsa.aux_labels must be an integer tensor, got "
            f"{getattr(aux_labels, 'dtype', type(aux_labels).__name__)}."
        )
    is_final = a_fsa.labels == -1
    wrong = torch.where(is_final, aux_labels > 0, aux_labels == -1).nonzero()
    if wrong.numel():
        arc = int(wrong[0])
        raise FsaValueError(
            f"compose: a_fsa.aux_labels is {int(aux_labels[arc])} on arc {arc}, whose label is "
            f"{int(a_fsa.labels[arc])}; -1 stands on arcs into the final state and on no others."
        )
    return aux_labels.to(torch.int32)


def _without(fsa: Fsa, *names: str) -> Fsa:
    """The same FSA without some attributes."""
    kept = {name: value for name, value in fsa.attributes.items() if name not in names}
    return fsa._like(fsa.shape, fsa.arcs, fsa.scores, kept)


def _labels_and_symbols(
    a_fsa: Fsa, b_fsa: Fsa, composed: Fsa, a_map: Tensor, b_map: Tensor, matched: Tensor | None
) -> dict[str, Any]:
    """The attributes that are not simply those of both operands."""
    found: dict[str, Any] = {}
    outputs = b_fsa.attributes.get("aux_labels")
    if isinstance(outputs, RaggedTensor):
        found["aux_labels"] = b_fsa.select_attributes(b_map)["aux_labels"]
    elif outputs is not None or matched is not None:
        own = b_fsa.labels if outputs is None else outputs
        found["aux_labels"] = _select_labels(own, b_map, composed.labels)
    source = "labels_sym" if outputs is None else "aux_labels_sym"
    if source in b_fsa.attributes and "aux_labels" in found:
        found["aux_labels_sym"] = b_fsa.attributes[source]
    return found


def _select_labels(labels: Tensor, arc_map: Tensor, new_labels: Tensor) -> Tensor:
    """The labels of the source arcs: epsilon where there is none, -1 into the final state."""
    selected = _surgery.select_scores(labels, arc_map)
    return selected.masked_fill(new_labels == -1, -1)
