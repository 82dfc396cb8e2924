"""CTC and transducers given as ragged graphs give the numbers of the losses made for them."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.algorithms import (
    get_tot_scores,
    intersect_dense,
    intersect_dense_tot_scores,
    path_entropy,
    path_kl,
)
from wfst_entropy.fsa import DenseFsaVec
from wfst_entropy.losses import (
    ctc_alignment,
    ctc_semiring,
    do_rnnt_pruning,
    fsa_alignment,
    get_rnnt_prune_ranges,
    rnnt_alignment,
    rnnt_grid_alignment,
    rnnt_grid_alignment_kl,
    rnnt_loss_smoothed,
    rnnt_pruned_alignment,
    rnnt_pruned_alignment_kl,
    rnnt_semiring,
)
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    KBestTropicalSemiring,
    LogEntropySemiring,
    TropicalSemiring,
)
from wfst_entropy.topologies import ctc_graph, rnnt_graph, rnnt_grid_lattice, rnnt_lattice

TYPES = ("regular", "modified", "constrained")
# float64 to 1e-10; float32 to the rounding of scores, as the recursions run in float64
EXACT = {torch.float64: {"rtol": 1e-10, "atol": 1e-10}, torch.float32: {"rtol": 1e-5, "atol": 1e-5}}
SYMBOLS = [[1, 2, 2], [3], [], [4, 1, 3, 2]]
FRAMES = [5, 6, 3, 2]  # the last has no alignment but in the regular lattice
LABELS = [3, 1, 0, 4]


def padded():
    rows = torch.zeros(4, 4, dtype=torch.int64)
    for n, row in enumerate(SYMBOLS):
        rows[n, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return rows


def planes(dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    blank = torch.randn(4, 6, 5, dtype=torch.float64, generator=generator)
    label = torch.randn(4, 6, 4, dtype=torch.float64, generator=generator)
    return blank.to(dtype).requires_grad_(), label.to(dtype).requires_grad_()


def weighted(nll, entropy):
    """Weights tell the outputs and the utterances apart; +inf has no gradient."""
    weights = torch.arange(1, len(nll) + 1).to(nll)
    return (weights * (torch.where(nll < torch.inf, nll, 0.0) - 0.3 * entropy)).sum()


def assert_same(graph_result, result, inputs, tolerance):
    for found, wanted in zip(graph_result, result, strict=True):
        torch.testing.assert_close(found, wanted, **tolerance)
    found = torch.autograd.grad(weighted(*graph_result), inputs)
    wanted = torch.autograd.grad(weighted(*result), inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_grids_from_planes(engine, rnnt_type, dtype):
    blank, label = planes(dtype)
    lattice = rnnt_grid_lattice(rnnt_graph(SYMBOLS, FRAMES, rnnt_type), blank, label)
    nll, entropy, valid = rnnt_grid_alignment(blank, label, FRAMES, LABELS, rnnt_type=rnnt_type)
    assert valid.tolist() == [True, True, True, rnnt_type == "regular"]
    of_graph = (-get_tot_scores(lattice), path_entropy(lattice))
    assert_same(of_graph, (nll, entropy), (blank, label), EXACT[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_grids_from_logits(engine, rnnt_type, dtype):
    torch.manual_seed(1)
    logits = torch.randn(4, 6, 5, 6, dtype=torch.float64).to(dtype).requires_grad_()
    lattice = rnnt_lattice(rnnt_graph(SYMBOLS, FRAMES, rnnt_type), logits)
    out = rnnt_alignment(logits, padded(), FRAMES, LABELS, rnnt_type=rnnt_type)
    of_graph = (-get_tot_scores(lattice), path_entropy(lattice))
    assert_same(of_graph, out[:2], [logits], EXACT[dtype])


def windows(size):
    """Ranges that move with the frames, as pruning makes them: from u = 0 to the last label."""
    ranges = torch.arange(size).repeat(4, 6, 1)
    for n, (frames, labels) in enumerate(zip(FRAMES, LABELS)):
        last = max(labels + 1 - size, 0)
        for t in range(frames):
            begin = round(last * t / max(frames - 1, 1))
            ranges[n, t] = begin + torch.arange(size)
    return ranges


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_pruned_grids(rnnt_type, dtype):
    torch.manual_seed(2)
    ranges = windows(3)
    pruned = torch.randn(4, 6, 3, 6, dtype=torch.float64).to(dtype).requires_grad_()
    lattice = rnnt_lattice(rnnt_graph(SYMBOLS, FRAMES, rnnt_type, ranges), pruned)
    args = (ranges, padded(), FRAMES, LABELS)
    out = rnnt_pruned_alignment(pruned, *args, rnnt_type=rnnt_type)
    assert out.valid.sum() >= 2 and (out.entropy > 0).sum() >= 2
    of_graph = (-get_tot_scores(lattice), path_entropy(lattice))
    assert_same(of_graph, out[:2], [pruned], EXACT[dtype])

    teacher = torch.randn(4, 6, 3, 6, dtype=torch.float64).to(dtype)
    wanted = rnnt_pruned_alignment_kl(pruned, teacher, *args, rnnt_type=rnnt_type).kl
    found = path_kl(lattice, rnnt_lattice(lattice, teacher).scores)
    torch.testing.assert_close(found, wanted, **EXACT[dtype])


def test_ranges_chosen_by_the_pruning():
    """The whole way: a simple joiner's posteriors, ranges, and the lattice they leave."""
    torch.manual_seed(5)
    am, lm = torch.randn(4, 6, 6), torch.randn(4, 5, 6)
    args = (padded(), FRAMES, LABELS)
    _, posteriors = rnnt_loss_smoothed(am, lm, *args, return_arc_posteriors=True)
    ranges = get_rnnt_prune_ranges(posteriors, FRAMES, LABELS, 3)
    logits = sum(do_rnnt_pruning(am, lm, ranges)).double()
    lattice = rnnt_lattice(rnnt_graph(SYMBOLS, FRAMES, ranges=ranges), logits)
    out = rnnt_pruned_alignment(logits, ranges, *args)
    assert out.valid.all()
    torch.testing.assert_close(-get_tot_scores(lattice), out.nll, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "semiring",
    [
        TropicalSemiring(),
        KBestTropicalSemiring(2),
        ConditionalEntropySemiring(),
        LogEntropySemiring(),
    ],
    ids=lambda semiring: type(semiring).__name__,
)
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_any_semiring(rnnt_type, semiring):
    blank, label = (-x.abs() for x in planes(torch.float64))  # the paper's takes no weight above 0
    lattice = rnnt_grid_lattice(rnnt_graph(SYMBOLS, FRAMES, rnnt_type), blank, label)
    found = get_tot_scores(lattice, semiring)
    wanted = rnnt_semiring(blank, label, FRAMES, LABELS, semiring=semiring, rnnt_type=rnnt_type)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_divergence(rnnt_type):
    student, teacher = planes(torch.float64, 1), planes(torch.float64, 2)
    graph = rnnt_graph(SYMBOLS, FRAMES, rnnt_type)
    lattice = rnnt_grid_lattice(graph, *student)
    found = path_kl(lattice, rnnt_grid_lattice(graph, *teacher).scores)
    options = {"rnnt_type": rnnt_type, "teacher_grad": True}
    wanted = rnnt_grid_alignment_kl(student, teacher, FRAMES, LABELS, **options).kl
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    grads = [torch.autograd.grad(x.sum(), student + teacher) for x in (found, wanted)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_gradients_of_gradients(rnnt_type):
    torch.manual_seed(3)
    logits = torch.randn(2, 2, 3, 3, dtype=torch.float64).requires_grad_()
    graph = rnnt_graph([[1], [2, 1]], [2, 2], rnnt_type)

    def values(logits):
        lattice = rnnt_lattice(graph, logits)
        return get_tot_scores(lattice), path_entropy(lattice)

    assert gradcheck(values, logits, fast_mode=True)
    with _native.disabled():
        assert gradgradcheck(values, logits, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("way", ["against frames", "as a lattice", "of the semiring"])
def test_ctc_graphs(engine, dtype, way):
    torch.manual_seed(4)
    scores = torch.randn(4, 6, 5, dtype=torch.float64).to(dtype).requires_grad_()
    dense = DenseFsaVec.from_lengths(scores, torch.tensor(FRAMES))
    graph, semiring = ctc_graph(SYMBOLS), ConditionalEntropySemiring()
    out = ctc_alignment(scores, padded(), FRAMES, LABELS)
    assert out.valid.tolist() == [True, True, True, False]
    if way == "against frames":
        of_graph = fsa_alignment(graph, dense)[:2]
    elif way == "as a lattice":
        lattice = intersect_dense(graph, dense)
        of_graph = (-get_tot_scores(lattice), path_entropy(lattice))
    else:
        mass, entropy = intersect_dense_tot_scores(graph, dense, semiring)
        of_graph = (-mass, entropy)
        mass, entropy = ctc_semiring(scores, padded(), FRAMES, LABELS, semiring=semiring)
        torch.testing.assert_close((-mass, entropy), of_graph, **EXACT[dtype])
    assert_same(of_graph, out[:2], [scores], EXACT[dtype])
