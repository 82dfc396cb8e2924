"""Topological order by levels; what is not reached goes; a cycle is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import random_machine

from wfst_entropy import Fsa, connect, top_sort
from wfst_entropy.fsa.errors import CyclicFsaError


@given(st.integers(0, 10**6))
def test_every_arc_goes_up(seed):
    fsa = random_machine(np.random.default_rng(seed), num_states=8, cyclic=False)
    ordered = top_sort(fsa)
    assert ordered.properties.top_sorted
    assert torch.equal(top_sort(ordered).arcs, ordered.arcs)


def test_levels_then_old_numbers_and_unreached_states_go():
    text = "0 3 1 0\n0 2 2 0\n1 4 3 0\n2 1 4 0\n3 4 5 0\n4 6 -1 0\n5 5 6 0\n5 0 7 0\n6"
    ordered, arc_map = top_sort(Fsa.from_str(text, acceptor=True), ret_arc_map=True)
    # By level: 0 | 2, 3 | 1 | 4 | 6.  State 5 is not reached, so its loop is no cycle that matters.
    assert ordered.arcs.tolist() == [
        [0, 2, 1], [0, 1, 2], [1, 3, 4], [2, 4, 5], [3, 4, 3], [4, 5, -1],
    ]  # fmt: skip
    assert arc_map.tolist() == [0, 1, 3, 4, 2, 5]


def test_a_final_state_that_is_not_reached_stays():
    ordered = top_sort(Fsa.from_str("0 1 1 0\n2 3 -1 0\n3", acceptor=True))
    assert (ordered.num_states, ordered.num_arcs) == (3, 1)
    assert connect(ordered).num_states == 0


@pytest.mark.parametrize(
    ("text", "cycle"),
    [
        ("0 1 1 0\n1 2 2 0\n2 3 3 0\n3 1 4 0\n3 4 -1 0\n4", "1 -> 2 -> 3 -> 1;"),
        ("0 0 1 0\n0 1 -1 0\n1", "0 -> 0;"),
        ("0 1 0 0\n1 0 0 0\n1 2 -1 0\n2", "0 -> 1 -> 0;"),
        (
            "\n".join(f"{i} {(i + 1) % 20} 1 0" for i in range(20)) + "\n19 20 -1 0\n20",
            "0 -> 1 -> .* -> 9 -> ...;",
        ),
    ],
)
def test_a_cycle_is_named(text, cycle):
    acyclic = Fsa.from_str("0 1 -1 0\n1", acceptor=True)
    vector = Fsa.from_fsas([acyclic, Fsa.from_str(text, acceptor=True)])
    with pytest.raises(CyclicFsaError, match=f"top_sort: FSA 1 has the cycle of states {cycle}"):
        top_sort(vector)
