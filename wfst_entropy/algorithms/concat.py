"""One string after the other."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


@overload
def concat(a: Fsa, b: Fsa, ret_arc_maps: Literal[False] = False) -> Fsa: ...
@overload
def concat(a: Fsa, b: Fsa, ret_arc_maps: Literal[True]) -> tuple[Fsa, Tensor, Tensor]: ...
def concat(a: Fsa, b: Fsa, ret_arc_maps: bool = False) -> Fsa | tuple[Fsa, Tensor, Tensor]:
    r"""The strings of `a` followed by the strings of `b`.

    :math:`w(z) = \bigoplus_{xy = z} w_a(x) \otimes w_b(y)`. The final state of `a` and the start
    state of `b` become one, and arcs into it from `a` have label 0.

    Args:
      a: an FSA or a vector of them.
      b: likewise; as many as in `a`, or one of the two has one FSA, which then goes with each of
        the other's.
      ret_arc_maps: whether to return, too, the arc of `a` and that of `b` which each new arc is
        (-1 for none): two int64 tensors `(num_new_arcs,)`.

    Returns:
      A vector if `a` or `b` is one. Attributes of both follow their arcs.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaValueError: the numbers of FSAs, the dtypes of the scores or the devices do not fit.

    Source: OpenFst, the operation of the same name.

    >>> a = Fsa.from_str("0 1 5 0.5\n1 2 -1 1\n2", acceptor=True)
    >>> print(concat(a, a))
    0 1 5 0.5
    1 2 0 1
    2 3 5 0.5
    3 4 -1 1
    4
    """
    _check_fitting(a, b)
    result = _surgery.run("concat", a, b)
    a_map, b_map = result.maps
    joined = _surgery.rebuild_binary(a, b, result, a_map, b_map)
    return (joined, a_map.to(a.device), b_map.to(a.device)) if ret_arc_maps else joined


def _check_fitting(a: Fsa, b: Fsa) -> None:
    for name, fsa in (("a", a), ("b", b)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{name}: must be an Fsa, got {type(fsa).__name__}.")
    if a.num_fsas != b.num_fsas and 1 not in (a.num_fsas, b.num_fsas):
        raise FsaValueError(
            f"concat: a has {a.num_fsas} FSAs and b has {b.num_fsas}; needed are equally many, or "
            "one FSA on one side."
        )
    if a.scores.dtype != b.scores.dtype or a.device != b.device:
        raise FsaValueError(
            f"concat: the scores of a are {a.scores.dtype} on {a.device}, those of b "
            f"{b.scores.dtype} on {b.device}; convert one with .to(...)."
        )
