"""ASG: all labellings one by one, a plain recursion, gradients of transitions, edge cases."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import ASGLoss, asg_alignment, asg_loss
from wfst_entropy.topologies import asg_graph, asg_topo, pack_repeats

INF = math.inf

TARGETS = torch.tensor([[0, 1, 0], [2, 0, 0], [1, 2, 1], [0, 0, 0]])
LENGTHS = ([5, 3, 2, 4], [3, 2, 3, 0])  # the third has more labels than frames, the last none


def inputs(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    scores = 2 * torch.randn(4, 5, 3, dtype=torch.float64)
    transitions = torch.randn(3, 3, dtype=torch.float64)
    return scores.to(dtype).requires_grad_(), transitions.to(dtype).requires_grad_()


def by_recursion(scores, labels, transitions):
    """wav2letter's two criteria, frame by frame: full connect minus forced alignment."""
    full = scores[0]
    for x in scores[1:]:
        full = (full[:, None] + transitions).logsumexp(0) + x
    path = torch.full((len(labels),), -math.inf, dtype=scores.dtype)
    path = path.clone().index_fill(0, torch.tensor([0]), 0.0) + scores[0, labels]
    stay = transitions[labels, labels]
    move = transitions[labels[:-1], labels[1:]]
    for x in scores[1:]:
        moved = torch.cat([path.new_full((1,), -math.inf), path[:-1] + move])
        path = torch.stack([path + stay, moved]).logsumexp(0) + x[labels]
    return full.logsumexp(0) - path[-1]


def weights(scores, transitions):
    """Of every labelling, by its labels without repetitions."""
    found = {}
    for labelling in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        weight = sum(scores[t, c] for t, c in enumerate(labelling))
        weight = weight + sum(transitions[i, j] for i, j in itertools.pairwise(labelling))
        labels = tuple(label for label, _ in itertools.groupby(labelling))
        found.setdefault(labels, []).append(weight)
    return {labels: torch.stack(rows) for labels, rows in found.items()}


def test_equals_enumeration_and_recursion(engine, nll_and_entropy):
    scores, transitions = inputs()
    out = asg_alignment(scores, TARGETS, *LENGTHS, transitions)
    assert out.valid.tolist() == [True, True, False, False]
    assert out.nll[2] == out.nll[3] == math.inf and (out.nll >= 0).all()
    wanted = torch.zeros((), dtype=torch.float64)
    for n in range(2):
        frames, labels = LENGTHS[0][n], TARGETS[n, : LENGTHS[1][n]]
        of_all = weights(scores[n, :frames], transitions)
        one, entropy = nll_and_entropy(of_all[tuple(labels.tolist())])
        every = torch.cat(list(of_all.values())).logsumexp(0)
        torch.testing.assert_close(out.nll[n], one + every)
        torch.testing.assert_close(out.entropy[n], entropy)
        torch.testing.assert_close(
            out.nll[n], by_recursion(scores[n, :frames], labels, transitions)
        )
        wanted = wanted + one + every - 0.3 * entropy
    loss = asg_loss(
        scores, TARGETS, *LENGTHS, transitions, "sum", zero_infinity=True, entropy_scale=0.3
    )
    torch.testing.assert_close(loss, wanted)
    found = torch.autograd.grad(loss, (scores, transitions))
    for one, other in zip(found, torch.autograd.grad(wanted, (scores, transitions))):
        torch.testing.assert_close(one, other)


def test_float32_batches_and_layouts(engine):
    scores, transitions = inputs(torch.float32)
    exact = asg_alignment(*(x.double() for x in (scores,)), TARGETS, *LENGTHS, transitions.double())
    out = asg_alignment(scores, TARGETS, *LENGTHS, transitions)
    flat = torch.cat([row[:size] for row, size in zip(TARGETS, LENGTHS[1])])
    again = asg_alignment(scores, flat, *LENGTHS, transitions)
    assert torch.equal(out.nll, again.nll) and torch.equal(out.entropy, again.entropy)
    torch.testing.assert_close(out.nll.double(), exact.nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.entropy.double(), exact.entropy, rtol=1e-5, atol=1e-5)
    alone = asg_alignment(scores[1:2, :3], TARGETS[1:2, :2], [3], [2], transitions)
    assert torch.equal(alone.nll[0], out.nll[1]) and torch.equal(alone.entropy[0], out.entropy[1])
    half = asg_alignment(scores.bfloat16(), TARGETS, *LENGTHS, transitions)
    assert half.nll.dtype == torch.float32


def test_module_learns_its_transitions():
    scores, _ = inputs(torch.float32)
    loss = ASGLoss(3, "none", zero_infinity=True, entropy_scale=0.1)
    values = loss(scores, TARGETS, *LENGTHS)
    assert values.tolist()[2:] == [0.0, 0.0]
    values.sum().backward()
    assert loss.transitions.grad.abs().max() > 0
    assert "num_symbols=3" in repr(loss) and list(loss.state_dict()) == ["transitions"]


def test_gradients_of_gradients():
    scores, transitions = (x.detach() for x in inputs())
    scores = scores[:1, :3].clone().requires_grad_()
    transitions.requires_grad_()

    def loss(scores, transitions):
        target = torch.tensor([[1, 2]])
        return asg_loss(scores, target, [3], [2], transitions, "sum", entropy_scale=0.3)

    assert gradcheck(loss, (scores, transitions), fast_mode=True)
    with _native.disabled():
        assert gradgradcheck(loss, (scores, transitions), fast_mode=True)


def test_repeats_are_packed_so_that_no_neighbours_are_equal():
    for size in range(1, 7):
        packed = pack_repeats([[5] * size, [6, 5, 5, 6]], [8, 9])
        assert packed[1] == [6, 5, 8, 6]
        unpacked = []
        for label in packed[0]:
            unpacked += [unpacked[-1]] * (label - 7) if label in (8, 9) else [label]
        assert unpacked == [5] * size
        assert all(a != b for a, b in itertools.pairwise(packed[0]))


def test_graphs_of_a_batch_are_those_of_its_members():
    transitions = torch.randn(3, 3)
    batch = asg_graph([[0, 1], [], [2]], transitions)
    for one, symbols in zip(batch, [[0, 1], [], [2]]):
        assert str(one) == str(asg_graph([symbols], transitions)[0])
    assert asg_topo(transitions).num_arcs == 4 * 4


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: asg_graph([[1], [0, 2, 2]], torch.zeros(3, 3)),
            FsaValueError,
            "utterance 1, position 2 is 2: the label before it is the same",
        ),
        (lambda: asg_graph([[3]], torch.zeros(3, 3)), FsaValueError, r"lie in 0\.\.2"),
        (lambda: asg_topo(torch.zeros(3, 2)), FsaValueError, r"must be \(C, C\)"),
        (lambda: asg_topo([[0.0]]), FsaTypeError, "got list"),
        (
            lambda: asg_topo(torch.tensor([[0.0, -INF], [math.nan, 0.0]])),
            FsaValueError,
            r"transitions\[1, 0\] is nan",
        ),
        (lambda: pack_repeats([[1]], []), FsaValueError, "at least one"),
        (lambda: pack_repeats([[], [8]], [8]), FsaValueError, "utterance 1 has the label 8"),
        (
            lambda: asg_loss(torch.zeros(1, 2, 3), TARGETS[:1], [2], [3], torch.zeros(2, 2)),
            FsaValueError,
            r"transitions: must be \(3, 3\)",
        ),
        (
            lambda: asg_loss(torch.zeros(2, 3), TARGETS[:1], [2], [3], torch.zeros(3, 3)),
            FsaValueError,
            r"scores: must be \(N, T, C\)",
        ),
        (
            lambda: asg_loss(torch.zeros(1, 2, 2), TARGETS[1:2], [2], [3], torch.zeros(2, 2)),
            FsaValueError,
            r"position 0 is 2, outside the vocabulary; labels must lie in 0\.\.1$",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
