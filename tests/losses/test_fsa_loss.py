"""Alignments of any graphs: all paths one by one, the CTC loss, invariances, errors."""

from __future__ import annotations

import contextlib
import math
import random

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.algorithms import get_tot_scores, intersect_dense
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaError, FsaRuntimeError, FsaValueError
from wfst_entropy.losses import ctc_alignment, ctc_loss, fsa_alignment, fsa_loss
from wfst_entropy.semirings import ConditionalEntropySemiring
from wfst_entropy.topologies import ctc_graph

INF = math.inf
NUM_SYMBOLS = 4


def random_graph(seed, num_states=5, num_arcs=12):
    """Loops, arcs backwards, parallel arcs, dead ends, several ways to end; float64 scores."""
    rng = random.Random(seed)
    inner = range(num_states - 1)
    arcs = [
        (rng.choice(inner), rng.choice(inner), rng.randrange(NUM_SYMBOLS)) for _ in range(num_arcs)
    ]
    arcs += [
        arcs[0],
        (rng.choice(inner), num_states - 1, -1),
        (rng.choice(inner), num_states - 1, -1),
    ]
    scores = torch.tensor([rng.gauss(0, 1) for _ in arcs], dtype=torch.float64)
    return Fsa.from_arcs(sorted(arcs), scores, num_states)


def path_weights(graph, scores):
    """The log-weight of each path of one graph over scores (T, C), by following arcs."""
    arcs, final = graph.arcs.tolist(), graph.num_states - 1
    weights, partial = [], [(0, 0, scores.new_zeros(()))]
    while partial:
        state, t, weight = partial.pop()
        for a, (src, dst, label) in enumerate(arcs):
            if src != state or (label < 0) != (t == len(scores)):
                continue
            if label < 0:
                assert dst == final
                weights.append(weight + graph.scores[a])
            else:
                partial.append((dst, t + 1, weight + graph.scores[a] + scores[t, label]))
    return torch.stack(weights) if weights else scores.new_zeros(0)


def with_grad(graph):
    return graph.with_scores(graph.scores.detach().clone().requires_grad_())


def gradients(out, *inputs):
    loss = (torch.where(out.valid, out.nll, 0.0) - 0.3 * out.entropy).sum()
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("shared", [False, True])
def test_equals_enumeration_of_all_paths(engine, nll_and_entropy, shared):
    torch.manual_seed(0)
    lengths = torch.tensor([4, 3, 2, 1, 0, 4])
    one = random_graph(1)
    graphs = [one] * 6 if shared else [random_graph(seed) for seed in range(6)]
    graph = with_grad(one if shared else Fsa.from_fsas(graphs))
    scores = torch.randn(6, 5, NUM_SYMBOLS, dtype=torch.float64).requires_grad_()
    out = fsa_alignment(graph, DenseFsaVec.from_lengths(scores, lengths))
    grad, grad_graph = gradients(out, scores, graph.scores)

    wanted, wanted_graph, found = torch.zeros_like(grad), [], 0
    for n, single in enumerate(graphs):
        single, frames = with_grad(single), scores.detach()[n].clone().requires_grad_()
        weights = path_weights(single, frames[: lengths[n]])
        wanted_graph.append(torch.zeros_like(single.scores))
        assert out.valid[n] == (len(weights) > 0)
        if not len(weights):
            assert out.nll[n] == INF and out.entropy[n] == 0
            continue
        found += 1
        nll, entropy = nll_and_entropy(weights)
        torch.testing.assert_close(out.nll[n], nll)
        torch.testing.assert_close(out.entropy[n], entropy)
        loss = nll - 0.3 * entropy + 0 * frames.sum()
        wanted[n], wanted_graph[n] = torch.autograd.grad(loss, (frames, single.scores))
    assert found >= 3
    wanted_graph = sum(wanted_graph) if shared else torch.cat(wanted_graph)
    torch.testing.assert_close(grad, wanted)
    torch.testing.assert_close(grad_graph, wanted_graph)


def ctc_batch(dtype=torch.float64):
    torch.manual_seed(4)
    scores = torch.randn(4, 20, 6, dtype=dtype).requires_grad_()
    targets = torch.randint(1, 6, (4, 5))
    targets[0, 1] = targets[0, 0]
    lengths, counts = torch.tensor([20, 13, 11, 4]), torch.tensor([5, 3, 0, 5])  # the last: no path
    graph = ctc_graph([targets[n, :u].tolist() for n, u in enumerate(counts)]).to(dtype)
    return scores, targets, lengths, counts, graph


def test_ctc_graphs_give_the_ctc_loss(engine):
    scores, targets, lengths, counts, graph = ctc_batch()
    dense = DenseFsaVec.from_lengths(scores, lengths)
    for kind in ("conditional", "raw", "per_frame", "per_label"):
        out = fsa_alignment(graph, dense, kind, counts)
        wanted = ctc_alignment(scores, targets, lengths, counts, kind=kind)
        torch.testing.assert_close(out.nll, wanted.nll)
        torch.testing.assert_close(out.entropy, wanted.entropy)
        assert torch.equal(out.valid, wanted.valid)
        torch.testing.assert_close(gradients(out, scores), gradients(wanted, scores))
    for reduction in ("none", "mean", "sum"):
        options = {"reduction": reduction, "zero_infinity": True, "entropy_scale": 0.2}
        loss = fsa_loss(graph, dense, counts, **options)
        torch.testing.assert_close(loss, ctc_loss(scores, targets, lengths, counts, **options))


@pytest.mark.parametrize("kind", ["conditional", "raw"])
def test_gradcheck(engine, kind):
    graph = Fsa.from_fsas([random_graph(1, 4, 6), random_graph(3, 4, 6)])
    scores = torch.randn(2, 3, NUM_SYMBOLS, dtype=torch.float64).requires_grad_()

    def nll_and_entropy(x, w):
        dense = DenseFsaVec.from_lengths(x, torch.tensor([3, 2]))
        out = fsa_alignment(graph.with_scores(w), dense, kind)
        return torch.where(out.valid, out.nll, 0.0), out.entropy

    inputs = (scores, graph.scores.detach().clone().requires_grad_())
    assert bool((nll_and_entropy(*inputs)[1] != 0).all())
    assert gradcheck(nll_and_entropy, inputs)
    if engine == "torch":
        assert gradgradcheck(nll_and_entropy, inputs, fast_mode=True)


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
def test_kernel_refuses_a_second_derivative():
    graph = with_grad(random_graph(1))
    scores = torch.randn(1, 3, NUM_SYMBOLS, dtype=torch.float64).requires_grad_()
    out = fsa_alignment(graph, DenseFsaVec.from_lengths(scores, torch.tensor([3])))
    grads = torch.autograd.grad(out.nll.sum(), (scores, graph.scores), create_graph=True)
    for grad in grads:
        with pytest.raises(FsaRuntimeError, match="no second derivative"):
            torch.autograd.grad(grad.square().sum(), scores, retain_graph=True)


def test_sequences_may_share_and_overlap_in_an_utterance(engine):
    scores = torch.randn(2, 9, NUM_SYMBOLS, dtype=torch.float64).requires_grad_()
    segments = torch.tensor([[1, 3, 4], [0, 0, 5], [1, 0, 6], [1, 8, 1]])
    graph = with_grad(random_graph(1))
    out = fsa_alignment(graph, DenseFsaVec(scores, segments))
    grad = gradients(out, scores, graph.scores)
    alone = []
    for utterance, start, length in segments.tolist():
        frames = scores[utterance : utterance + 1, start : start + length]
        alone.append(fsa_alignment(graph, DenseFsaVec.from_lengths(frames, torch.tensor([length]))))
    joint = type(out)(*(torch.cat(field) for field in zip(*alone)))
    torch.testing.assert_close(out, joint)
    torch.testing.assert_close(grad, gradients(joint, scores, graph.scores))


def test_a_segment_that_truncation_leaves_empty(engine):
    scores = torch.randn(2, 6, 2).requires_grad_()
    dense = DenseFsaVec(scores, torch.tensor([[0, 7, 1], [1, 5, 2]]), allow_truncate=2)
    graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n0 2 -1 -0.5\n1 2 -1 0\n2")
    out = fsa_alignment(graph, dense)
    assert out.valid.all() and out.nll[0] == 0.5 and out.entropy[0] == 0
    grad = gradients(out, scores)[0]
    assert not grad[0].any() and grad[1].count_nonzero() == 2  # both symbols of its last frame


def test_what_is_beyond_the_lengths_or_unused_is_never_read(engine):
    scores, _, lengths, _, graph = ctc_batch()
    graph = graph[:3]
    dirty = torch.full((3, 20, 7), math.nan, dtype=torch.float64)
    for n in range(3):
        dirty[n, : lengths[n], :6] = scores.detach()[n, : lengths[n]]
    dirty.requires_grad_()
    out = fsa_alignment(graph, DenseFsaVec.from_lengths(dirty, lengths[:3]))
    wanted = fsa_alignment(graph, DenseFsaVec.from_lengths(scores[:3], lengths[:3]))
    assert torch.equal(out.nll, wanted.nll) and torch.equal(out.entropy, wanted.entropy)
    (grad,) = gradients(out, dirty)
    assert torch.equal(grad[:, :, :6], gradients(wanted, scores)[0][:3])
    assert not grad[:, :, 6].any()


def test_results_do_not_depend_on_threads_or_memory_order(engine):
    scores, _, lengths, _, graph = ctc_batch(torch.float32)
    graph = with_grad(graph)
    time_major = scores.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    before, results = torch.get_num_threads(), []
    try:
        for threads, x in ((1, scores), (3, scores), (1, time_major)):
            torch.set_num_threads(threads)
            out = fsa_alignment(graph, DenseFsaVec.from_lengths(x, lengths))
            results.append((out.nll, out.entropy, *gradients(out, x, graph.scores)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*results))


def test_float32_is_accurate_and_never_nan(engine):
    torch.manual_seed(2)
    num_frames, num_labels = (1500, 300) if engine == "native" else (120, 20)
    targets = torch.randint(1, 50, (1, num_labels))
    graph = ctc_graph(targets.tolist())
    for scale in (1.0, 50.0):
        scores = (scale * torch.randn(1, num_frames, 50)).log_softmax(-1).requires_grad_()
        exact_scores = scores.detach().double().requires_grad_()
        out = fsa_alignment(graph, DenseFsaVec.from_lengths(scores, torch.tensor([num_frames])))
        exact = ctc_alignment(exact_scores, targets, [num_frames], [num_labels])
        torch.testing.assert_close(out.nll.double(), exact.nll, rtol=1e-6, atol=0)
        torch.testing.assert_close(out.entropy.double(), exact.entropy, rtol=0, atol=5e-3)
        (grad,), (exact_grad,) = gradients(out, scores), gradients(exact, exact_scores)
        torch.testing.assert_close(grad.double(), exact_grad, rtol=0, atol=5e-4)


def test_graph_scores_of_another_dtype_are_converted(engine):
    scores, _, lengths, _, graph = ctc_batch()
    graph = with_grad(graph.to(torch.float32))
    out = fsa_alignment(graph, DenseFsaVec.from_lengths(scores, lengths))
    assert out.nll.dtype == torch.float64
    assert gradients(out, graph.scores)[0].dtype == torch.float32


def test_one_path_and_no_path(engine):
    one = Fsa.from_str("0 1 1 0.5\n1 1 2 -0.3\n1 2 -1 0.1\n2")
    two = Fsa.from_str("0 1 1 0.5\n0 1 1 0.5\n1 1 2 -0.3\n1 2 -1 0.1\n2")  # parallel arcs
    masked = Fsa.from_str("0 1 1 0.5\n0 1 1 -1e30\n1 1 2 -0.3\n1 2 -1 0.1\n2")
    dead = Fsa.from_str("0 1 1 0.5\n1 2 -1 0.1\n2")  # takes one frame exactly
    empty = Fsa.from_arcs([], num_states=0)
    graph = with_grad(Fsa.from_fsas([one, two, masked, dead, empty]))
    scores = torch.randn(5, 60, 3).requires_grad_()
    out = fsa_alignment(graph, DenseFsaVec.from_lengths(scores, torch.full((5,), 60)))
    assert out.valid.tolist() == [True, True, True, False, False]
    assert out.entropy[[0, 2, 3, 4]].tolist() == [0, 0, 0, 0]
    assert out.entropy[1].item() == pytest.approx(math.log(2), abs=1e-5)
    assert out.nll[3:].tolist() == [INF, INF]
    grads = torch.autograd.grad(out.entropy.sum() + out.nll[3:].sum(), (scores, graph.scores))
    assert not grads[0][[0, 2, 3, 4]].any()
    assert not grads[1][:3].any() and not grads[1][7:].any()


def test_lattice_fused_and_kernel_agree_on_random_graphs():
    semiring = ConditionalEntropySemiring()
    lengths = torch.tensor([9, 8, 3, 5])
    for seed in range(10):
        graph = with_grad(Fsa.from_fsas([random_graph(4 * seed + i) for i in range(4)]))
        scores = torch.randn(4, 9, NUM_SYMBOLS, dtype=torch.float64).requires_grad_()
        dense = DenseFsaVec.from_lengths(scores, lengths)
        out = fsa_alignment(graph, dense)
        mass, entropy = get_tot_scores(intersect_dense(graph, dense), semiring)
        torch.testing.assert_close(out.nll, -mass)
        torch.testing.assert_close(out.entropy, entropy)
        loss = (-torch.where(mass.isfinite(), mass, 0.0) - 0.3 * entropy).sum()
        lattice = torch.autograd.grad(loss, (scores, graph.scores))
        torch.testing.assert_close(gradients(out, scores, graph.scores), lattice)


def crowded_graph(num_states, num_arcs, num_symbols, seed=0):
    """Every state but two is entered once; the two, by all other arcs, with few labels."""
    rng = random.Random(seed)
    inner = range(num_states - 1)
    arcs = [(rng.choice(inner), s, rng.randrange(num_symbols)) for s in inner]
    arcs += [
        (rng.choice((0, *inner)), rng.choice((0, 3)), rng.choice((1, rng.randrange(num_symbols))))
        for _ in range(num_arcs)
    ]
    arcs += [(0, rng.choice(inner), 2) for _ in range(num_arcs // 4)]
    arcs += [(s, num_states - 1, -1) for s in inner if s % 3 == 0]
    scores = torch.tensor([rng.gauss(0, 1) for _ in arcs], dtype=torch.float64)
    return Fsa.from_arcs(sorted(arcs), scores, num_states)


def instruction_sets():
    found = []
    for name in ("portable", "avx2", "avx512"):
        with contextlib.suppress(RuntimeError), _native.using_instruction_set(name):
            found.append(name)
    return found


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
@pytest.mark.parametrize("num_arcs", [0, 31, 400, 3000])
def test_states_with_any_number_of_arcs(num_arcs):
    # 3000 arcs into two states do not fit one row, nor one row of rows
    graph = crowded_graph(40, num_arcs, NUM_SYMBOLS)
    scores = torch.randn(2, 6, NUM_SYMBOLS, dtype=torch.float64)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        typed = with_grad(graph.to(dtype))
        x = scores.to(dtype).requires_grad_()
        dense = DenseFsaVec.from_lengths(x, torch.tensor([6, 4]))
        with _native.disabled():
            exact = fsa_alignment(typed, dense)
            wanted = gradients(exact, x, typed.scores)
        for name in instruction_sets():
            with _native.using_instruction_set(name):
                out = fsa_alignment(typed, dense)
                torch.testing.assert_close(out, exact, rtol=tolerance, atol=tolerance)
                found = gradients(out, x, typed.scores)
                torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)
                loss = fsa_loss(typed, dense, reduction="none")  # the loops without the entropy
                torch.testing.assert_close(loss, exact.nll, rtol=tolerance, atol=tolerance)
                nll_grad = torch.autograd.grad(loss.sum(), (x, typed.scores), retain_graph=True)
            with _native.disabled():
                again = fsa_alignment(typed, dense).nll.sum()
                nll_wanted = torch.autograd.grad(again, (x, typed.scores))
            torch.testing.assert_close(nll_grad, nll_wanted, rtol=0, atol=tolerance)


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
@pytest.mark.parametrize("far", [-2e5, -1e6, -5e7])
def test_scores_that_are_far_and_cannot_be_avoided_keep_their_digits(far):
    # all arcs lie far from 0; label 0 leads nowhere, but is by far the best of its frames
    weights = torch.tensor([0.0, far, far - 2.0, 0.0, far + 1.0, 0.0])
    graph = Fsa.from_str("0 3 0 0\n0 0 1 0\n0 1 1 0\n0 4 -1 0\n1 1 2 0\n1 4 -1 0\n4")
    graph = graph.with_scores(weights)
    scores = torch.zeros(1, 7, 3)
    scores[0, :, 2] = -1.0
    scores[0, 3, 0] = -far
    scores[0, 5, 0] = -far / 3
    results = []
    for dtype in (torch.float32, torch.float64):
        typed, x = with_grad(graph.to(dtype)), scores.detach().to(dtype).requires_grad_()
        out = fsa_alignment(typed, DenseFsaVec.from_lengths(x, torch.tensor([7])))
        results.append((out.nll, out.entropy, *gradients(out, x, typed.scores)))
    for found, wanted in zip(*results):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-5)
    assert results[1][1] > 0.5


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
@pytest.mark.parametrize(
    ("column", "value"), [(0, 10**9), (0, -1), (1, 10**9), (1, -1), (1, 2), (2, -2), (2, 4)]
)
def test_arcs_overwritten_after_their_check_do_not_reach_the_kernel(column, value):
    graph = Fsa.from_fsas([Fsa.from_str("0 1 1 0\n1 2 -1 0\n2"), Fsa.from_str("0 1 -1 0\n1")])
    dense = DenseFsaVec.from_lengths(torch.zeros(2, 1, 4), torch.tensor([1, 0]))
    assert fsa_alignment(graph, dense).valid.all()
    graph.arcs[2, column] = value  # of the second graph, which has two states
    with pytest.raises(ValueError, match=r"label|states must lie in their own graph"):
        fsa_alignment(graph, dense)


def test_errors_name_the_place(engine):
    scores, _, lengths, _, graph = ctc_batch()
    dense = DenseFsaVec.from_lengths(scores, lengths)
    few = DenseFsaVec.from_lengths(scores[:, :, :3], lengths)
    with pytest.raises(FsaValueError, match=r"FSA \d, arc \d+ \[\d+, \d+, \d+\] has label [3-5]; "):
        fsa_alignment(graph, few)
    with pytest.raises(FsaValueError, match=r"one FSA for all 4 sequences .* got 2"):
        fsa_alignment(graph[:2], dense)
    bad = scores.detach().clone()
    bad[1, 7, 0] = math.nan
    segments = torch.tensor([[1, 2, 9]])
    with pytest.raises(FsaValueError, match="utterance 1, frame 7, symbol 0 is nan") as caught:
        fsa_alignment(graph[0], DenseFsaVec(bad, segments))
    assert isinstance(caught.value, FsaError)
    weights = graph.scores.clone()
    weights[graph[0].num_arcs + 2] = math.inf
    with pytest.raises(FsaValueError, match=r"FSA 1, arc 2 .* has score inf"):
        fsa_alignment(graph.with_scores(weights), dense)
    with pytest.raises(FsaValueError, match='target_lengths: kind="per_label" needs'):
        fsa_alignment(graph, dense, kind="per_label")
    with pytest.raises(FsaValueError, match='target_lengths: reduction="mean" divides'):
        fsa_loss(graph, dense)
    message = r"target_lengths\[2\] = -1: utterance 2 must have a length that is not negative"
    with pytest.raises(FsaValueError, match=message):
        fsa_loss(graph, dense, [1, 1, -1, 1])
