"""Levenshtein distances: the table by hand, distances as a metric, errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.algorithms import edit_distance
from wfst_entropy.fsa import FsaTypeError, FsaValueError, RaggedTensor


def by_table(hyp, ref):
    row = list(range(len(ref) + 1))
    for i, token in enumerate(hyp, 1):
        row, last = [i], row
        for j, wanted in enumerate(ref, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (token != wanted)))
    return row[-1]


sequences = st.lists(st.integers(-1, 3), max_size=6)


def ragged(lists):
    return RaggedTensor.from_lists(lists, torch.int32)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(sequences, sequences), max_size=5))
def test_equals_the_table(pairs):
    if not pairs:
        empty = ragged([[0]])[:0]
        assert edit_distance(empty, empty).tolist() == []
        return
    hyps, refs = (ragged([pair[k] for pair in pairs]) for k in (0, 1))
    found = edit_distance(hyps, refs)
    assert found.tolist() == [by_table(*pair) for pair in pairs]
    assert torch.equal(found, edit_distance(refs, hyps))


def test_wrong_arguments_are_named():
    with pytest.raises(FsaValueError, match="refs: must be as many sequences as hyps, 1, got 2"):
        edit_distance(ragged([[1]]), ragged([[1], [1]]))
    with pytest.raises(FsaTypeError, match="hyps: must be ragged integers"):
        edit_distance([[1]], ragged([[1]]))
    with pytest.raises(FsaTypeError, match="refs: must be integers"):
        edit_distance(ragged([[1]]), RaggedTensor.from_lists([[1.5]], torch.float32))
