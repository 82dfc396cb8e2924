"""Removal of states on no successful path."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa


@overload
def connect(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def connect(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def connect(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Keeps the states and arcs on a path from the start to the final state.

    States and arcs keep their order, so a top-sorted FSA stays so.  An FSA without a successful
    path becomes the empty one.  Works in O(states + arcs).

    Args:
      fsa: an FSA or a vector of them; cycles are fine.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa.

    Source: OpenFst and k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0.5\\n0 2 6 1\\n1 3 -1 0\\n3", acceptor=True)
    >>> connected, arc_map = connect(fsa, ret_arc_map=True)
    >>> connected.num_states, connected.labels.tolist(), arc_map.tolist()
    (3, [5, -1], [0, 2])
    """
    result = _surgery.run("connect", fsa)
    (arc_map,) = result.maps
    connected = _surgery.rebuild(fsa, result, arc_map)
    return (connected, arc_map.to(fsa.device)) if ret_arc_map else connected
