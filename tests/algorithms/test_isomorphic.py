"""Isomorphism: renumbered states, near scores, symmetric graphs, against all permutations."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
import torch
from oracles import random_machine

from wfst_entropy import Fsa, FsaError, RaggedTensor, isomorphic


def renumbered(fsa, order, shuffle=None):
    order = torch.tensor([0, *order, fsa.num_states - 1], dtype=torch.int32)
    arcs = fsa.arcs.clone()
    arcs[:, :2] = order[arcs[:, :2].long()]
    shuffle = torch.arange(fsa.num_arcs) if shuffle is None else shuffle
    pick = shuffle[arcs[shuffle, 0].argsort(stable=True)]
    return Fsa.from_arcs(
        arcs[pick], fsa.scores[pick], fsa.num_states, **fsa.select_attributes(pick)
    )


def rows(fsa):
    return sorted(zip(fsa.arcs.tolist(), fsa.aux_labels.tolist(), fsa.scores.tolist(), strict=True))


def test_against_all_permutations():
    rng, answers = np.random.default_rng(0), []
    for i in range(150):
        draw = {"num_states": 4, "num_arcs": 4, "num_labels": 1, "epsilon_rate": 0.1}
        fst, other = (
            random_machine(rng, transducer=True, score_range=(-2, -2), **draw) for _ in range(2)
        )
        if i % 2:
            other = renumbered(fst, rng.permutation([1, 2]), torch.from_numpy(rng.permutation(4)))
        expected = any(
            rows(renumbered(fst, order)) == rows(other) for order in itertools.permutations([1, 2])
        )
        assert isomorphic(fst, other) == expected
        answers.append(expected)
    assert 75 <= sum(answers) < 140


def test_scores_may_be_near():
    fsa = Fsa.from_str("0 1 1 0.5\n0 1 1 0.7\n1 2 -1 0\n2", acceptor=True)
    near = Fsa.from_str("0 1 1 0.7005\n0 1 1 0.5004\n1 2 -1 0\n2", acceptor=True)
    assert isomorphic(fsa, near) and not isomorphic(fsa, near, delta=1e-4)


def test_twins_are_tried():
    """Ten states alike, two by two."""
    arcs = [[0, i, 1] for i in range(1, 11)]
    arcs += [[i, i + 1 if i % 2 else i - 1, 2] for i in range(1, 11)]
    arcs += [[i, 11, -1] for i in range(1, 11)]
    arcs.sort(key=lambda arc: arc[0])
    fsa = Fsa.from_arcs(arcs)
    assert isomorphic(fsa, renumbered(fsa, np.random.default_rng(0).permutation(range(1, 11))))
    crossed = [[s, {1: 2, 2: 3, 3: 1}.get(s, d) if i == 2 else d, i] for s, d, i in arcs]
    assert not isomorphic(fsa, Fsa.from_arcs(crossed))


def test_output_lists_vectors_and_sizes():
    fst = Fsa.from_str("0 1 1 7 0.5\n1 2 -1 -1 0\n2", num_aux_labels=1)
    lists = RaggedTensor.from_lists([[7], []], dtype=torch.int32)
    ragged = fst.clone().set_attribute_("aux_labels", lists)
    assert isomorphic(fst, ragged)
    assert not isomorphic(fst, Fsa.from_str("0 1 1 0.5\n1 2 -1 0\n2", acceptor=True))
    assert isomorphic(Fsa.from_fsas([fst, fst]), Fsa.from_fsas([fst, fst]))
    assert not isomorphic(Fsa.from_fsas([fst]), Fsa.from_fsas([fst, fst]))
    assert not isomorphic(fst, Fsa.from_fsas([fst]))
    assert isomorphic(Fsa.from_arcs([], num_states=0), Fsa.from_arcs([], num_states=0))
    assert isomorphic(Fsa.from_arcs([], num_states=2), Fsa.from_arcs([], num_states=2))


def test_states_with_the_same_neighbours_are_no_choice():
    arcs = [[0, i, 1] for i in range(1, 2000)] + [[i, 2000, -1] for i in range(1, 2000)]
    assert isomorphic(Fsa.from_arcs(arcs), Fsa.from_arcs(arcs))
    assert not isomorphic(Fsa.from_arcs(arcs), Fsa.from_arcs([[0, 1, 2], *arcs[1:]]))


def test_too_many_alike(monkeypatch):
    """Fifty chains of two states: which goes with which takes more tries than allowed."""
    module = importlib.import_module("wfst_entropy.algorithms.isomorphic")
    arcs = [[0, 2 * i + 1, 1] for i in range(50)]
    for i in range(50):
        arcs += [[2 * i + 1, 2 * i + 2, 1], [2 * i + 2, 101, -1]]
    fsa = Fsa.from_arcs(arcs)
    assert isomorphic(fsa, fsa)
    monkeypatch.setattr(module, "_MAX_TRIES", 20)
    with pytest.raises(FsaError, match="so many of them alike that no answer was found in 20"):
        isomorphic(fsa, fsa)


def test_only_fsas_are_compared():
    with pytest.raises(FsaError, match="b: must be an Fsa, got str"):
        isomorphic(Fsa.from_arcs([[0, 1, -1]]), "x")
