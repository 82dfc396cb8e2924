"""Weight pushing: scores move along the paths, whose totals stay."""

from __future__ import annotations

from typing import Literal

import torch

from wfst_entropy.algorithms._semirings import adds_logs
from wfst_entropy.algorithms.reweight import reweight
from wfst_entropy.algorithms.shortest_distance import shortest_distance
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import LogSemiring, Semiring

_LOG = LogSemiring()


def push(
    fsa: Fsa, semiring: Semiring = _LOG, *, to: Literal["initial", "final"] = "initial"
) -> Fsa:
    r"""Moves scores towards the start, or towards the final state; no path's total changes.

    With :math:`d(s)` the total from :math:`s` to the final state, an arc from :math:`s` to
    :math:`t` gets :math:`w + d(t) - d(s)`: then the arcs that leave a state add up to one (in the
    log semiring they are its probabilities), or the best of them is zero (tropical).  The total of
    the whole FSA, :math:`d(0)`, is left on the arcs that leave the start state; or, if arcs enter
    that too, on those into the final state.

    With `to="final"`, :math:`d` is the total from the start, an arc gets
    :math:`d(s) + w - d(t)`, and the total is left on the arcs into the final state (less that of
    the cycles through the start state, in the log semiring).

    Arcs that are on no successful path keep their scores.  States, arcs and attributes stay as they
    are; scores are differentiable, twice too.

    Args:
      fsa: an FSA or a vector of them, each pushed on its own.
      semiring: `LogSemiring()` or `TropicalSemiring()`.
      to: the end to which scores move.

    Raises:
      CyclicFsaError: the weights of cycles do not converge; the message names one.
      FsaTypeError, FsaValueError: not an Fsa, another semiring or end, a score that is NaN or +inf.

    Source: Mohri and Riley 2001, "A weight pushing algorithm for large vocabulary speech
    recognition"; OpenFst, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0\n1 2 6 1\n1 2 7 3\n2 3 -1 2\n3", acceptor=True)
    >>> from wfst_entropy.semirings import TropicalSemiring
    >>> push(fsa, TropicalSemiring()).scores.tolist()
    [5.0, -2.0, 0.0, 0.0]
    >>> push(fsa, TropicalSemiring(), to="final").scores.tolist()
    [0.0, -2.0, 0.0, 5.0]
    """
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"push: needs an Fsa, got {type(fsa).__name__}.")
    adds_logs(semiring, "push")
    if to not in ("initial", "final"):
        raise FsaValueError(f"to: must be 'initial' or 'final', got {to!r}.")
    exact = fsa.to(torch.float64)
    distance = shortest_distance(exact, semiring, reverse=to == "initial")
    pushed = reweight(exact, distance, to_final=to == "final")
    return fsa.with_scores(pushed.scores.to(fsa.scores.dtype))
