"""Arcs of each state by label, then destination, -1 last; equal ones keep their order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from oracles import random_machine

from wfst_entropy import Fsa, arc_sort


def test_order():
    fsa = Fsa.from_str("0 2 -1 0\n0 1 4 1\n0 1 0 2\n0 0 4 3\n0 1 4 4\n1 2 -1 5\n2", acceptor=True)
    ordered, arc_map = arc_sort(fsa, ret_arc_map=True)
    assert arc_map.tolist() == [2, 3, 1, 4, 0, 5]
    assert ordered.scores.tolist() == [2, 3, 1, 4, 0, 5]
    assert ordered.properties.arc_sorted and not fsa.properties.arc_sorted


@given(st.integers(0, 10**6))
def test_it_is_a_stable_sort_of_each_state(seed):
    fsa = random_machine(np.random.default_rng(seed), num_arcs=40, num_labels=3)
    key = [(s, 2**31 if i < 0 else i, d) for s, d, i in fsa.arcs.tolist()]
    expected = sorted(range(fsa.num_arcs), key=lambda arc: key[arc])
    assert arc_sort(fsa, ret_arc_map=True)[1].tolist() == expected
