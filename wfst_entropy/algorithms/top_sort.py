"""States in topological order."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa


@overload
def top_sort(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def top_sort(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def top_sort(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Numbers the states so that every arc goes to a larger number.

    States are ordered by the length of the longest path to them, then by their old numbers; the
    final state stays the last.  States that the start does not reach are dropped (a final one
    stays), and so are their arcs; arcs of a state keep their order.  Works in O(states log states +
    arcs).

    Args:
      fsa: an FSA or a vector of them.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Raises:
      CyclicFsaError: naming a cycle of states that the start reaches, and the FSA.
      FsaTypeError: `fsa` is no Fsa.

    Source: Kahn 1962, "Topological sorting of large networks"; k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 2 5 0\\n1 3 -1 1\\n2 1 6 2\\n3", acceptor=True)
    >>> ordered, arc_map = top_sort(fsa, ret_arc_map=True)
    >>> ordered.arcs.tolist(), arc_map.tolist()
    ([[0, 1, 5], [1, 2, 6], [2, 3, -1]], [0, 2, 1])
    """
    return _surgery.unary("top_sort", fsa, ret_arc_map)
