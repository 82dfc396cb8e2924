"""The oracle of strings' weights against plain enumeration of paths, and against OpenFst."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from oracles import (
    assert_same_weights,
    from_pynini,
    pair_weights,
    random_machine,
    string_weights,
    to_pynini,
)

from wfst_entropy.fsa import Fsa, RaggedTensor


def add(semiring, a, b):
    return np.logaddexp(a, b) if semiring == "log" else max(a, b)


def enumerated(fsa, max_length, semiring):
    """Weights of pairs from the list of all paths of an acyclic transducer."""
    weights = {}
    aux_labels = fsa.aux_labels.tolist()
    stack = [(0, (), (), 0.0)]
    while stack:
        state, inputs, outputs, score = stack.pop()
        if state == fsa.num_states - 1 and max(len(inputs), len(outputs)) <= max_length:
            pair = (inputs, outputs)
            weights[pair] = add(semiring, weights.get(pair, -math.inf), score)
        for arc in range(*fsa.shape.row_splits(1)[state : state + 2].tolist()):
            _, destination, label = fsa.arcs[arc].tolist()
            i = (label,) if label > 0 else ()
            o = (aux_labels[arc],) if aux_labels[arc] > 0 else ()
            weight = score + float(fsa.scores[arc])
            stack.append((destination, inputs + i, outputs + o, weight))
    return weights


@pytest.mark.parametrize("semiring", ["log", "tropical"])
def test_acyclic_machines_against_all_paths(semiring):
    rng, accepted = np.random.default_rng(0), 0
    for _ in range(50):
        fst = random_machine(rng, cyclic=False, transducer=True, score_range=(-3, 3))
        expected = enumerated(fst, 6, semiring)
        accepted += len(expected)
        assert_same_weights(pair_weights(fst, 6, semiring), expected, 1e-9)
        strings = {}
        for (i, _), weight in expected.items():
            strings[i] = add(semiring, strings.get(i, -math.inf), weight)
        assert_same_weights(string_weights(fst, 6, semiring), strings, 1e-9)
    assert accepted > 150


@pytest.mark.parametrize("semiring", ["log", "tropical"])
def test_cyclic_machines_against_openfst(semiring):
    """Every string composed with the machine by OpenFst, which sums epsilon cycles itself."""
    pynini = pytest.importorskip("pynini")
    kind = "log64" if semiring == "log" else "standard"
    rng = np.random.default_rng(1)
    for _ in range(20):
        fsa = random_machine(rng, epsilon_rate=0.5, score_range=(-3, 0))
        weights, twin = string_weights(fsa, 3, semiring), to_pynini(fsa, semiring)
        for string in itertools.chain(*(itertools.product((1, 2), repeat=n) for n in range(4))):
            acceptor = pynini.accep(" ".join(map(str, string)), arc_type=kind, token_type=numbers())
            both = pynini.compose(acceptor, twin)
            cost = math.inf
            if both.start() >= 0:
                distance = pynini.shortestdistance(both, reverse=True, delta=1e-9)
                cost = float(distance[both.start()])
            assert -cost == pytest.approx(weights.get(string, -math.inf), abs=1e-4)


def numbers():
    import pynini

    table = pynini.SymbolTable()
    for number in range(10):
        table.add_symbol(str(number), number)
    return table


@pytest.mark.parametrize("transducer", [False, True])
def test_there_and_back_through_openfst(transducer):
    pytest.importorskip("pynini")
    rng = np.random.default_rng(2)
    for _ in range(50):
        fst = random_machine(rng, transducer=transducer)
        back = from_pynini(to_pynini(fst, "log"))
        assert_same_weights(string_weights(back, 4), string_weights(fst, 4), 1e-6)
        if "aux_labels" in back.attributes:
            assert_same_weights(pair_weights(back, 3), pair_weights(fst, 3), 1e-6)


def test_ragged_output_labels_and_labels_on_final_arcs():
    fst = Fsa.from_str("0 1 1 -0.5\n0 2 -1 -1\n1 2 -1 -0.25\n2")
    fst.set_attribute_("aux_labels", RaggedTensor.from_lists([[2, 1], [3, -1], []]))
    assert pair_weights(fst, 2) == {((), (3,)): -1.0, ((1,), (2, 1)): -0.75}


def test_empty_and_diverging():
    assert string_weights(Fsa.from_arcs([], torch.empty(0), 0), 3) == {}
    looping = Fsa.from_str("0 0 0 0.1\n0 1 -1 0\n1")
    for semiring in ("log", "tropical"):
        with pytest.raises(AssertionError, match="cycle"):
            string_weights(looping, 2, semiring)
    with pytest.raises(AssertionError, match="string"):
        assert_same_weights({(1,): -1.0}, {(1,): -1.1})
