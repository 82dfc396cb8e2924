"""get_best_matching_stats against a search by comparing all pairs of contexts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.compat.k2.best_matching import get_best_matching_stats
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.fsa import FsaTypeError, FsaValueError

EOS = 3
sentences = st.lists(
    st.lists(st.integers(1, EOS - 1), max_size=4).map(lambda words: [*words, EOS]),
    min_size=1, max_size=5,
)  # fmt: skip


def search(collection, scores, counts, max_order):
    """The same four columns, slowly, from the definition."""
    words = [EOS, *(word for sentence in collection for word in sentence)]
    begins = [i + 1 for sentence in collection for i in range(len(sentence))]
    counts, scores = [0, *counts], [0, *scores]
    rows = []
    for i in range(1, len(words)):
        best, length = range(len(words)), 0
        for n in range(1, i + 2):
            context = words[i - n + 1 : i + 1]
            same = [j for j in range(n - 1, len(words)) if words[j - n + 1 : j + 1] == context]
            if len(same) < 2 or not any(counts[j] for j in same):
                break
            best, length = same, n
        keys = [scores[j] for j in best if counts[j]]
        mean = sum(keys) / len(keys) if keys else 0
        var = sum((x - mean) ** 2 for x in keys) / len(keys) if keys else 0
        reached = length and begins[i - 1] <= length
        order = max_order if reached else min(length, max_order)
        rows.append((mean, var, len(keys) if length else 0, order))
    return rows


@given(st.lists(sentences, min_size=1, max_size=2), st.integers(2, 5), st.data())
def test_agrees_with_a_search(collections, max_order, data):
    sizes = [sum(map(len, collection)) for collection in collections]
    total = sum(sizes)
    scores = data.draw(st.lists(st.integers(-5, 5), min_size=total, max_size=total))
    counts = data.draw(st.lists(st.integers(0, 1), min_size=total, max_size=total))
    args = (torch.tensor(scores, dtype=torch.float32), torch.tensor(counts, dtype=torch.int32))
    results = get_best_matching_stats(RaggedTensor(collections), *args, EOS, 1, EOS, max_order)
    expected, begin = [], 0
    for collection, size in zip(collections, sizes, strict=True):
        within = slice(begin, begin + size)
        expected += search(collection, scores[within], counts[within], max_order)
        begin += size
    dtypes = (torch.float32, torch.float32, torch.int32, torch.int32)
    for result, column, dtype in zip(results, zip(*expected, strict=True), dtypes, strict=True):
        torch.testing.assert_close(result, torch.tensor(column, dtype=dtype), rtol=0, atol=1e-5)
    if len(collections) == 1:
        again = get_best_matching_stats(RaggedTensor(collections[0]), *args, EOS, 1, EOS, max_order)
        assert all(map(torch.equal, again, results))


def test_empty_and_wrong_arguments():
    none, keys = torch.zeros(0), torch.zeros(0, dtype=torch.int32)
    for empty in (
        RaggedTensor([]),
        RaggedTensor("[[[] []]]"),
        RaggedTensor("[[[]]]").arange(0, 0, 0),
    ):
        results = get_best_matching_stats(empty, none, keys, 3, 1, 3, 2)
        assert [result.shape for result in results] == [(0,)] * 4
    one, key = torch.zeros(1), torch.ones(1, dtype=torch.int32)
    with pytest.raises(FsaTypeError, match=r"tokens: must be int32, got torch.float32"):
        get_best_matching_stats(RaggedTensor([[1.0]]), one, key, 3, 1, 3, 2)
    with pytest.raises(FsaValueError, match=r"per token, 1, got \(0,\) and \(1,\)"):
        get_best_matching_stats(RaggedTensor([[1]]), none, key, 3, 1, 3, 2)
    with pytest.raises(FsaValueError, match=r"max_order >= 2, got 1"):
        get_best_matching_stats(RaggedTensor([[1]]), one, key, 3, 1, 3, 1)
    with pytest.raises(FsaValueError, match=r"got 1, 4, 3, and"):
        get_best_matching_stats(RaggedTensor([[1]]), one, key, 4, 1, 3, 2)
    with pytest.raises(FsaValueError, match=r"from min_token 2 to max_token 3, got from 1 to 1"):
        get_best_matching_stats(RaggedTensor([[1]]), one, key, 3, 2, 3, 2)
