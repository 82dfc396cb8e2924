"""Properties against plain graph searches in Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa

seeds = st.integers(0, 10**6)
NAMES = (
    "top_sorted", "acyclic", "arc_sorted", "deterministic", "epsilon_free", "accessible",
    "coaccessible", "connected",
)  # fmt: skip


def reachable(arcs, origin):
    seen, stack = set(), [origin]
    while stack:
        state = stack.pop()
        if state not in seen:
            seen.add(state)
            stack += [dst for src, dst, _ in arcs if src == state]
    return seen


def expected_properties(fsa):
    arcs, states = fsa.arcs.tolist(), range(fsa.num_states)
    final = fsa.num_states - 1
    by_state = [[arc for arc in arcs if arc[0] == state] for state in states]
    keys = [[(label % 2**32, dst) for _, dst, label in group] for group in by_state]
    labels = [[label for _, _, label in group] for group in by_state]
    accessible = not states or reachable(arcs, 0) == set(states)
    coaccessible = all(final in reachable(arcs, state) for state in states)
    return {
        "top_sorted": all(dst > src for src, dst, _ in arcs),
        "acyclic": not any(src in reachable(arcs, dst) for src, dst, _ in arcs),
        "arc_sorted": all(group == sorted(group) for group in keys),
        "deterministic": all(len(set(group)) == len(group) for group in labels),
        "epsilon_free": all(label != 0 for _, _, label in arcs),
        "accessible": accessible,
        "coaccessible": coaccessible,
        "connected": accessible and coaccessible,
    }


@given(seeds, st.booleans())
def test_one_fsa(random_fsa, seed, acyclic):
    fsa = random_fsa(seed, acyclic=acyclic, attributes=False)
    assert {name: getattr(fsa.properties, name) for name in NAMES} == expected_properties(fsa)


@given(st.lists(seeds, min_size=1, max_size=4), st.booleans())
def test_a_vector_has_what_all_have(random_fsa, numbers, acyclic):
    fsas = [random_fsa(seed, acyclic=acyclic, attributes=False) for seed in numbers]
    vec = Fsa.from_fsas(fsas)
    each = [expected_properties(fsa) for fsa in fsas]
    for name in NAMES:
        assert getattr(vec.properties, name) == all(some[name] for some in each), name


def test_unknown_until_asked_for():
    fsa = Fsa.from_str("0 1 3 0\n1 2 -1 0\n2")
    assert fsa.properties.known("acyclic") is None
    assert "acyclic=unknown" in repr(fsa.properties)
    assert fsa.properties.acyclic is True
    assert fsa.properties.known("acyclic") is True
    assert fsa.with_scores(fsa.scores * 2).properties.known("acyclic") is True
    assert "acyclic=True" in repr(fsa.properties)


@pytest.mark.parametrize("name", NAMES)
def test_all_hold_for_the_empty_fsa(name):
    assert getattr(Fsa.from_str("").properties, name) is True
