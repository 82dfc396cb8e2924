"""Scores of arcs that are computed once give what the losses make of the logits."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses import (
    rnnt_alignment,
    rnnt_alignment_kl,
    rnnt_arc_scores,
    rnnt_grid_alignment,
    rnnt_grid_alignment_kl,
    rnnt_pruned_alignment,
    rnnt_pruned_alignment_kl,
)

LABELS = torch.tensor([[1, 3], [2, 9], [9, 9]]), torch.tensor([6, 5, 2]), torch.tensor([2, 1, 0])
RANGES = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0] * 6])[..., None] + torch.arange(
    2
)


def logits_of(size, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, 6, size, 4, generator=generator, dtype=torch.float64)
    return scores.requires_grad_()


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
@pytest.mark.parametrize("kind", ["conditional", "raw"])
@pytest.mark.parametrize("windows", [False, True])
def test_they_give_likelihood_entropy_and_divergence(engine, rnnt_type, kind, windows):
    student, teacher = (logits_of(2 if windows else 3, seed) for seed in (0, 1))
    shared = {"kind": kind, "rnnt_type": rnnt_type}
    training = {"delay_penalty": 0.1, "fastemit_lambda": 0.2}
    ranges = RANGES if windows else None
    scores, fixed = (rnnt_arc_scores(x, *LABELS, ranges=ranges) for x in (student, teacher))
    own = rnnt_grid_alignment(*scores, *LABELS[1:], **shared, **training)
    divergence = rnnt_grid_alignment_kl(scores, fixed, *LABELS[1:], **shared)
    if windows:
        whole = rnnt_pruned_alignment(student, RANGES, *LABELS, **shared, **training)
        apart = rnnt_pruned_alignment_kl(student, teacher, RANGES, *LABELS, **shared)
    else:
        whole = rnnt_alignment(student, *LABELS, **shared, **training)
        apart = rnnt_alignment_kl(student, teacher, *LABELS, **shared)
    values = []
    for alignment, kl in ((own, divergence), (whole, apart)):
        value = alignment.nll + 0.3 * alignment.entropy + 0.7 * kl.kl
        (gradient,) = torch.autograd.grad(value[alignment.valid].sum(), student)
        values.append((value, gradient))
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)


def test_the_gradient_may_take_the_place_of_the_logits():
    leaf = logits_of(3, 0)
    (wanted,) = torch.autograd.grad(
        rnnt_alignment(leaf, *LABELS).nll.sum(), leaf, retain_graph=True
    )
    logits = leaf * 1.0
    scores = rnnt_arc_scores(logits, *LABELS, reuse_logits_for_grads=True)
    kl = rnnt_grid_alignment_kl(scores, scores, *LABELS[1:]).nll.sum()
    nll = rnnt_grid_alignment(*scores, *LABELS[1:]).nll.sum()
    (grad,) = torch.autograd.grad(0.25 * kl + 0.75 * nll, leaf)
    torch.testing.assert_close(grad, wanted)


def test_errors_name_the_argument():
    with pytest.raises(FsaValueError, match="ranges: must have shape"):
        rnnt_arc_scores(logits_of(3, 0), *LABELS, ranges=RANGES)
    scores = rnnt_arc_scores(logits_of(3, 0), *LABELS)
    with pytest.raises(FsaValueError, match="fastemit_lambda: must be a finite number"):
        rnnt_grid_alignment(*scores, *LABELS[1:], fastemit_lambda=float("nan"))
