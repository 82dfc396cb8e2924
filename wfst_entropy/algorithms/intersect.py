"""Intersection: the strings that two acceptors have in common."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._pairing import Pairing, pair_up
from wfst_entropy.fsa import Fsa, FsaValueError

EpsilonFilter = Literal["sequence", "interleave"]

# What the C++ operation calls them.
_SYMBOL = 0
_FILTERS = {"sequence": 1, "interleave": 2}


@overload
def intersect(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    ret_arc_maps: Literal[False] = False,
    *,
    epsilon_filter: EpsilonFilter = "sequence",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def intersect(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    *,
    ret_arc_maps: Literal[True],
    epsilon_filter: EpsilonFilter = "sequence",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor, Tensor]: ...
def intersect(
    a_fsa: Fsa,
    b_fsa: Fsa,
    treat_epsilons_specially: bool = True,
    ret_arc_maps: bool = False,
    *,
    epsilon_filter: EpsilonFilter = "sequence",
    connect: bool = True,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    r"""The FSA of the strings that both accept, weighted by both.

    :math:`w(x) = w_a(x) \otimes w_b(x)` in the log and the tropical semiring: every pair of paths
    that read the same string becomes one path whose score is the sum of theirs.  Only labels count;
    `aux_labels` are an attribute like others (`compose` matches them).

    States are the pairs reached from the start, in breadth-first order, so a result of top-sorted
    acyclic operands need not be top-sorted.  Operands need not be arc-sorted: arcs are matched in
    the order of their labels, looked up where one of two states has far more arcs than the other.

    Args:
      a_fsa, b_fsa: FSAs or vectors.  Two vectors of one length are taken pair by pair; a single
        FSA, or a vector of one, goes with each of the other operand.
      treat_epsilons_specially: whether label 0 is epsilon, which each side may read on its own;
        else it is a label like others.
      ret_arc_maps: whether to return, too, the arcs of `a_fsa` and of `b_fsa` that each new arc
        stands for: int64 `(num_new_arcs,)` each, -1 for none (an epsilon of the other side).
      epsilon_filter: `"sequence"` lets epsilons of `a_fsa` come before those of `b_fsa`, so that
        every pair of paths is counted once.  `"interleave"` lets them come in any order, as k2
        does: a pair of paths is counted once per order, and log-semiring totals are too large
        wherever both sides have epsilons.
      connect: whether to keep only states that reach the final one; without a successful path the
        result is then the empty FSA.  k2 keeps all.
      max_states, max_arcs: limits, before connecting and over all FSAs.

    Returns:
      A vector unless both operands are single FSAs.  Attributes of both follow their arcs; a float
      attribute that both have adds up, any other is `a_fsa`'s where an arc has a source there.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaValueError: vectors of different lengths, or on different devices.
      FsaRuntimeError: the result outgrows a limit.

    Source: Allauzen, Riley and Schalkwyk 2010, "Filters for efficient composition of weighted
    finite-state transducers", section 3 (the epsilon-sequencing filter).

    >>> a = Fsa.from_str("0 1 1 0.5\n0 1 2 1\n1 2 -1 0\n2", acceptor=True)
    >>> b = Fsa.from_str("0 0 2 0.25\n0 1 -1 0\n1", acceptor=True)
    >>> both, a_map, b_map = intersect(a, b, ret_arc_maps=True)
    >>> print(both)
    0 1 2 1.25
    1 2 -1 0
    2
    >>> a_map.tolist(), b_map.tolist()
    ([1, 2], [0, 1])
    """
    pairing = pair_up("intersect", a_fsa, b_fsa)
    epsilon = epsilon_mode("intersect", treat_epsilons_specially, epsilon_filter)
    result, a_map, b_map = run_intersection(
        "intersect", a_fsa, b_fsa, pairing, epsilon, connect, max_states, max_arcs
    )
    both = _surgery.rebuild_binary(a_fsa, b_fsa, result, a_map, b_map)
    return (both, a_map.to(a_fsa.device), b_map.to(a_fsa.device)) if ret_arc_maps else both


def epsilon_mode(operation: str, treat_epsilons_specially: bool, epsilon_filter: str) -> int:
    """How the C++ operation is to read label 0.

    Raises:
      FsaValueError: an unknown filter.
    """
    if epsilon_filter not in _FILTERS:
        raise FsaValueError(
            f"{operation}: epsilon_filter must be 'sequence' or 'interleave', got "
            f"{epsilon_filter!r}."
        )
    return _FILTERS[epsilon_filter] if treat_epsilons_specially else _SYMBOL


def run_intersection(
    operation: str,
    a_fsa: Fsa,
    b_fsa: Fsa,
    pairing: Pairing,
    epsilon: int,
    connect: bool,
    max_states: int,
    max_arcs: int,
    a_labels: Tensor | None = None,
) -> tuple[_surgery.Result, Tensor, Tensor]:
    """Runs the C++ operation under one of its names; the arc maps are on the CPU.

    Args:
      a_labels: what to match instead of the labels of `a_fsa`, int32 `(num_arcs,)`.
    """
    result = _surgery.run(
        operation,
        a_fsa,
        b_fsa,
        aux_labels=(a_labels, None),
        parameters=(*pairing.parameters(), epsilon, connect),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    a_map, b_map = result.maps
    return result, a_map, b_map
