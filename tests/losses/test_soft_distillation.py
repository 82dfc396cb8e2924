"""Soft distillation of frames and nodes: definitions, both gradients, blocks, extremes, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    CTCSoftDistillation,
    RNNTSoftDistillation,
    ctc_soft_distillation,
    rnnt_occupancies,
    rnnt_soft_distillation,
    softmax_kl,
)

INF = math.inf
FRAMES = [5, 3, 0]
LABELS = torch.tensor([[1, 3], [2, 9], [9, 9]]), FRAMES, [2, 1, 0]  # 9: beyond the lengths


def frames_of_two_models(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 2 * torch.randn(2, 3, 5, 4, generator=generator, dtype=dtype)
    return student.requires_grad_(), teacher.requires_grad_()


def nodes_of_two_models(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 2 * torch.randn(2, 3, 5, 3, 4, generator=generator, dtype=dtype)
    return student.requires_grad_(), teacher.requires_grad_()


def kl(p, q):
    """The definition, for lists of probabilities."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def softmax(row, temperature=1.0):
    e = [math.exp(x / temperature) for x in row]
    return [x / sum(e) for x in e]


def collapsed(p, label):
    """{label, blank, rest} of probabilities with the blank 0; without a label {blank, rest}."""
    if label is None:
        return [p[0], 1 - p[0]]
    return [p[label], p[0], 1 - p[0] - p[label]]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("reverse", [False, True])
def test_frames_follow_the_definition(temperature, reverse):
    student, teacher = frames_of_two_models()
    options = {"temperature": temperature, "reverse": reverse}
    sums = ctc_soft_distillation(student, teacher, FRAMES, "none", **options)
    p, q = (student, teacher) if reverse else (teacher, student)
    wanted = []
    for n, frames in enumerate(FRAMES):
        rows = [
            (softmax(p[n, t].tolist(), temperature), softmax(q[n, t].tolist(), temperature))
            for t in range(frames)
        ]
        wanted.append(temperature**2 * sum(kl(*row) for row in rows))
    torch.testing.assert_close(sums, torch.tensor(wanted, dtype=torch.float64))
    total = ctc_soft_distillation(student, teacher, FRAMES, "sum", **options)
    mean = ctc_soft_distillation(student, teacher, FRAMES, **options)
    torch.testing.assert_close(total, sums.sum())
    torch.testing.assert_close(mean, (sums / torch.tensor([5, 3, 1])).mean())
    assert CTCSoftDistillation(**options)(student, teacher, FRAMES) == mean


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_nodes_follow_the_definition(few, reverse):
    student, teacher = nodes_of_two_models()
    weights = torch.rand(3, 5, 3, dtype=torch.float64)
    options = {"collapsed": few, "reverse": reverse, "temperature": 1.5}
    plain = rnnt_soft_distillation(student, teacher, *LABELS, reduction="none", **options)
    weighted = rnnt_soft_distillation(
        student, teacher, *LABELS, reduction="none", node_weights=weights, **options
    )
    p, q = (student, teacher) if reverse else (teacher, student)
    for n, (frames, count) in enumerate(zip(LABELS[1], LABELS[2], strict=True)):
        sums = [0.0, 0.0]
        for t in range(frames):
            for u in range(count + 1):
                row = [softmax(x[n, t, u].tolist(), 1.5) for x in (p, q)]
                if few:
                    label = int(LABELS[0][n, u]) if u < count else None
                    row = [collapsed(x, label) for x in row]
                sums[0] += 2.25 * kl(*row)
                sums[1] += 2.25 * kl(*row) * float(weights[n, t, u])
        assert plain[n].item() == pytest.approx(sums[0], abs=1e-12)
        assert weighted[n].item() == pytest.approx(sums[1], abs=1e-12)
    mean = rnnt_soft_distillation(student, teacher, *LABELS, **options)
    torch.testing.assert_close(mean, (plain / torch.tensor([2, 1, 1])).mean())
    assert RNNTSoftDistillation(**options)(student, teacher, *LABELS) == mean


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_both_models(few, reverse, monkeypatch):
    monkeypatch.setattr(softmax_kl, "_CPU_BLOCK", 12)  # three rows: several blocks, the last short
    weights = torch.rand(2, 3, 3, dtype=torch.float64)
    inputs = tuple(x[:2, :3].detach().clone().requires_grad_() for x in nodes_of_two_models())
    labels = (LABELS[0][:2], [3, 2], [2, 1])

    def loss(a, b):
        return rnnt_soft_distillation(
            a,
            b,
            *labels,
            reduction="none",
            collapsed=few,
            reverse=reverse,
            node_weights=weights,
            temperature=1.5,
            teacher_grad=True,
        )

    assert gradcheck(loss, inputs)
    assert gradgradcheck(loss, inputs, fast_mode=True)


def test_the_teacher_has_no_gradient_unless_asked_for():
    student, teacher = frames_of_two_models()
    ctc_soft_distillation(student, teacher, FRAMES).backward()
    assert teacher.grad is None and student.grad is not None
    wanted = student.grad.clone()
    ctc_soft_distillation(student, teacher, FRAMES, teacher_grad=True).backward()
    assert teacher.grad.abs().sum() > 0
    torch.testing.assert_close(student.grad, 2 * wanted)


def test_log_probabilities_and_logits_are_alike():
    student, teacher = frames_of_two_models()
    for temperature in (1.0, 3.0):
        torch.testing.assert_close(
            ctc_soft_distillation(student, teacher, FRAMES, temperature=temperature),
            ctc_soft_distillation(
                student.log_softmax(2), teacher.log_softmax(2), FRAMES, temperature=temperature
            ),
        )


def test_blocks_batches_and_padding_change_no_bit(monkeypatch):
    student, teacher = nodes_of_two_models(dtype=torch.float32)

    def run(a, b, labels, frames, counts):
        a = a.detach().requires_grad_()
        loss = rnnt_soft_distillation(a, b, labels, frames, counts, reduction="none")
        (grad,) = torch.autograd.grad(loss.sum(), a)
        return loss.detach(), grad

    loss, grad = run(student, teacher, *LABELS)
    alone = run(student[1:2, :3, :2], teacher[1:2, :3, :2], LABELS[0][1:2], [3], [1])
    assert torch.equal(alone[0], loss[1:2])
    assert torch.equal(alone[1], grad[1:2, :3, :2])
    assert not grad[1, 3:].any() and not grad[1, :, 2:].any() and not grad[2].any()
    monkeypatch.setattr(softmax_kl, "_CPU_BLOCK", 1)
    again = run(student, teacher, *LABELS)
    assert torch.equal(again[0], loss) and torch.equal(again[1], grad)


def test_what_stands_beyond_the_lengths_is_not_read():
    student, teacher = frames_of_two_models()
    wanted = ctc_soft_distillation(student, teacher, FRAMES, "none")
    poisoned = student.detach().clone()
    poisoned[1, 3:], poisoned[2] = math.nan, INF
    poisoned.requires_grad_()
    loss = ctc_soft_distillation(poisoned, teacher, FRAMES, "none")
    assert torch.equal(loss, wanted)
    loss.sum().backward()
    assert not poisoned.grad[1, 3:].any() and not poisoned.grad[2].any()


def test_symbols_that_a_model_excludes():
    teacher = torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]]).log().requires_grad_()
    student = torch.tensor([[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]]).log().requires_grad_()
    loss = ctc_soft_distillation(student, teacher, [1], "sum", teacher_grad=True)
    assert loss.item() == pytest.approx(0.5 * math.log(2))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, (student, teacher)))
    loss = ctc_soft_distillation(student, teacher, [2], "sum", teacher_grad=True)
    assert loss.item() == INF
    for grad in torch.autograd.grad(loss, (student, teacher), create_graph=True):
        assert grad[0, 0].any() and not grad[0, 1].any()


@pytest.mark.parametrize("few", [False, True])
def test_extreme_logits_keep_finite_values_and_gradients(few):
    student = torch.tensor([0.0, -300.0, 5.0, 4.0]).expand(1, 1, 2, 4).clone().requires_grad_()
    teacher = torch.tensor([0.0, 300.0, 5.0, 4.0]).expand(1, 1, 2, 4)
    loss = rnnt_soft_distillation(
        student, teacher, torch.tensor([[1]]), [1], [1], reduction="sum", collapsed=few
    )
    assert loss.item() == pytest.approx(305.3 + (0 if few else 305.3), abs=1)
    loss.backward()
    assert student.grad[0, 0, 0, 1].item() == pytest.approx(-1)  # although the label's p is 0
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_float32_losses_and_gradients_of_its_own(dtype):
    student, teacher = frames_of_two_models(dtype=torch.float32)
    low = student.detach().to(dtype).requires_grad_()
    loss = ctc_soft_distillation(low, teacher.detach().to(dtype), FRAMES)
    loss.backward()
    assert loss.dtype == torch.float32 and low.grad.dtype == dtype
    rounded = ctc_soft_distillation(low.float(), teacher.to(dtype).float(), FRAMES)
    assert loss.item() == pytest.approx(rounded.item(), rel=1e-6)


def test_empty_batches_and_frames():
    loss = ctc_soft_distillation(torch.zeros(0, 5, 4), torch.zeros(0, 5, 4), [], "sum")
    assert loss.item() == 0
    scores = torch.zeros(2, 0, 4, requires_grad=True)
    loss = ctc_soft_distillation(scores, torch.zeros(2, 0, 4), [0, 0])
    loss.backward()
    assert loss.item() == 0


def test_errors_name_what_was_needed():
    student, teacher = frames_of_two_models()
    with pytest.raises(FsaValueError, match=r"teacher: .*\(3, 5, 4\).*same frame rate"):
        ctc_soft_distillation(student, teacher[:, :4], FRAMES)
    with pytest.raises(FsaTypeError, match="student: must be a floating-point tensor"):
        ctc_soft_distillation(student.long(), teacher, FRAMES)
    with pytest.raises(FsaValueError, match="batch-first"):
        ctc_soft_distillation(student[0], teacher[0], FRAMES)
    with pytest.raises(FsaValueError, match=r"input_lengths\[0\] = 6"):
        ctc_soft_distillation(student, teacher, [6, 3, 0])
    with pytest.raises(FsaValueError, match="temperature: must be a positive number, got 0"):
        ctc_soft_distillation(student, teacher, FRAMES, temperature=0.0)
    bad = teacher.detach().clone()
    bad[1, 2, 0] = math.nan
    with pytest.raises(FsaValueError, match="teacher: the scores of utterance 1, frame 2, have no"):
        ctc_soft_distillation(student, bad, FRAMES)
    student, teacher = nodes_of_two_models()
    bad = student.detach().clone()
    bad[0, 1, 2, 3] = INF
    with pytest.raises(
        FsaValueError, match=r"student_logits: .*utterance 0, frame 1, after 2 labe"
    ):
        rnnt_soft_distillation(bad, teacher, *LABELS)
    with pytest.raises(FsaValueError, match=r"node_weights: .*\(3, 5, 3\)"):
        rnnt_soft_distillation(student, teacher, *LABELS, node_weights=torch.ones(3, 5))
    for bad in (-1.0, torch.nan, torch.inf):
        weights = torch.ones(3, 5, 3)
        weights[1, 2, 0] = bad
        with pytest.raises(FsaValueError, match=r"node_weights: .* utterance 1, frame 2, after 0"):
            rnnt_soft_distillation(student, teacher, *LABELS, node_weights=weights)


def test_a_node_without_weight_may_be_infinite():
    student = torch.zeros(1, 2, 2, 3)
    student[0, 1, 0, 2] = -torch.inf
    student.requires_grad_()
    teacher = torch.randn(1, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    labels = (torch.tensor([[1]]), [2], [1])
    weights = torch.ones(1, 2, 2)
    assert rnnt_soft_distillation(student, teacher, *labels, node_weights=weights) == torch.inf
    weights[0, 1, 0] = 0
    loss = rnnt_soft_distillation(student, teacher, *labels, node_weights=weights)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.isfinite() and bool(gradient.isfinite().all())
    assert bool((gradient[0, 1, 0] == 0).all()) and bool((gradient[0, 0] != 0).all())


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_occupancies_are_the_share_of_paths_through_a_node(engine, rnnt_type):
    student, _ = nodes_of_two_models(dtype=torch.float64)
    frames, count = 4, 2
    logits = student.detach()[:1, :frames].log_softmax(3)
    labels = LABELS[0][0].tolist()

    def paths(t, u):
        """Weights and nodes of all paths from a node to the end."""
        if t == frames:
            return [(0.0, ())] if u == count else []
        found = []
        for w, rest in paths(t + 1, u):
            found.append((w + float(logits[0, t, u, 0]), ((t, u), *rest)))
        if u < count:
            label = float(logits[0, t, u, labels[u]])
            if rnnt_type == "constrained":
                label += float(logits[0, t, u + 1, 0])
            onward = paths(t, u + 1) if rnnt_type == "regular" else paths(t + 1, u + 1)
            found += [(w + label, ((t, u), *rest)) for w, rest in onward]
        return found

    everything = paths(0, 0)
    total = sum(math.exp(w) for w, _ in everything)
    wanted = torch.zeros(1, frames, 3, dtype=torch.float64)
    for w, nodes in everything:
        for t, u in nodes:
            wanted[0, t, u] += math.exp(w) / total
    found = rnnt_occupancies(
        logits, LABELS[0][:1], [frames], [count], rnnt_type=rnnt_type, fused_log_softmax=False
    )
    torch.testing.assert_close(found, wanted)
