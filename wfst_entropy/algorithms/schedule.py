"""The order of work of a recursion over graphs, all FSAs of a vector and whole levels at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.algorithms.components import Components, components_of
from wfst_entropy.fsa import Fsa


def schedule_of(fsas: Fsa, *, reverse: bool, connected: bool) -> Schedule:
    """The schedule of a vector; computed once for each structure and device.

    Args:
        fsas: one FSA or a vector.
        reverse: from the final states backward instead of from the start states.
        connected: leave cycles alone that are on no successful path. The distances of their states
            are then meaningless, but do not touch any total.

    >>> fsa = Fsa.from_arcs([[0, 1, 1], [1, 1, 2], [1, 2, -1]])
    >>> schedule = schedule_of(fsa, reverse=False, connected=True)
    >>> [(level.num_states, len(level.closures)) for level in schedule.levels]
    [(1, 0), (1, 0), (1, 1), (1, 0)]
    """
    components = components_of(fsas)
    some = bool(components.cyclic.any()) and connected
    name = f"schedule{' reverse' if reverse else ''}{' connected' if some else ''}"
    return fsas.properties.remember(name, lambda: Schedule.make(fsas, components, reverse, some))


@dataclass(frozen=True)
class Closure:
    """The cyclic components of one size at one level."""

    places: Tensor  # their states within the level, int64 (num_components, size)
    states: Tensor  # the same, counted over the whole vector
    arcs: Tensor  # the arcs inside, by cell
    cells: Tensor  # (component * size + source) * size + destination of each, ascending


@dataclass(frozen=True)
class Level:
    """What happens at one level; all indexes count within the level."""

    num_states: int
    arrival: Tensor | None  # arrivals (concatenated by sending level) in the order of their target
    target: Tensor  # the state that each arrival goes to, ascending
    num_leaving: int
    source: Tensor  # the state that each leaving arc leaves, arcs ordered by destination level
    destinations: list[tuple[int, int]]  # (level, number of arcs) in that order
    closures: list[Closure]


@dataclass(frozen=True)
class Schedule:
    """The order of work on a graph: level 0 is a super-start with an arc to every start state."""

    levels: list[Level]
    arc_order: Tensor  # leaving arcs by level, then destination; numbers >= num_arcs: super-start's
    num_starts: int
    state_place: Tensor  # where each state is found in the states ordered by level

    @classmethod
    def make(cls, fsas: Fsa, components: Components, reverse: bool, connected: bool) -> Schedule:
        """The schedule of a graph, computed on the CPU, its indexes on the graph's device."""
        source, destination = fsas.src_states().cpu(), fsas.dst_states().cpu()
        starts, level = fsas.start_states(), components.level
        if reverse:
            source, destination, starts = destination, source, fsas.final_states()
            level = level.max() - level if level.numel() else level
        starts = starts[starts >= 0].cpu()
        num_states = fsas.num_states
        # The super-start is state 0 of level 0; the others move up by one level.
        level = torch.cat([level + 1, torch.zeros(1, dtype=torch.int64)])
        by_level = level.argsort(stable=True)
        place = torch.empty_like(by_level)
        place[by_level] = torch.arange(num_states + 1)
        sizes = torch.bincount(level)
        within = place - (sizes.cumsum(0) - sizes)[level]

        inside = components.component[source] == components.component[destination]
        closures: list[list[Closure]] = [[] for _ in range(sizes.numel())]
        if bool(components.cyclic.any()):
            useful = _useful(fsas, components) if connected else components.cyclic
            for depth, closure in _closures(
                components.component, useful, level[:-1], within, source, destination, fsas.device
            ):
                closures[depth].append(closure)
        # Arcs within components are the closures' business.
        outside = (~inside).nonzero().squeeze(1)
        number = torch.cat([outside, source.numel() + torch.arange(starts.numel())])
        source = torch.cat([source[outside], torch.full_like(starts, num_states)])
        destination = torch.cat([destination[outside], starts])
        order = _stable_order(level[source] * (num_states + 1) + place[destination])
        levels = _levels(
            sizes, level[source][order], level[destination][order], within[source][order],
            within[destination][order], closures, fsas.device,
        )  # fmt: skip
        return cls(
            levels, number[order].to(fsas.device), starts.numel(), place[:-1].to(fsas.device)
        )


def _useful(fsas: Fsa, components: Components) -> Tensor:
    """Which components are cyclic and on a successful path."""
    properties = fsas.properties
    states = (properties.accessible_states() & properties.coaccessible_states()).cpu()
    found = torch.zeros_like(components.cyclic)
    found[components.component[states]] = True
    return found & components.cyclic


def _closures(
    component: Tensor, wanted: Tensor, level: Tensor, within: Tensor, source: Tensor,
    destination: Tensor, device: torch.device,
) -> Iterator[tuple[int, Closure]]:  # fmt: skip
    """The cyclic components by level and size, each group with its level."""
    states = wanted[component].nonzero().squeeze(1)
    size = torch.bincount(component)[component]
    num_states = component.numel()
    # States by level, size, component: a group's states are neighbours, and so are a component's.
    states = states[component[states].argsort(stable=True)]
    states = states[(level[states] * (num_states + 1) + size[states]).argsort(stable=True)]
    group = level[states] * (num_states + 1) + size[states]
    groups, group_sizes = torch.unique_consecutive(group, return_counts=True)
    first = group_sizes.cumsum(0) - group_sizes
    place = torch.full((num_states,), -1)  # of a state within its group
    place[states] = torch.arange(states.numel()) - first.repeat_interleave(group_sizes)
    number = torch.full((num_states,), -1)
    number[states] = torch.arange(groups.numel()).repeat_interleave(group_sizes)

    arcs = ((component[source] == component[destination]) & (place[source] >= 0)).nonzero()[:, 0]
    cells = place[source[arcs]] * size[source[arcs]]
    cells = cells + place[destination[arcs]] % size[destination[arcs]]
    by_cell = cells.argsort(stable=True)
    arcs, cells = arcs[by_cell], cells[by_cell]
    by_group = number[source[arcs]].argsort(stable=True)
    arcs, cells = arcs[by_group], cells[by_group]
    arc_counts = torch.bincount(number[source[arcs]], minlength=groups.numel()).tolist()
    for key, members, inner, cell in zip(
        groups.tolist(), states.split(group_sizes.tolist()), arcs.split(arc_counts),
        cells.split(arc_counts), strict=True,
    ):  # fmt: skip
        members = members.view(-1, key % (num_states + 1))
        yield (
            key // (num_states + 1),
            Closure(
                within[members].to(device), members.to(device), inner.to(device), cell.to(device)
            ),
        )


def _levels(
    sizes: Tensor, sender: Tensor, receiver: Tensor, source: Tensor, target: Tensor,
    closures: list[list[Closure]], device: torch.device,
) -> list[Level]:  # fmt: skip
    """The levels from arcs ordered by sending level and destination."""
    num_levels = sizes.numel()
    leaving = torch.bincount(sender, minlength=num_levels).tolist()
    arriving = torch.bincount(receiver, minlength=num_levels)

    # Arrivals come by receiving level, then sending level; they are wanted by target.
    arrived = _stable_order(receiver)
    wanted = _stable_order(receiver[arrived] * (int(sizes.max()) + 1) + target[arrived])
    moved = torch.zeros(num_levels, dtype=torch.int64).index_add_(
        0, receiver[arrived], (wanted != torch.arange(wanted.numel())).long()
    )
    first = (arriving.cumsum(0) - arriving)[receiver[arrived]]
    arrivals = (wanted - first).to(device).split(arriving.tolist())
    targets = target[arrived][wanted].to(device).split(arriving.tolist())
    sources = source.to(device).split(leaving)

    pairs, counts = torch.unique_consecutive(sender * num_levels + receiver, return_counts=True)
    destinations: list[list[tuple[int, int]]] = [[] for _ in range(num_levels)]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        destinations[pair // num_levels].append((pair % num_levels, count))
    needs_moving = moved.tolist()
    return [
        Level(size, arrivals[i] if needs_moving[i] else None, targets[i], leaving[i],
               sources[i], destinations[i], closures[i])
        for i, size in enumerate(sizes.tolist())
    ]  # fmt: skip


def _stable_order(key: Tensor) -> Tensor:
    """A stable argsort that costs one comparison per item if the key is in order already."""
    if bool((key[1:] >= key[:-1]).all()):
        return torch.arange(key.numel())
    return key.argsort(stable=True)
