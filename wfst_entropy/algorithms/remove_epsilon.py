"""Epsilon removal in the tropical and the log semiring."""

from __future__ import annotations

from typing import Literal, overload

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._linearised import linearised
from wfst_entropy.algorithms._semirings import adds_logs
from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.semirings import Semiring, TropicalSemiring

_TROPICAL = TropicalSemiring()


@overload
def remove_epsilon(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    ret_arc_map: Literal[False] = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa: ...
@overload
def remove_epsilon(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    ret_arc_map: Literal[True],
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> tuple[Fsa, RaggedTensor]: ...
def remove_epsilon(
    fsa: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    ret_arc_map: bool = False,
    max_states: int = _surgery.MAX_STATES,
    max_arcs: int = _surgery.MAX_ARCS,
) -> Fsa | tuple[Fsa, RaggedTensor]:
    r"""The FSA without arcs of label 0, which gives every string the same weight.

    A state :math:`s` gets the arcs that a state :math:`p` has with a label, for each :math:`p` that
    it reaches over epsilons: :math:`w'(s, p, a) = d(s, p) \otimes w(a)`, with :math:`d(s, p)` the
    total of the epsilon paths from :math:`s` to :math:`p`, epsilon cycles included.  States where
    no path stops between labels are left out.

    Every new arc stands for a list of old ones, a best epsilon path and the arc after it.
    Attributes follow that list: floating-point ones add up, integers become lists without their
    zeros (so `aux_labels` becomes ragged), also where nothing was removed.  In the tropical
    semiring scores add up over the list, and gradients follow it.  In the log semiring the score of
    a new arc counts *all* epsilon paths, and its gradient is exact too (the expected number of
    times that they take each arc), but can be taken only once; attributes tell of the best of the
    epsilon paths alone.

    Args:
      fsa: an FSA or a vector of them; cycles are fine.
      semiring: `TropicalSemiring()`, as k2, or `LogSemiring()`.
      ret_arc_map: whether to return, too, the lists of old arcs: ragged int64, one list for each
        new arc.
      max_states, max_arcs: limits of the result.

    Returns:
      The FSA, connected.

    Raises:
      CyclicFsaError: an epsilon cycle with a positive score (tropical), or epsilon cycles whose sum
        does not converge (log); the message names the states.
      FsaRuntimeError: the result outgrows a limit.
      FsaTypeError, FsaValueError: not an Fsa, another semiring, a score that is NaN or +inf.

    Source: Mohri 2002, "Generic epsilon-removal and input epsilon-normalization algorithms for
    weighted transducers".

    >>> fsa = Fsa.from_str("0 1 0 0.1\n0 1 1 0.2\n1 2 -1 0.3\n2", acceptor=True)
    >>> removed, arc_map = remove_epsilon(fsa, ret_arc_map=True)
    >>> removed.labels.tolist(), arc_map.tolist()
    ([1, -1, -1], [[1], [0, 2], [2]])
    """
    log = adds_logs(semiring, "remove_epsilon")
    result = _surgery.run(
        "remove_epsilon",
        fsa,
        scores=True,
        parameters=(log, fsa.requires_grad if isinstance(fsa, Fsa) else False),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    splits, arcs, values, *jacobian = result.maps
    arc_map = _surgery.ragged_map(splits, arcs).to(fsa.device)
    scores = linearised(fsa.scores, values, *jacobian) if log else None
    removed = _surgery.rebuild_ragged(fsa, result, arc_map, scores)
    return (removed, arc_map) if ret_arc_map else removed
