"""Rational operations, sorting and relabelling against OpenFst on random machines.

Machines are rich in epsilons, and cyclic ones are among them wherever the operation terminates on
them. Every string up to length 6 (every pair up to length 3 where both sides count) must have one
weight in the log semiring.
"""

from __future__ import annotations

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

import wfst_entropy as we

pynini = pytest.importorskip("pynini")

LONGEST, LONGEST_PAIR = 6, 3


def renamed(fst):
    return fst.relabel_pairs(ipairs=[(1, 2), (2, 0)], opairs=[(1, 3)])


def coded(fst):
    mapper = pynini.EncodeMapper(fst.arc_type(), encode_labels=True, encode_weights=True)
    return fst.encode(mapper).decode(mapper)


# Operation, OpenFst's, number of operands, and what the machine must be.
ACCEPTORS = {
    "connect": (we.connect, lambda f: f.connect(), 1, {}),
    "arc_sort": (we.arc_sort, lambda f: f.arcsort("ilabel"), 1, {}),
    "top_sort": (we.top_sort, lambda f: f.topsort(), 1, {"cyclic": False}),
    "reverse": (we.reverse, pynini.reverse, 1, {}),
    "star": (we.closure, lambda f: f.closure(), 1, {}),
    "plus": (lambda f: we.closure(f, "plus"), lambda f: f.closure(1), 1, {}),
    "concat": (we.concat, lambda a, b: a.concat(b), 2, {}),
    "union": (lambda *fsas: we.union(fsas), lambda a, b, c: a.union(b, c), 3, {}),
    "input": (we.project, lambda f: f.project("input"), 1, {"transducer": True}),
    "output": (
        lambda f: we.project(f, "output"),
        lambda f: f.project("output"),
        1,
        {"transducer": True},
    ),
}
TRANSDUCERS = {
    "invert": (we.invert, lambda f: f.invert(), 1, {}),
    "relabel": (lambda f: we.relabel(f, {1: 2, 2: 0}, {1: 3}), renamed, 1, {}),
    "encode": (lambda f: we.decode(*we.encode(f, scores=True)), coded, 1, {}),
    "concat": (we.concat, lambda a, b: a.concat(b), 2, {}),
    "reverse": (we.reverse, pynini.reverse, 1, {}),
    "star": (we.closure, lambda f: f.closure(), 1, {}),
    "union": (lambda *fsas: we.union(fsas), lambda a, b, c: a.union(b, c), 3, {}),
}
CASES = [
    *(pytest.param(*case, string_weights, LONGEST, id=name) for name, case in ACCEPTORS.items()),
    *(
        pytest.param(*case, pair_weights, LONGEST_PAIR, id=f"{name}-transducer")
        for name, case in TRANSDUCERS.items()
    ),
]


def compare(operation, twin, num_operands, needs, weights, longest, num_machines):
    rng, num_strings = np.random.default_rng(0), 0
    for i in range(num_machines):
        needs = {"cyclic": i % 2 == 0, "transducer": weights is pair_weights, **needs}
        machines = [
            random_machine(rng, num_states=int(rng.integers(2, 7)), **needs)
            for _ in range(num_operands)
        ]
        ours = weights(operation(*machines), longest, "log", 3)
        theirs = from_pynini(twin(*(to_pynini(machine) for machine in machines)))
        if weights is pair_weights and "aux_labels" not in theirs.attributes:
            theirs.set_attribute_("aux_labels", theirs.labels)
        assert_same_weights(ours, weights(theirs, longest, "log", 3))
        num_strings += len(ours)
    assert num_strings > 2 * num_machines


@pytest.mark.parametrize(
    ("operation", "twin", "num_operands", "needs", "weights", "longest"), CASES
)
def test_same_weights(operation, twin, num_operands, needs, weights, longest):
    compare(operation, twin, num_operands, needs, weights, longest, num_machines=30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "twin", "num_operands", "needs", "weights", "longest"), CASES
)
def test_same_weights_on_a_thousand_machines(
    operation, twin, num_operands, needs, weights, longest
):
    compare(operation, twin, num_operands, needs, weights, longest, num_machines=1000)


def compare_grammars(num_machines):
    """Rule 9 calls rule 8, and the root both; labels 3, 4 stand for them in the machines."""
    rng, num_strings = np.random.default_rng(1), 0
    for i in range(num_machines):
        root, second = (
            we.relabel(random_machine(rng, num_labels=4, cyclic=i % 2 == 0), {3: 8, 4: 9})
            for _ in range(2)
        )
        second = we.relabel(second, {9: 1})
        first = random_machine(rng, num_arcs=8, cyclic=i % 2 == 0)
        ours = we.replace(root, {8: first, 9: second})
        rules = [(100, to_pynini(root)), (8, to_pynini(first)), (9, to_pynini(second))]
        theirs = from_pynini(pynini.replace(rules, epsilon_on_replace=True))
        expected = string_weights(theirs, LONGEST, "log", 2)
        assert_same_weights(string_weights(ours, LONGEST, "log", 2), expected)
        num_strings += len(expected)
    assert num_strings > 5 * num_machines


def test_replace():
    compare_grammars(60)


@pytest.mark.slow
def test_replace_on_a_thousand_grammars():
    compare_grammars(1000)


def random_deterministic(rng):
    """At most one arc per state and label: OpenFst's `isomorphic` wants it so."""
    arcs = [(s, int(rng.integers(3)), a) for s in range(3) for a in (1, 2) if rng.random() < 0.4]
    arcs += [(s, 3, -1) for s in range(3) if rng.random() < 0.4]
    scores = -torch.from_numpy(rng.integers(1, 3, len(arcs))).double()
    return we.Fsa.from_arcs(torch.tensor(sorted(arcs)).reshape(-1, 3), scores, 4)


def permuted(rng, fsa):
    """The same FSA with its inner states renumbered and its arcs in another order."""
    order = np.concatenate([[0], 1 + rng.permutation(fsa.num_states - 2), [fsa.num_states - 1]])
    arcs = fsa.arcs.numpy().copy()
    arcs[:, :2] = order[arcs[:, :2]]
    shuffled = rng.permutation(len(arcs))
    shuffled = shuffled[np.argsort(arcs[shuffled, 0], kind="stable")]
    return we.Fsa.from_arcs(arcs[shuffled].tolist(), fsa.scores[shuffled], fsa.num_states)


def test_isomorphic():
    rng, answers = np.random.default_rng(2), []
    for i in range(300):
        a = random_deterministic(rng)
        b = permuted(rng, a) if i % 2 else random_deterministic(rng)
        # States that nothing reaches are not looked at by OpenFst.
        a, b = we.connect(a), we.connect(b)
        theirs = pynini.isomorphic(to_pynini(a), to_pynini(b))
        assert we.isomorphic(a, b) == theirs
        answers.append(theirs)
    assert 100 < sum(answers) < 250
