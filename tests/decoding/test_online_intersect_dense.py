"""Searching in chunks gives what searching whole utterances gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_problems import assert_same_fsa, random_dense, random_graph

from wfst_entropy.algorithms import get_tot_scores
from wfst_entropy.decoding import (
    DecodingGraph,
    OnlineDenseIntersecter,
    beam_search_best_path,
    intersect_dense_pruned,
)
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import TropicalSemiring

GRAPH = Fsa.from_str("0 0 0 0\n0 1 1 0.5\n1 1 1 0\n1 0 0 0\n1 2 -1 0\n2")


def graph_of_seed(seed):
    """A graph, with arcs that consume no frame, and perhaps a topology."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        graph = random_graph(rng, epsilon=4, num_states=12, num_arcs=60)
        return DecodingGraph(graph.to(torch.float32), epsilon_label=4)
    graph = random_graph(rng, labels=(1, 4), epsilon=0, num_states=12, num_arcs=60)
    return DecodingGraph(graph.to(torch.float32), topology=("standard", "modified")[seed % 3 - 1])


BEAMS = [(3.0, 1.0, 0, 6), (6.0, 4.0, 2, 50), (math.inf, 2.0, 0, 9)]


@pytest.mark.parametrize("seed", range(6))
def test_chunks_give_the_lattice_of_the_whole(seed):
    check_chunks(seed, BEAMS[seed // 3])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), beams=st.sampled_from(BEAMS))
def test_any_chunks_give_the_lattice_of_the_whole(seed, beams):
    check_chunks(seed, beams)


def check_chunks(seed, beams):
    rng = np.random.default_rng(seed)
    graph, lengths = graph_of_seed(seed), rng.integers(0, 70, 3)
    dense = random_dense(rng, tuple(lengths.tolist())).to(torch.float32)
    search = OnlineDenseIntersecter(graph, 3, *beams)
    states, done = [None] * 3, np.zeros(3, int)
    while (ready := np.flatnonzero(done < lengths)).size:
        chosen = rng.permutation(ready)[: rng.integers(1, len(ready) + 1)]
        sizes = np.minimum(rng.choice([0, 1, 7, 26], len(chosen)), lengths[chosen] - done[chosen])
        segments = torch.from_numpy(np.stack([chosen, done[chosen], sizes], axis=1))
        chunk = DenseFsaVec(dense.scores, segments)
        for i, state in zip(chosen, search.advance(chunk, [states[i] for i in chosen])):
            states[i] = state
        done[chosen] += sizes
    empty = DenseFsaVec.from_lengths(torch.zeros(3, 0, 4), torch.zeros(3, dtype=torch.int64))
    lattice, states = search.decode(empty, states)
    names = ("search_beam", "output_beam", "min_active_states", "max_active_states")
    whole = intersect_dense_pruned(graph, dense, **dict(zip(names, beams)))
    assert_same_fsa(lattice, whole)
    best = get_tot_scores(search.best_path(states), TropicalSemiring())
    torch.testing.assert_close(best, get_tot_scores(lattice, TropicalSemiring()))


def test_a_state_can_be_gone_on_from_twice():
    search = OnlineDenseIntersecter(GRAPH, 1, 20.0, 8.0, 0, 100)
    torch.manual_seed(0)
    one, two, three = (
        DenseFsaVec.from_lengths(torch.randn(1, 3, 2), torch.tensor([3])) for _ in "abc"
    )
    states = search.advance(one, [None])
    first, _ = search.decode(two, states)
    search.decode(three, states)
    again, _ = search.decode(two, states)
    assert_same_fsa(first, again)
    assert states[0].num_frames == 3


def test_the_best_path_so_far_is_that_of_the_frames_so_far():
    torch.manual_seed(1)
    scores = torch.randn(1, 9, 2)
    search, states = OnlineDenseIntersecter(GRAPH, 1, 20.0, 8.0, 0, 100), [None]
    for t in range(9):
        chunk = DenseFsaVec(scores, torch.tensor([[0, t, 1]]))
        states = search.advance(chunk, states)
        so_far = DenseFsaVec(scores, torch.tensor([[0, 0, t + 1]]))
        assert_same_fsa(search.best_path(states), beam_search_best_path(GRAPH, so_far))


def test_gradients_reach_the_graph():
    graph = GRAPH.with_scores(GRAPH.scores.clone().requires_grad_())
    dense = DenseFsaVec.from_lengths(torch.zeros(1, 3, 2), torch.tensor([3]))
    lattice, _ = OnlineDenseIntersecter(graph, 1, 20.0, 8.0, 0, 100).decode(dense, [None])
    whole = intersect_dense_pruned(graph, dense)
    grads = [
        torch.autograd.grad(get_tot_scores(x).sum(), graph.scores)[0] for x in (lattice, whole)
    ]
    torch.testing.assert_close(*grads)


def test_what_does_not_fit_is_refused():
    search = OnlineDenseIntersecter(GRAPH, 2, 20.0, 8.0, 0, 100)
    dense = DenseFsaVec.from_lengths(torch.zeros(1, 3, 2), torch.tensor([3]))
    states = search.advance(dense, [None])
    with pytest.raises(FsaValueError, match=r"one state \(or None\) for each of 1 chunks"):
        search.decode(dense, [None, None])
    with pytest.raises(FsaTypeError, match=r"decode_states\[0\]: must be a DecodeStateInfo"):
        search.decode(dense, [3])
    other = OnlineDenseIntersecter(GRAPH, 2, 20.0, 8.0, 0, 100)
    with pytest.raises(FsaValueError, match="another graph"):
        other.decode(dense, states)
    wider = DenseFsaVec.from_lengths(torch.zeros(1, 3, 5), torch.tensor([3]))
    with pytest.raises(FsaValueError, match=r"has 5 symbols, but .* read frames of 2"):
        search.decode(wider, states)
    bad = DenseFsaVec.from_lengths(torch.full((1, 3, 2), math.nan), torch.tensor([3]))
    with pytest.raises(FsaValueError, match="nan"):
        search.decode(bad, states)
    assert search.best_path(states).num_arcs == 4  # the state is as it was
    with pytest.raises(FsaValueError, match="num_streams: must be at least 1"):
        OnlineDenseIntersecter(GRAPH, 0, 20.0, 8.0, 0, 100)
    with pytest.raises(FsaValueError, match="one graph for all streams"):
        OnlineDenseIntersecter(Fsa.from_fsas([GRAPH, GRAPH]), 1, 20.0, 8.0, 0, 100)
