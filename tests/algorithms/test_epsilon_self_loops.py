"""Epsilon self-loops: first of each state's arcs, and gone again."""

from __future__ import annotations

import numpy as np
from oracles import assert_same_weights, random_machine, string_weights

from wfst_entropy import Fsa, add_epsilon_self_loops, remove_epsilon_self_loops


def test_where_they_stand():
    fsa = Fsa.from_str("0 1 1 1\n1 1 2 2\n1 2 -1 3\n2", acceptor=True)
    looped, arc_map = add_epsilon_self_loops(fsa, ret_arc_map=True)
    assert looped.arcs.tolist() == [[0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 1, 2], [1, 2, -1]]
    assert arc_map.tolist() == [-1, 0, -1, 1, 2]
    assert remove_epsilon_self_loops(looped).to_str() == fsa.to_str()


def test_best_paths_stay():
    rng = np.random.default_rng(0)
    for _ in range(30):
        fsa = random_machine(rng, epsilon_rate=0.6)
        best = string_weights(fsa, 4, "tropical", 2)
        for operation in (add_epsilon_self_loops, remove_epsilon_self_loops):
            assert_same_weights(string_weights(operation(fsa), 4, "tropical", 2), best)
