"""Removal of what is on no good path."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.connect import connect
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


@overload
def prune(
    fsa: Fsa,
    weight_threshold: float = float("inf"),
    state_threshold: int | None = None,
    *,
    ret_arc_map: Literal[False] = False,
) -> Fsa: ...
@overload
def prune(
    fsa: Fsa,
    weight_threshold: float = float("inf"),
    state_threshold: int | None = None,
    *,
    ret_arc_map: Literal[True],
) -> tuple[Fsa, Tensor]: ...
def prune(
    fsa: Fsa,
    weight_threshold: float = float("inf"),
    state_threshold: int | None = None,
    *,
    ret_arc_map: bool = False,
) -> Fsa | tuple[Fsa, Tensor]:
    """Keeps the arcs on paths nearly as good as the best one, and the best states.

    An arc stays if the best path over it has a score of at least that of the best path of all less
    `weight_threshold`.  The result is connected.

    Args:
      fsa: an FSA or a vector of them, each pruned by its own best path; cycles are fine if none has
        a positive score.
      weight_threshold: in nats, 0 or more.
      state_threshold: how many states remain at most in each FSA, the final one not counted: those
        that come first if from the start one goes on with the best path through each.  If the best
        path has more states, nothing remains.  None for no limit.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Raises:
      CyclicFsaError: a cycle with a positive score; the message names its states.
      FsaTypeError, FsaValueError: not an Fsa, a negative threshold, a score that is NaN or +inf.

    Source: OpenFst, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0.5\\n0 1 6 3\\n0 1 7 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> prune(fsa, 2).labels.tolist(), prune(fsa, 2.5).labels.tolist()
    ([6, 7, -1], [5, 6, 7, -1])
    """
    if not isinstance(weight_threshold, (int, float)) or not weight_threshold >= 0:
        raise FsaValueError(
            f"weight_threshold: must be 0 or a positive number of nats, got {weight_threshold!r}."
        )
    if state_threshold is not None and not isinstance(state_threshold, int):
        raise FsaTypeError(f"state_threshold: must be an integer or None, got {state_threshold!r}.")
    if state_threshold is not None and state_threshold < 0:
        raise FsaValueError(f"state_threshold: must not be negative, got {state_threshold}.")
    limit = -1 if state_threshold is None else state_threshold
    parameters = (float(weight_threshold), limit)
    result = _surgery.run("prune", fsa, scores=True, parameters=parameters)
    (arc_map,) = result.maps
    new = _surgery.rebuild(fsa, result, arc_map)
    if state_threshold is not None:
        # The states left out may have been the only way on.
        new, kept = connect(new, ret_arc_map=True)
        arc_map = arc_map[kept.cpu()]
    return (new, arc_map.to(fsa.device)) if ret_arc_map else new
