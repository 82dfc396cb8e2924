"""Random acyclic graphs, small lattices and the list of all their paths."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa


def _paths_between(fsa: Fsa, start: int, end: int) -> list[list[int]]:
    """Every path from one state to another of a single FSA, as arc numbers, by plain search."""
    leaving: dict[int, list[tuple[int, int]]] = {}
    for arc, (source, destination, _) in enumerate(fsa.arcs.tolist()):
        leaving.setdefault(source, []).append((arc, destination))
    found, stack = [], [(start, [])]
    while stack:
        state, path = stack.pop()
        if state == end:
            found.append(path)
        stack.extend((d, [*path, arc]) for arc, d in leaving.get(state, []))
    return found


def _path_table(fsa: Fsa) -> Tensor:
    """Which arcs each successful path takes, float64 (num_paths, num_arcs)."""
    paths = _paths_between(fsa, 0, fsa.num_states - 1)
    table = torch.zeros(len(paths), fsa.num_arcs, dtype=torch.float64)
    for row, path in enumerate(paths):
        table[row, path] = 1
    return table


def _random_acyclic(seed: int, in_order: bool = False) -> Fsa:
    """2 to 7 states, parallel arcs, dead ends, unreachable states, log-weights <= 0."""
    rng = random.Random(seed)
    num_states = rng.randint(2, 7)
    inner = list(range(1, num_states - 1))
    if not in_order:
        rng.shuffle(inner)
    order = [0, *inner, num_states - 1]
    arcs = []
    for _ in range(rng.randint(1, 14)):
        i, j = sorted(rng.sample(range(num_states), 2))
        label = -1 if j == num_states - 1 else rng.randint(0, 3)
        arcs.append([order[i], order[j], label])
    arcs.sort(key=lambda arc: arc[0])
    generator = torch.Generator().manual_seed(seed)
    scores = -3 * torch.rand(len(arcs), generator=generator, dtype=torch.float64) - 0.01
    return Fsa.from_arcs(arcs, scores, num_states)


def _time_synchronous(
    log_probs: Tensor, emit: Callable[[int], int], skip: Callable[[int], bool], num_positions: int
) -> Fsa:
    num_frames = log_probs.shape[0]
    arcs, which = [], []

    def state(t: int, s: int) -> int:
        return 0 if t == 0 else 1 + (t - 1) * num_positions + s

    final = 1 + num_frames * num_positions
    for s in range(min(2, num_positions)):
        arcs.append([0, state(1, s), emit(s)])
        which.append((0, emit(s)))
    for t in range(1, num_frames):
        for s in range(num_positions):
            for step in (0, 1, 2):
                if s + step < num_positions and (step < 2 or skip(s + 2)):
                    arcs.append([state(t, s), state(t + 1, s + step), emit(s + step)])
                    which.append((t, emit(s + step)))
    for s in range(max(num_positions - 2, 0), num_positions):
        arcs.append([state(num_frames, s), final, -1])
        which.append(None)
    scores = torch.stack([log_probs.new_zeros(()) if w is None else log_probs[w] for w in which])
    return Fsa.from_arcs(arcs, scores, final + 1)


def _ctc_lattice(log_probs: Tensor, targets: list[int]) -> Fsa:
    """All CTC alignments of the targets (blank 0), log_probs (T, C), as one acyclic FSA."""
    symbols = [0]
    for target in targets:
        symbols += [target, 0]
    return _time_synchronous(
        log_probs,
        lambda s: symbols[s],
        lambda s: symbols[s] != 0 and symbols[s] != symbols[s - 2],
        len(symbols),
    )


@pytest.fixture
def paths_between() -> Callable[[Fsa, int, int], list[list[int]]]:
    return _paths_between


@pytest.fixture
def path_table() -> Callable[[Fsa], Tensor]:
    return _path_table


@pytest.fixture
def random_acyclic() -> Callable[..., Fsa]:
    return _random_acyclic


@pytest.fixture
def ctc_lattice() -> Callable[[Tensor, list[int]], Fsa]:
    return _ctc_lattice
