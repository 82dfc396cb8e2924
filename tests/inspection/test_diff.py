"""The first string that two graphs weigh differently, against enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import random_machine, string_weights

from wfst_entropy import (
    Fsa,
    LogSemiring,
    RaggedTensor,
    SymbolTable,
    TropicalSemiring,
    arc_sort,
    diff,
    linear_fsa,
)
from wfst_entropy.fsa import FsaRuntimeError, FsaTypeError, FsaValueError


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("semiring", ["tropical", "log"])
def test_the_first_difference_is_the_one_that_enumeration_finds(seed, semiring):
    rng = np.random.default_rng(seed)
    a = random_machine(
        rng, num_states=5, num_arcs=9, num_labels=3, epsilon_rate=0.2, cyclic=False,
    )  # fmt: skip
    scores = a.scores.clone()
    scores[int(rng.integers(a.num_arcs))] += float(rng.integers(2))
    b = a.with_scores(scores)
    weights = [string_weights(x, 6, semiring, 3) for x in (a, b)]
    strings = sorted(weights[0].keys() | weights[1].keys(), key=lambda s: (len(s), s))
    differing = [
        s for s in strings
        if not math.isclose(weights[0][s], weights[1][s], rel_tol=1e-4, abs_tol=1e-4)
    ]  # fmt: skip
    found = diff(a, b, LogSemiring() if semiring == "log" else TropicalSemiring())
    if not differing:
        assert found is None
        return
    assert found is not None and found.labels == differing[0]
    assert found.a_weight == pytest.approx(weights[0][differing[0]], abs=1e-4)
    assert found.b_weight == pytest.approx(weights[1][differing[0]], abs=1e-4)


def test_transducers_differ_in_their_outputs():
    a = Fsa.from_str("0 1 1 7 0\n1 2 2 8 0\n2 3 -1 -1 0\n3")
    b = Fsa.from_str("0 1 1 7 0\n1 2 2 9 0\n2 3 -1 -1 0\n3")
    found = diff(a, b)
    assert (found.labels, found.outputs) in (((1, 2), (7, 8)), ((1, 2), (7, 9)))
    assert {found.a_weight, found.b_weight} == {0.0, -math.inf}
    assert diff(a, b, side="input") is None
    assert diff(a, b, side="output").labels == (7, 8)
    table = SymbolTable([("x", 7), ("y", 8), ("z", 9)])
    assert "1:x 2:y" in str(diff(a, b, aux_labels_sym=table))
    assert str(diff(a, b, side="output", aux_labels_sym=table, names=("L", "M"))) == (
        "'x y': L gives 0, M does not accept it"
    )


def test_ragged_outputs_and_epsilon_pairs():
    a = linear_fsa([1]).set_attribute_("aux_labels", RaggedTensor.from_lists([[7, 8], []]))
    b = Fsa.from_str("0 1 1 7 0\n1 2 0 0 0\n2 3 0 8 0\n3 4 -1 -1 0\n4")
    assert diff(a, b) is None
    assert diff(a, arc_sort(a)) is None


def test_weights_within_delta_are_the_same():
    a = linear_fsa([1, 2])
    b = a.with_scores(a.scores + 1e-3)
    assert diff(a, b, delta=0.1) is None
    assert diff(a, b).labels == (1, 2)
    assert "'ε'" not in str(diff(linear_fsa([]), linear_fsa([1])))
    assert str(diff(linear_fsa([]), linear_fsa([1]))).startswith("'the empty string': a gives 0")


def test_a_graph_without_a_deterministic_twin_is_given_up():
    # Two loops of different weight on one label: the ratio of their weights grows without end.
    twins = Fsa.from_str("0 1 1 0\n0 2 1 0\n1 1 2 0\n1 3 3 0\n2 2 2 1\n2 3 4 0\n3 4 -1 0\n4",
                         acceptor=True)  # fmt: skip
    with pytest.raises(FsaRuntimeError, match="max_states"):
        diff(twins, twins, max_states=1000)


def test_wrong_arguments(lattice):
    with pytest.raises(FsaTypeError, match="compare one"):
        diff(Fsa.from_fsas([lattice]), lattice)
    with pytest.raises(FsaValueError, match="'input', 'output' or 'pairs'"):
        diff(lattice, lattice, side="left")
