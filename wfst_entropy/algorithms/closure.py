"""Any number of repetitions."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError

ClosureType = Literal["star", "plus"]


@overload
def closure(
    fsa: Fsa, closure_type: ClosureType = "star", *, ret_arc_map: Literal[False] = False
) -> Fsa: ...
@overload
def closure(
    fsa: Fsa, closure_type: ClosureType = "star", *, ret_arc_map: Literal[True]
) -> tuple[Fsa, Tensor]: ...
def closure(
    fsa: Fsa, closure_type: ClosureType = "star", *, ret_arc_map: bool = False
) -> Fsa | tuple[Fsa, Tensor]:
    r"""The Kleene closure: strings of `fsa` one after the other.

    :math:`L^* = \bigcup_{n \ge 0} L^n` or, with "plus", :math:`L^+ = \bigcup_{n \ge 1} L^n`; the
    weight of a concatenation is the product. Arcs into the final state become epsilon arcs back to
    the start, and the start state gets an arc into the final state. Where arcs enter the start
    state, a new start state is added: without it, prefixes of strings would be accepted too (k2
    does not add it).

    Args:
      fsa: an FSA or a vector of them. The star of an empty FSA accepts the empty string.
      closure_type: "star" for zero strings or more, "plus" for one or more.
      ret_arc_map: whether to return, too, the number of the old arc of each new one, -1 for new
        arcs: int64 `(num_new_arcs,)`.

    Raises:
      FsaTypeError: `fsa` is no Fsa.
      FsaValueError: another `closure_type`.

    Source: k2 and OpenFst, the operation of the same name.

    >>> print(closure(Fsa.from_str("0 1 5 0.5\n1 2 -1 1\n2", acceptor=True)))
    0 1 5 0.5
    0 2 -1 0
    1 0 0 1
    2
    """
    if closure_type not in ("star", "plus"):
        raise FsaValueError(f"closure_type: must be 'star' or 'plus', got {closure_type!r}.")
    return _surgery.unary("closure", fsa, ret_arc_map, parameters=(closure_type == "plus",))
