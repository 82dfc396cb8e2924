"""Graphs made ready: what they tell of themselves, and what they refuse."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from search_problems import assert_same_fsa, random_dense, random_graph

from wfst_entropy.decoding import DecodingGraph, intersect_dense_pruned
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaRuntimeError, FsaTypeError, FsaValueError


def test_pickled_it_searches_the_same():
    rng = np.random.default_rng(0)
    fsa, dense = random_graph(rng, labels=(1, 4), epsilon=0), random_dense(rng)
    for options in ({"topology": "modified"}, {"epsilon_label": 0}):
        graph = DecodingGraph(fsa, **options)
        again = pickle.loads(pickle.dumps(graph))
        assert repr(again) == repr(graph)
        found = [intersect_dense_pruned(g.to("cpu"), dense) for g in (graph, again)]
        assert_same_fsa(*found)


def test_it_tells_its_size():
    rng = np.random.default_rng(1)
    fsa = random_graph(rng, num_states=1000, num_arcs=5000, labels=(1, 400))
    graph = DecodingGraph(fsa, topology="standard")
    assert graph.num_search_states <= fsa.num_states + fsa.num_arcs
    assert graph.num_bytes < 100 * fsa.num_arcs  # whatever the vocabulary
    assert repr(graph).startswith("DecodingGraph(num_states=1000, num_arcs=5001, topology=")
    assert repr(graph).endswith(f"num_search_states={graph.num_search_states}, 0.2 MB)")


def test_a_cycle_without_frames_is_named():
    arcs = [[0, 1, 1], [1, 2, 9], [1, 3, 1], [2, 3, 9], [3, 1, 9], [3, 4, -1]]
    with pytest.raises(CyclicFsaError, match=r"FSA 0: .* cycle of states 1 -> 2 -> 3 -> 1;"):
        DecodingGraph(Fsa.from_arcs(arcs), epsilon_label=9)
    DecodingGraph(Fsa.from_arcs(arcs), epsilon_label=8)
    masked = torch.tensor([0.0, 0, 0, 0, -math.inf, 0])  # no arc that anything can take
    DecodingGraph(Fsa.from_arcs(arcs, masked), epsilon_label=9)


def test_what_cannot_be_made_ready_is_told():
    fsa = Fsa.from_str("0 0 1 0.5\n0 1 -1 0\n1")
    with pytest.raises(FsaTypeError, match="fsa: needs an Fsa, got int"):
        DecodingGraph(3)
    with pytest.raises(FsaValueError, match='topology: must be None, "standard" or "modified"'):
        DecodingGraph(fsa, topology="compact")
    for options in ({"epsilon_label": 0, "topology": "standard"}, {"epsilon_label": -1}):
        with pytest.raises(FsaValueError, match="epsilon_label: must be a label of the graph"):
            DecodingGraph(fsa, **options)
    for score in (math.nan, 2.0**27):
        wrong = fsa.with_scores(torch.tensor([score, 0.0]))
        with pytest.raises(FsaValueError, match=r"FSA 0, arc 0 \[0, 0, 1\] has score"):
            DecodingGraph(wrong)
    with pytest.raises(FsaRuntimeError, match="max_states=2"):
        DecodingGraph(fsa, topology="standard", max_states=2)
    written = fsa.clone()
    written.arcs[0, 1] = 7
    with pytest.raises(FsaValueError, match=r"instead of writing to fsa\.arcs"):
        DecodingGraph(written)
