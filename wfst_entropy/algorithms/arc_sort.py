"""Arcs of each state in the order of their labels."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa


@overload
def arc_sort(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def arc_sort(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def arc_sort(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    """Orders the arcs of each state by label, then by destination, as k2 does.

    The final label -1 comes after all others; arcs with one label and destination keep their order.
    States keep their numbers.  Composition needs this order.  To sort by output labels, sort
    `invert(fsa)`.

    Args:
      fsa: an FSA or a vector of them.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa.

    Source: k2 and OpenFst, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 7 0.5\\n0 2 -1 0\\n0 1 3 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> ordered, arc_map = arc_sort(fsa, ret_arc_map=True)
    >>> ordered.labels.tolist(), arc_map.tolist()
    ([3, 7, -1, -1], [2, 0, 1, 3])
    """
    return _surgery.unary("arc_sort", fsa, ret_arc_map)
