"""The best path of each FSA."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.fsa import Fsa


@overload
def shortest_path(
    fsa: Fsa,
    *,
    ret_arc_map: Literal[False] = False,
) -> Fsa: ...
@overload
def shortest_path(
    fsa: Fsa,
    *,
    ret_arc_map: Literal[True],
) -> tuple[Fsa, Tensor]: ...
def shortest_path(
    fsa: Fsa,
    *,
    ret_arc_map: bool = False,
) -> Fsa | tuple[Fsa, Tensor]:
    """The best path of each FSA, as a linear FSA.

    Best is the largest sum of scores (tropical semiring).  Gradients go to the arcs on it.

    Args:
      fsa: an FSA or a vector of them; cycles are fine if none has a positive score.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Returns:
      One path for each FSA, the empty FSA where there is none; its epsilons are still there.

    Raises:
      CyclicFsaError: a cycle with a positive score, which a best path would go round for ever; the
        message names its states.
      FsaTypeError, FsaValueError: not an Fsa, a score that is NaN or +inf.

    Source: k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0.5\\n0 1 6 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> print(shortest_path(fsa))
    0 1 6 1
    1 2 -1 0
    2
    """
    result = _surgery.run("shortest_path", fsa, scores=True)
    (arc_map,) = result.maps
    best = _surgery.rebuild(fsa, result, arc_map)
    return (best, arc_map.to(fsa.device)) if ret_arc_map else best
