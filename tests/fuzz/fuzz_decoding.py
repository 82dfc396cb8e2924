"""Searches of any graph over any frame scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fuzz_examine import examine
from fuzz_values import dense_scores, fsas
from hypothesis import strategies as st

from wfst_entropy.decoding import (
    DecodingGraph,
    OnlineDenseIntersecter,
    beam_search_best_path,
    intersect_dense_pruned,
)
from wfst_entropy.fsa import FsaError

_BEAMS = st.sampled_from([0.0, 1e-3, 2.0, 20.0, 1e30, math.inf])
_NUMBERS = st.sampled_from([0, 1, 2, 30, 10**12])
_GRAPHS = st.sampled_from(
    [{}, {"epsilon_label": 0}, {"epsilon_label": 2}, {"topology": "standard"},
     {"topology": "modified"}]
)  # fmt: skip


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


SEARCHES = {"decoding.searches": searched}
