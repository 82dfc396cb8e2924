"""Strongly connected components: what is left of a graph's order where it has cycles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.levels import longest_path_levels


@dataclass(frozen=True)
class Components:
    """The strongly connected components of a graph, and their order; on the CPU.

    Attributes:
        component: the component of each state, int64 (num_states,).
        level: the longest path of components that leads to each state, int64 (num_states,).
        cyclic: whether a component has an arc inside, bool (num_components,).
    """

    component: Tensor
    level: Tensor
    cyclic: Tensor


def components_of(fsas: Fsa) -> Components:
    """The components of all states of a vector; computed once for each structure.

    >>> fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, 1], [2, 1, 1], [2, 3, -1]])
    >>> found = components_of(fsa)
    >>> found.level.tolist(), found.cyclic[found.component].tolist()
    ([0, 1, 1, 2], [False, True, True, False])
    """
    return fsas.properties.remember(
        "components",
        lambda: find_components(fsas.src_states().cpu(), fsas.dst_states().cpu(), fsas.num_states),
    )


def find_components(source: Tensor, destination: Tensor, num_states: int) -> Components:
    """The components of a graph given by its arcs, int64 on the CPU."""
    level = longest_path_levels(source, destination, num_states)
    if bool((level >= 0).all()):
        return Components(
            torch.arange(num_states), level, torch.zeros(num_states, dtype=torch.bool)
        )
    # Cycles are among the states that neither end of the graph drains.
    behind = longest_path_levels(destination, source, num_states)
    core = (level < 0) & (behind < 0)
    inside = core[source] & core[destination]
    members = core.nonzero().squeeze(1)
    place = torch.full((num_states,), -1).index_copy_(0, members, torch.arange(members.numel()))
    found = _tarjan(place[source[inside]], place[destination[inside]], members.numel())
    component = torch.arange(num_states).index_copy_(0, members, num_states + found)
    _, component = component.unique(return_inverse=True)
    num_components = int(component.max()) + 1
    begin, end = component[source], component[destination]
    cyclic = torch.zeros(num_components, dtype=torch.bool)
    cyclic[begin[begin == end]] = True
    between = begin != end
    levels = longest_path_levels(begin[between], end[between], num_components)
    return Components(component, levels[component], cyclic)


def _tarjan(source: Tensor, destination: Tensor, num_states: int) -> Tensor:
    """The component of each state (Tarjan 1972, with a stack of its own instead of recursion)."""
    order = source.argsort(stable=True)
    targets = destination[order].tolist()
    ends = torch.bincount(source, minlength=num_states).cumsum(0).tolist()
    next_arc = [0, *ends[:-1]]
    index, low, component = [-1] * num_states, [0] * num_states, [-1] * num_states
    stack: list[int] = []
    counter = num_components = 0
    for root in range(num_states):
        if index[root] >= 0:
            continue
        path = [root]
        while path:
            state = path[-1]
            if index[state] < 0:
                index[state] = low[state] = counter
                counter += 1
                stack.append(state)
            while next_arc[state] < ends[state]:
                target = targets[next_arc[state]]
                if index[target] < 0:
                    path.append(target)
                    break
                if component[target] < 0:
                    low[state] = min(low[state], low[target])
                next_arc[state] += 1
            else:
                path.pop()
                if low[state] == index[state]:
                    while True:
                        member = stack.pop()
                        component[member] = num_components
                        if member == state:
                            break
                    num_components += 1
    return torch.tensor(component, dtype=torch.int64)
