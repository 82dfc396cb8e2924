"""Epsilon self-loops: added to every state, or removed."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa


@overload
def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def add_epsilon_self_loops(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Puts an epsilon self-loop with score 0 before the arcs of every state but the final one.

    Intersection that takes epsilon for an ordinary label needs them. They are idle, not free: in
    the log semiring a loop of weight one makes the total of all paths infinite.

    Args:
      fsa: an FSA or a vector of them.
      ret_arc_map: whether to return, too, the number of the old arc of each new one, -1 for the
        loops: int64 `(num_new_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa.

    Source: k2, the operation of the same name.

    >>> print(add_epsilon_self_loops(Fsa.from_str("0 1 5 0.5\\n1 2 -1 1\\n2", acceptor=True)))
    0 0 0 0
    0 1 5 0.5
    1 1 0 0
    1 2 -1 1
    2
    """
    return _surgery.unary("add_epsilon_self_loops", fsa, ret_arc_map)


@overload
def remove_epsilon_self_loops(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def remove_epsilon_self_loops(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def remove_epsilon_self_loops(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Drops every arc with label 0 from a state to itself.

    The best path of each string keeps its score if no loop has a score above 0; weights in the log
    semiring change, except where the score is -inf. States keep their numbers.

    Args:
      fsa: an FSA or a vector of them.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa.

    Source: k2, the operation of the same name.

    >>> loops = Fsa.from_str("0 0 0 -1\\n0 0 5 0\\n0 1 -1 1\\n1", acceptor=True)
    >>> remove_epsilon_self_loops(loops).arcs.tolist()
    [[0, 0, 5], [0, 1, -1]]
    """
    return _surgery.unary("remove_epsilon_self_loops", fsa, ret_arc_map)
