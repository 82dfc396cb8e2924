"""Random FSAs and the brute-force view of them, for the tests of this folder."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from wfst_entropy.fsa import Fsa, RaggedTensor


def make_random_fsa(seed: int, acyclic: bool = False, attributes: bool = True) -> Fsa:
    """A valid FSA of at most 6 states; now and then empty or without arcs."""
    rng = random.Random(seed)
    num_states = rng.choice([0, 2, 2, 3, 4, 5, 6])
    arcs = []
    for src in range(num_states - 1):
        for _ in range(rng.choice([0, 1, 2, 3])):
            dst = rng.randrange(src + 1 if acyclic else 0, num_states)
            arcs.append([src, dst, -1 if dst == num_states - 1 else rng.randrange(4)])
    scores = torch.tensor([rng.gauss(0, 3) for _ in arcs], dtype=torch.float32)
    fsa = Fsa.from_arcs(arcs, scores, num_states)
    if attributes:
        aux_labels = [-1 if label == -1 else rng.randrange(9) for _, _, label in arcs]
        fsa.set_attribute_("aux_labels", torch.tensor(aux_labels, dtype=torch.int32))
        words = [[rng.randrange(9) for _ in range(rng.randrange(3))] for _ in arcs]
        fsa.set_attribute_("words", RaggedTensor.from_lists(words))
        fsa.set_attribute_("durations", torch.rand(len(arcs), 2))
        fsa.set_attribute_("origin", "random")
    return fsa


def list_paths(fsa: Fsa) -> list[tuple[tuple[int, ...], float]]:
    """All paths of an acyclic FSA as labels (epsilons kept) and score, sorted."""
    found: list[tuple[tuple[int, ...], float]] = []
    leaving: dict[int, list[tuple[int, int, float]]] = {}
    for (src, dst, label), score in zip(fsa.arcs.tolist(), fsa.scores.tolist(), strict=True):
        leaving.setdefault(src, []).append((dst, label, score))

    def walk(state: int, labels: tuple[int, ...], total: float) -> None:
        if state == fsa.num_states - 1:
            found.append((labels, total))
        for dst, label, score in leaving.get(state, []):
            walk(dst, (*labels, label), total + score)

    if fsa.num_states:
        walk(0, (), 0.0)
    return sorted(found)


@pytest.fixture(scope="session")
def random_fsa() -> Callable[..., Fsa]:
    return make_random_fsa


@pytest.fixture(scope="session")
def paths() -> Callable[[Fsa], list[tuple[tuple[int, ...], float]]]:
    return list_paths
