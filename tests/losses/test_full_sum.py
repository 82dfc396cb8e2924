"""Full-sum distillation: the difference of log-likelihoods and nothing else."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    ctc_alignment,
    ctc_full_sum_distillation,
    full_sum_distillation,
    rnnt_alignment,
    rnnt_full_sum_distillation,
)

INF = math.inf


@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_of_ctc_models_and_transducers(engine, distance):
    torch.manual_seed(0)
    labels = torch.tensor([[1, 2], [2, 2]]), [5, 4], [2, 1]
    for function, alignment, shape in (
        (ctc_full_sum_distillation, ctc_alignment, (2, 5, 4)),
        (rnnt_full_sum_distillation, rnnt_alignment, (2, 5, 3, 4)),
    ):
        student, teacher = torch.randn(2, *shape, dtype=torch.float64).log_softmax(-1)
        student.requires_grad_(), teacher.requires_grad_()
        loss = function(student, teacher, *labels, reduction="none", distance=distance)
        nll_s, nll_t = alignment(student, *labels).nll, alignment(teacher, *labels).nll
        difference = nll_s - nll_t.detach()
        wanted = difference**2 if distance == "squared" else difference.abs()
        torch.testing.assert_close(loss, wanted)
        grad = torch.autograd.grad(loss.sum(), (student, teacher), allow_unused=True)
        (expected,) = torch.autograd.grad(wanted.sum(), student)
        torch.testing.assert_close(grad[0], expected)
        assert grad[1] is None
        both = function(student, teacher, *labels, distance=distance, teacher_grad=True)
        torch.testing.assert_close(both, (wanted / torch.tensor([2, 1])).mean())
        grad = torch.autograd.grad(both, teacher)
        assert grad[0].any()


def test_models_that_exclude_a_transcript():
    student = torch.tensor([2.0, INF, 3.0, INF], requires_grad=True)
    teacher = torch.tensor([1.0, 2.0, INF, INF])
    loss = full_sum_distillation(student, teacher, reduction="none")
    assert loss.tolist() == [1.0, INF, INF, 0.0]
    (grad,) = torch.autograd.grad(loss.sum(), student)
    assert grad.tolist() == [2.0, 0.0, 0.0, 0.0]
    loss = full_sum_distillation(student, teacher, reduction="none", zero_infinity=True)
    assert loss.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_errors_name_what_was_needed():
    nll = torch.ones(2)
    with pytest.raises(FsaValueError, match=r"teacher_nll: .*got \(3,\)"):
        full_sum_distillation(nll, torch.ones(3))
    with pytest.raises(FsaTypeError, match="student_nll: must be a floating-point"):
        full_sum_distillation(nll.long(), nll)
    with pytest.raises(FsaValueError, match="distance: must be one of 'squared', 'absolute'"):
        full_sum_distillation(nll, nll, distance="cosine")


def test_a_bad_score_names_its_model(engine):
    labels = torch.tensor([[1, 2]]), [4], [2]
    for function, argument, shape in (
        (ctc_full_sum_distillation, "log_probs", (1, 4, 3)),
        (rnnt_full_sum_distillation, "logits", (1, 4, 3, 3)),
    ):
        good, bad = torch.zeros(shape), torch.full(shape, math.nan)
        for name, models in (("student", (bad, good)), ("teacher", (good, bad))):
            with pytest.raises(FsaValueError, match=f"^{name}_{argument}: .*utterance 0, frame 0"):
                function(*models, *labels)


def test_the_softmax_may_be_fused_or_not(engine):
    torch.manual_seed(0)
    labels = torch.tensor([[1, 2], [2, 2]]), [5, 4], [2, 1]
    for function, shape in (
        (ctc_full_sum_distillation, (2, 2, 5, 4)),
        (rnnt_full_sum_distillation, (2, 2, 5, 3, 4)),
    ):
        logits = torch.randn(shape, dtype=torch.float64)
        fused = function(*logits, *labels, fused_log_softmax=True)
        plain = function(*logits.log_softmax(-1), *labels, fused_log_softmax=False)
        torch.testing.assert_close(fused, plain)
        assert not torch.isclose(fused, function(*logits, *labels, fused_log_softmax=False))
