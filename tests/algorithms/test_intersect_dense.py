"""Lattices of graphs and frame scores: k2's numbers, structure, semirings, attributes, errors."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import random_machine

from wfst_entropy import _native
from wfst_entropy.algorithms import (
    get_tot_scores,
    intersect_dense,
    intersect_dense_tot_scores,
    shortest_distance,
)
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedTensor
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    LogSemiring,
    Semiring,
    TropicalSemiring,
)
from wfst_entropy.topologies import ctc_graph

INF = math.inf
GOLDEN = Path(__file__).parents[1] / "golden" / "k2" / "intersect_dense_ctc.json"
GRAPH = Fsa.from_str("0 0 0 0.1\n0 1 1 0.2\n0 2 -1 -0.6\n1 1 1 -0.3\n1 0 2 0.4\n1 2 -1 0.5\n2")


class CountingSemiring(Semiring):
    """How many paths there are; nothing but the four things that a user must write."""

    zero_element, one_element = (0.0,), (1.0,)

    def plus(self, a, b):
        return a + b

    def times(self, a, b):
        return a * b

    def convert(self, log_weights):
        return (log_weights > -INF).to(log_weights)


class WeightSequenceSemiring(Semiring):
    """Affine maps x -> scale * x + shift: order matters along a path."""

    zero_element, one_element = (0.0, 0.0), (1.0, 0.0)
    commutative = False

    def plus(self, a, b):
        return a[0] + b[0], a[1] + b[1]

    def times(self, a, b):
        return a[0] * b[0], a[0] * b[1] + a[1]

    def convert(self, log_weights):
        return log_weights.exp(), log_weights.exp() * torch.where(log_weights > 0, 1.0, 2.0)


def dense_batch(lengths=(5, 3, 0), num_symbols=3, seed=0):
    torch.manual_seed(seed)
    shape = (len(lengths), max(lengths), num_symbols)
    scores = torch.randn(shape, dtype=torch.float64).requires_grad_()
    return scores, DenseFsaVec.from_lengths(scores, torch.tensor(lengths))


def graph_with_grad():
    graph = GRAPH.to(torch.float64)
    return graph.with_scores(graph.scores.clone().requires_grad_())


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()), ids=lambda case: case["modified"])
def test_equals_k2(case):
    scores = torch.tensor(case["log_probs"], requires_grad=True)
    dense = DenseFsaVec.from_lengths(scores, torch.tensor(case["lengths"]))
    graph = ctc_graph(case["symbols"], case["modified"])
    wanted, wanted_grad = torch.tensor(case["tot_log"]), torch.tensor(case["grad"])
    for total in (
        get_tot_scores(intersect_dense(graph, dense), LogSemiring()),
        get_tot_scores(intersect_dense(graph, dense, output_beam=1e4), LogSemiring()),
        intersect_dense_tot_scores(graph, dense),
    ):
        torch.testing.assert_close(total, wanted.to(total), rtol=1e-5, atol=1e-4)
        (grad,) = torch.autograd.grad(total.sum(), scores)
        torch.testing.assert_close(grad, wanted_grad.reshape(grad.shape), rtol=1e-3, atol=1e-4)
    best = torch.tensor(case["tot_tropical"])
    for total in (
        get_tot_scores(intersect_dense(graph, dense), TropicalSemiring()),
        intersect_dense_tot_scores(graph, dense, TropicalSemiring()),
    ):
        torch.testing.assert_close(total, best.to(total), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "semiring",
    [
        LogSemiring(),
        TropicalSemiring(),
        ConditionalEntropySemiring(),
        CountingSemiring(),
        WeightSequenceSemiring(),
    ],
    ids=lambda semiring: type(semiring).__name__,
)
@pytest.mark.parametrize("engine", [contextlib.nullcontext, _native.disabled])
def test_the_fused_total_is_the_lattice_total(semiring, engine):
    with engine():
        check_fused_total(semiring)


def check_fused_total(semiring):
    graph = graph_with_grad()
    scores, dense = dense_batch()
    fused = intersect_dense_tot_scores(graph, dense, semiring)
    lattice = get_tot_scores(intersect_dense(graph, dense), semiring)
    torch.testing.assert_close(fused, lattice)
    slots = fused if isinstance(fused, tuple) else (fused,)
    if not slots[0].requires_grad:
        return
    loss = sum(w * slot.sum() for w, slot in zip((1.0, 0.3), slots))
    slots = lattice if isinstance(lattice, tuple) else (lattice,)
    other = sum(w * slot.sum() for w, slot in zip((1.0, 0.3), slots))
    wanted = torch.autograd.grad(other, (scores, graph.scores))
    torch.testing.assert_close(torch.autograd.grad(loss, (scores, graph.scores)), wanted)


def test_a_total_in_another_dtype():
    graph = graph_with_grad()
    scores, dense = dense_batch()
    for semiring in (LogSemiring(), ConditionalEntropySemiring()):
        precise = intersect_dense_tot_scores(graph, dense, semiring)
        single = dense.to(torch.float32)
        value = intersect_dense_tot_scores(graph.to(torch.float32), single, semiring)
        doubled = intersect_dense_tot_scores(graph, single, semiring, dtype=torch.float64)
        for a, b, c in zip(
            *(x if isinstance(x, tuple) else (x,) for x in (precise, value, doubled))
        ):
            assert (a.dtype, b.dtype, c.dtype) == (torch.float64, torch.float32, torch.float64)
            torch.testing.assert_close(b.double(), a, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(c, a, rtol=1e-6, atol=1e-6)
        (grad,) = torch.autograd.grad(c.sum(), scores)
        assert grad.dtype == torch.float64 and grad[0].abs().sum() > 0


def test_counts_of_paths():
    # transitions 0->{0, 1}, 1->{1, 0}: every choice is possible in every frame
    _, dense = dense_batch((5, 3, 0, 1))
    counts = intersect_dense_tot_scores(GRAPH, dense, CountingSemiring())
    assert counts.tolist() == [32, 8, 1, 2]


def test_structure():
    scores, dense = dense_batch()
    lattice = intersect_dense(graph_with_grad(), dense)
    assert lattice.num_axes == 3 and lattice.num_fsas == 3
    for n, length in enumerate((5, 3, 0)):
        one = lattice[n]
        # states: the start, both states after each frame, the final one; all on some path
        assert one.num_states == (2 * length + 2 if length else 2)
        forward, backward = shortest_distance(one), shortest_distance(one, reverse=True)
        assert forward.isfinite().all() and backward.isfinite().all()
        src, dst, label = one.arcs.T
        assert bool((src < dst).all())  # top-sorted
        assert torch.equal(label == -1, one.frame_idx == length)
        depth = torch.zeros(one.num_states, dtype=torch.int32)
        depth[dst.long()] = one.frame_idx + 1
        assert torch.equal(depth[src.long()], one.frame_idx)
    assert lattice.scores.dtype == scores.dtype and lattice.frame_idx.dtype == torch.int32


def test_unreachable_and_hopeless_pairs_are_left_out():
    # state 1 is a dead end, state 3 cannot be reached, state 2 needs an odd number of frames
    graph = Fsa.from_str("0 1 1 0\n0 2 1 0\n2 0 2 0\n2 4 -1 0\n3 3 1 0\n4")
    dense = DenseFsaVec.from_lengths(torch.zeros(2, 4, 3), torch.tensor([3, 4]))
    lattice = intersect_dense(graph, dense)
    assert lattice[0].arcs.tolist() == [[0, 1, 1], [1, 2, 2], [2, 3, 1], [3, 4, -1]]
    assert lattice[1].num_states == 0 and lattice[1].num_arcs == 0
    totals = intersect_dense_tot_scores(graph, dense)
    assert totals.tolist() == [0, -INF]


@pytest.mark.parametrize("mask", [-INF, -1e30])
def test_arcs_without_mass_are_left_out(mask):
    scores, dense = dense_batch((4,))
    with torch.no_grad():
        scores[0, 2, 1] = mask
        scores[0, 1] = mask
    lattice = intersect_dense(GRAPH, dense)
    assert lattice.num_arcs == 0
    with torch.no_grad():
        scores[0, 1, 0] = 0.0
    lattice = intersect_dense(GRAPH, dense)
    assert lattice.num_arcs > 0
    assert not bool(((lattice.frame_idx == 2) & (lattice.labels == 1)).any())
    assert not bool(((lattice.frame_idx == 1) & (lattice.labels != 0)).any())
    total = get_tot_scores(lattice)
    torch.testing.assert_close(total, intersect_dense_tot_scores(GRAPH, dense))
    (grad,) = torch.autograd.grad(total.sum(), scores)
    (fused,) = torch.autograd.grad(intersect_dense_tot_scores(GRAPH, dense).sum(), scores)
    assert grad.isfinite().all()
    torch.testing.assert_close(fused, grad)


def test_one_shared_graph_equals_a_copy_for_each():
    graph = graph_with_grad()
    scores, dense = dense_batch()
    copies = Fsa.from_fsas([graph] * 3)
    shared, own = intersect_dense(graph, dense), intersect_dense(copies, dense)
    assert torch.equal(shared.arcs, own.arcs) and torch.equal(shared.scores, own.scores)
    totals = [intersect_dense_tot_scores(g, dense).sum() for g in (graph, copies)]
    grads = [torch.autograd.grad(total, (scores, graph.scores)) for total in totals]
    torch.testing.assert_close(*grads)
    vector_of_one = intersect_dense(Fsa.from_fsas([graph]), dense)
    assert torch.equal(vector_of_one.arcs, shared.arcs)


def test_attributes_follow_the_arcs():
    graph = GRAPH.clone()
    graph.set_attribute_("aux_labels", torch.tensor([0, 11, -1, 0, 12, -1], dtype=torch.int32))
    graph.set_attribute_("words", RaggedTensor.from_lists([[], [1, 2], [], [], [3], []]))
    weights = torch.arange(6.0, requires_grad=True)
    graph.set_attribute_("lm_scores", weights)
    graph.set_attribute_("name", "toy")
    _, dense = dense_batch((2,))
    lattice = intersect_dense(graph, dense)
    arc_of = {(0, 0): 0, (0, 1): 1, (0, -1): 2, (1, 1): 3, (1, 2): 4, (1, -1): 5}
    state = torch.full((lattice.num_states,), -1)
    state[0] = 0
    for a, (src, dst, label) in enumerate(lattice.arcs.tolist()):
        number = arc_of[int(state[src]), label]
        state[dst] = graph.arcs[number, 1]
        assert lattice.aux_labels[a] == graph.aux_labels[number]
        assert lattice.words.tolist()[a] == graph.words.tolist()[number]
        assert lattice.lm_scores[a] == number
    assert lattice.name == "toy"
    (grad,) = torch.autograd.grad(lattice.lm_scores.sum(), weights)
    assert grad.sum() == lattice.num_arcs


def test_output_beam_keeps_what_is_close_to_the_best_path():
    _, dense = dense_batch((8, 6), seed=3)
    full = intersect_dense(GRAPH.to(torch.float64), dense)
    best = get_tot_scores(full, TropicalSemiring())
    forward = shortest_distance(full, TropicalSemiring())
    backward = shortest_distance(full, TropicalSemiring(), reverse=True)
    through = forward[full.src_states()] + full.scores + backward[full.dst_states()]
    behind = best[full.arc_to_fsa()] - through
    sizes = []
    for beam in (0.0, 1.0, 2.5, 100.0):
        pruned = intersect_dense(GRAPH.to(torch.float64), dense, output_beam=beam)
        assert pruned.num_arcs == int((behind <= beam + 1e-9).sum())
        torch.testing.assert_close(get_tot_scores(pruned, TropicalSemiring()), best)
        assert shortest_distance(pruned, TropicalSemiring(), reverse=True).isfinite().all()
        sizes.append(pruned.num_arcs)
    assert sizes == sorted(sizes) and sizes[0] == 9 + 7 and sizes[1] < sizes[-1] == full.num_arcs


@pytest.mark.parametrize("beam", [-1.0, math.nan])
def test_output_beam_must_not_be_negative(beam):
    with pytest.raises(FsaValueError, match=f"output_beam: must be at least 0 nats, got {beam}"):
        intersect_dense(GRAPH, dense_batch()[1], output_beam=beam)


def test_segments_and_padding():
    scores, _ = dense_batch((6, 6))
    dirty = scores.detach().clone()
    dirty[0, 5:] = math.nan
    dirty[0, :2] = math.nan
    dirty[1] = math.nan
    segment = DenseFsaVec(dirty, torch.tensor([[0, 2, 3]]))
    alone = DenseFsaVec.from_lengths(scores[:1, 2:5], torch.tensor([3]))
    lattice, wanted = intersect_dense(GRAPH, segment), intersect_dense(GRAPH, alone)
    assert torch.equal(lattice.arcs, wanted.arcs) and torch.equal(lattice.scores, wanted.scores)
    assert torch.equal(lattice.frame_idx, wanted.frame_idx)
    total = intersect_dense_tot_scores(GRAPH, segment)
    assert torch.equal(total, intersect_dense_tot_scores(GRAPH, alone))


def test_nothing_to_intersect():
    empty = Fsa.from_arcs([], num_states=0)
    dense = DenseFsaVec.from_lengths(torch.zeros(2, 3, 4), torch.tensor([3, 2]))
    for graph in (empty, Fsa.from_fsas([empty, GRAPH])):
        assert intersect_dense(graph, dense)[0].num_arcs == 0
        assert intersect_dense_tot_scores(graph, dense)[0] == -INF
    none = DenseFsaVec.from_lengths(torch.zeros(0, 3, 4), torch.zeros(0, dtype=torch.int64))
    assert intersect_dense(GRAPH, none).num_fsas == 0
    assert intersect_dense_tot_scores(GRAPH, none).shape == (0,)


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
@pytest.mark.parametrize("beam", [INF, 3.0, 0.5, 0.0])
def test_both_engines_make_the_same_lattice(beam):
    rng = np.random.default_rng(5)
    for seed in range(10):
        machines = [
            random_machine(rng, num_states=int(rng.integers(2, 8)), num_arcs=int(rng.integers(15)))
            for _ in range(3)
        ]
        graph = Fsa.from_fsas(machines).to(torch.float64)
        scores, dense = dense_batch((2, 6, 4), seed=seed)
        with torch.no_grad():
            scores[1, 3, 1] = -1e30
        lattices = []
        for engine in (contextlib.nullcontext, _native.disabled):
            with engine():
                lattices.append(
                    intersect_dense(graph, dense, output_beam=beam, seqframe_idx_name="row")
                )
        ours, wanted = lattices
        assert torch.equal(ours.arcs, wanted.arcs) and torch.equal(ours.scores, wanted.scores)
        for axis in (1, 2):
            assert torch.equal(ours.shape.row_splits(axis), wanted.shape.row_splits(axis))
        assert torch.equal(ours.frame_idx, wanted.frame_idx) and torch.equal(ours.row, wanted.row)


def test_fsas_choose_their_sequences():
    graphs = Fsa.from_fsas(
        [GRAPH.to(torch.float64).with_scores(GRAPH.scores * k) for k in (1, 2, 3)]
    )
    scores, dense = dense_batch((2, 5))  # durations need no order
    chosen = [1, 0, 1]
    lattice = intersect_dense(
        graphs, dense, a_to_b_map=chosen, seqframe_idx_name="row", frame_idx_name="frame"
    )
    assert lattice.num_fsas == 3 and "frame_idx" not in lattice.attributes
    total = intersect_dense_tot_scores(graphs, dense, a_to_b_map=torch.tensor(chosen))
    for a, b in enumerate(chosen):
        one = DenseFsaVec.from_lengths(scores[b : b + 1], dense.lengths[b : b + 1])
        alone = intersect_dense(graphs[a], one, seqframe_idx_name="row")
        assert torch.equal(lattice[a].arcs, alone[0].arcs)
        assert torch.equal(lattice[a].scores, alone[0].scores)
        assert torch.equal(lattice[a].frame, alone[0].frame_idx)
        assert torch.equal(lattice[a].row, alone[0].row + (0 if b == 0 else 3))
        torch.testing.assert_close(total[a], get_tot_scores(alone)[0])
    (grad,) = torch.autograd.grad(total.sum(), scores)
    torch.testing.assert_close(grad.sum(2)[1], torch.full((5,), 2.0, dtype=torch.float64))


def test_frame_attributes_are_optional_and_overwrite_nothing():
    _, dense = dense_batch((2,))
    lattice = intersect_dense(GRAPH, dense, frame_idx_name=None)
    assert lattice.attributes == {}
    graph = GRAPH.clone()
    graph.set_attribute_("frame_idx", torch.arange(6))
    with pytest.raises(FsaValueError, match="a_fsas: has an attribute 'frame_idx' already"):
        intersect_dense(graph, dense)
    lattice = intersect_dense(graph, dense, frame_idx_name="t")
    assert lattice.t.dtype == torch.int32 and lattice.frame_idx.dtype == torch.int64


def test_a_to_b_map_names_sequences():
    _, dense = dense_batch((2, 5))
    with pytest.raises(FsaValueError, match=r"a_to_b_map\[0\] = 2: must be one of the 2 sequences"):
        intersect_dense(GRAPH, dense, a_to_b_map=[2])
    with pytest.raises(FsaValueError, match=r"one integer for each of the 1 FSAs .* \(2,\)"):
        intersect_dense(GRAPH, dense, a_to_b_map=[0, 1])
    with pytest.raises(FsaValueError, match=r"got torch.float32"):
        intersect_dense_tot_scores(GRAPH, dense, a_to_b_map=[0.0])


def test_inputs_are_not_changed():
    graph = GRAPH.clone()
    scores, dense = dense_batch()
    before = scores.detach().clone()
    intersect_dense(graph, dense)
    intersect_dense_tot_scores(graph, dense)
    assert torch.equal(scores, before) and graph.attributes == {}
    assert torch.equal(graph.arcs, GRAPH.arcs) and torch.equal(graph.scores, GRAPH.scores)


@pytest.mark.parametrize("operation", [intersect_dense, intersect_dense_tot_scores])
def test_errors_name_the_place(operation):
    scores, dense = dense_batch()
    with pytest.raises(FsaValueError, match=r"one FSA for all 3 sequences .* got 2"):
        operation(Fsa.from_fsas([GRAPH, GRAPH]), dense)
    wide = Fsa.from_str("0 1 9 0\n1 2 -1 0\n2")
    graphs = Fsa.from_fsas([GRAPH, wide, GRAPH])
    message = r"FSA 1, arc 0 \[0, 1, 9\] has label 9; labels lie in 0\.\.2, or -1"
    with pytest.raises(FsaValueError, match=message):
        operation(graphs, dense)
    weights = GRAPH.scores.clone()
    weights[3] = math.nan
    with pytest.raises(FsaValueError, match=r"FSA 0, arc 3 \[1, 1, 1\] has score nan"):
        operation(GRAPH.with_scores(weights), dense)
    for value in (math.nan, INF, 1e9):
        bad = scores.detach().clone()
        bad[1, 2, 1] = value
        with pytest.raises(FsaValueError, match="utterance 1, frame 2, symbol 1 is"):
            operation(GRAPH, DenseFsaVec.from_lengths(bad, dense.lengths))


def test_a_lattice_that_outgrows_its_limits():
    dense = DenseFsaVec.from_lengths(torch.zeros(1, 100, 3), torch.tensor([100]))
    message = r"max_states: .* 51 states up to .*frame 25 of 100, more than 50; .* raise max_states"
    with pytest.raises(FsaRuntimeError, match=message):
        intersect_dense(GRAPH, dense, max_states=50)
    with pytest.raises(FsaRuntimeError, match=r"max_arcs: .*more than 70; .* raise max_arcs"):
        intersect_dense(GRAPH, dense, max_arcs=70)
    assert intersect_dense(GRAPH, dense, max_states=202).num_states == 202
