"""Where the states and arcs of a graph go in a picture: layers from left to right.

States are put into layers, long arcs get a bend in each layer they pass, the order within layers is
improved until few lines cross, and heights are then chosen so that lines are as level as they can
be (Sugiyama, Tagawa and Toda, Methods for visual understanding of hierarchical system structures,
1981).  Labels are laid out like states, so that nothing covers anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from wfst_entropy.algorithms.components import find_components

_GAP = 16.0  # between neighbours of one layer
_SWEEPS = 12
_STAGGER = 16.0  # between the lanes of lines that come back


@dataclass
class Box:
    """A state, a label, or a bend of a line: something with a size and a place in a layer."""

    width: float
    above: float  # from the anchor up to the upper edge
    below: float
    layer: int = 0
    x: float = 0.0  # of the anchor
    y: float = 0.0
    neighbours: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    """Boxes of the layer before, and of the layer after, that a line connects it with."""
    weight: float = 1.0  # how much its own lines want to be level
    turns: bool = False  # the text of a line that comes back, which passes at its left
    indent: float = 0.0  # how far from the left edge that line passes


@dataclass
class Route:
    """The line between two states: the boxes that it passes, from its source to its destination."""

    source: int
    destination: int
    boxes: list[int]  # between the two states
    label: int  # the box among them that holds the text
    turns: bool = False  # it comes back to the layer that it left


@dataclass
class Layout:
    """The boxes, the first `num_states` of which are the states, and the lines between them."""

    boxes: list[Box]
    routes: list[Route]
    width: float
    height: float


def layout(
    num_states: int,
    edges: Sequence[tuple[int, int]],
    state_sizes: Sequence[tuple[float, float, float]],
    label_sizes: Sequence[tuple[float, float, float]],
    last: int | None = None,
) -> Layout:
    """Places states and edges; loops from a state to itself have to be counted into its size.

    Args:
      num_states: states are numbered from 0, the first to be placed.
      edges: pairs of different states, each pair once.
      state_sizes: width, height above the centre and below it, of each state.
      label_sizes: the same for the text of each edge; its anchor is the point on the line.
      last: the state that stands to the right of all others, if there is one.

    Returns:
      Boxes with their places, in the unit of the sizes; y grows downwards.

    >>> placed = layout(2, [(0, 1)], [(20, 10, 10)] * 2, [(30, 12, 2)])
    >>> [round(box.x) for box in placed.boxes], placed.routes[0].boxes
    ([10, 108, 59], [2])
    """
    layers = [2 * layer for layer in _state_layers(num_states, edges, last)]
    boxes = [Box(*size, layer=layer) for size, layer in zip(state_sizes, layers)]
    routes = [
        _route(boxes, layers, source, destination, size)
        for (source, destination), size in zip(edges, label_sizes)
    ]
    by_layer: list[list[int]] = [[] for _ in range(max(box.layer for box in boxes) + 1)]
    for number, box in enumerate(boxes):
        by_layer[box.layer].append(number)
    by_layer = _ordered(boxes, by_layer)
    _stagger(boxes, by_layer)
    _set_heights(boxes, by_layer)
    width = _set_columns(boxes, by_layer)
    top = min(box.y - box.above for box in boxes)
    for box in boxes:
        box.y -= top
    return Layout(boxes, routes, width, max(box.y + box.below for box in boxes))


def _state_layers(num_states: int, edges: Sequence[tuple[int, int]], last: int | None) -> list[int]:
    """The layer of each state: after all states it comes from, cycles aside.

    The states of a cycle are layered by their distance from where the cycle is entered; between
    components the longest path counts, so that lines go forward wherever they can.
    """
    leaving: list[list[int]] = [[] for _ in range(num_states)]
    for source, destination in edges:
        leaving[source].append(destination)
    component_of = list(range(num_states))
    members = {state: [state] for state in range(num_states)}
    for states in _cyclic_sets(num_states, edges):
        for state in states:
            del members[state]
            component_of[state] = states[0]
        members[states[0]] = states
    entering = dict.fromkeys(members, 0)
    for source, destination in edges:
        if component_of[source] != component_of[destination]:
            entering[component_of[destination]] += 1
    layers = [0] * num_states
    ready = [component for component, count in entering.items() if not count]
    while ready:
        component = ready.pop()
        inside = set(members[component])
        _layer_component(members[component], inside, leaving, layers)
        for state in members[component]:
            for target in leaving[state]:
                if target in inside:
                    continue
                layers[target] = max(layers[target], layers[state] + 1)
                entering[component_of[target]] -= 1
                if not entering[component_of[target]]:
                    ready.append(component_of[target])
    if last is not None:
        others = [layer for state, layer in enumerate(layers) if state != last]
        layers[last] = max(layers[last], max(others, default=-1) + 1)
    return layers


def _cyclic_sets(num_states: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The sets of states that reach each other."""
    ends = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2)
    found = find_components(ends[:, 0], ends[:, 1], num_states)
    sets: dict[int, list[int]] = {}
    for state, component in enumerate(found.component.tolist()):
        if bool(found.cyclic[component]):
            sets.setdefault(component, []).append(state)
    return list(sets.values())


def _layer_component(
    members: list[int], inside: set[int], leaving: list[list[int]], layers: list[int]
) -> None:
    """Breadth-first from the state at which paths enter first."""
    if len(members) == 1:
        return
    entry = max(layers[state] for state in members)
    roots = [state for state in members if layers[state] == entry and entry > 0] or [members[0]]
    seen = set(roots[:1])
    frontier, layer = roots[:1], entry
    while frontier:
        for state in frontier:
            layers[state] = layer
        reached = {t for state in frontier for t in leaving[state] if t in inside} - seen
        seen |= reached
        frontier, layer = sorted(reached), layer + 1


def _route(
    boxes: list[Box],
    layers: list[int],
    source: int,
    destination: int,
    size: tuple[float, float, float],
) -> Route:
    """Adds the boxes that the line of one edge passes, and links them."""
    first, last = sorted((layers[source], layers[destination]))
    if first == last:
        half = (size[1] + size[2]) / 2
        label = _add(boxes, Box(size[0] + 8, half, half, layer=first + 1, turns=True))
        _link(boxes, source, label)
        _link(boxes, destination, label)
        return Route(source, destination, [label], label, turns=True)
    middle = (first + last) // 2
    middle += 1 - middle % 2  # odd layers hold labels
    chain = []
    for layer in range(first + 1, last):
        box = Box(*size, layer=layer) if layer == middle else Box(0.0, 3.0, 3.0, layer=layer)
        box.weight = 1.0 if last - first == 2 else 4.0
        chain.append(_add(boxes, box))
    left, right = (source, destination) if layers[source] == first else (destination, source)
    for before, after in zip([left, *chain], [*chain, right]):
        _link(boxes, before, after)
    label = chain[middle - first - 1]
    return Route(source, destination, chain if left == source else chain[::-1], label)


def _add(boxes: list[Box], box: Box) -> int:
    boxes.append(box)
    return len(boxes) - 1


def _link(boxes: list[Box], before: int, after: int) -> None:
    boxes[before].neighbours[1].append(after)
    boxes[after].neighbours[0].append(before)


def _ordered(boxes: list[Box], by_layer: list[list[int]]) -> list[list[int]]:
    """The order within layers with the fewest crossings that sweeps to and fro find."""
    best, fewest = by_layer, _crossings(boxes, by_layer)
    current = [list(layer) for layer in by_layer]
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        backwards = sweep % 2
        for layer in reversed(current) if backwards else current:
            place = {box: i for one in current for i, box in enumerate(one)}
            side = 1 if backwards else 0

            def wanted(box: int, place: dict[int, int] = place, side: int = side) -> float:
                near = [place[n] for n in boxes[box].neighbours[side]]
                return sum(near) / len(near) if near else place[box]

            layer.sort(key=wanted)
        crossings = _crossings(boxes, current)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in current], crossings
    return best


def _crossings(boxes: list[Box], by_layer: list[list[int]]) -> int:
    """How many pairs of lines cross: inversions of their right ends, ordered by their left ends."""
    total = 0
    for layer, following in pairwise(by_layer):
        place = {box: i for i, box in enumerate(following)}
        ends = [
            place[n]
            for box in layer
            for n in sorted(boxes[box].neighbours[1], key=place.__getitem__)
        ]
        tree = [0] * (len(following) + 1)  # Fenwick tree of how many ends came so far
        for count, end in enumerate(ends):
            at, not_above = end + 1, 0
            while at:
                not_above += tree[at]
                at &= at - 1
            total += count - not_above
            at = end + 1
            while at < len(tree):
                tree[at] += 1
                at += at & -at
    return total


def _stagger(boxes: list[Box], by_layer: list[list[int]]) -> None:
    """Lines that come back have lanes: further away, the further apart their states are.

    Down and up have different lanes, so that the two lines between two states do not cross.
    """
    for before, layer in pairwise(by_layer):
        place = {box: i for i, box in enumerate(before)}
        lanes: dict[tuple[int, bool], list[Box]] = {}
        for box in (boxes[number] for number in layer if boxes[number].turns):
            source, destination = (place[n] for n in box.neighbours[0])
            lanes.setdefault((abs(source - destination), source > destination), []).append(box)
        for i, key in enumerate(sorted(lanes)):
            for box in lanes[key]:
                box.indent = _STAGGER * i
                box.width += box.indent


def _set_heights(boxes: list[Box], by_layer: list[list[int]]) -> None:
    """Chooses y: each box near its neighbours, apart from those above and below it."""
    offsets = []  # of each box of a layer when all lie as close as they may
    for layer in by_layer:
        offset, column = 0.0, []
        for number in layer:
            column.append(offset + boxes[number].above)
            box = boxes[number]
            gap = _GAP / 4 if box.turns or not box.width else _GAP
            offset += box.above + box.below + gap
        offsets.append(column)
        for number, y in zip(layer, column):
            boxes[number].y = y - offset / 2
    for sweep in range(2 * _SWEEPS):
        layers = list(zip(by_layer, offsets))
        sides = (0,) if sweep < 2 else (0, 1)
        for layer, column in layers if sweep % 2 == 0 else reversed(layers):
            wanted, weights = [], []
            for number in layer:
                near = [n for side in sides for n in boxes[number].neighbours[side]]
                pull = [boxes[number].weight * _pull(boxes[n], boxes[number]) for n in near]
                mean = sum(w * boxes[n].y for w, n in zip(pull, near))
                wanted.append(mean / sum(pull) if near else boxes[number].y)
                weights.append(sum(pull) or 0.01)
            free = _closest_ascending([y - o for y, o in zip(wanted, column)], weights)
            for number, z, o in zip(layer, free, column):
                boxes[number].y = z + o


def _pull(box: Box, other: Box) -> float:
    """How much a box wants `other` on its level: less, the more lines it has on that side."""
    return box.weight / len(box.neighbours[0 if other.layer < box.layer else 1])


def _closest_ascending(values: list[float], weights: list[float]) -> list[float]:
    """The ascending numbers with the smallest weighted squared distance from `values`.

    Pool adjacent violators.

    >>> _closest_ascending([3.0, 1.0, 5.0], [1.0, 1.0, 1.0])
    [2.0, 2.0, 5.0]
    """
    blocks: list[list[float]] = []  # mean, weight, how many values
    for value, weight in zip(values, weights):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, more, count = blocks.pop()
            last = blocks[-1]
            last[0] = (last[0] * last[1] + mean * more) / (last[1] + more)
            last[1] += more
            last[2] += count
    return [mean for mean, _, count in blocks for _ in range(int(count))]


def _set_columns(boxes: list[Box], by_layer: list[list[int]]) -> float:
    """Chooses x: the layers side by side, further apart where lines are steep."""
    right = 0.0
    for number, layer in enumerate(by_layer):
        if number:
            climbs = [
                abs(boxes[box].y - boxes[n].y) for box in layer for n in boxes[box].neighbours[0]
            ]
            right += min(max(24.0, 0.3 * max(climbs, default=0.0)), 100.0)
        width = max((boxes[box].width for box in layer), default=0.0)
        for box in layer:
            boxes[box].x = right + (boxes[box].width if boxes[box].turns else width) / 2
        right += width
    return right
