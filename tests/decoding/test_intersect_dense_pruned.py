"""Pruned lattices: with infinite beams the exact ones, with others their best part."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from search_problems import composed, exact_totals, random_dense, random_graph, with_gradients

from wfst_entropy.algorithms import get_tot_scores, intersect_dense
from wfst_entropy.decoding import DecodingGraph, intersect_dense_pruned

INF = math.inf
EXACT = {"search_beam": INF, "output_beam": INF, "allow_partial": False}


def same_totals_and_gradients(totals, wanted, inputs):
    torch.testing.assert_close(totals, wanted, rtol=1e-9, atol=1e-9)
    found = wanted > -INF
    if not found.any():
        return
    have = torch.autograd.grad(totals[found].sum(), inputs, allow_unused=True, retain_graph=True)
    want = torch.autograd.grad(wanted[found].sum(), inputs, allow_unused=True, retain_graph=True)
    for x, y in zip(have, want):
        torch.testing.assert_close(x, torch.zeros_like(x) if y is None else y, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_infinite_beams_give_the_exact_lattice(seed):
    rng = np.random.default_rng(seed)
    graph, dense = with_gradients(random_graph(rng), random_dense(rng))
    exact = intersect_dense(graph, dense)
    lattice = intersect_dense_pruned(graph, dense, **EXACT)
    assert (lattice.num_states, lattice.num_arcs) == (exact.num_states, exact.num_arcs)
    assert sorted(lattice.frame_idx.tolist()) == sorted(exact.frame_idx.tolist())
    inputs = (graph.scores, dense.scores)
    same_totals_and_gradients(get_tot_scores(lattice), get_tot_scores(exact), inputs)


@pytest.mark.parametrize("seed", range(6))
def test_arcs_that_consume_no_frame(seed):
    rng = np.random.default_rng(seed)
    graph, dense = with_gradients(random_graph(rng, epsilon=4), random_dense(rng))
    lattice = intersect_dense_pruned(DecodingGraph(graph, epsilon_label=4), dense, **EXACT)
    inputs = (graph.scores, dense.scores)
    same_totals_and_gradients(get_tot_scores(lattice), exact_totals(graph, dense, 4), inputs)


@pytest.mark.parametrize("topology", ["standard", "modified"])
@pytest.mark.parametrize("seed", range(4))
def test_an_implied_topology_equals_the_composed_one(topology, seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, labels=(1, 3), epsilon=0, num_arcs=12)
    graph, dense = with_gradients(graph, random_dense(rng, num_symbols=3))
    lattice = intersect_dense_pruned(DecodingGraph(graph, topology=topology), dense, **EXACT)
    explicit = composed(graph, 3, topology == "modified")
    wanted = exact_totals(explicit, dense, 3)
    same_totals_and_gradients(get_tot_scores(lattice), wanted, (graph.scores, dense.scores))
    other = intersect_dense_pruned(DecodingGraph(explicit, epsilon_label=3), dense, **EXACT)
    same_totals_and_gradients(get_tot_scores(other), wanted, (graph.scores, dense.scores))
