"""Intersection weighs every string as both operands together do, each pair of paths once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pynini
import pytest
import torch
from machine_pairs import A_THOUSAND, alike, two_machines
from oracles import assert_same_weights, from_pynini, string_weights, to_pynini

from wfst_entropy import (
    Fsa,
    FsaError,
    TropicalSemiring,
    connect,
    get_tot_scores,
    intersect,
)
from wfst_entropy.fsa import RaggedTensor

GOLDEN = Path(__file__).parents[1] / "golden" / "k2"


def together(a, b, semiring, max_length=6):
    x, y = (string_weights(fsa, max_length, semiring, 2) for fsa in (a, b))
    return {string: x[string] + y[string] for string in x.keys() & y.keys()}


@A_THOUSAND
def test_a_thousand_machines_as_openfst(seeds):
    strings = 0
    for seed in seeds:
        a, b = two_machines(seed)
        both = intersect(a, b)
        semiring = ("log", "tropical")[seed % 2]
        theirs = pynini.intersect(
            to_pynini(a, semiring).arcsort("olabel"), to_pynini(b, semiring).arcsort("ilabel")
        )
        weights = string_weights(both, 6, semiring, 2)
        assert_same_weights(weights, string_weights(from_pynini(theirs), 6, semiring, 2))
        assert both.num_states == 0 or both.properties.connected
        strings += len(weights)
    assert strings > 1500


def test_every_string_has_the_weight_of_both():
    for seed in range(1000, 1100):
        a, b = two_machines(seed)
        for semiring in ("log", "tropical"):
            weights = string_weights(intersect(a, b), 5, semiring, 2)
            assert_same_weights(weights, together(a, b, semiring, 5), 1e-9)


def test_epsilon_as_a_symbol():
    for seed in range(200):
        a, b = two_machines(seed)

        def renamed(fsa):
            """With 3 for 0."""
            arcs = fsa.arcs.clone()
            arcs[arcs[:, 2] == 0, 2] = 3
            return Fsa(fsa.shape, arcs, fsa.scores)

        plain = intersect(a, b, treat_epsilons_specially=False)
        expected = intersect(renamed(a), renamed(b))
        weights = string_weights(renamed(plain), 4, "log", 3)
        assert_same_weights(weights, string_weights(expected, 4, "log", 3), 1e-9)


def golden_fsa(case, dtype=torch.float32):
    scores = torch.tensor(case["scores"], dtype=dtype, requires_grad=True)
    return Fsa.from_arcs(case["arcs"], scores, case["num_states"])


@pytest.mark.parametrize("case", json.loads((GOLDEN / "intersect.json").read_text()))
def test_k2_counts_epsilons_in_every_order(case):
    a, b = golden_fsa(case["a"]), golden_fsa(case["b"])
    both = intersect(a, b, epsilon_filter="interleave")
    total = get_tot_scores(both)
    grad_a, grad_b = torch.autograd.grad(total.sum(), (a.scores, b.scores))
    close = {"rtol": 2e-4, "atol": 2e-4}
    torch.testing.assert_close(total.double(), torch.tensor(case["tot_log"]).double(), **close)
    best = get_tot_scores(both, TropicalSemiring()).double()
    torch.testing.assert_close(best, torch.tensor(case["tot_tropical"]).double(), **close)
    torch.testing.assert_close(grad_a, torch.tensor(case["grad_a"]), **close)
    torch.testing.assert_close(grad_b, torch.tensor(case["grad_b"]), **close)


def test_a_pair_of_paths_is_counted_once():
    # One path each, with two epsilons each: 6 orders, one of which counts.
    a = Fsa.from_str("0 1 0 -1\n1 2 0 -1\n2 3 -1 0\n3", acceptor=True)
    once, six = intersect(a, a), intersect(a, a, epsilon_filter="interleave")
    assert get_tot_scores(once).tolist() == pytest.approx([-4])
    assert get_tot_scores(six).tolist() == pytest.approx([-4 + np.log(6)])


@pytest.mark.parametrize("width", [3, 40])
def test_parallel_arcs_in_long_and_short_states(width):
    """Labels are looked up where one state has far more arcs, else both are read side by side."""
    rng = np.random.default_rng(width)

    def fan(num_arcs, labels):
        arcs = [[0, 1, int(rng.choice(labels))] for _ in range(num_arcs)] + [[1, 2, -1]]
        scores = torch.from_numpy(rng.normal(size=num_arcs + 1))
        return Fsa.from_arcs(arcs, scores)

    for _ in range(20):
        few, many = fan(3, [1, 2, 7, 50]), fan(width, range(60))
        for a, b in ((few, many), (many, few)):
            x, y = (string_weights(fsa, 1, "log", 60) for fsa in (a, b))
            expected = {string: x[string] + y[string] for string in x.keys() & y.keys()}
            assert_same_weights(string_weights(intersect(a, b), 1, "log", 60), expected, 1e-9)


def test_scores_labels_and_attributes_follow_the_arc_maps():
    for seed in range(50):
        a, b = two_machines(seed)
        a.set_attribute_("weight", torch.arange(a.num_arcs).double())
        b.set_attribute_("weight", torch.arange(b.num_arcs).double() + 1)
        for fsa, name in ((a, "left"), (b, "right"), (a, "tag"), (b, "tag")):
            fsa.set_attribute_(name, torch.arange(fsa.num_arcs) + 100)
        both, a_map, b_map = intersect(a, b, ret_arc_maps=True)
        assert a_map.dtype == b_map.dtype == torch.int64
        from_a, from_b = a_map >= 0, b_map >= 0
        assert bool((from_a | from_b).all())
        padded_a, padded_b = (torch.cat([f.scores, f.scores.new_zeros(1)]) for f in (a, b))
        assert torch.equal(both.scores, padded_a[a_map] + padded_b[b_map])
        assert torch.equal(both.labels[from_a], a.labels[a_map[from_a]])
        assert torch.equal(both.labels[from_b], b.labels[b_map[from_b]])
        assert both.weight.tolist() == (a_map.clamp(min=0) + (b_map + 1)).tolist()
        assert both.left.tolist() == torch.where(from_a, a_map + 100, 0).tolist()
        assert both.right.tolist() == torch.where(from_b, b_map + 100, 0).tolist()
        assert both.tag.tolist() == torch.where(from_a, a_map + 100, b_map + 100).tolist()


def test_ragged_and_other_attributes():
    a = Fsa.from_str("0 1 0 0\n1 2 -1 0\n2", acceptor=True)
    a.set_attribute_("words", RaggedTensor.from_lists([[4, 5], []], torch.int32))
    b = Fsa.from_str("0 1 0 0\n1 2 -1 0\n2", acceptor=True).set_attribute_("source", "toy")
    both = intersect(a, b)
    assert both.words.tolist() == [[4, 5], [], []] and both.source == "toy"


def test_gradients():
    tried = 0
    for seed in range(24):
        a, b = two_machines(seed)
        if intersect(a, b).num_states < 4:
            continue
        tried += 1

        def total(x, y, a=a, b=b):
            return get_tot_scores(intersect(a.with_scores(x), b.with_scores(y)))

        scores = [f.scores.clone().requires_grad_(True) for f in (a, b)]
        assert torch.autograd.gradcheck(total, scores)
    assert tried > 4


def test_vectors_are_each_pair_alone():
    pairs = [two_machines(seed) for seed in range(12)]
    for i, (a, b) in enumerate(pairs):
        a.set_attribute_("tag", torch.arange(a.num_arcs) + 100 * i)
        b.set_attribute_("mark", torch.arange(b.num_arcs) + 100 * i)
    a_vec, b_vec = (Fsa.from_fsas(list(side)) for side in zip(*pairs))
    assert all(alike(x, intersect(a, b)) for x, (a, b) in zip(intersect(a_vec, b_vec), pairs))
    one = pairs[1][1]
    for other in (one, Fsa.from_fsas([one])):
        assert all(alike(x, intersect(a, one)) for x, a in zip(intersect(a_vec, other), a_vec))
        assert all(alike(x, intersect(one, a)) for x, a in zip(intersect(other, a_vec), a_vec))
    assert intersect(one, one).num_axes == 2 and intersect(Fsa.from_fsas([one]), one).num_axes == 3
    assert intersect(a_vec[:0], b_vec[:0]).num_fsas == 0


def test_without_connecting_dead_ends_stay():
    for seed in range(50):
        a, b = two_machines(seed)
        everything = intersect(a, b, connect=False)
        assert alike(connect(everything), intersect(a, b))
    a = Fsa.from_str("0 1 1 0\n1 2 -1 0\n2", acceptor=True)
    b = Fsa.from_str("0 1 1 0\n1 2 2 0\n2 3 -1 0\n3", acceptor=True)
    assert intersect(a, b, connect=False).num_states == 3 and intersect(a, b).num_states == 0


def test_the_smallest_graphs():
    word = Fsa.from_str("0 1 1 0\n1 2 -1 0\n2", acceptor=True)
    nothing, empty = Fsa.from_arcs([], num_states=0), Fsa.from_arcs([[0, 1, -1]])
    for a, b in ((nothing, word), (word, nothing), (nothing, nothing), (empty, word)):
        assert intersect(a, b).num_states == intersect(a, b).num_arcs == 0
    assert alike(intersect(empty, empty), empty)


def test_operands_stay_as_they_are_and_dtypes_join():
    a, b = two_machines(1)
    copies = [f.arcs.clone() for f in (a, b)] + [f.scores.clone() for f in (a, b)]
    assert intersect(a, b).scores.dtype == torch.float64
    assert intersect(a, b.with_scores(b.scores.float())).scores.dtype == torch.float64
    floats = [f.with_scores(f.scores.float()) for f in (a, b)]
    assert intersect(*floats).scores.dtype == torch.float32
    assert all(torch.equal(x, y) for x, y in zip(copies, (a.arcs, b.arcs, a.scores, b.scores)))


def test_messages():
    a, _ = two_machines(1)
    vector = Fsa.from_fsas([a, a])
    with pytest.raises(FsaError, match="b_fsa must be an Fsa, got list"):
        intersect(a, [])
    with pytest.raises(FsaError, match="a_fsa has 2 FSAs and b_fsa 3"):
        intersect(vector, Fsa.from_fsas([a, a, a]))
    with pytest.raises(FsaError, match="'sequence' or 'interleave', got 'match'"):
        intersect(a, a, epsilon_filter="match")
    fan = Fsa.from_arcs([[0, 0, 1]] * 100 + [[0, 1, -1]])
    with pytest.raises(FsaError, match=r"intersect: the result outgrows max_arcs=5000.*raise"):
        intersect(fan, fan, max_arcs=5000)
    ring = Fsa.from_arcs([[i, (i + 1) % 97, 1] for i in range(97)] + [[97, 98, -1]], num_states=99)
    other = Fsa.from_arcs([[i, (i + 1) % 89, 1] for i in range(89)] + [[89, 90, -1]], num_states=91)
    with pytest.raises(FsaError, match="intersect: the result outgrows max_states=8000"):
        intersect(ring, other, max_states=8000)


_ENDLESS = """
import torch
from wfst_entropy import Fsa, compose

def ring(size):
    state = torch.arange(size)
    arcs = torch.stack([state, (state + 1) % size, torch.ones_like(state)], 1)
    return Fsa.from_arcs(arcs, num_states=size + 1)

a, b = ring(32749), ring(32719)
print("ready", flush=True)
compose(a, b, max_states=2**31)
"""


@pytest.mark.slow
def test_ctrl_c_stops_a_huge_composition():
    """Rings of two primes have a thousand million pairs; without the signal this takes minutes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert "KeyboardInterrupt: compose: interrupted, with" in errors, errors
