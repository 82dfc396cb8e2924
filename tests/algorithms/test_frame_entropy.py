"""Frame entropies against enumeration of all paths; their sum against the path entropy."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch

from wfst_entropy.algorithms.frame_entropy import frame_entropy
from wfst_entropy.algorithms.path_entropy import path_entropy
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError


def layered(num_layers, width, generator, density=0.7):
    """A random lattice: start, layers of states, final state; some states lead nowhere."""
    arcs, layer, next_state = [], [0], 1
    for _ in range(num_layers):
        below = list(range(next_state, next_state + width))
        next_state += width
        for src in layer:
            for dst in below:
                copies = int(torch.randint(1, 3, (1,), generator=generator))  # parallel arcs too
                if torch.rand(1, generator=generator) < density:
                    arcs += [[src, dst, 1 + k] for k in range(copies)]
        layer = below
    arcs += [[src, next_state, -1] for src in layer]
    scores = 3 * torch.randn(len(arcs), generator=generator, dtype=torch.float64)
    return Fsa.from_arcs(arcs, scores, num_states=next_state + 1)


def paths(fsa):
    """All (states, log-weight), by depth-first search."""
    leaving = defaultdict(list)
    for (src, dst, _), score in zip(fsa.arcs.tolist(), fsa.scores.tolist(), strict=True):
        leaving[src].append((dst, score))
    final, found, stack = fsa.num_states - 1, [], [((0,), 0.0)]
    while stack:
        states, weight = stack.pop()
        if states[-1] == final:
            found.append((states, weight))
        stack += [((*states, dst), weight + score) for dst, score in leaving[states[-1]]]
    return found


def entropy(masses):
    return -sum(p * math.log(p) for p in masses if p > 0)


@pytest.mark.parametrize("seed", range(6))
def test_against_enumeration(seed):
    lattice = layered(4, 3, torch.Generator().manual_seed(seed))
    all_paths = paths(lattice)
    found = frame_entropy(lattice)
    if not all_paths:
        assert not found.local.any() and not found.states.any()
        return
    total = torch.tensor([w for _, w in all_paths], dtype=torch.float64).logsumexp(0).item()
    posteriors = [math.exp(w - total) for _, w in all_paths]
    assert found.local.sum().item() == pytest.approx(entropy(posteriors), abs=1e-12)
    for frame in range(5):
        at_frame = defaultdict(float)
        for (states, _), p in zip(all_paths, posteriors, strict=True):
            at_frame[states[frame + 1]] += p
        assert found.states[0, frame].item() == pytest.approx(entropy(at_frame.values()), abs=1e-12)


def test_sums_to_path_entropy_in_a_batch():
    generator = torch.Generator().manual_seed(7)
    lattices = [layered(n, 3, generator, density=1.0) for n in (6, 1, 3)]
    lattices.insert(1, Fsa.from_arcs([], num_states=0).with_scores(torch.zeros(0).double()))
    batch = frame_entropy(Fsa.from_fsas(lattices))
    torch.testing.assert_close(batch.local.sum(1), path_entropy(Fsa.from_fsas(lattices)))
    assert batch.num_frames.tolist() == [7, 0, 2, 4]
    for row, lattice in enumerate(lattices):
        alone = frame_entropy(lattice)
        n = int(alone.num_frames[0])
        torch.testing.assert_close(batch.local[row, :n], alone.local[0, :n])
        torch.testing.assert_close(batch.states[row, :n], alone.states[0, :n])
        assert not batch.local[row, n:].any() and not batch.states[row, n:].any()


def test_a_single_path_has_no_entropy_and_minus_infinity_no_mass():
    text = "0 1 1 -2.5\n0 2 2 0\n1 3 -1 0\n2 3 -1 0\n3"
    lattice = Fsa.from_str(text)
    impossible = lattice.with_scores(torch.tensor([-2.5, -torch.inf, 0.0, 0.0]))
    assert frame_entropy(impossible).local.tolist() == [[0.0, 0.0]]
    assert frame_entropy(impossible).states.tolist() == [[0.0, 0.0]]
    nothing = lattice.with_scores(torch.full((4,), -torch.inf))
    assert frame_entropy(nothing).local.tolist() == [[0.0, 0.0]]


def test_local_is_at_most_states_without_parallel_arcs():
    arcs = [
        [0, 1, 1],
        [0, 2, 2],
        [1, 3, 1],
        [1, 4, 2],
        [2, 3, 1],
        [2, 4, 2],
        [3, 5, -1],
        [4, 5, -1],
    ]
    for seed in range(5):
        scores = torch.randn(8, generator=torch.Generator().manual_seed(seed))
        found = frame_entropy(Fsa.from_arcs(arcs, scores))
        assert (found.local <= found.states + 1e-12).all()


def test_paths_of_different_length_are_refused():
    uneven = Fsa.from_str("0 1 1 0\n0 2 2 0\n1 2 3 0\n2 3 -1 0\n3")
    with pytest.raises(FsaValueError, match=r"different length meet at the end of arc \d"):
        frame_entropy(uneven)
