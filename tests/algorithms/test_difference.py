"""Difference keeps exactly the strings that the other operand does not accept."""

from __future__ import annotations

import pynini
import pytest
import torch
from machine_pairs import A_THOUSAND, alike, two_machines
from oracles import assert_same_weights, from_pynini, string_weights, to_pynini

from wfst_entropy import Fsa, FsaError, difference, get_tot_scores


def unweighted(fsa):
    return fsa.with_scores(torch.zeros_like(fsa.scores))


def as_openfst_wants_it(fsa, semiring):
    """Deterministic, without epsilons and weights."""
    tropical = pynini.determinize(to_pynini(unweighted(fsa), "tropical").rmepsilon())
    return tropical if semiring == "tropical" else pynini.arcmap(tropical, map_type="to_log64")


@A_THOUSAND
def test_a_thousand_machines_as_openfst(seeds):
    strings = taken = 0
    for seed in seeds:
        a, b = two_machines(seed)
        left = difference(a, unweighted(b))
        semiring = ("log", "tropical")[seed % 2]
        theirs = pynini.difference(
            to_pynini(a, semiring).arcsort("olabel"), as_openfst_wants_it(b, semiring)
        )
        weights = string_weights(left, 6, semiring, 2)
        assert_same_weights(weights, string_weights(from_pynini(theirs), 6, semiring, 2))
        assert left.num_states == 0 or left.properties.connected
        strings += len(weights)
        taken += len(string_weights(a, 6, semiring, 2)) - len(weights)
    assert strings > 1000 and taken > 1000


def test_strings_of_one_and_not_of_the_other():
    for seed in range(150):
        a, b = two_machines(seed)
        x, y = string_weights(a, 5, "log", 2), string_weights(b, 5, "tropical", 2)
        expected = {string: weight for string, weight in x.items() if string not in y}
        weights = string_weights(difference(a, unweighted(b)), 5, "log", 2)
        assert_same_weights(weights, expected, 1e-9)


def test_arc_map_attributes_and_gradients():
    tried = 0
    for seed in range(24):
        a, b = two_machines(seed, transducer=True)[0], unweighted(two_machines(seed + 1)[1])
        a.set_attribute_("tag", torch.arange(a.num_arcs))
        left, arc_map = difference(a, b, ret_arc_map=True)
        assert torch.equal(left.scores, a.scores[arc_map])
        assert torch.equal(left.labels, a.labels[arc_map]) and torch.equal(left.tag, arc_map)
        assert torch.equal(left.aux_labels, a.aux_labels[arc_map])
        if left.num_states < 4:
            continue
        tried += 1

        def total(scores, a=a, b=b):
            return get_tot_scores(difference(a.with_scores(scores), b))

        assert torch.autograd.gradcheck(total, [a.scores.clone().requires_grad_(True)])
    assert tried > 4


def test_vectors_are_each_pair_alone():
    pairs = [(a, unweighted(b)) for a, b in map(two_machines, range(12))]
    a_vec, b_vec = (Fsa.from_fsas(list(side)) for side in zip(*pairs))
    assert all(alike(x, difference(a, b)) for x, (a, b) in zip(difference(a_vec, b_vec), pairs))
    one = pairs[4][1]
    assert all(alike(x, difference(a, one)) for x, a in zip(difference(a_vec, one), a_vec))
    assert all(alike(x, difference(one, b)) for x, b in zip(difference(one, b_vec), b_vec))


def test_nothing_taken_from_nothing():
    word = Fsa.from_str("0 1 1 0\n1 2 -1 0\n2", acceptor=True)
    nothing = Fsa.from_arcs([], num_states=0)
    assert alike(difference(word, nothing), word)
    assert difference(word, word).num_states == difference(nothing, word).num_states == 0
    assert difference(word, word, connect=False).num_states == 3


def test_messages():
    a = Fsa.from_str("0 1 5 1 0\n1 2 -1 -1 0\n2")
    b = Fsa.from_str("0 1 5 0.5\n1 2 -1 0\n2", acceptor=True)
    with pytest.raises(FsaError, match="b_fsa must be an acceptor, but it has aux_labels"):
        difference(b, a)
    with pytest.raises(FsaError, match=r"scores of b_fsa must be 0.*arc 0 has 0.5"):
        difference(a, b)
    with pytest.raises(FsaError, match="a_fsa must be an Fsa, got int"):
        difference(1, b)


def test_an_exponential_determinisation_stops_at_its_limit():
    """Strings of 1 and 2 with a 1 in the place 25 from the end: 2**25 sets of states."""
    rows = [[0, 0, 1], [0, 0, 2], [0, 1, 1]]
    for s in range(1, 25):
        rows += [[s, s + 1, 1], [s, s + 1, 2]]
    b = Fsa.from_arcs([*rows, [25, 26, -1]])
    a = Fsa.from_arcs([[0, 0, 1], [0, 0, 2], [0, 1, -1]])
    with pytest.raises(FsaError, match=r"difference: b is not deterministic.*max_arcs=100000"):
        difference(a, b, max_arcs=100000)
    with pytest.raises(FsaError, match="difference: the result outgrows max_states=5000"):
        difference(a, b, max_states=5000)
