"""The benchmark of fast beam search: its searches find the same with wide limits."""

from __future__ import annotations

import fast_beam_search
import transducer_search

from wfst_entropy import DecodingGraph, trivial_graph


def test_rows_are_measured_and_agree():
    model, frames = transducer_search.problem(symbols=12, width=8, utterances=2, frames=12)
    graphs = {"any labels": DecodingGraph(trivial_graph(11), epsilon_label=0)}
    rows = fast_beam_search.searches_of(graphs, [(200, 200)], [64])
    assert list(rows) == ["any labels, 200 contexts, 200 states", "modified beam search, 64"]
    runs = [fast_beam_search.measure(make, model, frames) for make in rows.values()]
    assert 0 < runs[0].model + runs[0].native < runs[0].seconds
    assert any(runs[0].found)
    assert runs[0].native > 0 == runs[1].native
