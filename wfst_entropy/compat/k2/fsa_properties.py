"""k2's properties of an FSA: bit flags that are computed from its arcs alone.

The two last ones look at the arcs around each state only, as k2's do, hence k2's "maybe"; ask
`fsa.core.properties.accessible` for the whole truth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa import RaggedShape

VALID = 0x01
NONEMPTY = 0x02
TOPSORTED = 0x04
TOPSORTED_AND_ACYCLIC = 0x08
ARC_SORTED = 0x10
ARC_SORTED_AND_DETERMINISTIC = 0x20
EPSILON_FREE = 0x40
ACCESSIBLE = 0x80
COACCESSIBLE = 0x100
ALL = 0x1FF

_NAMES = {
    VALID: "Valid",
    NONEMPTY: "Nonempty",
    TOPSORTED: "TopSorted",
    TOPSORTED_AND_ACYCLIC: "TopSortedAndAcyclic",
    ARC_SORTED: "ArcSorted",
    ARC_SORTED_AND_DETERMINISTIC: "ArcSortedAndDeterministic",
    EPSILON_FREE: "EpsilonFree",
    ACCESSIBLE: "MaybeAccessible",
    COACCESSIBLE: "MaybeCoaccessible",
}


def to_str(p: int) -> str:
    """The names of the flags that are set, in quotes as k2 writes them.

    Example:
      >>> to_str(VALID | EPSILON_FREE)
      '"Valid|EpsilonFree"'
    """
    return '"' + "|".join(name for flag, name in _NAMES.items() if p & flag) + '"'


def is_arc_sorted(p: int) -> bool:
    """Whether the arcs of each state are ordered by label, then destination."""
    return p & ARC_SORTED == ARC_SORTED


def is_accessible(p: int) -> bool:
    """Whether each state but the start has an arc entering it from another state."""
    return p & ACCESSIBLE == ACCESSIBLE


def is_coaccessible(p: int) -> bool:
    """Whether each state but the final one has an arc leaving it for another state."""
    return p & COACCESSIBLE == COACCESSIBLE


def get_properties(arcs: RaggedArc) -> int:
    """The flags that hold for every FSA in `arcs`, one FSA or a vector.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> to_str(get_properties(k2.Fsa.from_str("0 0 1 0\\n0 1 -1 0\\n1").arcs))
      '"Valid|Nonempty|TopSorted|ArcSorted|ArcSortedAndDeterministic|EpsilonFree|MaybeAccessible|MaybeCoaccessible"'
    """
    shape = arcs.vector_shape()
    src, dst, label = arcs.values()[:, :3].to(torch.int64).unbind(1)
    state = shape.row_ids(2)
    fsa = shape.row_ids(1)[state]
    first = shape.row_splits(1)[fsa]
    final = shape.row_splits(1)[fsa + 1] - first - 1
    holds = {
        VALID: _is_valid(state - first, src, dst, label, final),
        NONEMPTY: bool((shape.row_splits(2)[shape.row_splits(1)].diff() > 0).all()),
        TOPSORTED: bool((dst >= src).all()),
        TOPSORTED_AND_ACYCLIC: bool((dst > src).all()),
        EPSILON_FREE: bool((label != 0).all()),
    }
    holds[ARC_SORTED], holds[ARC_SORTED_AND_DETERMINISTIC] = _sorting(state, dst, label)
    away = dst != src
    holds[ACCESSIBLE] = _all_reached(shape, (first + dst)[away & (dst <= final) & (dst >= 0)], 0)
    holds[COACCESSIBLE] = _all_reached(shape, state[away], -1)
    return sum(flag for flag, is_so in holds.items() if is_so)


def _is_valid(state: Tensor, src: Tensor, dst: Tensor, label: Tensor, final: Tensor) -> bool:
    inside = (dst >= 0) & (dst <= final)
    return bool(((src == state) & inside & (label >= -1) & ((label == -1) == (dst == final))).all())


def _sorting(state: Tensor, dst: Tensor, label: Tensor) -> tuple[bool, bool]:
    """Whether arcs are sorted, and whether labels rise strictly; -1 is after all other labels."""
    key = torch.where(label < 0, 2**32 + label, label)
    other_state = state[1:] != state[:-1]
    rises = key[1:] > key[:-1]
    tied = (key[1:] == key[:-1]) & (dst[1:] >= dst[:-1])
    return bool((other_state | rises | tied).all()), bool((other_state | rises).all())


def _all_reached(shape: RaggedShape, states: Tensor, end: int) -> bool:
    """Whether all states are among `states`, or the first (`end` 0) or last (-1) of their FSA."""
    reached = torch.zeros(shape.tot_size(1), dtype=torch.bool, device=states.device)
    reached[states] = True
    splits = shape.row_splits(1)
    has_arcs = shape.row_splits(2)[splits].diff() > 0
    ends = splits[:-1] if end == 0 else splits[1:] - 1
    reached[ends[has_arcs]] = True
    return bool(reached.all())
