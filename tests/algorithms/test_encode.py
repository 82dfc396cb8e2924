"""Codes for pairs of labels and scores, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, pair_weights, random_machine, string_weights

from wfst_entropy import Fsa, FsaError, decode, encode


@pytest.mark.parametrize("scores", [False, True])
def test_there_and_back(scores):
    rng = np.random.default_rng(0)
    for i in range(30):
        fst = random_machine(rng, cyclic=i % 2 == 0, transducer=True)
        encoded, table = encode(fst, scores=scores)
        rows = {(i, o, s if scores else 0) for i, o, s in codes_of(fst, scores)}
        assert table.labels.numel() == len(rows)
        assert "aux_labels" not in encoded.attributes
        if scores:
            assert not bool(encoded.scores.any())
        assert_same_weights(pair_weights(decode(encoded, table), 3), pair_weights(fst, 3))


def codes_of(fst, scores):
    columns = zip(fst.labels.tolist(), fst.aux_labels.tolist(), fst.scores.tolist(), strict=True)
    # With scores, arcs into the final state have codes, too.
    return ((max(i, 0), max(o, 0), s) for i, o, s in columns if scores or i != -1)


def test_scores_alone():
    fsa = random_machine(np.random.default_rng(1))
    encoded, table = encode(fsa, labels=False, scores=True)
    assert table.aux_labels is None
    assert_same_weights(string_weights(decode(encoded, table), 4), string_weights(fsa, 4))


def test_a_vector_has_one_table():
    a = Fsa.from_str("0 1 1 7 0.5\n1 2 -1 -1 0\n2", num_aux_labels=1)
    b = Fsa.from_str("0 1 2 7 0.5\n1 2 1 7 2\n2 3 -1 -1 0\n3", num_aux_labels=1)
    encoded, table = encode(Fsa.from_fsas([a, b]))
    assert encoded.labels.tolist() == [1, -1, 2, 1, -1]
    assert decode(encoded, table)[1].to_str() == b.to_str()


def test_codes_that_are_none():
    fst = Fsa.from_str("0 1 1 7 0.5\n1 2 -1 -1 0\n2", num_aux_labels=1)
    _, table = encode(fst)
    with pytest.raises(FsaError, match="arc 0 has label 5, but the table has 1 codes"):
        decode(Fsa.from_str("0 1 5 0\n1 2 -1 0\n2", acceptor=True), table)
    epsilon = decode(Fsa.from_str("0 1 0 1\n1 2 -1 0\n2", acceptor=True), table)
    assert epsilon.aux_labels.tolist() == [0, -1]
    with pytest.raises(FsaError, match="set `labels` or `scores`"):
        encode(fst, labels=False)
    with pytest.raises(FsaError, match="no aux_labels"):
        encode(Fsa.from_arcs(torch.tensor([[0, 1, -1]])))


@pytest.mark.parametrize("num_fsas", [0, 1])
def test_nothing_to_code(num_fsas):
    empty = Fsa.from_arcs([], num_states=0)
    empty.set_attribute_("aux_labels", torch.empty(0, dtype=torch.int32))
    encoded, table = encode(Fsa.from_fsas([empty])[list(range(num_fsas))], scores=True)
    assert (encoded.num_fsas, encoded.num_arcs, table.labels.numel()) == (num_fsas, 0, 0)
    assert decode(encoded, table).num_fsas == num_fsas
