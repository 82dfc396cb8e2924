"""Semiring distillation: the likelihood plus the divergence, reduced as torch does."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses import (
    ctc_alignment,
    ctc_alignment_kl,
    ctc_distillation_loss,
    rnnt_alignment,
    rnnt_alignment_kl,
    rnnt_distillation_loss,
)

TARGETS, FRAMES, LABELS = torch.tensor([[1, 2], [3, 0], [2, 2]]), [6, 5, 2], [2, 1, 2]


def ctc_arguments():
    generator = torch.Generator().manual_seed(0)
    models = [torch.randn(3, 6, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    return (*models, TARGETS, FRAMES, LABELS)


def rnnt_arguments():
    generator = torch.Generator().manual_seed(0)
    models = [torch.randn(3, 6, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    return (*models, TARGETS, FRAMES, LABELS)


@pytest.mark.parametrize(
    ("loss", "alignment_kl", "arguments"),
    [
        (ctc_distillation_loss, ctc_alignment_kl, ctc_arguments()),
        (rnnt_distillation_loss, rnnt_alignment_kl, rnnt_arguments()),
    ],
)
def test_is_nll_plus_scaled_divergence(engine, loss, alignment_kl, arguments):
    for options in ({}, {"reverse": True, "kind": "per_frame"}):
        out = alignment_kl(*arguments, **options)
        each = torch.where(out.valid, out.nll + 0.3 * out.kl, 0.0)
        options = {**options, "zero_infinity": True, "kl_scale": 0.3}
        torch.testing.assert_close(loss(*arguments, reduction="none", **options), each)
        torch.testing.assert_close(loss(*arguments, reduction="sum", **options), each.sum())
        mean = (each / torch.tensor(LABELS)).mean()
        torch.testing.assert_close(loss(*arguments, **options), mean)


@pytest.mark.parametrize(
    ("alignment", "alignment_kl", "arguments"),
    [
        (ctc_alignment, ctc_alignment_kl, ctc_arguments()),
        (rnnt_alignment, rnnt_alignment_kl, rnnt_arguments()),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_both_likelihoods_come_with_the_divergence(
    engine, alignment, alignment_kl, arguments, reverse
):
    student, teacher, *labels = arguments
    models = [x.clone().requires_grad_() for x in (student, teacher)]
    out = alignment_kl(*models, *labels, reverse=reverse, teacher_grad=True)
    for model, nll in zip(models, (out.nll, out.teacher_nll), strict=True):
        own = alignment(model, *labels)
        torch.testing.assert_close(nll, own.nll)
        grads = (torch.autograd.grad(x[:2].sum(), model, retain_graph=True) for x in (nll, own.nll))
        torch.testing.assert_close(*(grad[0] for grad in grads))
    assert not alignment_kl(*models, *labels, reverse=reverse).teacher_nll.requires_grad


def test_an_infinite_term_counts_zero_if_wanted(engine):
    student, teacher, *labels = ctc_arguments()
    student[1, 2, 0] = -math.inf  # loses some paths, of which the teacher has all
    student.requires_grad_()
    out = ctc_alignment_kl(student, teacher, *labels)
    assert out.kl.tolist()[1:] == [math.inf, 0.0]
    plain = ctc_distillation_loss(student, teacher, *labels, reduction="none")
    assert plain[1:].tolist() == [math.inf, math.inf]
    loss = ctc_distillation_loss(
        student, teacher, *labels, reduction="none", zero_infinity=True, kl_scale=2.0
    )
    torch.testing.assert_close(loss[1], out.nll[1])
    assert loss[2].item() == 0
    (grad,) = torch.autograd.grad(loss.sum(), student)
    assert bool(grad.isfinite().all())


def test_errors_of_options(engine):
    with pytest.raises(FsaValueError, match="reduction: must be one of"):
        ctc_distillation_loss(*ctc_arguments(), reduction="average")
    empty = torch.zeros(0, 6, 4)
    none = torch.zeros(0, 2, dtype=torch.int64)
    assert ctc_distillation_loss(empty, empty, none, [], [], reduction="sum").item() == 0
    with pytest.raises(FsaValueError, match="no utterances to average over"):
        ctc_distillation_loss(empty, empty, none, [], [])
