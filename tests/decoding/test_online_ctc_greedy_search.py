"""CTC greedy search of streams finds what it finds in whole utterances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.decoding import OnlineCtcGreedySearch, ctc_greedy_search
from wfst_entropy.decoding.errors import DecodingError


@settings(max_examples=25, deadline=None)
@given(
    symbols=st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=3),
    chunk=st.integers(1, 5),
    blank=st.integers(0, 1),
)
def test_any_chunks_give_the_same(symbols, chunk, blank):
    lengths = torch.tensor([len(row) for row in symbols])
    scores = torch.rand(len(symbols), 12, 3, dtype=torch.float64)
    for row, path in enumerate(symbols):
        for frame, symbol in enumerate(path):
            scores[row, frame, symbol] += 1
    search = OnlineCtcGreedySearch(blank=blank)
    states = [search.start()] * len(symbols)
    for start in range(0, 12, chunk):
        block = scores[:, start : start + chunk]
        states = search.advance(block, (lengths - start).clamp(0, block.shape[1]), states)
    for found, whole in zip(
        search.results(states), ctc_greedy_search(scores, lengths, blank=blank), strict=True
    ):
        assert found[:3] == whole[:3]
        assert found.log_probs == pytest.approx(whole.log_probs)


def test_one_state_for_each_chunk():
    search = OnlineCtcGreedySearch()
    with pytest.raises(DecodingError, match="one for each of 2 chunks, got 1"):
        search.advance(torch.zeros(2, 1, 3), torch.tensor([1, 1]), [search.start()])
