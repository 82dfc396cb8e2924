"""Soft distillation over windows: the nodes that count, the full lattice as a limit, errors."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses import rnnt_pruned_soft_distillation, rnnt_soft_distillation

LABELS = torch.tensor([[1, 3], [2, 9], [9, 9]]), [5, 3, 0], [2, 1, 0]  # 9: beyond the lengths


def two_models(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 2 * torch.randn(2, 3, 5, size, 4, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher.requires_grad_()


def all_positions():
    return torch.arange(3).expand(3, 5, 3)


@pytest.mark.parametrize("reverse", [False, True])
def test_windows_that_hold_all_positions_give_the_full_lattice(reverse):
    models = two_models(3)
    options = {"temperature": 1.5, "reverse": reverse, "teacher_grad": True}
    for reduction in ("none", "sum", "mean"):
        full = rnnt_soft_distillation(*models, *LABELS, reduction=reduction, **options)
        windows = rnnt_pruned_soft_distillation(
            *models, all_positions(), *LABELS, reduction=reduction, **options
        )
        assert torch.equal(full, windows)
        gradients = (
            torch.autograd.grad(x.sum(), models, retain_graph=True) for x in (full, windows)
        )
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_each_node_of_a_window_that_is_in_the_lattice_counts_once():
    student, teacher = two_models(2)
    begins = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    ranges = begins[:, :, None] + torch.arange(2)
    got = rnnt_pruned_soft_distillation(student, teacher, ranges, *LABELS, reduction="none")
    wanted = [0.0, 0.0, 0.0]
    for n, (frames, labels) in enumerate(zip(*LABELS[1:], strict=True)):
        for t in range(frames):
            for s in range(2):
                if begins[n, t] + s <= labels:
                    p, q = (x[n, t, s].softmax(0).tolist() for x in (teacher, student))
                    wanted[n] += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert got.tolist() == pytest.approx(wanted, abs=1e-12)


def test_a_node_without_softmax_is_named_by_its_label_position():
    student, teacher = two_models(2)
    ranges = torch.tensor([0, 0, 1, 1, 1])[:, None] + torch.arange(2)
    with torch.no_grad():
        student[0, 3, 1, 2] = math.nan
    with pytest.raises(FsaValueError, match=r"student_logits: .* utterance 0, frame 3, after 2"):
        rnnt_pruned_soft_distillation(student, teacher, ranges.expand(3, 5, 2), *LABELS)


def test_errors_name_the_argument():
    student, teacher = two_models(3)
    args = (all_positions(), *LABELS)
    with pytest.raises(FsaValueError, match="teacher_logits: must have the other model's shape"):
        rnnt_pruned_soft_distillation(student, teacher[:, :, :2], *args)
    with pytest.raises(FsaValueError, match="temperature: must be a positive number"):
        rnnt_pruned_soft_distillation(student, teacher, *args, temperature=0.0)
    with pytest.raises(FsaValueError, match="reduction: must be one of"):
        rnnt_pruned_soft_distillation(student, teacher, *args, reduction="average")
