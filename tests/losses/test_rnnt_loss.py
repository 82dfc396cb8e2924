"""RNN-T likelihood and entropy: definitions, gradients, invariances, extremes, errors."""

from __future__ import annotations

import ctypes
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaError, FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.losses import RNNTLoss, rnnt_alignment, rnnt_grid_alignment, rnnt_loss

INF = math.inf
TYPES = ("regular", "modified", "constrained")
KINDS = ("conditional", "raw", "per_frame", "per_label")
# maths: T = 2, U = 1
BLANK = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]], dtype=torch.float64).log()
LABEL = torch.tensor([[[0.4], [0.5]]], dtype=torch.float64).log()

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())


def random_batch(seed=0, n=4, num_frames=9, num_labels=5, num_symbols=7, dtype=torch.float64):
    """Logits, targets and ragged lengths; the first utterance has them all."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, num_frames, num_labels + 1, num_symbols)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, num_symbols, (n, num_labels), generator=generator)
    frames = torch.randint(num_labels, num_frames + 1, (n,), generator=generator)
    labels = torch.randint(0, num_labels + 1, (n,), generator=generator)
    frames[0], labels[0] = num_frames, num_labels
    return logits.to(dtype).requires_grad_(), targets, frames, labels


def random_planes(seed=0, n=4, num_frames=9, num_labels=5, dtype=torch.float64, scale=2.0):
    """Unnormalised scores; a third of them masked, in one way or another, in the last utterance."""
    generator = torch.Generator().manual_seed(seed)
    blank = torch.randn((n, num_frames, num_labels + 1), generator=generator, dtype=torch.float64)
    label = torch.randn((n, num_frames, num_labels), generator=generator, dtype=torch.float64)
    for x, mask in ((blank, -INF), (label, -1e30)):
        x *= scale
        x[-1].masked_fill_(torch.rand(x[-1].shape, generator=generator) < 1 / 3, mask)
    return blank.to(dtype).requires_grad_(), label.to(dtype).requires_grad_()


def gradients(out, *scores, by_nll=1.0, by_entropy=-0.3):
    loss = (by_nll * torch.where(out.valid, out.nll, 0.0) + by_entropy * out.entropy).sum()
    grads = torch.autograd.grad(loss, scores, retain_graph=True)
    return grads[0] if len(scores) == 1 else grads


def test_exact_vectors(engine):
    wanted = {"conditional": 0.6925525324, "raw": 0.6776363922}
    wanted |= {"per_frame": 0.6925525324 / 2, "per_label": 0.6925525324}
    logits = torch.stack([BLANK, torch.cat([LABEL, (1 - BLANK[..., 1:].exp()).log()], 2)], 3)
    for kind in KINDS:
        for out in (
            rnnt_grid_alignment(BLANK, LABEL, [2], [1], kind=kind),
            rnnt_alignment(logits, torch.tensor([[1]]), [2], [1], kind=kind),
        ):
            assert out.nll.item() == pytest.approx(0.7678707268, abs=1e-9)
            assert out.entropy.item() == pytest.approx(wanted[kind], abs=1e-9)
            assert out.valid.tolist() == [True]


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_equals_enumeration_of_all_paths(engine, rnnt_enumeration, nll_and_entropy, rnnt_type):
    cases = [(t, u) for t in range(5) for u in range(4)]
    blank, label = random_planes(seed=1, n=len(cases), num_frames=4, num_labels=3)
    frames, labels = zip(*cases)
    out = rnnt_grid_alignment(blank, label, list(frames), list(labels), rnnt_type=rnnt_type)
    grads = gradients(out, blank, label)
    for n, (t, u) in enumerate(cases):
        planes = [x.detach()[n].clone().requires_grad_() for x in (blank, label)]
        weights = rnnt_enumeration(planes[0][:t, : u + 1], planes[1][:t, :u], rnnt_type)
        weights = weights[weights > -1e29]
        assert out.valid[n] == (len(weights) > 0)
        if not len(weights):
            assert out.nll[n] == INF and out.entropy[n] == 0
            assert not grads[0][n].any() and not grads[1][n].any()
            continue
        nll, entropy = nll_and_entropy(weights)
        torch.testing.assert_close(out.nll[n], nll)
        torch.testing.assert_close(out.entropy[n], entropy)
        if len(weights) == 1:
            assert out.entropy[n] == 0
        if t:
            loss = nll - 0.3 * entropy + 0 * (planes[0].nan_to_num() + planes[1].sum()).sum()
            for grad, wanted in zip(grads, torch.autograd.grad(loss, planes)):
                torch.testing.assert_close(grad[n], wanted)


@needs_native
@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_of_planes_equals_the_torch_engine(rnnt_type, dtype):
    for seed, num_frames, num_labels in ((0, 9, 5), (1, 40, 17), (2, 3, 8), (3, 1, 0)):
        planes = random_planes(seed, 4, num_frames, num_labels, dtype)
        frames = [num_frames, max(num_frames - 2, 0), num_frames // 2, num_frames]
        labels = [num_labels, num_labels // 2, 0, num_labels]
        out = rnnt_grid_alignment(*planes, frames, labels, rnnt_type=rnnt_type)
        with _native.disabled():
            wanted = rnnt_grid_alignment(*planes, frames, labels, rnnt_type=rnnt_type)
            wanted_grads = gradients(wanted, *planes)
        close = {"rtol": 1e-12, "atol": 1e-11} if dtype == torch.float64 else {}
        torch.testing.assert_close(out.nll, wanted.nll, **close)
        torch.testing.assert_close(out.entropy, wanted.entropy, **close)
        assert torch.equal(out.valid, wanted.valid)
        close = close or {"rtol": 1e-4, "atol": 1e-5}
        for grad, wanted_grad in zip(gradients(out, *planes), wanted_grads):
            torch.testing.assert_close(grad, wanted_grad, **close)


OPTIONS = [
    {"rnnt_type": "regular", "delay_penalty": 0.2},
    {"rnnt_type": "modified", "fastemit_lambda": 0.3},
    {"rnnt_type": "constrained", "fastemit_lambda": 0.3, "delay_penalty": -0.1},
    {"rnnt_type": "regular", "fused_log_softmax": False, "fastemit_lambda": 0.3},
]


@needs_native
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_kernel_of_logits_equals_the_torch_engine(options, dtype):
    logits, *batch = random_batch(dtype=dtype, num_symbols=21)
    with torch.no_grad():
        logits[:, :, :, 20] = -INF  # a masked symbol
        batch[0][batch[0] == 20] = 1
    out = rnnt_alignment(logits, *batch, **options)
    with _native.disabled():
        wanted = rnnt_alignment(logits, *batch, **options)
        wanted_grad = gradients(wanted, logits)
    torch.testing.assert_close(out.nll, wanted.nll)
    torch.testing.assert_close(out.entropy, wanted.entropy, rtol=1e-5, atol=1e-5)
    assert out.nll.dtype == (dtype if dtype == torch.float64 else torch.float32)
    grad = gradients(out, logits)
    assert grad.dtype == dtype
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5}.get(dtype, 2 * torch.finfo(dtype).eps)
    torch.testing.assert_close(grad, wanted_grad, rtol=tolerance, atol=tolerance)
    assert not grad[..., 20].any()


@needs_native
@pytest.mark.parametrize("options", OPTIONS[:1] + [{"rnnt_type": t} for t in TYPES])
def test_gradcheck_of_the_kernel(options):
    logits, *batch = random_batch(n=2, num_frames=4, num_labels=2, num_symbols=3)
    assert gradcheck(lambda x: rnnt_alignment(x, *batch, **options)[:2], logits)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_gradgradcheck_of_the_torch_engine(rnnt_type):
    logits, *batch = random_batch(n=1, num_frames=3, num_labels=2, num_symbols=3)
    with _native.disabled():
        assert gradgradcheck(
            lambda x: rnnt_alignment(x, *batch, rnnt_type=rnnt_type, delay_penalty=0.1)[:2],
            logits,
            fast_mode=True,
        )


@needs_native
def test_a_second_derivative_of_the_kernel_is_an_error():
    logits, *batch = random_batch(n=1)
    out = rnnt_alignment(logits, *batch)
    (grad,) = torch.autograd.grad(out.nll.sum(), logits, create_graph=True)
    with pytest.raises(FsaRuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_fastemit_scales_the_likelihoods_gradient_of_labels(engine, rnnt_type):
    logits, targets, frames, labels = random_batch()
    options = {"rnnt_type": rnnt_type}
    plain = rnnt_alignment(logits, targets, frames, labels, **options)
    louder = rnnt_alignment(logits, targets, frames, labels, **options, fastemit_lambda=0.5)
    assert torch.equal(plain.nll, louder.nll) and torch.equal(plain.entropy, louder.entropy)
    by_entropy = {"by_nll": 0.0, "by_entropy": 1.0}
    torch.testing.assert_close(
        gradients(louder, logits, **by_entropy), gradients(plain, logits, **by_entropy)
    )
    # the same by hand: the gradients of the two planes, the one of labels times 1.5
    scores = logits.log_softmax(3)
    index = targets[:, None, :, None].expand(-1, logits.shape[1], -1, 1)
    blank, label = scores[..., 0], scores[:, :, :-1].gather(3, index)[..., 0]
    nll = rnnt_grid_alignment(blank, label, frames, labels, **options).nll.sum()
    by_blank, by_label = torch.autograd.grad(nll, (blank, label), retain_graph=True)
    (wanted,) = torch.autograd.grad((blank, label), logits, (by_blank, 1.5 * by_label))
    grad = gradients(louder, logits, by_entropy=0.0)
    torch.testing.assert_close(grad, wanted)
    assert not torch.allclose(grad, gradients(plain, logits, by_entropy=0.0))


def test_a_delay_penalty_rewards_early_labels(engine):
    logits, *batch = random_batch(n=1, num_frames=30, num_labels=4)
    flat = torch.zeros_like(logits).requires_grad_()
    mean_frame = []
    for delay_penalty in (0.0, 0.2):
        out = rnnt_alignment(flat, *batch, delay_penalty=delay_penalty, fused_log_softmax=False)
        occupied = -gradients(out, flat, by_entropy=0.0)[0, ..., 1:].sum((1, 2))
        assert occupied.sum().item() == pytest.approx(4)
        mean_frame.append((occupied * torch.arange(30)).sum().item() / 4)
    assert mean_frame[0] == pytest.approx(14.5) and mean_frame[1] < 10


def test_what_is_beyond_the_lengths_is_never_read(engine):
    logits, targets, frames, labels = random_batch(dtype=torch.float32)
    dirty, dirty_targets = logits.detach().clone(), targets.clone()
    for n, (t, u) in enumerate(zip(frames.tolist(), labels.tolist())):
        dirty[n, t:] = math.nan
        dirty[n, :, u + 1 :] = INF
        dirty_targets[n, u:] = 10**9
    dirty.requires_grad_()
    for rnnt_type in TYPES:
        clean = rnnt_alignment(logits, targets, frames, labels, rnnt_type=rnnt_type)
        out = rnnt_alignment(dirty, dirty_targets, frames, labels, rnnt_type=rnnt_type)
        assert torch.equal(out.nll, clean.nll) and torch.equal(out.entropy, clean.entropy)
        grad = gradients(out, dirty)
        assert torch.equal(grad, gradients(clean, logits))
        for n, (t, u) in enumerate(zip(frames.tolist(), labels.tolist())):
            assert not grad[n, t:].any() and not grad[n, :, u + 1 :].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_do_not_depend_on_the_rest_of_the_batch(engine, dtype):
    logits, targets, frames, labels = random_batch(dtype=dtype, num_symbols=19)
    out = rnnt_alignment(logits, targets, frames, labels)
    grad = gradients(out, logits)
    for n, (t, u) in enumerate(zip(frames.tolist(), labels.tolist())):
        alone = logits.detach()[n : n + 1, :t, : u + 1].clone().requires_grad_()
        one = rnnt_alignment(alone, targets[n : n + 1, :u], [t], [u])
        if engine == "native":
            assert torch.equal(one.nll[0], out.nll[n])
            assert torch.equal(one.entropy[0], out.entropy[n])
            assert torch.equal(gradients(one, alone)[0], grad[n, :t, : u + 1])
        else:
            torch.testing.assert_close(one.nll[0], out.nll[n])
            torch.testing.assert_close(one.entropy[0], out.entropy[n])


@needs_native
def test_results_do_not_depend_on_threads_or_memory_order():
    logits, *batch = random_batch(n=6, dtype=torch.float32, num_symbols=35)
    before, results = torch.get_num_threads(), []
    orders = [(0, 1, 2, 3), (1, 0, 2, 3), (2, 1, 0, 3), (0, 1, 3, 2)]
    try:
        for threads, order in [(1, orders[0]), (3, orders[0]), *((2, o) for o in orders[1:])]:
            torch.set_num_threads(threads)
            back = [order.index(axis) for axis in range(4)]
            same = logits.detach().permute(order).contiguous().permute(back).requires_grad_()
            out = rnnt_alignment(same, *batch)
            results.append((out.nll, out.entropy, gradients(out, same)))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0]))


@needs_native
def test_results_of_all_instruction_sets_agree():
    logits, *batch = random_batch(dtype=torch.float32, num_symbols=35)
    out = rnnt_alignment(logits, *batch)
    grad = gradients(out, logits)
    with _native.using_instruction_set("portable"):
        portable = rnnt_alignment(logits, *batch)
        torch.testing.assert_close(portable.nll, out.nll)
        torch.testing.assert_close(portable.entropy, out.entropy)
        torch.testing.assert_close(gradients(portable, logits), grad, rtol=1e-4, atol=1e-6)


def test_a_constant_added_to_logits_changes_nothing_after_the_softmax(engine):
    logits, *batch = random_batch()
    out, shifted = rnnt_alignment(logits, *batch), rnnt_alignment(logits + 1000, *batch)
    torch.testing.assert_close(shifted.nll, out.nll)
    torch.testing.assert_close(gradients(shifted, logits), gradients(out, logits))
    # without it the likelihood moves with every arc, of which all paths have the same number
    out = rnnt_alignment(logits, *batch, fused_log_softmax=False)
    shifted = rnnt_alignment(logits + 1000, *batch, fused_log_softmax=False)
    torch.testing.assert_close(shifted.nll, out.nll - 1000.0 * (batch[1] + batch[2]))
    torch.testing.assert_close(shifted.entropy, out.entropy)


def peaked_planes(num_frames, num_labels, boost):
    """Logits of scale 20, three symbols, raised along one alignment; as float32."""
    generator = torch.Generator().manual_seed(3)
    logits = 20 * torch.randn((1, num_frames, num_labels + 1, 3), generator=generator)
    at = torch.linspace(0, num_frames - 2, num_labels).long().tolist()
    u = 0
    for t in range(num_frames):
        while u < num_labels and at[u] == t:
            logits[0, t, u, 1] += boost
            u += 1
        logits[0, t, u, 0] += boost
    return logits.requires_grad_()


@needs_native
@pytest.mark.parametrize("boost", [0.0, 60.0])
@pytest.mark.parametrize(
    "rnnt_type", ["regular", *(pytest.param(t, marks=pytest.mark.slow) for t in TYPES[1:])]
)
def test_float32_is_accurate_on_long_utterances(boost, rnnt_type):
    num_frames, num_labels = 2000, 100
    logits = peaked_planes(num_frames, num_labels, boost)
    batch = (torch.ones(1, num_labels, dtype=torch.int64), [num_frames], [num_labels])
    exact_logits = logits.detach().double().requires_grad_()
    out = rnnt_alignment(logits, *batch, rnnt_type=rnnt_type)
    exact = rnnt_alignment(exact_logits, *batch, rnnt_type=rnnt_type)
    assert out.nll.item() == pytest.approx(exact.nll.item(), rel=1e-6)
    assert out.entropy.item() == pytest.approx(exact.entropy.item(), abs=1e-4)
    for by_nll, by_entropy in ((1.0, 0.0), (0.0, 1.0)):
        grad, exact_grad = (
            gradients(o, x, by_nll=by_nll, by_entropy=by_entropy)
            for o, x in ((out, logits), (exact, exact_logits))
        )
        assert (grad.double() - exact_grad).abs().max() < 1e-4


@pytest.mark.parametrize("scale", [50.0, 1e4, 1e6])
def test_extreme_logits(engine, scale):
    logits, *batch = random_batch(num_frames=40, num_labels=12, dtype=torch.float32)
    logits = (scale * logits.detach()).requires_grad_()
    exact_logits = logits.detach().double().requires_grad_()
    out = rnnt_alignment(logits, *batch)
    with _native.disabled():
        exact = rnnt_alignment(exact_logits, *batch)
    torch.testing.assert_close(out.nll.double(), exact.nll, rtol=1e-6, atol=0)
    torch.testing.assert_close(out.entropy.double(), exact.entropy, rtol=0, atol=1e-4)
    grad, exact_grad = gradients(out, logits), gradients(exact, exact_logits)
    torch.testing.assert_close(grad.double(), exact_grad, rtol=0, atol=1e-4)


@needs_native
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_a_nearly_certain_model_keeps_its_small_loss(rnnt_type):
    logits = peaked_planes(200, 20, 0.0).detach() * 0
    logits[..., 1:] -= 30
    for t in range(200):
        u = min((t + 9) // 10, 20)
        logits[0, t, u, 1 if t % 10 == 0 and u < 20 else 0] = 12.5 + 0.01 * t
        if rnnt_type == "regular" and t % 10 == 0 and u < 20:
            logits[0, t, u + 1, 0] = 14.0
        if rnnt_type == "constrained" and t % 10 == 0 and u < 20:
            logits[0, t, u + 1, 0] = 14.0
    logits[..., 2] = 0.0
    batch = (torch.ones(1, 20, dtype=torch.int64), [200], [20])
    exact = rnnt_alignment(logits.double(), *batch, rnnt_type=rnnt_type).nll.item()
    assert 1e-4 < exact < 1e-2
    out = rnnt_alignment(logits, *batch, rnnt_type=rnnt_type)
    assert out.nll.item() == pytest.approx(exact, rel=1e-6)


def test_no_path_one_path_no_labels_and_no_frames(engine):
    torch.manual_seed(0)
    logits = torch.randn(5, 3, 4, 5).requires_grad_()
    targets = torch.ones(5, 3, dtype=torch.int64)
    frames, labels = [3, 2, 3, 0, 0], [3, 3, 0, 0, 2]
    for rnnt_type in TYPES:
        for kind in KINDS:
            out = rnnt_alignment(logits, targets, frames, labels, kind=kind, rnnt_type=rnnt_type)
            many = rnnt_type == "regular"  # elsewhere three labels fit into three frames in one way
            assert out.valid.tolist() == [True, many, True, True, False]
            assert out.nll[4] == INF and out.nll[3] == 0 and (many or out.nll[1] == INF)
            raw = {0: out.nll[0], 2: out.nll[2]} if kind == "raw" else {}
            for n in range(5):
                if not (many and n < 2):
                    w = -raw[n].item() if n in raw else 0.0
                    assert out.entropy[n].item() == pytest.approx(-math.exp(w) * w, abs=1e-6)
        out = rnnt_alignment(logits, targets, frames, labels, rnnt_type=rnnt_type)
        assert bool(out.entropy[0] > 0) == many and out.entropy[2:].tolist() == [0, 0, 0]
        by_entropy = gradients(out, logits, by_nll=0.0)
        assert not by_entropy[2:].any() and by_entropy[:2].any() == many
        grad = gradients(out, logits)
        assert not grad[3:].any() and grad[1].any() == many and grad[2].any()
    torch.testing.assert_close(out.nll[2], -logits[2, :, 0].log_softmax(1)[:, 0].sum())
    loss = rnnt_loss(logits, targets, frames, labels, zero_infinity=True, entropy_scale=0.5)
    assert loss.isfinite() and rnnt_loss(logits, targets, frames, labels) == INF
    assert rnnt_alignment(logits[:0], targets[:0], [], []).nll.shape == (0,)
    for num_frames in (3, 0):  # of the tensor
        no_frames = rnnt_alignment(logits[:, :num_frames], targets[:, :0], [0] * 5, [0] * 5)
        assert no_frames.nll.tolist() == [0] * 5
        assert not gradients(no_frames, logits).any()


def test_masks_that_leave_one_path_or_none(engine):
    blank, label = (x.detach() for x in random_planes(n=2, scale=1.0))
    blank[:], label[:] = torch.randn_like(blank), torch.randn_like(label)
    label[0, 1:] = -INF  # all labels at frame 0
    blank[0, 0, :5] = -1e9
    label[1, :, 3] = torch.finfo(torch.float32).min
    planes = blank.requires_grad_(), label.requires_grad_()
    out = rnnt_grid_alignment(*planes, [9, 9], [5, 5])
    assert out.valid.tolist() == [True, False]
    torch.testing.assert_close(out.nll[0], -(label[0, 0].sum() + blank[0, :, 5].sum()))
    assert out.nll[1] == INF and out.entropy.tolist() == [0, 0]
    assert not any(g.any() for g in gradients(out, *planes, by_nll=0.0))
    assert not any(g[1].any() for g in gradients(out, *planes))


def test_loss_is_nll_minus_scaled_entropy(engine):
    logits, targets, frames, labels = random_batch()
    batch = (targets, frames, labels)
    for kind in KINDS:
        out = rnnt_alignment(logits, *batch, kind=kind, delay_penalty=0.1)
        loss = out.nll - 0.25 * out.entropy
        options = {"entropy_scale": 0.25, "kind": kind, "delay_penalty": 0.1}
        assert torch.equal(rnnt_loss(logits, *batch, reduction="none", **options), loss)
        module = RNNTLoss(reduction="sum", **options)
        torch.testing.assert_close(module(logits, *batch), loss.sum())
        mean = RNNTLoss(**options)(logits, *batch)
        torch.testing.assert_close(mean, (loss / labels.clamp(min=1)).mean())
    assert "delay_penalty=0.1" in repr(module)
    nll = rnnt_loss(logits, *batch, reduction="none")
    torch.testing.assert_close(nll, rnnt_alignment(logits, *batch).nll)
    (grad,) = torch.autograd.grad(nll.sum(), logits)
    torch.testing.assert_close(
        grad, gradients(rnnt_alignment(logits, *batch), logits, by_entropy=0.0)
    )


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_can_be_written_over_the_logits(dtype):
    leaf, targets, frames, labels = random_batch(dtype=dtype, num_symbols=35)
    wanted = gradients(rnnt_alignment(2 * leaf, targets, frames, labels), leaf)
    logits = 2 * leaf
    before = logits.detach().clone()
    seen = []
    logits.register_hook(lambda grad: seen.append(grad.data_ptr()))
    out = rnnt_alignment(logits, targets, frames, labels, reuse_logits_for_grads=True)
    assert torch.equal(logits, before)  # until the backward call
    (out.nll - 0.3 * out.entropy).sum().backward(retain_graph=True)
    assert torch.equal(leaf.grad, wanted)
    assert seen == [logits.data_ptr()]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.nll.sum().backward()


@needs_native
def test_logits_that_others_still_need_are_not_silently_destroyed():
    leaf, *batch = random_batch()
    logits = leaf.exp()  # its backward call needs its result
    out = rnnt_alignment(logits, *batch, reuse_logits_for_grads=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.nll.sum().backward()
    message = "reuse_logits_for_grads: logits are a leaf that requires a gradient, or a view of one"
    for owned in (leaf, leaf[:, :, :], leaf.view(*leaf.shape)):
        with pytest.raises(FsaValueError, match=message):
            rnnt_alignment(owned, *batch, reuse_logits_for_grads=True)
    with pytest.raises(FsaValueError, match=r"must be contiguous, .* or pass logits.contiguous"):
        strided = (2 * leaf).transpose(0, 1).contiguous().transpose(0, 1)
        rnnt_alignment(strided, *batch, reuse_logits_for_grads=True)
    with torch.no_grad():  # no gradient will be written
        rnnt_alignment(leaf, *batch, reuse_logits_for_grads=True)


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's peak memory")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_beside_inputs_and_gradient(dtype):
    n, num_frames, num_labels = 4, 500, 100
    logits = torch.zeros(n, num_frames, num_labels + 1, 2, dtype=dtype, requires_grad=True)
    batch = (torch.ones(n, num_labels, dtype=torch.int64), [num_frames] * n, [num_labels] * n)

    def rss(field):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def run():
        out = rnnt_alignment(logits, *batch)
        return torch.autograd.grad((out.nll - 0.1 * out.entropy).sum(), logits)

    run()
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("the C library keeps what was freed")
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used now
    before = rss("VmRSS")
    (grad,) = run()
    nodes = n * num_frames * (num_labels + 1)
    used = rss("VmHWM") - before - grad.numel() * grad.element_size()
    # at least the cells: of masses, exponents and moments
    assert 3 * logits.element_size() <= used / nodes <= 80


@pytest.mark.parametrize("value", [math.nan, INF])
@pytest.mark.parametrize("fused", [True, False])
def test_a_logit_that_is_no_number_is_named(engine, value, fused):
    logits, targets, frames, labels = random_batch()
    label = int(targets[0, 2])
    bad = logits.detach().clone()
    bad[0, 7, 2, label] = value
    place = rf"logits: utterance 0, frame 7, after 2 labels, symbol {label} is (nan|inf);"
    with pytest.raises(FsaValueError, match=place):
        rnnt_alignment(bad, targets, frames, labels, fused_log_softmax=fused)
    if fused:  # a row of nothing but masks has no softmax
        bad[0, 7, 2] = -INF
        with pytest.raises(
            FsaValueError, match="utterance 0, frame 7, after 2 labels: all symbols"
        ):
            rnnt_alignment(bad, targets, frames, labels)


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_a_score_of_a_plane_that_is_no_number_is_named(engine, rnnt_type):
    for plane, what in enumerate(("blank", "label")):
        planes = [x.detach().clone() for x in random_planes()]
        planes[plane][2, 5, 3] = math.nan
        message = f"{what}_scores: the score of utterance 2, frame 5, after 3 labels, is nan"
        with pytest.raises(FsaValueError, match=message):
            rnnt_grid_alignment(*planes, [9] * 4, [5] * 4, rnnt_type=rnnt_type)
        planes[plane][2, 5, 3] = 1e9
        with pytest.raises(FsaValueError, match=r"is 1000000000\.0; a log-weight must be"):
            rnnt_grid_alignment(*planes, [9] * 4, [5] * 4, rnnt_type=rnnt_type)


LOGITS = torch.zeros(2, 5, 3, 4)
TARGETS = torch.tensor([[1, 2], [3, 1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LOGITS, torch.tensor([[1, 2], [3, 4]]), [5, 5], [2, 2]),
         r"targets: utterance 1, position 1 is 4, outside the vocabulary.* 0\.\.3"),
        ((LOGITS, torch.tensor([[1, 2], [0, 1]]), [5, 5], [2, 2]),
         r"targets: utterance 1, position 0 is 0, the blank"),
        ((LOGITS, TARGETS, [5, 6], [2, 2]), r"logit_lengths\[1\] = 6: utterance 1 .* 0\.\.5"),
        ((LOGITS, TARGETS, [5, 5], [3, 2]), r"target_lengths\[0\] = 3: .* 0\.\.2"),
        ((LOGITS[:, :, :2], TARGETS, [5, 5], [1, 2]),
         r"target_lengths\[1\] = 2: utterance 1 needs 3 positions on the third axis of logits"),
        ((LOGITS[0], TARGETS, [5, 5], [2, 2]), r"logits: must be \(N, T, U \+ 1, C\)"),
    ],
)  # fmt: skip
def test_errors_say_what_and_where(engine, arguments, message):
    with pytest.raises(FsaValueError, match=message) as caught:
        rnnt_alignment(*arguments)
    assert isinstance(caught.value, FsaError)


def test_errors_of_options_and_dtypes(engine):
    good = (LOGITS, TARGETS, [5, 5], [2, 2])
    with pytest.raises(FsaValueError, match=r"rnnt_type: must be one of 'regular', .* got 'full'"):
        rnnt_loss(*good, rnnt_type="full")
    with pytest.raises(FsaValueError, match=r"blank: must be a symbol in 0\.\.3, got 4"):
        rnnt_loss(*good, blank=4)
    with pytest.raises(FsaTypeError, match="logits: must be a floating-point tensor"):
        rnnt_loss(LOGITS.long(), *good[1:])
    with pytest.raises(FsaValueError, match='reduction="mean": there are no utterances'):
        rnnt_loss(LOGITS[:0], TARGETS[:0], [], [])
