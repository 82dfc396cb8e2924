"""Composition relates inputs to outputs as both operands one after the other, each pair once."""

from __future__ import annotations

import numpy as np
import pynini
import pytest
import torch
from machine_pairs import A_THOUSAND, alike, two_machines
from oracles import (
    assert_same_weights,
    from_pynini,
    pair_weights,
    random_machine,
    to_pynini,
)

from wfst_entropy import (
    Fsa,
    FsaError,
    compose,
    expand_ragged_attributes,
    get_tot_scores,
    intersect,
)
from wfst_entropy.fsa import RaggedTensor


def weights_of(fst, max_length, semiring):
    if "aux_labels" not in fst.attributes:
        fst = Fsa(fst.shape, fst.arcs, fst.scores, aux_labels=fst.labels.clone())
    return pair_weights(fst, max_length, semiring, 2)


@A_THOUSAND
def test_a_thousand_transducers_as_openfst(seeds):
    pairs = 0
    for seed in seeds:
        a, b = two_machines(seed, transducer=True)
        composed = compose(a, b)
        semiring = ("log", "tropical")[seed % 2]
        theirs = pynini.compose(
            to_pynini(a, semiring).arcsort("olabel"), to_pynini(b, semiring).arcsort("ilabel")
        )
        # Two labels, so 127 strings on each side; longer ones for some, as they take their time.
        longest = 6 if seed % 10 == 0 else 3
        weights = weights_of(composed, longest, semiring)
        assert_same_weights(weights, weights_of(from_pynini(theirs), longest, semiring))
        pairs += len(weights)
    assert pairs > 2000


def test_every_pair_has_the_weight_of_all_ways_through_the_middle():
    for seed in range(0, 300, 3):
        a, b = two_machines(seed, transducer=True)  # acyclic, so no middle is longer than 6
        x, y = weights_of(a, 6, "log"), weights_of(b, 6, "log")
        expected = {}
        for (i, m), left in x.items():
            for (n, o), right in y.items():
                if m == n:
                    so_far = expected.get((i, o), -np.inf)
                    expected[i, o] = np.logaddexp(so_far, left + right)
        assert_same_weights(weights_of(compose(a, b), 6, "log"), expected, 1e-9)


def test_acceptors_write_what_they_read():
    for seed in range(60):
        a, b = two_machines(seed)
        fst = two_machines(seed + 1000, transducer=True)[0]
        assert alike(compose(a, b), intersect(a, b))
        as_transducer = Fsa(a.shape, a.arcs, a.scores, aux_labels=a.labels.clone())
        assert alike(compose(a, fst), compose(as_transducer, fst))
        as_transducer = Fsa(b.shape, b.arcs, b.scores, aux_labels=b.labels.clone())
        assert alike(compose(fst, b), compose(fst, as_transducer))


def test_inner_labels_and_arc_maps():
    for seed in range(100):
        a, b = two_machines(seed, transducer=True)
        composed, a_map, b_map = compose(a, b, inner_labels="middle", ret_arc_maps=True)
        from_a, from_b = a_map >= 0, b_map >= 0
        assert torch.equal(composed.labels[from_a], a.labels[a_map[from_a]])
        assert torch.equal(composed.aux_labels[from_b], b.aux_labels[b_map[from_b]])
        assert torch.equal(composed.middle[from_a], a.aux_labels[a_map[from_a]])
        assert torch.equal(composed.middle[from_b], b.labels[b_map[from_b]])
        for name, known in (("labels", from_a), ("aux_labels", from_b)):
            assert not bool(getattr(composed, name)[~known].any())
        assert (composed.aux_labels == -1).equal(composed.labels == -1)
        assert composed.aux_labels.dtype == composed.middle.dtype == torch.int32


def test_k2_example_of_inner_labels():
    a = Fsa.from_str("0 1 1 2 .1\n0 2 0 2 .2\n1 3 3 5 .3\n2 3 5 4 .4\n3 4 2 2 .6\n4 5 -1 -1 .8\n5")
    b = Fsa.from_str("0 0 2 1 1\n0 1 4 3 2\n0 2 -1 -1 0\n1 1 2 5 3\n1 2 -1 -1 4\n2")
    composed = compose(a, b, inner_labels="phones")
    assert composed.labels.tolist() == [0, 5, 2, -1]
    assert composed.phones.tolist() == [2, 4, 2, -1]
    assert composed.aux_labels.tolist() == [1, 3, 5, -1]


def test_other_attributes_and_symbol_tables():
    a = Fsa.from_str("0 1 5 1 0\n1 2 -1 -1 0\n2").set_attribute_("labels_sym", "phones")
    a.set_attribute_("aux_labels_sym", "inner words").set_attribute_("dur", torch.tensor([3, 4]))
    b = Fsa.from_str("0 1 1 7 0\n1 2 -1 -1 0\n2").set_attribute_("labels_sym", "inner words")
    b.set_attribute_("aux_labels_sym", "classes").set_attribute_("lm", torch.tensor([0.5, 0.0]))
    composed = compose(a, b)
    assert (composed.labels_sym, composed.aux_labels_sym) == ("phones", "classes")
    assert composed.dur.tolist() == [3, 4] and composed.lm.tolist() == [0.5, 0.0]
    acceptor = Fsa.from_str("0 1 1 0\n1 2 -1 0\n2", acceptor=True).set_attribute_(
        "labels_sym", "words"
    )
    assert compose(a, acceptor).aux_labels_sym == "words"
    ragged = RaggedTensor.from_lists([[7, 8], []], torch.int32)
    many = Fsa(b.shape, b.arcs, b.scores, aux_labels=ragged)
    assert compose(a, many).aux_labels.tolist() == [[7, 8], []]


def test_several_outputs_on_an_arc_are_matched_one_after_the_other():
    rng = np.random.default_rng(0)
    tried = 0
    for seed in range(60):
        a, b = two_machines(seed, transducer=True)
        lists = [
            [-1] if o == -1 else rng.integers(1, 3, size=rng.integers(0, 4)).tolist()
            for o in a.aux_labels.tolist()
        ]
        ragged = RaggedTensor.from_lists(lists, torch.int32)
        many = Fsa(a.shape, a.arcs, a.scores, aux_labels=ragged)
        composed, a_map, _ = compose(many, b, ret_arc_maps=True)
        one = expand_ragged_attributes(many)
        assert torch.equal(composed.scores, compose(one, b).scores)
        assert_same_weights(weights_of(composed, 3, "log"), weights_of(compose(one, b), 3, "log"))
        begins = a_map >= 0
        assert torch.equal(composed.labels[begins], a.labels[a_map[begins]])
        tried += composed.num_states > 0
    assert tried > 10


def test_gradients():
    tried = 0
    for seed in range(24):
        a, b = two_machines(seed, transducer=True)

        def total(x, y, a=a, b=b):
            return get_tot_scores(compose(a.with_scores(x), b.with_scores(y)))

        if compose(a, b).num_states < 4:
            continue
        tried += 1
        scores = [f.scores.clone().requires_grad_(True) for f in (a, b)]
        assert torch.autograd.gradcheck(total, scores)
    assert tried > 4


def test_vectors_are_each_pair_alone():
    pairs = [two_machines(seed, transducer=True) for seed in range(12)]
    a_vec, b_vec = (Fsa.from_fsas(list(side)) for side in zip(*pairs))
    results = compose(a_vec, b_vec, inner_labels="middle")
    for x, (a, b) in zip(results, pairs):
        assert alike(x, compose(a, b, inner_labels="middle"))
    one = random_machine(np.random.default_rng(0), transducer=True)
    assert all(alike(x, compose(one, b)) for x, b in zip(compose(one, b_vec), b_vec))
    assert all(alike(x, compose(b, one)) for x, b in zip(compose(b_vec, one), b_vec))


def test_a_lexicon_whose_root_is_wide():
    """Looking few words up among many arcs gives what reading both lists gives."""
    words = range(1, 400)
    rows = [[0, 0, 1000 + w] for w in words] + [[0, 1, -1]]
    outputs = torch.tensor([*words, -1], dtype=torch.int32)
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(len(rows)))
    lexicon = Fsa.from_arcs(torch.tensor(rows)[shuffled], aux_labels=outputs[shuffled])
    grammar = Fsa.from_arcs([[0, 1, 7], [0, 1, 399], [0, 1, 500], [1, 2, -1]])
    composed = compose(lexicon, grammar)
    assert composed.labels.tolist() == [1007, 1399, -1]
    assert composed.aux_labels.tolist() == [7, 399, -1]


def test_messages():
    a = Fsa.from_str("0 1 5 1 0\n1 2 -1 -1 0\n2")
    with pytest.raises(FsaError, match=r"must be an integer tensor, got torch.float32"):
        compose(Fsa(a.shape, a.arcs, aux_labels=torch.zeros(2)), a)
    with pytest.raises(FsaError, match="aux_labels is -1 on arc 0, whose label is 5"):
        compose(Fsa(a.shape, a.arcs, aux_labels=torch.tensor([-1, -1])), a)
    with pytest.raises(FsaError, match="aux_labels is 3 on arc 1, whose label is -1"):
        compose(Fsa(a.shape, a.arcs, aux_labels=torch.tensor([1, 3])), a)
    with pytest.raises(FsaError, match="compose: b_fsa must be an Fsa, got NoneType"):
        compose(a, None)
    fan = Fsa.from_arcs([[0, 0, 1]] * 100 + [[0, 1, -1]])
    with pytest.raises(FsaError, match="compose: the result outgrows max_arcs=5000"):
        compose(fan, fan, max_arcs=5000)
    # 0 on the arc into the final state is the same as -1 there.
    zero = Fsa(a.shape, a.arcs, aux_labels=torch.tensor([1, 0]))
    one = Fsa(a.shape, a.arcs, aux_labels=torch.tensor([1, -1]))
    b = Fsa.from_str("0 1 1 8 0\n1 2 -1 -1 0\n2")
    assert alike(compose(zero, b), compose(one, b))
