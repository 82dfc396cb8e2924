"""Pruned lattices: with infinite beams the exact ones, with others their best part."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from search_problems import (
    assert_same_fsa,
    composed,
    exact_totals,
    random_dense,
    random_graph,
    with_gradients,
)

from wfst_entropy.algorithms import get_tot_scores, intersect_dense
from wfst_entropy.decoding import (
    DecodingGraph,
    OnlineDenseIntersecter,
    beam_search_best_path,
    intersect_dense_pruned,
)
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaValueError
from wfst_entropy.semirings import TropicalSemiring

INF, TROPICAL = math.inf, TropicalSemiring()
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


SMALL = Fsa.from_str("0 0 0 0\n0 1 1 0.5\n1 1 1 0\n1 0 0 0\n1 2 -1 0\n2")


def float_problem(seed, lengths=(9, 6, 7)):
    """A graph with arcs that consume no frame, in float32."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, num_states=20, num_arcs=120, epsilon=4).to(torch.float32)
    return DecodingGraph(graph, epsilon_label=4), random_dense(rng, lengths).to(torch.float32)


@pytest.mark.parametrize("output_beam", [0.0, 1.5, 6.0])
def test_the_output_beam_alone_prunes_as_intersect_dense_does(output_beam):
    rng = np.random.default_rng(7)
    graph, dense = random_graph(rng, num_arcs=30), random_dense(rng)
    exact = intersect_dense(graph, dense, output_beam=output_beam)
    lattice = intersect_dense_pruned(
        graph, dense, search_beam=INF, output_beam=output_beam, allow_partial=False
    )
    assert lattice.num_arcs == exact.num_arcs > 0
    torch.testing.assert_close(get_tot_scores(lattice), get_tot_scores(exact))


@pytest.mark.parametrize("seed", range(3))
def test_what_a_beam_keeps_is_exact_and_no_better_than_all(seed):
    graph, dense = float_problem(seed)
    everything = get_tot_scores(intersect_dense_pruned(graph, dense, **EXACT), TROPICAL)
    for beam in (0.5, 2.0, 8.0, INF):
        lattice = intersect_dense_pruned(graph, dense, search_beam=beam, min_active_states=0)
        best = get_tot_scores(lattice, TROPICAL)
        has_final = torch.tensor([not bool(lattice[i].partial.any()) for i in range(3)])
        assert (best <= everything + 1e-5)[has_final].all()
        path = beam_search_best_path(graph, dense, search_beam=beam, min_active_states=0)
        torch.testing.assert_close(get_tot_scores(path, TROPICAL), best)
    torch.testing.assert_close(best, everything)


def test_arcs_score_the_graphs_score_and_the_frames():
    graph, dense = float_problem(3)
    graph.fsa.set_attribute_("number", torch.arange(graph.fsa.num_arcs))
    lattice = intersect_dense_pruned(graph, dense, seqframe_idx_name="row")
    sequence = lattice.arc_to_fsa()
    of_graph = lattice.number
    assert torch.equal(lattice.lm_scores, graph.fsa.scores[of_graph])
    assert torch.equal(lattice.labels, graph.fsa.labels[of_graph])
    assert torch.equal(lattice.aux_labels, graph.fsa.aux_labels[of_graph])
    emits = (lattice.labels >= 0) & (lattice.labels != 4)
    frame = lattice.frame_idx.long()
    read = torch.zeros(lattice.num_arcs)
    read[emits] = dense.scores[sequence[emits], frame[emits], lattice.labels[emits].long()]
    assert torch.equal(lattice.scores, lattice.lm_scores + read)
    first_rows = torch.tensor([0, 10, 17])
    assert torch.equal(lattice.row.long(), first_rows[sequence] + frame)
    assert torch.equal(frame[lattice.labels == -1], dense.lengths[sequence[lattice.labels == -1]])


def test_one_active_state_is_greedy():
    rng = np.random.default_rng(0)
    graph, dense = random_graph(rng, num_arcs=40).to(torch.float32), random_dense(rng, (6,))
    state, score = 0, 0.0
    arcs, weights = graph.arcs.tolist(), graph.scores.tolist()
    for frame in dense[0].tolist():
        ways = [(w + frame[c], d) for (s, d, c), w in zip(arcs, weights) if s == state and c >= 0]
        best, state = max(ways)
        score += best
    finals = [w for (s, _, c), w in zip(arcs, weights) if s == state and c == -1]
    path = beam_search_best_path(graph, dense, min_active_states=0, max_active_states=1)
    # the last frame's states are all there, so the end may be better than the greedy one
    assert float(path.scores.sum()) >= score + max(finals, default=-INF) - 1e-4
    lattice = intersect_dense_pruned(
        graph, dense, output_beam=INF, min_active_states=0, max_active_states=1
    )
    assert len(set(lattice.arcs[lattice.labels >= 0, 0].tolist())) == 6  # a state in each frame


def test_numbers_of_active_states_are_kept():
    graph, dense = float_problem(5, (9,))
    lattice = intersect_dense_pruned(
        graph, dense, search_beam=INF, output_beam=INF, min_active_states=0, max_active_states=4
    )
    emits = (lattice.labels >= 0) & (lattice.labels != 4)
    for t in range(9):
        active = lattice.arcs[emits & (lattice.frame_idx == t), 0]
        assert 1 <= len(set(active.tolist())) <= 4
    # a minimum larger than the graph leaves nothing out, however narrow the beam
    wide = intersect_dense_pruned(
        graph, dense, search_beam=0.0, output_beam=INF, min_active_states=999
    )
    assert_same_fsa(wide, intersect_dense_pruned(graph, dense, search_beam=INF, output_beam=INF))


@pytest.mark.parametrize("search", [intersect_dense_pruned, beam_search_best_path])
def test_batch_padding_memory_order_and_threads_change_nothing(search):
    graph, dense = float_problem(2, (9, 6, 0, 7))
    whole = search(graph, dense, search_beam=6.0)
    padded = torch.nn.functional.pad(dense.scores, (0, 0, 0, 5), value=math.nan)
    turned = padded.transpose(1, 2).contiguous().transpose(1, 2)
    threads = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            for scores in (padded, turned):
                other = DenseFsaVec.from_lengths(scores, dense.lengths)
                assert_same_fsa(search(graph, other, search_beam=6.0), whole)
    finally:
        torch.set_num_threads(threads)
    for i in (3, 0, 2):
        alone = search(graph, dense.index_select(torch.tensor([i])), search_beam=6.0)
        assert_same_fsa(Fsa.from_fsas([whole[i]]), alone)


def test_a_graph_for_each_sequence():
    (one, _), (other, dense) = float_problem(0, (5, 6)), float_problem(1, (5, 6))
    both = Fsa.from_fsas([one.fsa, other.fsa])
    lattice = intersect_dense_pruned(DecodingGraph(both, epsilon_label=4), dense)
    for i, graph in enumerate((one, other)):
        alone = intersect_dense_pruned(graph, dense.index_select(torch.tensor([i])))
        assert_same_fsa(Fsa.from_fsas([lattice[i]]), alone)


def test_partial_lattices():
    scores = torch.tensor([[[0.0, -9.0], [0.0, -9.0]]])
    dense = DenseFsaVec.from_lengths(scores, torch.tensor([2]))
    narrow = {"search_beam": 1.0, "min_active_states": 0}  # token 1 is out of reach
    lattice = intersect_dense_pruned(SMALL, dense, **narrow)
    assert lattice.labels.tolist() == [0, 0, -1]
    assert lattice.partial.tolist() == [False, False, True]
    assert lattice.scores.tolist() == [0, 0, 0] == lattice.lm_scores.tolist()
    assert_same_fsa(beam_search_best_path(SMALL, dense, **narrow), lattice)
    assert intersect_dense_pruned(SMALL, dense, allow_partial=False, **narrow).num_arcs == 0
    assert beam_search_best_path(SMALL, dense, allow_partial=False, **narrow).num_arcs == 0
    assert not intersect_dense_pruned(SMALL, dense).partial.any()


@pytest.mark.parametrize("search", [intersect_dense_pruned, beam_search_best_path])
def test_little_input(search):
    empty = Fsa.from_arcs([], num_states=0)
    dense = DenseFsaVec.from_lengths(torch.zeros(2, 3, 2), torch.tensor([3, 0]))
    assert search(empty, dense).shape.row_splits(1).tolist() == [0, 0, 0]
    assert search(SMALL, dense)[1].partial.tolist() == [True]  # no frame: the start is the end
    none = DenseFsaVec.from_lengths(torch.zeros(0, 3, 2), torch.zeros(0, dtype=torch.int64))
    assert search(SMALL, none).num_fsas == 0
    masked = DenseFsaVec.from_lengths(torch.full((1, 3, 2), -INF), torch.tensor([3]))
    assert search(SMALL, masked).num_states == 0
    assert search(SMALL.with_scores(torch.full((5,), -1e30)), dense)[0].num_states == 0


def test_what_cannot_be_searched_is_told():
    dense = DenseFsaVec.from_lengths(torch.zeros(1, 3, 2), torch.tensor([3]))
    for wrong, message in (
        ({"search_beam": math.nan}, r"search_beam: must be at least 0 nats, got nan"),
        ({"output_beam": -1.0}, r"output_beam: must be at least 0 nats, got -1\.0"),
        ({"max_active_states": 0, "min_active_states": 0}, "max at least 1, got 0 and 0"),
        ({"max_active_states": 5, "min_active_states": 6}, "0 <= min <= max .* got 6 and 5"),
        ({"max_arcs": 2}, r"max_arcs=2, with .* arcs so far; narrow search_beam"),
    ):
        with pytest.raises((FsaValueError, FsaRuntimeError), match=message):
            intersect_dense_pruned(SMALL, dense, **wrong)
    for label, message in ((3, r"label 3; labels lie in 0\.\.1 .*epsilon_label=3"),):
        graph = Fsa.from_str(f"0 0 {label} 0\n0 1 -1 0\n1")
        with pytest.raises(FsaValueError, match=message):
            intersect_dense_pruned(graph, dense)
    two = Fsa.from_fsas([SMALL, SMALL])
    with pytest.raises(FsaValueError, match=r"one graph for all 1 sequences .* got 2"):
        intersect_dense_pruned(two, dense)
    bad = torch.zeros(1, 3, 2)
    bad[0, 1, 1] = math.nan
    with pytest.raises(FsaValueError, match="utterance 0, frame 1, symbol 1 is nan"):
        intersect_dense_pruned(SMALL, DenseFsaVec.from_lengths(bad, torch.tensor([3])))
    named = SMALL.clone().set_attribute_("partial", torch.zeros(5))
    with pytest.raises(FsaValueError, match="attribute 'partial' already"):
        intersect_dense_pruned(named, dense)
    with pytest.raises(FsaValueError, match="attribute 'frame_idx' already"):
        intersect_dense_pruned(SMALL.clone().set_attribute_("frame_idx", torch.zeros(5)), dense)


@pytest.mark.slow
def test_traces_of_long_recordings_are_forgotten():
    rng = np.random.default_rng(0)
    graph = random_graph(rng, num_states=60, num_arcs=600).to(torch.float32)
    dense = random_dense(rng, (30_000,)).to(torch.float32)
    path = beam_search_best_path(graph, dense, search_beam=INF)
    search = OnlineDenseIntersecter(graph, 1, INF, 0.0, 0, 10**6)
    assert_same_fsa(path, search.best_path(search.advance(dense, [None])))


INTERRUPTED = """
import os, signal, threading, torch
from wfst_entropy import DecodingGraph, DenseFsaVec, Fsa, intersect_dense_pruned
torch.set_num_threads(2)
size = 3000
arcs = [[s, t % size, 1 + t % 9] for s in range(size) for t in range(s, s + 20)]
graph = DecodingGraph(Fsa.from_arcs([*arcs, [size - 1, size, -1]]))
dense = DenseFsaVec.from_lengths(torch.randn(2, 100_000, 10), torch.tensor([100_000, 100_000]))
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
intersect_dense_pruned(graph, dense, search_beam=1e9, output_beam=0.0)
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_search():
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "KeyboardInterrupt: intersect_dense_pruned: interrupted" in done.stderr, done.stderr
