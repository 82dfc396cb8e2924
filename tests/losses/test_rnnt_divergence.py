"""Divergence of transducers' alignments: definitions, laws, edge cases, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    rnnt_alignment,
    rnnt_alignment_kl,
    rnnt_grid_alignment,
    rnnt_grid_alignment_kl,
)

INF = math.inf
TYPES = ("regular", "modified", "constrained")
LENGTHS = ([3, 2, 2, 0, 1], [2, 1, 0, 0, 2])  # frames and labels; the last has too few frames


def random_planes(seed, dtype=torch.float64):
    """(blank, label) of five utterances."""
    generator = torch.Generator().manual_seed(seed)
    blank = torch.randn(5, 3, 3, generator=generator, dtype=dtype) - 1
    label = torch.randn(5, 3, 2, generator=generator, dtype=dtype) - 1
    return blank.requires_grad_(), label.requires_grad_()


def path_weights(blank, label, num_frames, num_labels, rnnt_type):
    """The log-weight of each path from (0, 0) to (T, U), by following arcs."""
    weights, partial = [], [(0, 0, blank.new_zeros(()))]
    while partial:
        t, u, weight = partial.pop()
        if (t, u) == (num_frames, num_labels):
            weights.append(weight)
        if t == num_frames:
            continue
        partial.append((t + 1, u, weight + blank[t, u]))
        if u < num_labels:
            arc = weight + label[t, u]
            if rnnt_type == "constrained":
                arc = arc + blank[t, u + 1]
            partial.append((t if rnnt_type == "regular" else t + 1, u + 1, arc))
    return torch.stack(weights) if weights else blank.new_zeros(0)


def gradients(out, inputs):
    loss = torch.where(out.kl < INF, out.kl, 0.0) + 0.7 * torch.where(out.nll < INF, out.nll, 0.0)
    return torch.autograd.grad(loss.sum(), inputs, materialize_grads=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["conditional", "raw"])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_equals_enumeration_of_all_paths(engine, divergences, rnnt_type, kind, reverse):
    student, teacher = random_planes(0), random_planes(1)
    out = rnnt_grid_alignment_kl(
        student, teacher, *LENGTHS, kind=kind, rnnt_type=rnnt_type, reverse=reverse,
        teacher_grad=True,
    )  # fmt: skip
    kls, nlls, exists = [], [], []
    for n, lengths in enumerate(zip(*LENGTHS, strict=True)):
        paths = [path_weights(b[n], y[n], *lengths, rnnt_type) for b, y in (student, teacher)]
        first, second = paths if reverse else reversed(paths)
        kls.append(divergences(first, second)[kind == "raw"])
        nlls.append(-paths[0].logsumexp(0))
        exists.append(len(first) > 0)
    wanted = out._replace(kl=torch.stack(kls), nll=torch.stack(nlls))
    torch.testing.assert_close(out.kl, wanted.kl, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.nll, wanted.nll, rtol=1e-9, atol=1e-9)
    assert out.valid.tolist() == exists
    inputs = (*student, *teacher)
    for x, y in zip(gradients(out, inputs), gradients(wanted, inputs), strict=True):
        torch.testing.assert_close(x, y.nan_to_num(0.0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_logits_give_the_planes_of_their_log_softmax(engine, rnnt_type, fused):
    generator = torch.Generator().manual_seed(5)
    student, teacher = (
        torch.randn(3, 4, 3, 5, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    )
    targets, lengths = torch.tensor([[1, 2], [4, 4], [3, 0]]), ([4, 3, 2], [2, 2, 1])
    out = rnnt_alignment_kl(
        student, teacher, targets, *lengths, rnnt_type=rnnt_type, fused_log_softmax=fused,
        teacher_grad=True,
    )  # fmt: skip
    planes = []
    for logits in (student, teacher):
        scores = logits.log_softmax(3) if fused else logits
        label = scores[:, :, :2].gather(3, targets[:, None, :, None].expand(-1, 4, -1, 1))
        planes.append((scores[..., 0], label[..., 0]))
    grid = rnnt_grid_alignment_kl(*planes, *lengths, rnnt_type=rnnt_type, teacher_grad=True)
    torch.testing.assert_close(out, grid, rtol=1e-9, atol=1e-9)
    for x, y in zip(
        gradients(out, (student, teacher)), gradients(grid, (student, teacher)), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)
    nll = rnnt_alignment(
        student, targets, *lengths, rnnt_type=rnnt_type, fused_log_softmax=fused
    ).nll
    torch.testing.assert_close(out.nll, nll, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_gradcheck(engine, rnnt_type):
    inputs = [
        x.detach()[:1].clone().requires_grad_() for x in (*random_planes(0), *random_planes(1))
    ]

    def run(blank, label, teacher_blank, teacher_label):
        return rnnt_grid_alignment_kl(
            (blank, label), (teacher_blank, teacher_label), [2], [1], rnnt_type=rnnt_type,
            teacher_grad=True,
        )[:2]  # fmt: skip

    assert gradcheck(run, inputs)
    if engine == "torch" and rnnt_type == "regular":
        assert gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("reverse", [False, True])
def test_no_divergence_from_oneself_and_no_gradient_for_the_teacher(engine, rnnt_type, reverse):
    student = random_planes(0)
    teacher = tuple(x.detach().clone().requires_grad_() for x in student)
    out = rnnt_grid_alignment_kl(student, teacher, *LENGTHS, rnnt_type=rnnt_type, reverse=reverse)
    torch.testing.assert_close(out.kl, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    grads = torch.autograd.grad(out.kl.sum(), (*student, *teacher), allow_unused=True)
    assert grads[2] is None
    assert grads[3] is None
    assert max(float(grad.abs().max()) for grad in grads[:2]) < 1e-12


@pytest.mark.parametrize("reverse", [False, True])
def test_where_one_of_the_models_has_no_path(engine, reverse):
    """Per utterance: all fine; lost one of two paths; wholly lost; the first model has none."""
    student, teacher = (
        tuple(x.detach()[:4].clone() for x in random_planes(seed)) for seed in range(2)
    )
    first, second = (student, teacher) if reverse else (teacher, student)
    second[1][1, 0, 0] = -INF
    second[0][2] = -1e30
    first[0][3] = -INF
    inputs = [x.requires_grad_() for x in (*student, *teacher)]
    lengths = ([2] * 4, [1] * 4)
    out = rnnt_grid_alignment_kl(student, teacher, *lengths, reverse=reverse, teacher_grad=True)
    assert out.valid.tolist() == [True, False, False, False]
    assert out.kl[1:].tolist() == [INF, INF, 0.0]
    for grad in torch.autograd.grad(out.kl.sum(), inputs, retain_graph=True):
        assert grad[1:].abs().max() == 0
        assert grad[0].abs().max() > 0
    plain = rnnt_grid_alignment(*student, *lengths)
    torch.testing.assert_close(out.nll, plain.nll, rtol=1e-12, atol=1e-12)
    for x, y in zip(
        torch.autograd.grad(out.nll.sum(), student),
        torch.autograd.grad(plain.nll.sum(), student),
        strict=True,
    ):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


def test_half_precision_is_computed_in_float32(engine):
    student, teacher = (torch.randn(2, 3, 2, 4).to(torch.bfloat16) for _ in range(2))
    labels = (torch.tensor([[1], [2]]), [3, 2], [1, 1])
    out = rnnt_alignment_kl(student.requires_grad_(), teacher, *labels)
    assert out.kl.dtype == torch.float32
    wanted = rnnt_alignment_kl(student.detach().float(), teacher.float(), *labels)
    torch.testing.assert_close(out, wanted)
    assert torch.autograd.grad(out.kl.sum(), student)[0].dtype == torch.bfloat16


def test_errors_say_what_and_where(engine):
    logits, targets = torch.zeros(2, 3, 2, 4), torch.tensor([[1], [2]])
    args = (targets, [3, 2], [1, 1])
    with pytest.raises(FsaTypeError, match="teacher_logits: must be a floating-point tensor"):
        rnnt_alignment_kl(logits, logits.long(), *args)
    with pytest.raises(FsaValueError, match=r"teacher's logits: .*\(2, 3, 2, 4\).*\(2, 3, 3, 4\)"):
        rnnt_alignment_kl(logits, torch.zeros(2, 3, 3, 4), *args)
    with pytest.raises(FsaValueError, match="kind: must be one of"):
        rnnt_alignment_kl(logits, logits, *args, kind="relative")
    with pytest.raises(FsaValueError, match="rnnt_type: must be one of"):
        rnnt_alignment_kl(logits, logits, *args, rnnt_type="pruned")
    student, teacher = random_planes(0), random_planes(1)
    with pytest.raises(FsaValueError, match="teacher's blank_scores: must have the shape"):
        rnnt_grid_alignment_kl(student, (teacher[0][:4], teacher[1][:4]), *LENGTHS)
    teacher[0].data[1, 0, 1] = math.nan
    with pytest.raises(FsaValueError, match="utterance 1, frame 0, after 1 labels, is nan"):
        rnnt_grid_alignment_kl(student, teacher, *LENGTHS)
