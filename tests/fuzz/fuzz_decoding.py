"""Searches of any graph over any frame scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from fuzz_examine import examine
from fuzz_values import SCORES, STRANGE_SCORES, dense_scores, fsas
from hypothesis import strategies as st

from wfst_entropy.decoding import (
    DecodingGraph,
    OnlineDenseIntersecter,
    RnntDecodingConfig,
    RnntDecodingStream,
    RnntDecodingStreams,
    beam_search_best_path,
    intersect_dense_pruned,
)
from wfst_entropy.fsa import FsaError
from wfst_entropy.topologies import trivial_graph

_BEAMS = st.sampled_from([0.0, 1e-3, 2.0, 20.0, 1e30, math.inf])
_NUMBERS = st.sampled_from([0, 1, 2, 30, 10**12])
_SOME = st.sampled_from([1, 2, 30, 30, 10**12, 0])
_GRAPHS = st.sampled_from(
    [{}, {"epsilon_label": 0}, {"epsilon_label": 2}, {"topology": "standard"},
     {"topology": "modified"}]
)  # fmt: skip


_LIMITS = st.sampled_from([0, 30, 2**30, 2**30])


def _found(search: Callable[[], Any]) -> None:
    try:
        found = search()
    except FsaError:
        return
    examine(found)


def searched(data: st.DataObject) -> None:
    """Whole utterances for lattices and best paths, and the same as two chunks."""
    try:
        graph = DecodingGraph(data.draw(fsas()), **data.draw(_GRAPHS))
    except FsaError:
        return
    dense = data.draw(dense_scores())
    beams = (data.draw(_BEAMS), data.draw(_BEAMS), data.draw(_NUMBERS), data.draw(_NUMBERS))
    partial = data.draw(st.booleans())
    names = ("search_beam", "output_beam", "min_active_states", "max_active_states")
    options = {**dict(zip(names, beams)), "allow_partial": partial}
    _found(lambda: intersect_dense_pruned(graph, dense, **options))
    del options["output_beam"]
    _found(lambda: beam_search_best_path(graph, dense, **options))
    try:
        search = OnlineDenseIntersecter(graph, 9, *beams, allow_partial=partial)
        states = search.advance(dense, [None] * dense.num_seqs)
        states = search.advance(dense, states)
    except FsaError:
        return
    examine(search.lattice(states))
    examine(search.best_path(states))


def transduced(data: st.DataObject) -> None:
    """Streams of any graphs, any limits and scores; two of them go on after a flush."""
    graphs = [_one_graph(data) for _ in range(data.draw(st.integers(1, 3)))]
    enough = 1 + max(int(graph.fsa.labels.max()) for graph in graphs)
    symbols = data.draw(st.sampled_from([enough, enough, enough + 1, 1])) if enough < 50 else 3
    history = data.draw(st.sampled_from([1, 2, 3, 3, 27]))
    limits = [data.draw(_BEAMS), data.draw(_SOME), data.draw(_SOME)]
    try:
        config = RnntDecodingConfig(symbols, history, *limits)
        streams = [RnntDecodingStream(graph) for graph in graphs]
        for part in (streams, streams[:2]):
            _go_on(data, RnntDecodingStreams(part, config, max_arcs=data.draw(_LIMITS)), symbols)
    except FsaError:
        return


def _one_graph(data: st.DataObject) -> DecodingGraph:
    """What is drawn, or where that cannot be searched, any labels up to 2."""
    try:
        fsa = data.draw(fsas())
        if fsa.num_axes == 3 and fsa.num_fsas:
            fsa = fsa[fsa.num_fsas - 1]
        silent = data.draw(st.sampled_from([0, 0, 2, None]))
        graph = DecodingGraph(fsa, epsilon_label=silent)
    except FsaError:
        return DecodingGraph(trivial_graph(2))
    usable = fsa.num_arcs and "frame_idx" not in fsa.attributes
    return graph if usable else DecodingGraph(trivial_graph(2))


def _go_on(data: st.DataObject, streams: RnntDecodingStreams, symbols: int) -> None:
    for _ in range(data.draw(st.integers(0, 4))):
        _, contexts = streams.get_contexts()
        pool = STRANGE_SCORES if data.draw(st.integers(0, 9)) == 0 else SCORES
        values = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=5))
        size = len(contexts) * symbols
        rows = torch.tensor(values, dtype=torch.float32).repeat(size)[:size]
        streams.advance(rows.view(-1, symbols))
    streams.terminate_and_flush_to_streams()
    frames = [data.draw(st.integers(0, s.num_frames)) for s in streams.src_streams]
    examine(streams.format_output(frames, data.draw(st.booleans())))


SEARCHES = {"decoding.searches": searched, "decoding.transducers": transduced}
