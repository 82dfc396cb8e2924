"""Chains for lists: where new states stand, what final arcs get, and the same pairs of strings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, pair_weights, random_machine

from wfst_entropy import Fsa, FsaError, RaggedTensor, expand_ragged_attributes

TEXT = "0 1 2 10\n0 1 1 20\n1 2 -1 30\n2"


def with_lists(**lists):
    fsa = Fsa.from_str(TEXT, acceptor=True)
    for name, value in lists.items():
        fsa.set_attribute_(name, RaggedTensor.from_lists(value, dtype=torch.int32))
    return fsa


@pytest.mark.parametrize(("last", "extra"), [([], 0), ([-1], 0), ([9], 1), ([9, -1], 1)])
def test_chains_follow_the_state_they_leave(last, extra):
    fsa = with_lists(phones=[[4, 5, 6], [7, 8], last]).set_attribute_("tag", torch.arange(1, 4))
    expanded, arc_map = expand_ragged_attributes(fsa, ret_arc_map=True)
    chains = [[0, 1, 2], [0, 3, 1], [1, 2, 0], [2, 4, 0], [3, 4, 0]]
    end = [[4, 5, 0], [5, 6, -1]] if extra else [[4, 5, -1]]
    assert expanded.arcs.tolist() == chains + end
    assert arc_map.tolist() == [0, 1, -1, -1, -1, 2] + [-1] * extra
    assert expanded.phones.tolist() == [4, 7, 5, 6, 8] + [9] * extra + [-1]
    assert expanded.tag.tolist() == [1, 2, 0, 0, 0, 3] + [0] * extra
    assert expanded.scores.tolist() == [10, 20, 0, 0, 0, 30] + [0] * extra


def test_the_longest_list_decides_and_fillers_fill():
    fsa = with_lists(aux_labels=[[3], [], [-1]], phones=[[4, 5], [6], []])
    fsa.set_attribute_("phones_filler", 99)
    expanded = expand_ragged_attributes(fsa)
    assert expanded.aux_labels.tolist() == [3, 0, 0, -1]
    assert expanded.phones.tolist() == [4, 6, 5, -1]
    one = expand_ragged_attributes(fsa, ragged_attribute_names=["aux_labels"])
    assert one.phones.tolist() == [[4, 5], [6], []]
    plain = Fsa.from_str(TEXT, acceptor=True)
    assert expand_ragged_attributes(plain) is plain


def test_same_pairs():
    rng = np.random.default_rng(0)
    for i in range(50):
        fsa = random_machine(rng, cyclic=i % 2 == 0)
        lists = [rng.integers(0, 3, rng.integers(4)).tolist() for _ in range(fsa.num_arcs)]
        fsa.set_attribute_("aux_labels", RaggedTensor.from_lists(lists, dtype=torch.int32))
        expanded = expand_ragged_attributes(fsa)
        assert_same_weights(pair_weights(expanded, 3), pair_weights(fsa, 3))


def test_what_cannot_be_expanded():
    fsa = with_lists(phones=[[1], [], []])
    fsa.set_attribute_("costs", RaggedTensor.from_lists([[0.5], [], []]))
    with pytest.raises(FsaError, match="no ragged attribute 'words'; it has: phones, costs"):
        expand_ragged_attributes(fsa, ragged_attribute_names=["words"])
    with pytest.raises(FsaError, match="'costs' must have two axes and integers, got 2 axes of"):
        expand_ragged_attributes(fsa, ragged_attribute_names=["costs"])
    assert isinstance(expand_ragged_attributes(fsa).costs, RaggedTensor)
