"""CR-CTC: the formula with its stopped gradients, at both levels."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses import (
    CRCTCLoss,
    cr_ctc_loss,
    ctc_alignment_kl,
    ctc_consistency,
    ctc_loss,
)

LABELS = torch.tensor([[1, 2], [2, 2]]), [6, 4], [2, 1]


def two_views():
    torch.manual_seed(0)
    a, b = torch.randn(2, 2, 6, 4, dtype=torch.float64).log_softmax(-1)
    return a.requires_grad_(), b.requires_grad_()


def test_frames_follow_the_formula():
    a, b = two_views()
    found = ctc_consistency(a, b, *LABELS, reduction="none")
    inside = (torch.arange(6) < torch.tensor(LABELS[1])[:, None])[..., None]

    def kl(p, q):
        return (inside * p.exp() * (p - q)).sum((1, 2))

    wanted = (kl(b.detach(), a) + kl(a.detach(), b)) / 2
    torch.testing.assert_close(found, wanted)
    logits = [x.detach().clone().requires_grad_() for x in (a, b)]
    found = ctc_consistency(*(x.log_softmax(-1) for x in logits), *LABELS, reduction="sum")
    p, q = (x.log_softmax(-1) for x in logits)
    wanted = (kl(q.detach(), p) + kl(p.detach(), q)).sum() / 2
    for mine, theirs in zip(
        torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_alignments_are_compared_both_ways():
    a, b = two_views()
    found = ctc_consistency(a, b, *LABELS, reduction="none", level="alignment")
    wanted = (ctc_alignment_kl(a, b, *LABELS).kl + ctc_alignment_kl(b, a, *LABELS).kl) / 2
    torch.testing.assert_close(found, wanted)
    grads = torch.autograd.grad(found.sum(), (a, b))
    (of_a,) = torch.autograd.grad(ctc_alignment_kl(a, b.detach(), *LABELS).kl.sum() / 2, a)
    torch.testing.assert_close(grads[0], of_a)
    # symbols that are in no alignment of the transcript do not matter
    other = a.detach().clone()
    other[:, :, 3] = -3.0
    same = ctc_consistency(other, b, *LABELS, reduction="none", level="alignment")
    torch.testing.assert_close(same, found)


@pytest.mark.parametrize("level", ["frame", "alignment"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_loss_is_the_mean_of_both_and_the_scaled_consistency(level, reduction):
    a, b = two_views()
    options = {"reduction": reduction, "entropy_scale": 0.1}
    found = cr_ctc_loss(a, b, *LABELS, **options, consistency_scale=0.3, level=level)
    wanted = (ctc_loss(a, *LABELS, **options) + ctc_loss(b, *LABELS, **options)) / 2
    wanted = wanted + 0.3 * ctc_consistency(a, b, *LABELS, reduction=reduction, level=level)
    torch.testing.assert_close(found, wanted)
    module = CRCTCLoss(**options, consistency_scale=0.3, level=level)
    assert torch.equal(module(a, b, *LABELS), found)


def test_equal_views_are_consistent_and_cost_what_ctc_costs():
    a, _ = two_views()
    for level in ("frame", "alignment"):
        assert ctc_consistency(a, a, *LABELS, level=level).item() == 0
        torch.testing.assert_close(cr_ctc_loss(a, a, *LABELS, level=level), ctc_loss(a, *LABELS))


def test_infinite_divergences_can_count_nothing():
    a = torch.tensor([[[0.5, 0.5, 0.0]] * 3]).log().requires_grad_()
    b = torch.tensor([[[0.5, 0.0, 0.5]] * 3]).log().requires_grad_()
    args = (a, b, torch.tensor([[1]]), [3], [1])
    for level in ("frame", "alignment"):
        assert ctc_consistency(*args, level=level).item() == math.inf
        loss = cr_ctc_loss(*args, level=level, zero_infinity=True)
        assert loss.isfinite()
        assert all(g.isfinite().all() for g in torch.autograd.grad(loss, (a, b)))


def test_errors_name_the_views():
    a, b = two_views()
    with pytest.raises(FsaValueError, match=r"log_probs_b: .*same frame rate"):
        ctc_consistency(a, b[:, :5], *LABELS)
    bad = b.detach().clone()
    bad[0, 3, 1] = math.nan
    with pytest.raises(FsaValueError, match="log_probs_b: the scores of utterance 0, frame 3,"):
        ctc_consistency(a, bad, *LABELS)
    with pytest.raises(FsaValueError, match="level: must be one of 'frame', 'alignment'"):
        CRCTCLoss(level="word")
