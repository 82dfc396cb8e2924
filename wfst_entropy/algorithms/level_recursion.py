"""The recursion in plain torch: any semiring, any device, any order of derivatives.

States are grouped into levels by the longest path that leads to them, so all arcs into a level,
of all FSAs of a vector, are one vectorised call; a level's cyclic components of one size are closed
together. Every arc and state of an acyclic graph is touched a constant number of times, and nothing
is written in place, so autograd works to any order and in linear time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy.algorithms.component_closure import solve
from wfst_entropy.algorithms.schedule import Closure, Level, Schedule
from wfst_entropy.semirings import Semiring, Value, map_slots

# A component of n states takes about n^3 / 3 operations and, for gradients, as many numbers.
_MAX_SIZE = 400


class ComponentSizeError(Exception):
    """A component, whose states are in `states`, is too large to be closed in torch."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def level_distances(schedule: Schedule, semiring: Semiring, weights: Value, reverse: bool) -> Value:
    """The distances of all states: each level merges what has arrived and sends it on.

    Args:
        schedule: of the graph, for the direction wanted.
        semiring: the algebra.
        weights: one per arc.
        reverse: whether the schedule is that of backward distances.

    Raises:
        DivergenceError: a cycle that can be reached has no closure.
    """
    slot = weights[0] if isinstance(weights, tuple) else weights
    kind = {"dtype": slot.dtype, "device": slot.device}
    ones = semiring.one((schedule.num_starts,), **kind)
    leaving = map_slots(
        lambda w, one: torch.cat([w, one]).index_select(0, schedule.arc_order), weights, ones
    )
    per_level = _split(leaving, [level.num_leaving for level in schedule.levels])
    inbox: list[list[Value]] = [[] for _ in schedule.levels]
    values: list[Value] = [semiring.one((1,), **kind)]  # of the super-start, level 0
    for number, level in enumerate(schedule.levels):
        if number > 0:
            merged = _merge(semiring, inbox[number], level, kind)
            inbox[number] = []
            for closure in level.closures:
                merged = _close(semiring, closure, merged, weights, reverse)
            values.append(merged)
        if level.num_leaving == 0:
            continue
        source = map_slots(lambda v, at=level.source: v.index_select(0, at), values[number])
        weight = per_level[number]
        sent = semiring.times(weight, source) if reverse else semiring.times(source, weight)
        pieces = _split(sent, [count for _, count in level.destinations])
        for (destination, _), piece in zip(level.destinations, pieces, strict=True):
            inbox[destination].append(piece)
    return map_slots(lambda *v: torch.cat(v).index_select(0, schedule.state_place), *values)


def _merge(semiring: Semiring, pieces: list[Value], level: Level, kind: dict[str, Any]) -> Value:
    if not pieces:
        return semiring.zero((level.num_states,), **kind)
    arrived = pieces[0] if len(pieces) == 1 else map_slots(lambda *p: torch.cat(p), *pieces)
    if level.arrival is not None:
        arrival = level.arrival
        arrived = map_slots(lambda v: v.index_select(0, arrival), arrived)
    return semiring.segment_sum(arrived, level.target, level.num_states)


def _close(
    semiring: Semiring, closure: Closure, merged: Value, weights: Value, reverse: bool
) -> Value:
    """The values of a level with those of some cyclic components closed."""
    start = map_slots(lambda v: v[closure.places], merged)
    reached = _differs(start, semiring).any(1)
    if not bool(reached.any()):
        return merged
    num_components, size = closure.places.shape
    if size > _MAX_SIZE:
        raise ComponentSizeError(closure.states[0])
    matrix = semiring.segment_sum(
        map_slots(lambda w: w.index_select(0, closure.arcs), weights),
        closure.cells,
        num_components * size * size,
    )
    matrix = map_slots(lambda m: m.view(num_components, size, size), matrix)
    if not bool(reached.all()):
        start, matrix = (map_slots(lambda v: v[reached], x) for x in (start, matrix))
    solved = solve(semiring, start, matrix, closure.states[reached], reverse)
    places = closure.places[reached].flatten()
    return map_slots(lambda v, s: v.index_copy(0, places, s.flatten()), merged, solved)


def _differs(value: Value, semiring: Semiring) -> Tensor:
    """Where a value is not zero."""
    slots = value if isinstance(value, tuple) else (value,)
    differs = slots[0] != semiring.zero_element[0]
    for slot, zero in zip(slots[1:], semiring.zero_element[1:]):
        differs = differs | (slot != zero)
    return differs


def _split(value: Value, sizes: list[int]) -> list[Value]:
    """Consecutive pieces of a value; a Tensor's pieces share one node of the autograd graph."""
    if isinstance(value, tuple):
        return list(zip(*(slot.split(sizes) for slot in value), strict=True))
    return list(value.split(sizes))
