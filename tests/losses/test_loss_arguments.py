"""What all losses must agree on: which arguments they refuse, and what a scale of zero leaves."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy import _native
from wfst_entropy.fsa import DenseFsaVec
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    asg_alignment,
    cr_ctc_loss,
    ctc_alignment_kl,
    ctc_distillation_loss,
    ctc_full_sum_distillation,
    ctc_loss,
    ctc_soft_distillation,
    fsa_alignment,
    fsa_alignment_kl,
    fsa_loss,
    lf_mmi_loss,
    rnnt_alignment,
    rnnt_alignment_kl,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_simple,
    rnnt_pruned_alignment,
    rnnt_simple_alignment,
    rnnt_soft_distillation,
)
from wfst_entropy.topologies import ctc_graph, ctc_topo

LABELS = (torch.tensor([[1, 2], [2, 1]]), [4, 3], [2, 1])
RANGES = torch.arange(3).expand(2, 4, 3)


def scores(*shape, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()


def dense(x):
    return DenseFsaVec.from_lengths(x, torch.tensor(LABELS[1])[: len(x)])


GRAPHS = ctc_graph([[1, 2], [2]])
OF_SCALES = {
    "entropy_scale": [
        lambda x: ctc_loss(scores(2, 4, 3), *LABELS, entropy_scale=x),
        lambda x: rnnt_loss(scores(2, 4, 3, 3), *LABELS, entropy_scale=x),
        lambda x: rnnt_loss_pruned(scores(2, 4, 3, 3), RANGES, *LABELS, entropy_scale=x),
        lambda x: rnnt_loss_simple(scores(2, 4, 3), scores(2, 3, 3), *LABELS, entropy_scale=x),
        lambda x: fsa_loss(GRAPHS, dense(scores(2, 4, 3)), [2, 1], entropy_scale=x),
        lambda x: lf_mmi_loss(GRAPHS, ctc_topo(2), dense(scores(2, 4, 3)), [2, 1], entropy_scale=x),
    ],
    "fastemit_lambda": [
        lambda x: rnnt_loss(scores(2, 4, 3, 3), *LABELS, fastemit_lambda=x),
        lambda x: rnnt_loss_simple(scores(2, 4, 3), scores(2, 3, 3), *LABELS, fastemit_lambda=x),
    ],
    "delay_penalty": [
        lambda x: rnnt_loss_pruned(scores(2, 4, 3, 3), RANGES, *LABELS, delay_penalty=x),
        lambda x: rnnt_loss_simple(scores(2, 4, 3), scores(2, 3, 3), *LABELS, delay_penalty=x),
    ],
    "kl_scale": [lambda x: ctc_distillation_loss(*scores(2, 2, 4, 3), *LABELS, kl_scale=x)],
    "den_scale": [
        lambda x: lf_mmi_loss(GRAPHS, ctc_topo(2), dense(scores(2, 4, 3)), [2, 1], den_scale=x)
    ],
    "consistency_scale": [lambda x: cr_ctc_loss(*scores(2, 2, 4, 3), *LABELS, consistency_scale=x)],
}


@pytest.mark.parametrize("name", OF_SCALES)
def test_a_scale_must_be_a_finite_number(name):
    for loss in OF_SCALES[name]:
        assert loss(0.25).isfinite()
        with pytest.raises(FsaValueError, match=f"{name}: must be a finite number, got nan"):
            loss(math.nan)
        with pytest.raises(FsaTypeError, match=f"{name}: must be a number, got Tensor; .*item"):
            loss(torch.tensor(0.1))


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
def test_labels_and_lengths_are_integers(dtype):
    targets, frames, labels = LABELS
    with pytest.raises(FsaTypeError, match=f"targets: must be an integer tensor, got {dtype}"):
        ctc_loss(scores(2, 4, 3), targets.to(dtype), frames, labels)
    with pytest.raises(FsaTypeError, match=f"input_lengths: must be integers, got {dtype}"):
        ctc_loss(scores(2, 4, 3), targets, torch.tensor(frames).to(dtype), labels)


def test_a_raw_entropy_that_is_not_wanted_cannot_overflow(engine):
    high, grid = scores(2, 4, 3) + 1000, scores(2, 4, 3, 3) + 1000
    for loss, args in (
        (ctc_loss, (high, *LABELS)),
        (fsa_loss, (GRAPHS, dense(high), [2, 1])),
        (lf_mmi_loss, (GRAPHS, ctc_topo(2), dense(high), [2, 1])),
        (rnnt_loss, (grid, *LABELS)),
        (rnnt_loss_pruned, (grid, RANGES, *LABELS)),
    ):
        options = {} if loss in (ctc_loss, fsa_loss, lf_mmi_loss) else {"fused_log_softmax": False}
        assert torch.equal(loss(*args, kind="raw", **options), loss(*args, **options))
        if loss is not lf_mmi_loss:
            with pytest.raises(FsaValueError, match="overflows"):
                loss(*args, kind="raw", entropy_scale=0.1, **options)


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_fastemit_leaves_the_gradient_of_every_entropy_alone(engine, rnnt_type):
    am, grid = scores(2, 4, 3), scores(2, 4, 3, 3)
    for kind in ("conditional", "raw", "per_frame", "per_label"):
        for x, alignment in (
            (grid, lambda x, **o: rnnt_alignment(x, *LABELS, **o)),
            (grid, lambda x, **o: rnnt_pruned_alignment(x, RANGES, *LABELS, **o)),
            (am, lambda x, **o: rnnt_simple_alignment(x, scores(2, 3, 3), *LABELS, **o)),
        ):
            x = x.clone().requires_grad_()
            options = {"kind": kind, "rnnt_type": rnnt_type}
            plain, fast = (alignment(x, **options, fastemit_lambda=f) for f in (0.0, 0.5))
            grads = [torch.autograd.grad(out.entropy.sum(), x)[0] for out in (plain, fast)]
            assert grads[0].abs().max() > 1e-3
            torch.testing.assert_close(*grads)


@pytest.mark.parametrize("n", [0, 2])
def test_results_are_in_the_graph_of_scores_without_frames(engine, n):
    nothing = torch.zeros(n, 0, dtype=torch.int64), [0] * n, [0] * n
    frames = torch.zeros(n, 0, 3, requires_grad=True)
    nodes = torch.zeros(n, 0, 1, 3, requires_grad=True)
    view = DenseFsaVec.from_lengths(frames, torch.zeros(n, dtype=torch.int64))
    for x, result in (
        (frames, ctc_alignment_kl(frames, frames.detach(), *nothing).kl),
        (nodes, rnnt_alignment_kl(nodes, nodes.detach(), *nothing).kl),
        (frames, asg_alignment(frames, *nothing, torch.zeros(3, 3)).nll),
        (frames, fsa_alignment(ctc_topo(2), view).entropy),
        (frames, fsa_alignment_kl(ctc_topo(2), view, view.detach()).kl),
    ):
        (grad,) = torch.autograd.grad(result.sum(), x)
        assert grad.shape == x.shape


def test_a_bad_frame_score_is_called_as_its_argument(engine):
    bad = scores(2, 4, 3)
    bad[1, 2, 0] = math.nan
    with pytest.raises(FsaValueError, match=r"^dense: the score of utterance 1, frame 2, symbol 0"):
        fsa_alignment(GRAPHS, dense(bad))


@pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
def test_the_joiner_that_adds_has_no_silent_second_derivative():
    am = scores(2, 4, 3).requires_grad_()
    loss = rnnt_loss_simple(am, scores(2, 3, 3), *LABELS)
    (grad,) = torch.autograd.grad(loss, am, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(grad.square().sum(), am, allow_unused=True)


def test_a_teacher_of_another_dtype_does_not_change_that_of_the_loss(engine):
    for student, teacher in ((torch.float32, torch.float64), (torch.float64, torch.bfloat16)):
        frames, nodes = scores(2, 4, 3), scores(2, 4, 3, 3)
        models, joint = (
            (x.to(student).requires_grad_(), x.flip(0).to(teacher)) for x in (frames, nodes)
        )
        for loss in (
            ctc_alignment_kl(*models, *LABELS).kl,
            ctc_soft_distillation(*models, LABELS[1]),
            ctc_full_sum_distillation(*models, *LABELS),
            ctc_distillation_loss(*models, *LABELS),
            rnnt_alignment_kl(*joint, *LABELS).kl,
            rnnt_soft_distillation(*joint, *LABELS),
        ):
            assert loss.dtype == student
            assert loss.isfinite().all()
