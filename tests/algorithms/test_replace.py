"""Replacement: where states stand, attributes of both, and grammars that call themselves."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import Fsa, FsaError, get_tot_scores, replace, replace_fsa
from wfst_entropy.fsa.errors import CyclicFsaError

ONE = Fsa.from_str("0 1 11 1\n0 2 12 2\n1 3 -1 0\n2 3 -1 0\n3", acceptor=True)
TWO = Fsa.from_str("0 1 21 3\n1 2 -1 0.5\n2", acceptor=True)
INDEX = Fsa.from_str("0 1 5 10\n0 2 6 20\n1 2 7 30\n1 3 -1 0\n2 3 -1 0\n3", acceptor=True)
EMPTY = Fsa.from_arcs([], num_states=0)


def test_states_put_in_follow_the_state_that_calls():
    new, index_map, src_map = replace_fsa(Fsa.from_fsas([ONE, TWO]), INDEX, 5, ret_arc_map=True)
    assert new.arcs.tolist() == [
        [0, 1, 0], [0, 4, 0],  # the calls
        [1, 2, 11], [1, 3, 12], [2, 6, 0], [3, 6, 0],  # ONE, between 0 and the old 1
        [4, 5, 21], [5, 7, 0],  # TWO, between 0 and the old 2
        [6, 7, 7], [6, 8, -1], [7, 8, -1],
    ]  # fmt: skip
    assert index_map.tolist() == [0, 1, -1, -1, -1, -1, -1, -1, 2, 3, 4]
    assert src_map.tolist() == [-1, -1, 0, 1, 2, 3, 4, 5, -1, -1, -1]
    assert new.scores.tolist() == [10, 20, 1, 2, 0, 0, 3, 0.5, 30, 0, 0]


def test_a_call_of_an_empty_fsa_leads_nowhere():
    new = replace_fsa(Fsa.from_fsas([EMPTY, TWO]), INDEX, 5)
    assert new.arcs.tolist()[0] == [0, 1, 0] and new.num_arcs == 6


def test_gradients_come_from_the_grammar_too():
    rule, root = TWO.clone().requires_grad_(), INDEX.clone().requires_grad_()
    get_tot_scores(replace(root, {6: rule})).sum().backward()
    # The rule has one path, so each of its arcs has the posterior of the arc that calls it.
    assert rule.scores.grad.tolist() == [root.scores.grad[1].item()] * 2
    assert 0 < root.scores.grad[1] < 1


def test_rules_within_rules():
    inner = Fsa.from_str("0 1 6 1\n1 2 -1 0\n2", acceptor=True)
    outer = Fsa.from_str("0 1 5 2\n1 2 5 4\n2 3 -1 0\n3", acceptor=True)
    root = Fsa.from_fsas([outer, TWO])
    new = replace(root, {5: inner, 6: TWO, 7: outer})
    assert [label for label in new.labels.tolist() if label > 0] == [21, 21, 21]
    torch.testing.assert_close(get_tot_scores(new)[0], torch.tensor(2.0 + 4 + 2 * (1 + 3.5)))
    same = replace(root, {100: inner})
    assert torch.equal(same.arcs, root.arcs)


def test_recursion_is_named():
    loop = Fsa.from_str("0 1 6 0\n1 2 -1 0\n2", acceptor=True)
    back = Fsa.from_str("0 1 5 0\n1 2 -1 0\n2", acceptor=True)
    with pytest.raises(CyclicFsaError, match=r"calls itself: (5 -> 6 -> 5|6 -> 5 -> 6);"):
        replace(INDEX, {5: loop, 6: back})
    with pytest.raises(CyclicFsaError, match="6 -> 6;"):
        replace(back, {5: loop, 6: loop})
    assert replace(TWO, {5: loop, 6: back}).to_str() == TWO.to_str()


def test_what_does_not_fit():
    with pytest.raises(FsaError, match="symbol_begin_range: labels 0 to 1"):
        replace_fsa(Fsa.from_fsas([ONE, TWO]), INDEX, 0)
    with pytest.raises(FsaError, match=r"symbol_begin_range: labels 2147483647 to 2147483648"):
        replace_fsa(Fsa.from_fsas([ONE, TWO]), INDEX, 2**31 - 1)
    with pytest.raises(FsaError, match=r"rules\[5\]: must be one Fsa, got a vector of FSAs"):
        replace(INDEX, {5: Fsa.from_fsas([ONE])})
    with pytest.raises(FsaError, match="rules: a nonterminal must be a label from 1"):
        replace(INDEX, {0: ONE})
    with pytest.raises(FsaError, match="root: must be one Fsa, got NoneType"):
        replace(None, {1: ONE})
