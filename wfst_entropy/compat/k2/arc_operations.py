"""The operations of this package on k2's arcs: arcs in, arcs and int32 arc maps out.

`_k2` shows these functions under k2's names; the functions on Fsa add scores and attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2.ragged import RaggedTensor, core_ragged, k2_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa import RaggedShape

Mapped = tuple[RaggedArc, Tensor]
MappedToLists = tuple[RaggedArc, RaggedTensor]


def _map(operation: Callable[..., Any], arcs: RaggedArc, *args: Any, **kwargs: Any) -> Mapped:
    graph, arc_map = operation(arcs.graph(), *args, ret_arc_map=True, **kwargs)
    return RaggedArc.of(graph), arc_map.to(torch.int32)


def _map_to_lists(
    operation: Callable[..., Any], arcs: RaggedArc, *args: Any, **kwargs: Any
) -> MappedToLists:
    graph, arc_map = operation(arcs.graph(), *args, ret_arc_map=True, **kwargs)
    return RaggedArc.of(graph), k2_ragged(arc_map.to(torch.int32))


def arc_sort(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """Arcs of each state by label, then destination; the map is always there."""
    return _map(algorithms.arc_sort, arcs)


def top_sort(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """States in topological order; those not reachable are left out."""
    return _map(algorithms.top_sort, arcs)


def connect(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """Only the states on successful paths."""
    return _map(algorithms.connect, arcs)


def add_epsilon_self_loops(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """An epsilon loop, score 0, as the first arc of every state but the final one."""
    return _map(algorithms.add_epsilon_self_loops, arcs)


def remove_epsilon_self_loops(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """Without the epsilon arcs from a state to itself."""
    return _map(algorithms.remove_epsilon_self_loops, arcs)


def union(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """One FSA that accepts what any FSA of the vector accepts."""
    return _map(algorithms.union, arcs)


def closure(arcs: RaggedArc, need_arc_map: bool = True) -> Mapped:
    """Arcs into the final state go back to the start, with label 0; a new one leads there.

    Not `wfst_entropy.closure`, which differs where arcs enter the start state.
    """
    shape = arcs.core_shape()
    table = arcs.values().clone()
    back = table[:, 2] == -1
    table[back, 1:3] = 0
    place = int(shape.row_splits(1)[1]) if shape.dim0 else 0
    new = table.new_tensor([[0, max(shape.dim0 - 1, 1), -1, 0]])
    numbers = torch.arange(table.shape[0], dtype=torch.int32, device=table.device)
    arc_map = torch.cat([numbers[:place], numbers.new_tensor([-1]), numbers[place:]])
    splits = shape.row_splits(1).clone() if shape.dim0 else torch.zeros(3, dtype=torch.int64)
    splits[1:] += 1
    return RaggedArc(RaggedShape(splits), torch.cat([table[:place], new, table[place:]])), arc_map


def remove_epsilon(arcs: RaggedArc, properties: int = 0) -> MappedToLists:
    """Without epsilon arcs, and equal in the tropical semiring."""
    return _map_to_lists(algorithms.remove_epsilon, arcs)


def remove_epsilon_and_add_self_loops(arcs: RaggedArc, properties: int = 0) -> MappedToLists:
    """`remove_epsilon`, then `add_epsilon_self_loops`; their arcs have empty lists."""
    graph, lists = algorithms.remove_epsilon(arcs.graph(), ret_arc_map=True)
    graph, arc_map = algorithms.add_epsilon_self_loops(graph, ret_arc_map=True)
    return RaggedArc.of(graph), k2_ragged(lists.index(arc_map).to(torch.int32))


def intersect(
    a_arcs: RaggedArc,
    a_properties: int,
    b_arcs: RaggedArc,
    b_properties: int,
    treat_epsilons_specially: bool = True,
    need_arc_map: bool = True,
) -> tuple[RaggedArc, Tensor, Tensor]:
    """Strings of both, with k2's multiplicity where both have epsilons; not connected."""
    graph, a_map, b_map = algorithms.intersect(
        a_arcs.graph(),
        b_arcs.graph(),
        treat_epsilons_specially,
        ret_arc_maps=True,
        epsilon_filter="interleave",
        connect=False,
    )
    return RaggedArc.of(graph), a_map.to(torch.int32), b_map.to(torch.int32)


def intersect_device(
    a_arcs: RaggedArc,
    a_properties: int,
    b_arcs: RaggedArc,
    b_properties: int,
    b_to_a_map: Tensor,
    need_arc_map: bool = True,
    sorted_match_a: bool = False,
) -> tuple[RaggedArc, Tensor, Tensor]:
    """FSA `i` of `b_arcs` with FSA `b_to_a_map[i]` of `a_arcs`, epsilon a label like others."""
    graph, a_map, b_map = algorithms.intersect_device(
        a_arcs.graph(), b_arcs.graph(), b_to_a_map, sorted_match_a, ret_arc_maps=True, connect=False
    )
    return RaggedArc.of(graph), a_map.to(torch.int32), b_map.to(torch.int32)


def expand_arcs(
    arcs: RaggedArc, ragged_labels: Sequence[RaggedTensor]
) -> tuple[RaggedArc, list[Tensor], Tensor]:
    """Each arc as a chain as long as the longest of its lists of labels.

    Returns:
      The arcs, int32 labels for each of `ragged_labels`, and the arc map: -1 but on the first arc
      of each chain.
    """
    graph = arcs.graph()
    names = [f"label_{i}" for i in range(len(ragged_labels))]
    for name, lists in zip(names, ragged_labels):
        graph.set_attribute_(name, core_ragged(lists))
    chains, arc_map = algorithms.expand_ragged_attributes(graph, True, names)
    labels = [chains.attributes[name].to(torch.int32) for name in names]
    return RaggedArc.of(chains), labels, arc_map.to(torch.int32)


def fsa_to_fsa_vec(arcs: RaggedArc) -> RaggedArc:
    """A single FSA as a vector of one; the memory is shared."""
    return RaggedArc(arcs.vector_shape(), arcs.values())


def get_fsa_vec_element(arcs: RaggedArc, i: int) -> RaggedArc:
    """FSA `i` of a vector; the memory is shared."""
    return arcs.index(0, i)[0]
