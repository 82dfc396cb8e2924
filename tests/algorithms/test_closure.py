"""The closure: its shape, and strings put together by hand."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import assert_same_weights, random_machine, string_weights

from wfst_entropy import Fsa, FsaError, closure


def test_the_start_state_becomes_final():
    fst = Fsa.from_str("0 1 1 7 1\n0 2 -1 -1 2\n1 2 -1 -1 3\n2", num_aux_labels=1)
    star, arc_map = closure(fst, ret_arc_map=True)
    assert star.arcs.tolist() == [[0, 1, 1], [0, 0, 0], [0, 2, -1], [1, 0, 0]]
    assert arc_map.tolist() == [0, 1, -1, 2]
    assert star.aux_labels.tolist() == [7, 0, -1, 0]


def test_a_start_state_that_arcs_enter_is_kept_apart():
    """Else the prefix 1 of 1 2 would be accepted."""
    star = closure(Fsa.from_str("0 0 1 -1\n0 1 2 0\n1 2 -1 0\n2", acceptor=True))
    assert star.arcs.tolist()[:3] == [[0, 1, 0], [0, 3, -1], [1, 1, 1]]
    assert set(string_weights(star, 2)) == {(), (2,), (1, 2), (2, 2)}


@pytest.mark.parametrize("closure_type", ["star", "plus"])
def test_weights_add_up_over_all_ways_to_cut_a_string(closure_type):
    rng = np.random.default_rng(0)
    for _ in range(30):
        fsa = random_machine(rng)
        single = {x: np.exp(w) for x, w in string_weights(fsa, 4, num_labels=2).items()}
        empty = single.pop((), 0.0)
        # With the empty string repeated at will, each piece may be preceded by 1 / (1 - empty).
        around = 1 / (1 - empty)
        totals = {(): around}
        for string in sorted(single, key=len):
            totals.setdefault(string, 0.0)
        strings = [s for n in range(1, 5) for s in np.ndindex((2,) * n)]
        for string in (tuple(x + 1 for x in s) for s in strings):
            pieces = ((string[:i], string[i:]) for i in range(1, len(string) + 1))
            total = sum(around * single.get(a, 0) * totals.get(b, 0) for a, b in pieces)
            if total:
                totals[string] = total
        if closure_type == "plus":
            totals[()] = around - 1
        expected = {x: np.log(t) for x, t in totals.items() if t > 0}
        assert_same_weights(string_weights(closure(fsa, closure_type), 4, num_labels=2), expected)


def test_unknown_type():
    with pytest.raises(FsaError, match="closure_type: must be 'star' or 'plus', got 'optional'"):
        closure(Fsa.from_arcs([[0, 1, -1]]), "optional")
