"""All paths of a graph that a transducer with one label per frame can take, one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa

# The log-probabilities (C,) of a frame after a context.
Emission = Callable[[int, tuple[int, ...]], Tensor]


class Path(NamedTuple):
    labels: tuple[int, ...]  # one for each frame, 0 for blank
    arcs: tuple[int, ...]  # of the graph, those without a frame included; -1 for a blank of none


def all_paths(
    graph: Fsa, emission: Emission, num_frames: int, history: int, silent: int | None = 0
) -> dict[Path, float]:
    """Every path with its score."""
    arcs = graph.arcs.tolist()
    leaving: dict[int, list[int]] = {}
    for number, (src, _, _) in enumerate(arcs):
        leaving.setdefault(src, []).append(number)
    weights = graph.scores.double().tolist()
    found: dict[Path, float] = {}

    def silent_ways(state: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        yield state, ()
        for number in leaving.get(state, ()):
            if arcs[number][2] == silent:
                for end, rest in silent_ways(arcs[number][1]):
                    yield end, (number, *rest)

    def go(state: int, context: tuple[int, ...], path: Path, score: float) -> None:
        frame = len(path.labels)
        log_probs = emission(frame, context).double() if frame < num_frames else None
        if log_probs is not None:
            go(
                state,
                context,
                Path((*path.labels, 0), (*path.arcs, -1)),
                score + float(log_probs[0]),
            )
        for before, way in silent_ways(state):
            for number in leaving.get(before, ()):
                label = arcs[number][2]
                taken = (*path.arcs, *way, number)
                total = score + sum(weights[a] for a in (*way, number))
                if label == -1 and log_probs is None:
                    found[Path(path.labels, taken)] = total
                elif label not in (-1, silent) and log_probs is not None:
                    after = context if label == 0 else (*context, label)[-history:]
                    go(
                        arcs[number][1],
                        after,
                        Path((*path.labels, label), taken),
                        total + float(log_probs[label]),
                    )

    if graph.num_states:
        go(0, (0,) * history, Path((), ()), 0.0)
    return found


def paths_of_lattice(lattice: Fsa, vocab_size: int) -> dict[Path, float]:
    """Every path of a lattice whose attribute `arc` numbers the arcs of the graph, -1 for none."""
    arcs, sources = lattice.arcs.tolist(), lattice.arc.tolist()
    scores = lattice.scores.double().tolist()
    leaving: dict[int, list[int]] = {}
    for number, (src, _, _) in enumerate(arcs):
        leaving.setdefault(src, []).append(number)
    found: dict[Path, float] = {}

    def go(state: int, path: Path, score: float) -> None:
        for number in leaving.get(state, ()):
            _, dst, label = arcs[number]
            taken = (*path.arcs, sources[number])
            total = score + scores[number]
            if label == -1:
                whole = Path(path.labels, taken)
                assert whole not in found, f"twice in the lattice: {whole}"
                found[whole] = total
            else:
                emits = label != vocab_size
                go(dst, Path((*path.labels, label) if emits else path.labels, taken), total)

    if lattice.num_states:
        go(0, Path((), ()), 0.0)
    return found


def numbered(graph: Fsa) -> Fsa:
    """The same with the numbers of arcs as an attribute that lattices take over."""
    graph = graph.clone()
    graph.set_attribute_("arc", torch.arange(graph.num_arcs)).set_attribute_("arc_filler", -1)
    return graph


def random_graph(seed: int, num_labels: int = 2, num_states: int = 4) -> Fsa:
    """With loops and parallel arcs, and arcs labelled 0 that only lead to larger states."""
    draw = random.Random(seed)
    arcs = []
    for state in range(num_states):
        for _ in range(draw.randint(1, 3)):
            label = draw.randint(0, num_labels)
            low = state + 1 if label == 0 else 0
            if low < num_states:
                arcs.append((state, draw.randrange(low, num_states), label))
        if draw.random() < 0.5 or state == num_states - 1:
            arcs.append((state, num_states, -1))
    scores = torch.tensor([draw.uniform(-2, 0.5) for _ in arcs], dtype=torch.float64)
    return Fsa.from_arcs(arcs, scores, num_states=num_states + 1)
