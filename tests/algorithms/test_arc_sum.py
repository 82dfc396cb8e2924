"""Merging parallel arcs: weights, gradients, and OpenFst's map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, from_pynini, pair_weights, random_machine, to_pynini

from wfst_entropy import (
    Fsa,
    FsaError,
    LogSemiring,
    RaggedTensor,
    RealSemiring,
    TropicalSemiring,
    arc_sort,
    arc_sum,
    isomorphic,
)

SEMIRINGS = {"log": LogSemiring(), "tropical": TropicalSemiring()}


def machines(seed, count):
    """With many parallel arcs."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        yield random_machine(
            rng, num_states=4, num_arcs=20, num_labels=1, cyclic=i % 2 == 0, transducer=True
        )


@pytest.mark.parametrize("name", SEMIRINGS)
def test_pairs_keep_their_weights_and_no_arcs_are_parallel(name):
    num_merged = 0
    for fsa in machines(0, 30):
        new, arc_map = arc_sum(fsa, SEMIRINGS[name], ret_arc_map=True)
        Fsa(new.shape, new.arcs, new.scores, **new.attributes)
        assert_same_weights(pair_weights(new, 2, name), pair_weights(fsa, 2, name), tol=1e-9)
        rows = torch.cat([new.arcs, new.aux_labels.unsqueeze(1)], 1)
        assert len(rows.unique(dim=0)) == new.num_arcs
        assert sorted(arc_map.values.tolist()) == list(range(fsa.num_arcs))
        first = [arcs[0] for arcs in arc_map.tolist()]
        assert first == sorted(first)
        for arcs, row in zip(arc_map.tolist(), rows):
            assert all(torch.equal(fsa.arcs[a], row[:3]) for a in arcs)
        num_merged += fsa.num_arcs - new.num_arcs
    assert num_merged > 50


@pytest.mark.parametrize("name", SEMIRINGS)
def test_openfst_merges_the_same_arcs(name):
    pynini = pytest.importorskip("pynini")
    for fsa in machines(1, 20):
        # OpenFst's final weights are merged already.
        ours = from_pynini(to_pynini(arc_sum(fsa, SEMIRINGS[name]), name))
        theirs = from_pynini(pynini.statemap(to_pynini(fsa, name), "arc_sum"))
        assert isomorphic(ours, theirs, 1e-5)


def test_scores_attributes_and_gradients():
    fsa = Fsa.from_str("0 1 5 -1\n0 1 5 -2\n0 1 5 -3\n1 2 -1 0\n2", acceptor=True).to(torch.float64)
    fsa.set_attribute_("frame", torch.tensor([7, 8, 9, 0]))
    fsa.requires_grad_()
    new = arc_sum(fsa)
    assert new.frame.tolist() == [7, 0]
    torch.testing.assert_close(new.scores[0], fsa.scores[:3].logsumexp(0))
    new.scores[0].backward()
    torch.testing.assert_close(fsa.scores.grad, torch.tensor([0.6652, 0.2447, 0.09, 0]).double(),
                               atol=1e-4, rtol=0)  # fmt: skip
    assert torch.autograd.gradcheck(lambda s: arc_sum(fsa.with_scores(s)).scores, (fsa.scores,))
    best = torch.autograd.grad(arc_sum(fsa, TropicalSemiring()).scores[0], fsa.scores)[0]
    assert best.tolist() == [1, 0, 0, 0]


def test_output_labels_tell_arcs_apart():
    fsa = Fsa.from_arcs([[0, 1, 5]] * 3 + [[1, 2, -1]])
    fsa.set_attribute_("aux_labels", RaggedTensor.from_lists([[1, 2], [1], [1, 2], []]))
    new, arc_map = arc_sum(fsa, ret_arc_map=True)
    assert arc_map.tolist() == [[0, 2], [1], [3]]
    assert new.aux_labels.tolist() == [[1, 2], [1], []]


def test_vector_is_each_fsa_alone_and_order_stays():
    fsas = [*machines(2, 2), Fsa.from_arcs([], torch.empty(0).double(), 0)]
    fsas[2].set_attribute_("aux_labels", torch.empty(0, dtype=torch.int32))
    vector = arc_sum(Fsa.from_fsas(fsas))
    for new, fsa in zip(vector, fsas, strict=True):
        alone = arc_sum(fsa)
        assert torch.equal(new.arcs, alone.arcs) and torch.equal(new.scores, alone.scores)
        merged = arc_sum(arc_sort(fsa))
        assert torch.equal(merged.labels, arc_sort(merged).labels)


def test_errors():
    fsa = Fsa.from_arcs([[0, 1, -1]])
    with pytest.raises(FsaError, match="arc_sum knows TropicalSemiring"):
        arc_sum(fsa, RealSemiring())
    with pytest.raises(FsaError, match="the score of arc 0 is NaN"):
        arc_sum(fsa.with_scores(torch.tensor([torch.nan])))
