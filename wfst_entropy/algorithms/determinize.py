"""Weighted determinisation in the tropical and the log semiring."""

from __future__ import annotations

import math
from typing import Literal, overload

from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._arc_symbols import arc_symbols
from wfst_entropy.algorithms._linearised import linearised
from wfst_entropy.algorithms._semirings import adds_logs
from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import Semiring, TropicalSemiring

WeightPushing = Literal["none", "tropical", "log"]

_TROPICAL = TropicalSemiring()
_PUSHING = ("none", "tropical", "log")


@overload
def determinize(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    weight_pushing: WeightPushing | None = None,
    *,
    delta: float = 2**-13,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def determinize(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    weight_pushing: WeightPushing | None = None,
    *,
    delta: float = 2**-13,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, RaggedTensor]: ...
def determinize(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    weight_pushing: WeightPushing | None = None,
    *,
    delta: float = 2**-13,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, RaggedTensor]:
    r"""An FSA in which no state has two arcs with one label, and every string the same weight.

    Its states are weighted sets :math:`\{(q, r_q)\}` of old states: all that a string leads to,
    each with the residual :math:`r_q` by which its total weight differs from that of the set.
    Epsilon is a label as any other: call `remove_epsilon` first.  The result is arc-sorted and
    connected.

    Where a string has several paths, its attributes are those of the best one.  Each new arc stands
    for a list of old ones, those that all paths of its set have in common and that have not been
    told yet (for instance, words come out where the paths no longer disagree on them).  Along the
    list integers become lists without their zeros (`aux_labels` becomes ragged), floating-point
    attributes add up.  Sets that agree in states, residuals and what they have still to tell are
    one state, as in OpenFst, also if they come from different paths; then an arc into it may lack,
    in its list, arcs that say nothing.

    Not every FSA can be determinised.  If two states are reached by one string and have cycles of
    the same labels with different scores (it lacks the twins property), the sets never end, and a
    limit stops them: the message says which string and which two states.

    Gradients are exact in both semirings, and can be taken once.  Where a set is met again with the
    same residuals by other paths, as on cycles, a single score has no derivative (in the least
    change of the old scores the two would be different states), but the total of all paths has, and
    the gradient is such that those of `get_tot_scores` and what is made of it are right.

    Args:
      fsa: an FSA or a vector of them, cyclic or not.
      semiring: `TropicalSemiring()`, the weight of a string is that of its best path, as in k2; or
        `LogSemiring()`, it is the sum over its paths.
      weight_pushing: when weights come out, which no string's weight depends on. "none", the
        default in the tropical semiring: with the arcs of the list (a score is the sum over it);
        "tropical": as early as the best path allows; "log": so that the sum over the paths of the
        set comes out, which k2 recommends for decoding graphs. The log semiring knows "log" only.
      delta: residuals closer than about this, in nats, count as equal.
      ret_arc_map: whether to return, too, the lists of old arcs: ragged int64, one list for each
        new arc.
      max_states, max_arcs: limits of the result. `max_states` also bounds the memory of the sets,
        at 80 bytes per state (64 MB at least), and the lists together may have a quarter of
        `max_arcs`.

    Raises:
      FsaRuntimeError: the result outgrows a limit; the message names the likely cause.
      FsaTypeError, FsaValueError: not an Fsa, another semiring or kind of pushing, a score that is
        NaN or +inf.

    Source: Mohri 1997, "Finite-state transducers in language and speech processing"; k2's
    `determinize` for the arc lists and the kinds of pushing.

    >>> fsa = Fsa.from_str("0 1 7 1\n0 2 7 3\n1 3 8 5\n2 3 9 0\n3 4 -1 0\n4", acceptor=True)
    >>> print(determinize(fsa))
    0 1 7 0
    1 2 8 6
    1 2 9 3
    2 3 -1 0
    3
    >>> determinize(fsa, weight_pushing="tropical").scores.tolist()
    [3.0, 3.0, 0.0, 0.0]
    """
    log = adds_logs(semiring, "determinize")
    pushing = _pushing_number(weight_pushing, log)
    if not (isinstance(delta, (int, float)) and math.isfinite(delta) and delta > 0):
        raise FsaValueError(f"delta: must be a positive number of nats, got {delta!r}.")
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"determinize: needs an Fsa, got {type(fsa).__name__}.")
    symbols = arc_symbols(fsa)
    # Without anything to follow them, lists are not made: they can be long.
    lists = ret_arc_map or any(
        isinstance(v, (Tensor, RaggedTensor)) for v in fsa.attributes.values()
    )
    result = _surgery.run(
        "determinize",
        fsa,
        scores=True,
        parameters=(log, pushing, float(delta), symbols.data_ptr(), lists, fsa.requires_grad),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    splits, arcs, values, *jacobian = result.maps
    arc_map = _surgery.ragged_map(splits, arcs).to(fsa.device)
    scores = linearised(fsa.scores, values, *jacobian)
    determinized = _surgery.rebuild_ragged(fsa, result, arc_map, scores)
    return (determinized, arc_map) if ret_arc_map else determinized


def _pushing_number(weight_pushing: str | None, log: bool) -> int:
    if weight_pushing is None:
        weight_pushing = "log" if log else "none"
    if weight_pushing not in _PUSHING or (log and weight_pushing != "log"):
        allowed = "'log' in the log semiring" if log else "'none', 'tropical' or 'log'"
        raise FsaValueError(f"weight_pushing: must be {allowed}, got {weight_pushing!r}.")
    return _PUSHING.index(weight_pushing)
