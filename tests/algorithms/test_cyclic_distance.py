"""Distances on graphs with cycles: matrix inverses, OpenFst, series, and what diverges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import random_machine, to_pynini

from wfst_entropy.algorithms import (
    get_arc_post,
    get_backward_scores,
    get_forward_scores,
    get_tot_scores,
    path_entropy,
    shortest_distance,
)
from wfst_entropy.algorithms.components import find_components
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalCovarianceSemiring,
    ConditionalEntropySemiring,
    ConditionalExpectationSemiring,
    ConditionalKLSemiring,
    CountingSemiring,
    ExpectationSemiring,
    KBestTropicalSemiring,
    LogEntropySemiring,
    LogReverseKLSemiring,
    LogSemiring,
    ProductSemiring,
    RealSemiring,
    SecondOrderExpectationSemiring,
    Semiring,
    TropicalSemiring,
    map_slots,
)

INF = float("inf")

SEMIRINGS = [
    LogSemiring(),
    TropicalSemiring(),
    RealSemiring(),
    LogEntropySemiring(),
    ConditionalEntropySemiring(),
    LogReverseKLSemiring(),
    ConditionalKLSemiring(),
    ExpectationSemiring(),
    SecondOrderExpectationSemiring(),
    ConditionalExpectationSemiring(),
    ConditionalCovarianceSemiring(),
    KBestTropicalSemiring(3),
    ProductSemiring(TropicalSemiring(), LogSemiring()),
]
every = pytest.mark.parametrize("semiring", SEMIRINGS, ids=repr)


def machine(seed: int, **options) -> Fsa:
    options = {"num_states": 7, "num_arcs": 16, **options}
    return random_machine(np.random.default_rng(seed), **options)


def slots(value):
    return value if isinstance(value, tuple) else (value,)


def same(got, expected, tolerance=1e-9):
    assert len(slots(got)) == len(slots(expected))
    for x, y in zip(slots(got), slots(expected)):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def scores_for(semiring, scores):
    if isinstance(semiring, (LogReverseKLSemiring, ConditionalKLSemiring)):
        return scores, scores * 1.2 - 0.1
    if isinstance(semiring, (ExpectationSemiring, ConditionalExpectationSemiring)):
        return scores, scores.detach().sin()
    if isinstance(semiring, (SecondOrderExpectationSemiring, ConditionalCovarianceSemiring)):
        return scores, scores.detach().sin(), scores.detach().cos()
    return scores


def series(fsa: Fsa, semiring: Semiring, scores, rounds: int):
    """Distances summed over paths by their length: every state, one more arc each round."""
    weights = semiring.convert(scores)
    source, destination = fsa.src_states(), fsa.dst_states()
    order = destination.argsort(stable=True)
    total = semiring.zero((fsa.num_states,), torch.float64)
    one = semiring.one((1,), torch.float64)
    power = map_slots(lambda z, o: torch.cat([o, z[1:]]), total, one)
    for _ in range(rounds):
        total = semiring.plus(total, power)
        sent = semiring.times(map_slots(lambda p: p[source], power), weights)
        power = semiring.segment_sum(
            map_slots(lambda s: s[order], sent), destination[order], fsa.num_states
        )
    return total


@every
@pytest.mark.parametrize("seed", range(2))
def test_a_total_is_the_limit_of_the_sum_over_ever_longer_paths(semiring, seed):
    fsa = machine(seed)
    assert not fsa.properties.acyclic
    scores = scores_for(semiring, fsa.scores - 0.4)
    forward = shortest_distance(fsa, semiring, scores=scores)
    same(forward, series(fsa, semiring, scores, 120))
    total = get_tot_scores(fsa, semiring, scores=scores)
    same(total, map_slots(lambda v: v[-1:], forward))
    backward = shortest_distance(fsa, semiring, scores=scores, reverse=True)
    same(total, map_slots(lambda v: v[:1], backward))


@pytest.mark.parametrize("seed", range(6))
def test_log_distances_are_rows_of_an_inverse(seed):
    fsas = [machine(100 * seed + i, num_states=4 + i) for i in range(4)]
    vector = Fsa.from_fsas(fsas).requires_grad_()
    forward = get_forward_scores(vector).split([f.num_states for f in fsas])
    backward = get_backward_scores(vector).split([f.num_states for f in fsas])
    posteriors = get_arc_post(vector).split([f.num_arcs for f in fsas])
    total = get_tot_scores(vector)
    (gradient,) = torch.autograd.grad(total[total.isfinite()].sum(), vector.scores)
    for i, fsa in enumerate(fsas):
        n = fsa.num_states
        matrix = torch.zeros(n, n, dtype=torch.float64)
        index = (fsa.src_states(), fsa.dst_states())
        matrix.index_put_(index, fsa.scores.exp(), accumulate=True)
        inverse = torch.linalg.inv(torch.eye(n, dtype=torch.float64) - matrix)
        torch.testing.assert_close(forward[i].exp(), inverse[0])
        torch.testing.assert_close(backward[i].exp(), inverse[:, -1])
        torch.testing.assert_close(total[i].exp(), inverse[0, -1])
        if not inverse[0, -1] > 0:
            continue
        # The expected number of passes over an arc may exceed one.
        passes = inverse[0, index[0]] * fsa.scores.exp() * inverse[index[1], -1] / inverse[0, -1]
        torch.testing.assert_close(posteriors[i].exp(), passes)
        torch.testing.assert_close(gradient.split([f.num_arcs for f in fsas])[i], passes)


@every
def test_a_vector_is_its_members(semiring):
    fsas = [machine(seed, num_states=3 + seed % 5) for seed in range(40, 45)]
    fsas.insert(3, Fsa.from_arcs([], torch.zeros(0, dtype=torch.float64)))
    for function in (get_tot_scores, get_forward_scores, get_backward_scores):
        together = function(
            vector := Fsa.from_fsas(fsas),
            semiring,
            scores=scores_for(semiring, vector.scores - 0.3),
        )
        alone = [function(f, semiring, scores=scores_for(semiring, f.scores - 0.3)) for f in fsas]
        same(together, map_slots(lambda *v: torch.cat(v), *alone))


@pytest.mark.parametrize(
    "semiring",
    [s for s in SEMIRINGS if not isinstance(s, (TropicalSemiring, ProductSemiring))],
    ids=repr,
)
def test_gradients(semiring):
    fsa = machine(3, num_states=4, num_arcs=8)
    assert not fsa.properties.acyclic
    values = [fsa.scores.sin(), fsa.scores.cos()]
    extra = {ExpectationSemiring: 1, ConditionalExpectationSemiring: 1}
    extra |= {SecondOrderExpectationSemiring: 2, ConditionalCovarianceSemiring: 2}
    count = extra.get(type(semiring), 0)

    def function(scores, *values):
        parts = (scores, *values) if values else scores_for(semiring, scores)
        value = get_tot_scores(fsa, semiring, scores=parts)
        return tuple(slot[slot.isfinite()] for slot in slots(value))

    inputs = [x.clone().requires_grad_() for x in (fsa.scores - 0.3, *values[:count])]
    assert function(*inputs)[0].numel() == 1
    assert torch.autograd.gradcheck(function, inputs)
    if not isinstance(semiring, KBestTropicalSemiring):
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("kind", ["log", "tropical"])
def test_openfst_agrees(kind):
    pynini = pytest.importorskip("pynini")
    semiring = LogSemiring() if kind == "log" else TropicalSemiring()
    fsas = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        states, arcs = int(rng.integers(3, 9)), int(rng.integers(4, 22))
        cyclic = seed % 4 > 0
        fsas.append(random_machine(rng, num_states=states, num_arcs=arcs, cyclic=cyclic))
    vector = Fsa.from_fsas(fsas)
    for reverse in (False, True):
        ours = shortest_distance(vector, semiring, reverse=reverse)
        for fsa, distance in zip(fsas, ours.split([f.num_states for f in fsas])):
            twin = to_pynini(fsa, kind)
            theirs = pynini.shortestdistance(twin, reverse=reverse, delta=1e-9)
            theirs = [-float(w) for w in theirs] + [-INF] * fsa.num_states
            for state, value in enumerate(distance.tolist()[:-1]):
                assert value == pytest.approx(theirs[state], abs=1e-4), (state, reverse)


def test_zero_score_cycles_are_fine_in_the_tropical_semiring():
    arcs = [[0, 1, 1], [1, 2, 2], [2, 1, 3], [2, 3, -1]]
    fsa = Fsa.from_arcs(arcs, torch.tensor([-1.0, 0.3, -0.3, -2.0])).requires_grad_()
    total = get_tot_scores(fsa, TropicalSemiring())
    assert total.item() == pytest.approx(-2.7)
    assert torch.autograd.grad(total, fsa.scores)[0].tolist() == [1, 1, 0, 1]
    # Three terms that cancel on paper, but not in binary.
    ring = [[0, 1, 1], [1, 2, 2], [2, 0, 3], [2, 3, -1]]
    for scores in ([0.1, 0.2, -0.3, 0.0], [-0.1, -0.2, 0.3, 0.0], [7.7, -8.8, 1.1, 0.0]):
        for dtype in (torch.float32, torch.float64):
            fsa = Fsa.from_arcs(ring, torch.tensor(scores, dtype=dtype)).requires_grad_()
            total = get_tot_scores(fsa, TropicalSemiring())
            assert total.item() == pytest.approx(scores[0] + scores[1], abs=1e-5)
            assert torch.autograd.grad(total, fsa.scores)[0].tolist() == [1, 1, 0, 1]


def cycle_of(error: str) -> tuple[list[str], list[str], float]:
    states, rest = error.split("cycle of states ")[1].split(" (", 1)
    labels, rest = rest.split("; score ")
    return states.split(" -> "), labels.split()[1:], float(rest.split(")")[0])


def test_divergence_names_states_labels_and_score():
    arcs = [[0, 1, 1], [1, 2, 4], [1, 3, 9], [2, 1, 5], [2, 2, 6], [3, 4, -1]]
    scores = torch.tensor([0.0, -1.0, 0.0, 1.5, -9.0, 0.0])
    fsa = Fsa.from_fsas([Fsa.from_arcs([[0, 1, -1]]), Fsa.from_arcs(arcs, scores)])
    for semiring in (LogSemiring(), TropicalSemiring(), KBestTropicalSemiring(2)):
        with pytest.raises(CyclicFsaError, match=r"FSA 1 has .* lower the scores") as caught:
            get_tot_scores(fsa, semiring)
        states, labels, score = cycle_of(str(caught.value))
        assert (states, labels) in ((["1", "2", "1"], ["4", "5"]), (["2", "1", "2"], ["5", "4"]))
        assert score == pytest.approx(0.5)


def test_cycles_that_diverge_only_together_are_named_by_the_heaviest():
    arcs = [[0, 0, 7], [0, 0, 8], [0, 0, 9], [0, 1, -1]]
    fsa = Fsa.from_arcs(arcs, torch.tensor([0.3, 0.6, 0.2, 1.0]).log())
    with pytest.raises(CyclicFsaError) as caught:
        get_tot_scores(fsa)
    assert cycle_of(str(caught.value)) == (
        ["0", "0"],
        ["8"],
        pytest.approx(math.log(0.6), abs=1e-5),
    )
    assert get_tot_scores(fsa, TropicalSemiring()).item() == 0
    fine = fsa.with_scores(torch.tensor([0.3, 0.3, 0.2, 1.0]).log())
    assert get_tot_scores(fine).exp().item() == pytest.approx(5)


def test_the_model_that_diverges_is_the_one_whose_cycle_is_named():
    arcs = [[0, 1, 1], [1, 0, 2], [1, 1, 3], [1, 2, -1]]
    student = torch.tensor([-1.0, -INF, -1.0, 0.0])
    for semiring in (ConditionalKLSemiring(), LogReverseKLSemiring()):
        scores = (student, torch.tensor([0.0, 0.0, -INF, 0.0]))
        with pytest.raises(CyclicFsaError) as caught:
            get_tot_scores(Fsa.from_arcs(arcs), semiring, scores=scores)
        states, labels, score = cycle_of(str(caught.value))
        assert sorted(states[1:]) == ["0", "1"] and sorted(labels) == ["1", "2"]
        assert score == 0


def test_a_semiring_without_star_says_so():
    class Max(Semiring):
        zero_element, one_element = (-INF,), (0.0,)

        def plus(self, a, b):
            return torch.maximum(a, b)

        def times(self, a, b):
            return a + b

        def convert(self, log_weights):
            return log_weights

    with pytest.raises(CyclicFsaError, match=r"FSA 0 has the cycle .*Max\(\) has no star"):
        get_tot_scores(machine(0), Max())
    with pytest.raises(CyclicFsaError, match=r"no finite total in CountingSemiring\(\)"):
        get_tot_scores(machine(0), CountingSemiring())


def test_cycles_that_no_total_needs_are_left_alone():
    # State 1 is behind a dead end and state 2 out of reach; both loops diverge.
    arcs = [[0, 1, 1], [0, 3, 2], [1, 1, 1], [2, 2, 1], [2, 3, 1], [3, 4, -1]]
    scores = torch.tensor([0.0, -1.0, 5.0, 5.0, 0.0, -2.0], dtype=torch.float64)
    fsa = Fsa.from_arcs(arcs, scores).requires_grad_()
    for semiring in (LogSemiring(), TropicalSemiring()):
        total = get_tot_scores(fsa, semiring)
        assert total.item() == -3
        assert torch.autograd.grad(total, fsa.scores)[0].tolist() == [0, 1, 0, 0, 0, 1]
        assert get_arc_post(fsa, semiring).tolist() == [-INF, 0, -INF, -INF, -INF, 0]
    with pytest.raises(CyclicFsaError, match="states 1 -> 1"):
        get_forward_scores(fsa)
    with pytest.raises(CyclicFsaError, match="states 2 -> 2"):
        get_backward_scores(fsa)


def test_a_cycle_without_mass_is_no_cycle():
    arcs = [[0, 1, 1], [1, 1, 1], [1, 2, -1]]
    fsa = Fsa.from_arcs(arcs, torch.tensor([-1.0, -INF, -2.0])).requires_grad_()
    total = get_tot_scores(fsa)
    assert total.item() == -3
    assert torch.autograd.grad(total, fsa.scores)[0].tolist() == [1, 0, 1]
    assert path_entropy(fsa).item() == 0
    assert get_tot_scores(fsa, CountingSemiring()).item() == 1


def test_entropy_of_a_geometric_number_of_passes():
    p = 0.25
    fsa = Fsa.from_arcs(
        [[0, 0, 1], [0, 1, -1]], torch.tensor([p, 1 - p], dtype=torch.float64).log()
    )
    expected = -(p * math.log(p) + (1 - p) * math.log(1 - p)) / (1 - p)
    assert path_entropy(fsa).item() == pytest.approx(expected, abs=1e-12)


def test_a_component_too_large_for_torch_says_so():
    ring = [[s, (s + 1) % 500, 1] for s in range(500)]
    fsa = Fsa.from_arcs([*ring[:-1], [499, 0, 1], [499, 500, -1]], torch.full((501,), -1.0))
    with pytest.raises(FsaValueError, match="component of 500 states, too many for RealSemiring"):
        get_tot_scores(fsa, RealSemiring())


@pytest.mark.parametrize("seed", range(20))
def test_components_are_the_classes_of_mutual_reachability(seed):
    fsa = machine(seed, num_states=9, num_arcs=int(np.random.default_rng(seed).integers(3, 20)))
    source, destination = fsa.src_states(), fsa.dst_states()
    found = find_components(source, destination, fsa.num_states)
    reaches = torch.zeros(9, 9, dtype=torch.bool)
    reaches[source, destination] = True
    for k in range(9):
        reaches |= reaches[:, k, None] & reaches[None, k]
    mutual = (reaches & reaches.T) | torch.eye(9, dtype=torch.bool)
    assert torch.equal(found.component[:, None] == found.component, mutual)
    assert torch.equal(found.cyclic[found.component], reaches.diagonal())
    between = ~mutual[source, destination]
    assert bool((found.level[source] < found.level[destination])[between].all())
