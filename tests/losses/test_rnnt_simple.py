"""Transducers whose joiner adds: the definition, smoothing, posteriors, what is not read."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    rnnt_alignment,
    rnnt_loss,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
    rnnt_simple_alignment,
)

TYPES = ("regular", "modified", "constrained")
FRAMES, LABELS = [6, 4, 5], [3, 2, 0]
LENGTHS = (FRAMES, LABELS)


def batch(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """am (3, 6, 5), lm (3, 4, 5) and targets (3, 3)."""
    generator = torch.Generator().manual_seed(seed)
    am = 2 * torch.randn(3, 6, 5, generator=generator, dtype=dtype)
    lm = 2 * torch.randn(3, 4, 5, generator=generator, dtype=dtype)
    return am, lm, torch.randint(1, 5, (3, 3), generator=generator)


def by_definition(am: Tensor, lm: Tensor, lm_scale: float, am_scale: float) -> Tensor:
    """(N, T, U + 1, C) the interpolated log-probabilities."""
    own = torch.arange(lm.shape[1]) <= torch.tensor(LABELS)[:, None]
    of_lm = lm.log_softmax(-1)
    mean = of_lm.exp()[own].mean(0).log()
    of_am = (am + mean).log_softmax(-1)
    both = (am[:, :, None] + lm[:, None]).log_softmax(-1)
    rest = 1 - lm_scale - am_scale
    return rest * both + lm_scale * of_lm[:, None] + am_scale * of_am[:, :, None]


@pytest.mark.parametrize("scales", [(0.0, 0.0), (0.25, 0.1), (0.0, 0.4), (1.0, 0.0)])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_the_definition(engine: str, rnnt_type: str, scales: tuple[float, float]):
    am, lm, y = batch()
    am.requires_grad_(), lm.requires_grad_()
    options: Any = {"rnnt_type": rnnt_type, "delay_penalty": 0.3, "fastemit_lambda": 0.2}
    got = rnnt_simple_alignment(
        am, lm, y, *LENGTHS, lm_only_scale=scales[0], am_only_scale=scales[1], **options
    )
    planes = by_definition(am, lm, *scales)
    want = rnnt_alignment(planes, y, *LENGTHS, fused_log_softmax=False, **options)
    for ours, theirs in zip(got[:2], want[:2]):
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(
            torch.autograd.grad(ours.sum(), (am, lm), retain_graph=True),
            torch.autograd.grad(theirs.sum(), (am, lm), retain_graph=True),
        )
    assert bool(got.valid.all())


def test_reductions_and_kinds_are_those_of_rnnt_loss(engine: str):
    am, lm, y = batch()
    full = am[:, :, None] + lm[:, None]
    for reduction in ("none", "mean", "sum"):
        for kind in ("conditional", "raw", "per_frame", "per_label"):
            options: Any = {"reduction": reduction, "kind": kind, "entropy_scale": 0.5}
            torch.testing.assert_close(
                rnnt_loss_simple(am, lm, y, *LENGTHS, **options),
                rnnt_loss(full, y, *LENGTHS, **options),
            )


def test_numerical_gradients():
    am, lm, y = batch()
    inputs = (am[:2, :3, :3].requires_grad_(), lm[:2, :3, :3].requires_grad_())

    def both(am: Tensor, lm: Tensor) -> Tensor:
        out = rnnt_simple_alignment(
            am,
            lm,
            y[:2, :2].clamp(max=2),
            [3, 2],
            [2, 1],
            lm_only_scale=0.25,
            am_only_scale=0.1,
        )
        return out.nll - 0.3 * out.entropy

    assert torch.autograd.gradcheck(both, inputs)
    with _native.disabled():
        assert torch.autograd.gradgradcheck(both, inputs, fast_mode=True)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_posteriors_flow_through_the_lattice(engine: str, rnnt_type: str):
    am, lm, y = batch()
    am.requires_grad_()
    loss, (blank, label) = rnnt_loss_smoothed(
        am, lm, y, *LENGTHS, rnnt_type=rnnt_type, reduction="sum", return_arc_posteriors=True
    )
    assert not blank.requires_grad and not label.requires_grad
    assert blank.shape == (3, 6, 4) and label.shape == (3, 6, 3)
    assert bool((blank >= 0).all() and (label >= 0).all())
    labels, frames = torch.tensor(LABELS).double(), torch.tensor(FRAMES).double()
    torch.testing.assert_close(label.sum((1, 2)), labels)
    blanks = frames if rnnt_type == "regular" else frames - labels
    torch.testing.assert_close(blank.sum((1, 2)), blanks)
    if rnnt_type == "regular":  # every path leaves every frame by one blank
        inside = torch.arange(6) < torch.tensor(FRAMES)[:, None]
        torch.testing.assert_close(blank.sum(2), inside.double())
    with torch.no_grad():
        again, posteriors = rnnt_loss_smoothed(
            am, lm, y, *LENGTHS, rnnt_type=rnnt_type, reduction="sum", return_arc_posteriors=True
        )
    assert torch.equal(again, loss) and not again.requires_grad
    assert torch.equal(posteriors.blank, blank) and torch.equal(posteriors.label, label)


@pytest.mark.parametrize("entropy_scale", [0.0, 0.4])
def test_returning_posteriors_changes_no_gradient(engine: str, entropy_scale: float):
    am, lm, y = batch()
    am.requires_grad_(), lm.requires_grad_()
    options: Any = {
        "entropy_scale": entropy_scale,
        "fastemit_lambda": 0.3,
        "rnnt_type": "constrained",
    }
    plain = rnnt_loss_smoothed(am, lm, y, *LENGTHS, **options)
    loss, posteriors = rnnt_loss_smoothed(
        am, lm, y, *LENGTHS, return_arc_posteriors=True, **options
    )
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(
        torch.autograd.grad(loss, (am, lm)), torch.autograd.grad(plain, (am, lm))
    )
    # FastEmit is about gradients: the posteriors are those of the model.
    options["fastemit_lambda"] = 0.0
    _, wanted = rnnt_loss_smoothed(am, lm, y, *LENGTHS, return_arc_posteriors=True, **options)
    torch.testing.assert_close(posteriors, wanted)


def test_what_lies_beyond_the_lengths_is_not_read(engine: str):
    am, lm, y = batch()
    spoilt_am, spoilt_lm = am.clone(), lm.clone()
    for i, (frames, labels) in enumerate(zip(FRAMES, LABELS)):
        spoilt_am[i, frames:], spoilt_lm[i, labels + 1 :] = math.nan, math.inf
    results = []
    for x, z in ((am, lm), (spoilt_am, spoilt_lm)):
        x.requires_grad_(), z.requires_grad_()
        loss, posteriors = rnnt_loss_smoothed(
            x, z, y, *LENGTHS, reduction="none", entropy_scale=0.2, return_arc_posteriors=True
        )
        results.append((loss, *posteriors, *torch.autograd.grad(loss.sum(), (x, z))))
    for clean, spoilt in zip(*results):
        assert torch.equal(clean, spoilt)
    *_, by_am, by_lm = results[0]
    for i, (frames, labels) in enumerate(zip(FRAMES, LABELS)):
        assert bool((by_am[i, frames:] == 0).all() and (by_lm[i, labels + 1 :] == 0).all())


def test_an_utterance_alone_counts_as_in_a_batch(engine: str):
    """Without am_only_scale, whose mean label distribution is that of the batch."""
    am, lm, y = batch()
    whole = rnnt_simple_alignment(am, lm, y, *LENGTHS, lm_only_scale=0.2)
    for i, (frames, labels) in enumerate(zip(FRAMES, LABELS)):
        alone = rnnt_simple_alignment(
            am[i : i + 1, :frames],
            lm[i : i + 1, : labels + 1],
            y[i : i + 1, :labels],
            [frames],
            [labels],
            lm_only_scale=0.2,
        )
        torch.testing.assert_close(alone.nll[0], whole.nll[i])
        torch.testing.assert_close(alone.entropy[0], whole.entropy[i])


def test_networks_that_prefer_symbols_hundreds_of_nats_apart():
    """float32 has no number for the products of exponentials there; neighbours need not care."""
    am, lm, y = batch(dtype=torch.float32)
    hard_am, hard_lm = am.clone(), lm.clone()
    hard_am[0, :, 1], hard_lm[0, :, 2] = 150.0, 180.0
    hard_am.requires_grad_(), hard_lm.requires_grad_()
    out = rnnt_simple_alignment(hard_am, hard_lm, y, *LENGTHS)
    with _native.disabled():
        exact_am, exact_lm = (x.detach().double().requires_grad_() for x in (hard_am, hard_lm))
        exact = rnnt_alignment(exact_am[:, :, None] + exact_lm[:, None], y, *LENGTHS)
    torch.testing.assert_close(out.nll, exact.nll.float(), rtol=1e-6, atol=1e-6)
    grads = torch.autograd.grad(out.nll.sum(), (hard_am, hard_lm))
    wanted = torch.autograd.grad(exact.nll.sum(), (exact_am, exact_lm))
    for grad, want in zip(grads, wanted):
        torch.testing.assert_close(grad, want.float(), rtol=1e-4, atol=1e-5)
    assert torch.equal(out.nll[1:], rnnt_simple_alignment(am, lm, y, *LENGTHS).nll[1:])


def test_symbols_that_are_never_allowed(engine: str):
    am, lm, y = batch()
    am[..., 4] = -math.inf
    lm[0, 1, 3] = -math.inf
    y = y.clamp(max=2)
    am.requires_grad_(), lm.requires_grad_()
    got = rnnt_loss_simple(am, lm, y, *LENGTHS)
    want = rnnt_loss(am[:, :, None] + lm[:, None], y, *LENGTHS)
    torch.testing.assert_close(got, want)
    ours = torch.autograd.grad(got, (am, lm))
    torch.testing.assert_close(ours, torch.autograd.grad(want, (am, lm)))
    assert bool((ours[0][..., 4] == 0).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(engine: str, dtype: torch.dtype):
    am, lm, y = batch()
    am, lm = (x.to(dtype).requires_grad_() for x in (am, lm))
    out = rnnt_simple_alignment(am, lm, y, *LENGTHS, am_only_scale=0.1)
    assert out.nll.dtype == out.entropy.dtype == torch.float32
    exact = rnnt_simple_alignment(am.double(), lm.double(), y, *LENGTHS, am_only_scale=0.1)
    torch.testing.assert_close(out.nll, exact.nll.float())
    grads = torch.autograd.grad(out.nll.sum(), (am, lm))
    assert [grad.dtype for grad in grads] == [dtype, dtype]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = rnnt_simple_alignment(am, lm, y, *LENGTHS, am_only_scale=0.1)
        again = torch.autograd.grad(cast.nll.sum(), (am, lm))
    assert torch.equal(cast.nll, out.nll) and all(map(torch.equal, grads, again))


def test_edge_cases(engine: str):
    am, lm, y = batch()
    am.requires_grad_()
    lengths = ([0, 0, 2], [0, 2, 3])  # the empty path; no frames; one symbol a frame is too few
    loss, posteriors = rnnt_loss_smoothed(
        am, lm, y, *lengths, rnnt_type="modified", reduction="none", return_arc_posteriors=True
    )
    assert loss.tolist() == [0.0, math.inf, math.inf]
    assert bool((torch.cat(posteriors, 2) == 0).all())
    assert bool((torch.autograd.grad(loss.sum(), am)[0] == 0).all())
    out = rnnt_simple_alignment(am, lm, y, *lengths, rnnt_type="modified")
    assert out.valid.tolist() == [True, False, False] and out.entropy.tolist() == [0.0, 0.0, 0.0]
    empty = rnnt_simple_alignment(am[:0], lm[:0], y[:0], [], [])
    assert empty.nll.shape == (0,)
    no_frames = rnnt_simple_alignment(am[:, :0], lm, y, [0, 0, 0], LABELS)
    assert no_frames.nll.tolist() == [math.inf, math.inf, 0.0]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"am": torch.zeros(3, 6, 5).long()}, FsaTypeError, r"am: must be .* \(N, T, C\), got"),
        ({"lm": torch.zeros(3, 4)}, FsaValueError, r"lm: must be \(N, U \+ 1, C\), got shape"),
        ({"lm": torch.zeros(3, 4, 6)}, FsaValueError, r"lm: must have shape \(3, U \+ 1, 5\)"),
        ({"lm": torch.zeros(3, 3, 5)}, FsaValueError, r"target_lengths\[0\] = 3: .* 4 positions"),
        ({"blank": 5}, FsaValueError, r"blank: must be a symbol in 0\.\.4, got 5"),
        ({"logit_lengths": [7, 1, 1]}, FsaValueError, r"logit_lengths\[0\] = 7"),
        ({"lm_only_scale": 1.5}, FsaValueError, "lm_only_scale: must be a share"),
        ({"lm_only_scale": 0.6, "am_only_scale": 0.6}, FsaValueError, "more than 1, got 0.6 and"),
        ({"rnnt_type": "odd"}, FsaValueError, "rnnt_type: must be one of"),
        ({"kind": "odd"}, FsaValueError, "kind: must be one of"),
        ({"am": torch.full((3, 6, 5), math.nan)}, FsaValueError, "utterance 0, frame 0"),
    ],
)
def test_wrong_arguments_are_named(
    engine: str, change: dict[str, Any], error: type[Exception], match: str
):
    am, lm, y = batch(dtype=torch.float32)
    arguments: dict[str, Any] = {"am": am, "lm": lm, "targets": y}
    arguments |= {"logit_lengths": FRAMES, "target_lengths": LABELS}
    with pytest.raises(error, match=match):
        rnnt_simple_alignment(**(arguments | change))
