"""Removal of all paths but the best one of each string."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.connect import connect
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError


@overload
def disambiguate(
    fsa: Fsa,
    *,
    delta: float = 2**-20,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def disambiguate(
    fsa: Fsa,
    *,
    delta: float = 2**-20,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, Tensor]: ...
def disambiguate(
    fsa: Fsa,
    *,
    delta: float = 2**-20,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, Tensor]:
    """An FSA that has one successful path for each string, the best one it had.

    The weight of a string in the tropical semiring stays.  States may still have several arcs with
    one label: this is weaker than `determinize`, and ends in more cases; always if the FSA is
    unambiguous already.  Each new arc stands for one old arc, and attributes and gradients follow.

    Labels alone count, and epsilon is a label as any other: call `remove_epsilon` first.  Of
    equally good paths, the one whose last differing arc has the smaller number stays.

    Args:
      fsa: an FSA or a vector of them, cyclic or not.
      delta: paths whose scores differ by less than about this, in nats, count as equally good.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.
      max_states, max_arcs: limits of the result, before connecting.

    Returns:
      The FSA, connected.

    Raises:
      FsaRuntimeError: the result outgrows a limit; the message names two rival states.
      FsaTypeError, FsaValueError: not an Fsa, a score that is NaN or +inf.

    Source: Mohri and Riley 2015, "On the disambiguation of weighted automata", for the idea of
    rivals with a common future.

    >>> lines = ["0 1 7 1", "0 2 7 3", "1 3 8 5", "2 3 8 0", "2 3 9 0", "3 4 -1 0", "4"]
    >>> fsa = Fsa.from_str("\\n".join(lines), acceptor=True)
    >>> print(disambiguate(fsa))
    0 1 7 1
    0 2 7 3
    1 3 8 5
    2 3 9 0
    3 4 -1 0
    4
    """
    if not delta > 0:
        raise FsaValueError(f"delta: must be a positive number of nats, got {delta!r}.")
    result = _surgery.run(
        "disambiguate",
        fsa,
        scores=True,
        parameters=(float(delta),),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    # Paths that a rival beats later on end nowhere.
    (arc_map,) = result.maps
    new, kept = connect(_surgery.rebuild(fsa, result, arc_map), ret_arc_map=True)
    return (new, arc_map.to(fsa.device)[kept]) if ret_arc_map else new
