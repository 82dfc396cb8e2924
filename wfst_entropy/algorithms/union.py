"""Several FSAs side by side in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError


@overload
def union(fsas: Fsa | Sequence[Fsa], ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def union(fsas: Fsa | Sequence[Fsa], ret_arc_map: Literal[True]) -> tuple[Fsa, Tensor]: ...
def union(fsas: Fsa | Sequence[Fsa], ret_arc_map: bool = False) -> Fsa | tuple[Fsa, Tensor]:
    r"""One FSA that accepts what any of several FSAs accepts.

    :math:`w(x) = \bigoplus_i w_i(x)`. A new start state has an epsilon arc with score 0 to the
    start of each FSA; the final states become one. Empty FSAs add nothing.

    Args:
      fsas: a vector of FSAs, or a list of FSAs with the same attributes.
      ret_arc_map: whether to return, too, the number of the old arc of each new one (counted over
        the vector), -1 for the new arcs: int64 `(num_new_arcs,)`.

    Returns:
      One FSA.

    Raises:
      FsaTypeError: `fsas` is no Fsa, nor a list of them.
      FsaValueError: attributes, dtypes or devices of a list differ.

    Source: k2 and OpenFst, the operation of the same name.

    >>> a = Fsa.from_str("0 1 5 0.5\n1 2 -1 1\n2", acceptor=True)
    >>> print(union([a, a]))
    0 1 0 0
    0 3 0 0
    1 2 5 0.5
    2 5 -1 1
    3 4 5 0.5
    4 5 -1 1
    5
    """
    if not isinstance(fsas, Fsa):
        for i, fsa in enumerate(fsas):
            if not isinstance(fsa, Fsa):
                raise FsaTypeError(f"fsas[{i}]: must be an Fsa, got {type(fsa).__name__}.")
    vector = Fsa.from_fsas([fsas] if isinstance(fsas, Fsa) else fsas)
    result = _surgery.run("union", vector)
    (arc_map,) = result.maps
    united = _surgery.rebuild(vector, result, arc_map)[0]
    return (united, arc_map.to(vector.device)) if ret_arc_map else united
