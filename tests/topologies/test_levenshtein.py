"""Levenshtein graphs: k2's states, arcs, scores and offsets."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import FsaError, levenshtein_graph
from wfst_entropy.fsa import RaggedTensor

SYMBOLS = [[1, 2, 3], [], [4, 5, 6]]


@pytest.mark.parametrize("score", [-1.0, -0.501, -1.25])
def test_arcs_scores_and_offsets(score):
    graphs = levenshtein_graph(SYMBOLS, score)
    loop, edit, match = score, -0.5, 0.0
    for graph, symbols in zip(graphs, SYMBOLS):
        arcs, scores = [], []
        for i, symbol in enumerate(symbols):
            arcs += [[i, i, 0, 0], [i, i + 1, 0, symbol], [i, i + 1, symbol, symbol]]
            scores += [loop, edit, match]
        n = len(symbols)
        arcs += [[n, n, 0, 0], [n, n + 1, -1, -1]]
        scores += [loop, 0.0]
        table = torch.cat([graph.arcs, graph.aux_labels[:, None]], dim=1)
        assert table.tolist() == arcs
        assert graph.scores.tolist() == pytest.approx(scores)
        offsets = [score + 0.5 if s == d else 0 for s, d, _, _ in arcs]
        assert graph.ins_del_score_offset.tolist() == pytest.approx(offsets)


def test_ragged_symbols_and_no_sequences():
    ragged = RaggedTensor.from_lists(SYMBOLS, torch.int32)
    assert torch.equal(levenshtein_graph(ragged).arcs, levenshtein_graph(SYMBOLS).arcs)
    assert levenshtein_graph([]).num_fsas == 0


def test_messages():
    with pytest.raises(FsaError, match="utterance 1, position 0: must be from 1"):
        levenshtein_graph([[1], [0]])
    with pytest.raises(FsaError, match="ins_del_score: must be below 0"):
        levenshtein_graph([[1]], 0.0)
    with pytest.raises(FsaError, match=r"ins_del_score: must be below 0.*got nan"):
        levenshtein_graph([[1]], float("nan"))
    with pytest.raises(FsaError, match="and finite, got -inf"):
        levenshtein_graph([[1]], float("-inf"))
