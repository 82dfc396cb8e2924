"""Every string read backwards."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa


@overload
def reverse(fsa: Fsa, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def reverse(fsa: Fsa, ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def reverse(fsa: Fsa, ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    r"""Turns every arc round: the result accepts the reversed strings with the same weights.

    :math:`w'(x_1 \dots x_n) = w(x_n \dots x_1)`, in any commutative semiring. The old final state
    becomes state 0 and the old start state the last but one, with an arc to a new final state;
    arcs out of the old final state have label 0.

    Args:
      fsa: an FSA or a vector of them; cycles are fine.
      ret_arc_map: whether to return, too, the number of the old arc of each new one, -1 for the
        arc into the new final state: int64 `(num_new_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa.

    Source: k2 and OpenFst, the operation of the same name.

    >>> print(reverse(Fsa.from_str("0 1 5 0.5\n1 2 6 1\n2 3 -1 2\n3", acceptor=True)))
    0 2 0 2
    1 3 5 0.5
    2 1 6 1
    3 4 -1 0
    4
    """
    return _surgery.unary("reverse", fsa, ret_arc_map)
