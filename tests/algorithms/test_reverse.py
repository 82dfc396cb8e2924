"""Reversal: where states go, and that twice is nothing."""

from __future__ import annotations

import numpy as np
from oracles import assert_same_weights, random_machine, string_weights

from wfst_entropy import Fsa, reverse


def test_numbers_of_states():
    text = "0 2 1 1\n1 0 2 2\n1 3 -1 3\n2 1 4 4\n2 3 -1 5\n3"
    reversed_, arc_map = reverse(Fsa.from_str(text, acceptor=True), ret_arc_map=True)
    # The final state 3 becomes 0 and the start state 3, with an arc to the new final state 4.
    assert reversed_.arcs.tolist() == [
        [0, 1, 0], [0, 2, 0], [1, 2, 4], [2, 3, 1], [3, 1, 2], [3, 4, -1],
    ]  # fmt: skip
    assert arc_map.tolist() == [2, 4, 3, 0, 1, -1]


def test_strings_are_read_backwards():
    rng = np.random.default_rng(0)
    for _ in range(30):
        fsa = random_machine(rng)
        forwards = {string[::-1]: w for string, w in string_weights(fsa, 4, num_labels=2).items()}
        assert_same_weights(string_weights(reverse(fsa), 4, num_labels=2), forwards)
        twice = string_weights(reverse(reverse(fsa)), 4, num_labels=2)
        assert_same_weights(twice, string_weights(fsa, 4, num_labels=2))
