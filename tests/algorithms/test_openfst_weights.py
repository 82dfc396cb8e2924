"""Operations that add weights up, against OpenFst on random machines, half of them cyclic.

Every string up to length 6 must have the weight that it has in OpenFst's result, and, more
precisely than OpenFst computes, the one that it has in the operand.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from oracles import assert_same_weights, from_pynini, random_machine, string_weights, to_pynini

import wfst_entropy as we
from wfst_entropy import FsaError, LogSemiring, TropicalSemiring

pynini = pytest.importorskip("pynini")

SEMIRINGS = {"tropical": TropicalSemiring(), "log": LogSemiring()}
LONGEST = 6
EXACT, OPENFST = 1e-5, 2e-3  # OpenFst rounds residual weights to multiples of 1/1024
LIMIT = 100  # states of a determinised machine of at most 7 states
COUNTS = [pytest.param(30), pytest.param(1000, marks=pytest.mark.slow)]


def machines(count, semiring="tropical", epsilons=True):
    """Random machines with the number of their labels; OpenFst's twin has the same arcs."""
    rng = np.random.default_rng(7)
    for i in range(count):
        num_labels = 2 + i // 2 % 2
        machine = random_machine(
            rng,
            num_states=int(rng.integers(2, 8)),
            num_arcs=int(rng.integers(2, 15)),
            num_labels=num_labels,
            epsilon_rate=float(rng.choice([0.0, 0.2, 0.6])) if epsilons else 0.0,
            cyclic=i % 2 == 0,
        )
        # Arcs from a state into the final one are one final weight there.
        yield from_pynini(to_pynini(machine, semiring)), num_labels


def check(ours, theirs, operand, semiring, num_labels):
    weights = string_weights(ours, LONGEST, semiring, num_labels)
    expected = string_weights(operand, LONGEST, semiring, num_labels)
    assert_same_weights(weights, expected, EXACT)
    assert_same_weights(weights, string_weights(theirs, LONGEST, semiring, num_labels), OPENFST)
    return len(expected)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_remove_epsilon(semiring, count):
    num_strings = 0
    for machine, num_labels in machines(count, semiring):
        ours = we.remove_epsilon(machine, SEMIRINGS[semiring])
        assert ours.properties.epsilon_free and ours.properties.connected
        theirs = from_pynini(pynini.rmepsilon(to_pynini(machine, semiring)))
        num_strings += check(ours, theirs, machine, semiring, num_labels)
    assert num_strings > 5 * count


def determinized(machine, semiring):
    """None where it grows and grows, which happens to cyclic machines alone."""
    try:
        return we.determinize(machine, SEMIRINGS[semiring], max_states=LIMIT)
    except FsaError:
        assert not machine.properties.acyclic
        return None


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_determinize(semiring, count):
    ended = 0
    for machine, num_labels in machines(count, semiring, epsilons=False):
        ours = determinized(machine, semiring)
        if ours is None:
            continue
        ended += 1
        assert ours.properties.deterministic and ours.properties.connected
        # Dead ends can keep OpenFst from ending.
        theirs = from_pynini(pynini.determinize(to_pynini(machine, semiring).connect()))
        check(ours, theirs, machine, semiring, num_labels)
    assert ended > 0.8 * count


def num_futures(fsa, semiring, num_labels):
    """How many states differ in the weights of the strings from them, up to a constant."""
    futures = set()
    for state in range(fsa.num_states):
        order = [state, *(s for s in range(fsa.num_states) if s != state)]
        place = {old: new for new, old in enumerate(order)}
        if state == fsa.num_states - 1:
            continue  # the final state stays the last one, and differs from all others
        arcs = sorted(
            (place[s], place[d], label, i) for i, (s, d, label) in enumerate(fsa.arcs.tolist())
        )
        moved = we.Fsa.from_arcs(
            [arc[:3] for arc in arcs], fsa.scores[[arc[3] for arc in arcs]], fsa.num_states
        )
        weights = string_weights(moved, LONGEST, semiring, num_labels)
        best = max(weights.values())
        futures.add(tuple(sorted((s, round(w - best, 3)) for s, w in weights.items())))
    return len(futures) + 1


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_minimize(semiring, count):
    """OpenFst may keep more states: its start state is never one that arcs enter."""
    for machine, num_labels in machines(count, "tropical", epsilons=False):
        operand = determinized(machine, "tropical")
        if operand is None or operand.num_states == 0:
            continue
        ours = we.minimize(operand, SEMIRINGS[semiring])
        assert ours.properties.deterministic and ours.properties.connected
        twin = to_pynini(operand, "tropical")
        theirs = from_pynini(twin.minimize())
        check(ours, theirs, operand, "tropical", num_labels)
        assert ours.num_states <= theirs.num_states
        if operand.properties.acyclic:
            assert ours.num_states == theirs.num_states
        if ours.num_states <= 8:
            assert ours.num_states == num_futures(ours, semiring, num_labels)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("to", ["initial", "final"])
@pytest.mark.parametrize("semiring", SEMIRINGS)
def test_push(semiring, to, count):
    for machine, num_labels in machines(count, semiring):
        ours = we.push(machine, SEMIRINGS[semiring], to=to)
        twin = pynini.push(
            to_pynini(machine, semiring), push_weights=True, reweight_type=f"to_{to}"
        )
        check(ours, from_pynini(twin), machine, semiring, num_labels)


@pytest.mark.parametrize("count", COUNTS)
def test_disambiguate(count):
    ended = 0
    for machine, num_labels in machines(count, epsilons=False):
        try:
            ours = we.disambiguate(machine, max_states=LIMIT)
        except FsaError:
            assert not machine.properties.acyclic
            continue
        ended += 1
        twin = to_pynini(machine, "tropical").connect()
        # OpenFst ends on fewer cyclic machines (not on one of ours that has 45 states at the end).
        small = ours.num_states <= 30 and determinized(machine, "tropical") is not None
        theirs = pynini.disambiguate(twin) if small else twin
        check(ours, from_pynini(theirs), machine, "tropical", num_labels)
        # One path for each string: the sum over its paths is the best of them.
        even = ours.with_scores(ours.scores.new_full((ours.num_arcs,), -5.0))
        sums, bests = (string_weights(even, LONGEST, s, num_labels) for s in SEMIRINGS)
        assert_same_weights(sums, bests, 1e-9)
    assert ended > 0.8 * count


@pytest.mark.parametrize("count", COUNTS)
def test_prune(count):
    kept = 0
    for machine, _ in machines(count):
        twin = to_pynini(machine, "tropical")
        for threshold in (0.2, 1.0, 3.0):
            ours = we.prune(machine, threshold)
            theirs = from_pynini(pynini.prune(twin, weight=threshold))
            assert (ours.num_states, ours.num_arcs) == (theirs.num_states, theirs.num_arcs)
            assert sorted(ours.scores.tolist()) == pytest.approx(sorted(theirs.scores.tolist()))
            kept += ours.num_arcs
        for limit in (1, 3):
            ours = we.prune(machine, state_threshold=limit)
            assert ours.num_states <= limit + 1
            best = we.shortest_path(machine)
            if 0 < len(set(best_states(machine))) <= limit:
                assert float(we.shortest_path(ours).scores.sum()) == float(best.scores.sum())
    assert kept > count


def best_states(machine):
    """The states that a best path leaves."""
    _, arcs = we.shortest_path(machine, ret_arc_map=True)
    return machine.arcs[arcs, 0].tolist()


def totals(twin):
    return sorted((-float(weight) for _, _, weight in twin.paths().items()), reverse=True)


@pytest.mark.parametrize("count", COUNTS)
def test_shortest_path_and_n_shortest_paths(count):
    found = 0
    for machine, num_labels in machines(count):
        twin = to_pynini(machine, "tropical")
        best = we.shortest_path(machine)
        assert [float(best.scores.sum())][: best.num_states] == pytest.approx(
            totals(pynini.shortestpath(twin)), abs=1e-4
        )
        (paths,) = we.n_shortest_paths(machine, 5).tolist()
        assert [float(machine.scores[path].sum()) for path in paths] == pytest.approx(
            totals(pynini.shortestpath(twin, nshortest=5)), abs=1e-4
        )
        assert len({tuple(path) for path in paths}) == len(paths)

        (paths,) = we.n_shortest_paths(machine, 5, unique=True).tolist()
        strings = [tuple(x for x in machine.labels[path].tolist() if x > 0) for path in paths]
        scores = [float(machine.scores[path].sum()) for path in paths]
        weights = string_weights(machine, LONGEST, "tropical", num_labels)
        best_first = sorted(weights.values(), reverse=True)
        assert len(set(strings)) == len(strings)
        assert scores == pytest.approx([weights.get(s, w) for s, w in zip(strings, scores)])
        if machine.properties.acyclic:  # then these are all strings
            assert scores == pytest.approx(best_first[:5])
        elif scores:
            assert min(scores) >= [*best_first, *[-math.inf] * 5][len(scores) - 1] - 1e-9
        found += len(paths)
    assert found > count
