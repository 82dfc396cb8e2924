"""Attributes follow arc maps: -1 gets the filler, lists of arcs are joined."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa, FsaValueError, RaggedTensor

seeds = st.integers(0, 10**6)


@given(seeds, st.data())
def test_selection_agrees_with_lists(random_fsa, seed, data):
    fsa = random_fsa(seed)
    fsa.set_attribute_("phones", torch.arange(fsa.num_arcs, dtype=torch.int32))
    fsa.set_attribute_("phones_filler", 77)
    picks = data.draw(st.lists(st.integers(-1, fsa.num_arcs - 1), max_size=8))
    arc_map = torch.tensor(picks, dtype=torch.int64)
    labels = torch.tensor(data.draw(st.lists(st.sampled_from([-1, 3]), min_size=8, max_size=8)))
    labels = labels[: len(picks)]
    for final in (None, labels):
        new = fsa.select_attributes(arc_map, final)
        ends = [-1 if final is not None and label == -1 else 0 for label in labels.tolist()]
        aux, words, durations = (x.tolist() for x in (fsa.aux_labels, fsa.words, fsa.durations))
        expected = [aux[i] if i >= 0 else end for i, end in zip(picks, ends, strict=True)]
        if final is not None:  # an arc that no longer goes into the final state has no -1
            expected = [0 if a == -1 and label != -1 else a for a, label in zip(expected, final)]
        assert new["aux_labels"].tolist() == expected
        assert new["words"].tolist() == [words[i] if i >= 0 else [] for i in picks]
        assert new["durations"].tolist() == [durations[i] if i >= 0 else [0, 0] for i in picks]
        assert new["phones"].tolist() == [i if i >= 0 else 77 for i in picks]
        assert new["origin"] == "random" and new["phones_filler"] == 77
        for name in ("aux_labels", "phones", "durations"):
            assert new[name].dtype == getattr(fsa, name).dtype


@given(seeds, st.data())
def test_joining_agrees_with_lists(random_fsa, seed, data):
    fsa = random_fsa(seed)
    fsa.set_attribute_("phones", torch.arange(fsa.num_arcs, dtype=torch.int32) % 3)
    fsa.set_attribute_("phones_filler", 1)
    lists = data.draw(st.lists(st.lists(st.integers(-1, fsa.num_arcs - 1), max_size=3), max_size=5))
    new = fsa.select_attributes(RaggedTensor.from_lists(lists, dtype=torch.int64))
    aux, words, phones = (x.tolist() for x in (fsa.aux_labels, fsa.words, fsa.phones))
    assert new["aux_labels"].tolist() == [
        [aux[i] for i in row if i >= 0 and aux[i] not in (0, -1)] for row in lists
    ]
    assert new["words"].tolist() == [[w for i in row if i >= 0 for w in words[i]] for row in lists]
    assert new["phones"].tolist() == [
        [phones[i] for i in row if i >= 0 and phones[i] != 1] for row in lists
    ]
    expected = torch.zeros(len(lists), 2)
    for i, row in enumerate(lists):
        for arc in row:
            if arc >= 0:
                expected[i] += fsa.durations[arc]
    torch.testing.assert_close(new["durations"], expected)


def test_gradients_follow_the_arcs():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    fsa = Fsa.from_arcs([[0, 1, 3], [1, 2, -1]], weight=weight)
    fsa.select_attributes(torch.tensor([1, -1, 1, 0]))["weight"].sum().backward()
    assert weight.grad.tolist() == [1, 2]
    weight.grad = None
    fsa.select_attributes(RaggedTensor.from_lists([[1, 0, -1], [], [1]]))["weight"].sum().backward()
    assert weight.grad.tolist() == [1, 2]


def test_minus_one_is_a_label_where_the_arc_is_not_final():
    fsa = Fsa.from_arcs([[0, 1, 3], [1, 2, -1]], phones=torch.tensor([-1, -1]))
    joined = fsa.select_attributes(RaggedTensor.from_lists([[0, 1], [1]]))
    assert joined["phones"].tolist() == [[-1], []]


def test_wrong_attributes_are_named():
    fsa = Fsa.from_arcs([[0, 1, -1]], phones=torch.tensor([1]), phones_filler="x")
    with pytest.raises(
        FsaValueError, match=r"'phones_filler': must be a number.*'phones', got 'x'"
    ):
        fsa.select_attributes(torch.tensor([0]))
    fsa = Fsa.from_arcs([[0, 1, -1]], span=torch.tensor([[1, 2]]))
    with pytest.raises(FsaValueError, match=r"'span': has shape \(1, 2\).*Split it into columns"):
        fsa.select_attributes(RaggedTensor.from_lists([[0]]))
