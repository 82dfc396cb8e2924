"""Epsilon removal, then epsilon self-loops."""

from __future__ import annotations

from typing import Literal, overload

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.epsilon_self_loops import add_epsilon_self_loops
from wfst_entropy.algorithms.remove_epsilon import remove_epsilon
from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.semirings import Semiring, TropicalSemiring

_TROPICAL = TropicalSemiring()


@overload
def remove_epsilon_and_add_self_loops(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def remove_epsilon_and_add_self_loops(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, RaggedTensor]: ...
def remove_epsilon_and_add_self_loops(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, RaggedTensor]:
    """Removes epsilons, then gives every state but the final one an epsilon self-loop with score 0.

    So prepared, an FSA can be intersected by an operation that takes epsilon for an ordinary label,
    with an FSA that has epsilons.

    Args:
      fsa: an FSA or a vector of them.
      semiring, max_states, max_arcs: as for `remove_epsilon`; limits hold before the loops come.
      ret_arc_map: whether to return, too, the lists of old arcs: ragged int64, one list for each
        new arc, an empty one for each loop.

    Raises:
      As `remove_epsilon`.

    Source: k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 0 1\\n1 2 5 0.5\\n2 3 -1 0\\n3", acceptor=True)
    >>> looped, arc_map = remove_epsilon_and_add_self_loops(fsa, ret_arc_map=True)
    >>> looped.labels.tolist(), arc_map.tolist()
    ([0, 5, 0, -1], [[], [0, 1], [], [2]])
    """
    removed, lists = remove_epsilon(
        fsa, semiring, ret_arc_map=True, max_states=max_states, max_arcs=max_arcs
    )
    looped, arc_map = add_epsilon_self_loops(removed, ret_arc_map=True)
    return (looped, lists.index(arc_map)) if ret_arc_map else looped
