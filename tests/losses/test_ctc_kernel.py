"""CTC from logits, in half precision, on several threads and at its limits: both engines agree."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses import CTCLoss, ctc_alignment, ctc_loss

INF = math.inf
needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())


def random_batch(seed=0, n=4, num_frames=30, num_symbols=8, num_labels=6, dtype=torch.float64):
    """Ragged lengths, repeated labels, logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, num_frames, num_symbols, generator=generator, dtype=dtype)
    targets = torch.randint(1, num_symbols, (n, num_labels), generator=generator)
    targets[0, 1:2] = targets[0, 0]
    shortest = min(2 * num_labels, num_frames)
    input_lengths = torch.randint(shortest, num_frames + 1, (n,), generator=generator)
    target_lengths = torch.randint(1, num_labels + 1, (n,), generator=generator)
    return logits.requires_grad_(), targets, input_lengths, target_lengths


def gradients(out, scores, by_nll=1.0, by_entropy=-0.3):
    loss = (by_nll * torch.where(out.valid, out.nll, 0.0) + by_entropy * out.entropy).sum()
    (grad,) = torch.autograd.grad(loss, scores)
    return grad


def results(scores, *batch, fused=True, **by):
    out = ctc_alignment(scores, *batch, fused_log_softmax=fused)
    return out.nll, out.entropy, gradients(out, scores, **by)


def assert_all_equal(ours, theirs):
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def of_utterance(batch, n):
    """Utterance n alone, without padding."""
    scores, targets, input_lengths, target_lengths = batch
    t, u = int(input_lengths[n]), int(target_lengths[n])
    return scores.detach()[n : n + 1, :t].clone().requires_grad_(), targets[n : n + 1, :u], [t], [u]


# ---- logits


@pytest.mark.parametrize("by", [{}, {"by_nll": 0.0}, {"by_entropy": 0.0}])
def test_a_fused_softmax_equals_one_before_the_call(engine, by):
    logits, *batch = random_batch()
    fused = results(logits, *batch, **by)
    out = ctc_alignment(logits.log_softmax(-1), *batch)
    torch.testing.assert_close(fused, (out.nll, out.entropy, gradients(out, logits, **by)))


def test_options_of_the_fused_loss(engine):
    logits, *batch = random_batch()
    for kind in ("conditional", "raw", "per_frame", "per_label"):
        options = {"entropy_scale": 0.2, "kind": kind, "reduction": "sum"}
        fused = ctc_loss(logits, *batch, **options, fused_log_softmax=True)
        torch.testing.assert_close(fused, ctc_loss(logits.log_softmax(-1), *batch, **options))
        module = CTCLoss(**options, fused_log_softmax=True)
        assert torch.equal(module(logits, *batch), fused)
    assert "fused_log_softmax=True" in repr(module)


@pytest.mark.parametrize("num_symbols", [2, 16, 17, 500, 50_000])
def test_float32_logits_are_as_good_as_float64_for_any_vocabulary(engine, num_symbols):
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(1, 12, num_symbols, generator=generator)
    logits = (logits + 100).requires_grad_()
    batch = (torch.ones(1, 3, dtype=torch.int64), [12], [3])
    exact = logits.detach().double().requires_grad_()
    with _native.disabled():
        wanted = results(exact, *batch)
    nll, entropy, grad = results(logits, *batch)
    assert nll.item() == pytest.approx(wanted[0].item(), rel=2e-7)
    assert entropy.item() == pytest.approx(wanted[1].item(), abs=2e-6)
    assert (grad.double() - wanted[2]).abs().max() < 2e-6
    assert grad.double().sum(-1).abs().max() < 1e-5


def test_the_entropy_does_not_see_the_normaliser(engine):
    logits, *batch = random_batch()
    fused = results(logits, *batch, by_nll=0.0)
    torch.testing.assert_close(fused[1:], results(logits, *batch, fused=False, by_nll=0.0)[1:])


def test_logits_of_minus_infinity_are_never(engine):
    logits, *batch = random_batch()
    targets = batch[0]
    masked = logits.detach().clone()
    unused = next(c for c in range(1, 8) if c not in targets[1])
    masked[1, :, unused] = -INF
    used = int(targets[2, 0])
    masked[2, :, used] = -INF  # no path
    masked[3, 5] = -INF  # a frame without any mass: no path either
    masked.requires_grad_()
    nll, entropy, grad = results(masked, *batch)
    assert nll[:2].isfinite().all() and nll[2:].tolist() == [INF, INF]
    assert entropy[:2].isfinite().all() and entropy[2:].tolist() == [0, 0]
    assert grad.isfinite().all() and not grad[1, :, unused].any() and not grad[2:].any()
    out = ctc_alignment(masked.detach()[:2].log_softmax(-1), *(x[:2] for x in batch))
    torch.testing.assert_close((nll[:2], entropy[:2]), (out.nll, out.entropy))


@pytest.mark.parametrize("value", [math.nan, INF])
def test_a_logit_that_is_no_number_is_named_wherever_its_row_is_read(engine, value):
    logits, targets, input_lengths, target_lengths = random_batch()
    unused = next(c for c in range(1, 8) if c not in targets[2])
    bad = logits.detach().clone()
    bad[2, 7, unused] = value
    message = rf"log_probs: .* utterance 2, frame 7, symbol {unused} is (nan|inf)"
    with pytest.raises(FsaValueError, match=message):
        ctc_loss(bad, targets, input_lengths, target_lengths, fused_log_softmax=True)
    assert ctc_loss(bad, targets, input_lengths, target_lengths).isfinite()  # it is not read


def test_frames_beyond_a_length_are_never_read_nor_differentiated(engine):
    logits, *batch = random_batch()
    dirty = logits.detach().clone()
    for n, t in enumerate(batch[1].tolist()):
        dirty[n, t:] = math.nan
    dirty.requires_grad_()
    assert_all_equal(results(dirty, *batch), results(logits, *batch))


def test_huge_logits_are_fine(engine):
    logits, *batch = random_batch(dtype=torch.float32)
    shifted = (logits.detach() * 2.0**30 + 2.0**33).requires_grad_()
    nll, entropy, grad = results(shifted, *batch)
    exact = shifted.detach().double().requires_grad_()
    with _native.disabled():
        wanted = results(exact, *batch)
    assert grad.isfinite().all()
    torch.testing.assert_close((nll.double(), entropy.double()), wanted[:2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_no_frames_no_labels_no_utterances(engine, fused):
    scores = torch.randn(3, 4, 3).requires_grad_()
    targets = torch.ones(3, 2, dtype=torch.int64)
    nll, entropy, grad = results(scores, targets, [4, 0, 0], [0, 0, 1], fused=fused)
    blank = (scores.log_softmax(-1) if fused else scores)[0, :, 0].sum()
    torch.testing.assert_close(nll[0], -blank)
    assert nll[1:].tolist() == [0, INF] and entropy.tolist() == [0, 0, 0]
    assert grad[0].any() and not grad[1:].any()
    nothing = torch.zeros(0, dtype=torch.int64)
    for empty in (scores[:, :0], scores[:0]):
        n = empty.shape[0]
        out = ctc_alignment(empty, nothing, [0] * n, [0] * n, fused_log_softmax=fused)
        assert out.nll.tolist() == [0] * n and gradients(out, scores).shape == scores.shape


@pytest.mark.parametrize("fused", [False, True])
def test_one_path_and_no_path_have_exact_zeros(engine, fused):
    logits = torch.randn(2, 9, 6).requires_grad_()
    targets = torch.tensor([[1, 2, 3, 4, 5, 1, 2, 3, 4], [1, 1, 2, 2, 3, 3, 4, 4, 5]])
    nll, entropy, grad = results(logits, targets, [9, 9], [9, 9], fused=fused, by_nll=0.0)
    assert nll[0].isfinite() and nll[1] == INF
    assert entropy.tolist() == [0, 0] and not grad.any()
    assert not results(logits, targets, [9, 9], [9, 9], fused=fused)[2][1].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_frames_in_which_all_states_are_nearly_impossible(engine, dtype):
    num_frames = 24
    scores = torch.full((1, num_frames, num_frames + 1), -5e7, dtype=dtype)
    scores[:, :, 0] = -INF
    scores[:, :, num_frames] = 0  # only the last frame can use it
    targets = torch.arange(1, num_frames + 1)[None]
    out = ctc_alignment(scores, targets, [num_frames], [num_frames])
    assert out.nll.item() == 5e7 * (num_frames - 1) and out.entropy.item() == 0


# ---- half precision


@needs_native
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_is_read_exactly_and_every_gradient_rounded_to_nearest(dtype):
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    scores = patterns.view(dtype)
    scores = scores[scores.float() <= 2**26].reshape(-1, 1, 1).requires_grad_()  # NaN is not
    n = scores.shape[0]
    out = ctc_alignment(scores, torch.zeros(n, 0, dtype=torch.int64), [1] * n, [0] * n)
    never = scores.detach().flatten().float() < -(2**26)
    wanted = torch.where(never, INF, -scores.detach().flatten().float())
    assert torch.equal(out.nll.detach(), wanted) and torch.equal(out.valid, ~never)
    generator = torch.Generator().manual_seed(0)
    by = torch.randint(-(2**31), 2**31, (n,), generator=generator).to(torch.int32)
    by = by.view(torch.float32).nan_to_num()
    by[: n // 2] = torch.randn(n // 2, generator=generator) * 2.0 ** -torch.arange(n // 2).fmod(30)
    (grad,) = torch.autograd.grad(out.nll, scores, by)
    assert torch.equal(grad.flatten(), torch.where(never, 0.0, -by).to(dtype))


@needs_native
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded_once(dtype, fused):
    scores, *batch = random_batch(num_symbols=37, dtype=torch.float32)
    half = scores.detach().to(dtype).requires_grad_()
    single = half.detach().float().requires_grad_()
    nll, entropy, grad = results(half, *batch, fused=fused)
    assert (nll.dtype, entropy.dtype, grad.dtype) == (torch.float32, torch.float32, dtype)
    wanted = results(single, *batch, fused=fused)
    assert_all_equal((nll, entropy, grad), (*wanted[:2], wanted[2].to(dtype)))


@pytest.mark.parametrize("fused", [False, True])
def test_half_precision_under_autocast(engine, fused):
    _, *batch = random_batch()
    layer = torch.nn.Linear(5, 8)
    features = torch.randn(4, 30, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = layer(features)
        loss = ctc_loss(scores, *batch, entropy_scale=0.1, fused_log_softmax=fused)
        assert scores.dtype == torch.bfloat16 and loss.dtype == torch.float32
        loss.backward()
    assert layer.weight.grad.isfinite().all() and layer.weight.grad.any()


@pytest.mark.parametrize("value", [math.nan, INF])
def test_an_overflow_of_half_precision_is_named(engine, value):
    half = torch.zeros(2, 5, 4, dtype=torch.float16)
    half[1, 3, 2] = value
    for fused in (False, True):
        with pytest.raises(
            FsaValueError, match=r"utterance 1, frame 3, symbol 2 is .* overflow in"
        ):
            ctc_alignment(half, torch.tensor([[1], [2]]), [5, 5], [1, 1], fused_log_softmax=fused)


# ---- the kernel against its twin, and against itself


@needs_native
@pytest.mark.parametrize("instruction_set", ["portable", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_instruction_sets_equal_the_torch_engine_from_logits(instruction_set, dtype):
    try:
        with _native.using_instruction_set(instruction_set):
            pass
    except RuntimeError as error:
        pytest.skip(str(error))
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}.get(dtype, 2e-5)
    rounding = torch.finfo(dtype).eps
    for num_labels in (1, 30):  # 32 cells are full vectors
        logits, *batch = random_batch(num_labels, 4, 70, 33, num_labels, torch.float64)
        logits = logits.detach().to(dtype).requires_grad_()
        with _native.using_instruction_set(instruction_set):
            kernel = results(logits, *batch)
        with _native.disabled():
            twin = results(logits, *batch)
        close = {"rtol": tolerance, "atol": tolerance}
        torch.testing.assert_close(kernel[:2], twin[:2], **close)
        close = {"rtol": tolerance + rounding, "atol": tolerance}
        torch.testing.assert_close(kernel[2], twin[2], **close)


@needs_native
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_bits_do_not_depend_on_threads_batch_or_padding(dtype, fused):
    logits, *lengths = random_batch(3, 3, 150, 20, 9, torch.float32)
    batch = (logits.detach().to(dtype).requires_grad_(), *lengths)
    before, by_threads = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):  # more than utterances: they share the frames of one
            torch.set_num_threads(threads)
            by_threads.append(results(*batch, fused=fused))
            alone = [results(*of_utterance(batch, n), fused=fused) for n in range(3)]
            for n, (nll, entropy, grad) in enumerate(alone):
                together = by_threads[0]
                assert torch.equal(nll[0], together[0][n])
                assert torch.equal(entropy[0], together[1][n])
                assert torch.equal(grad[0], together[2][n, : grad.shape[1]])
    finally:
        torch.set_num_threads(before)
    for other in by_threads[1:]:
        assert_all_equal(other, by_threads[0])


@needs_native
@pytest.mark.parametrize("fused", [False, True])
def test_the_first_bad_score_is_named_on_any_number_of_threads(fused):
    logits, *batch = random_batch(3, 1, 400, 20, 9, torch.float32)
    batch[1][:] = 400
    bad = logits.detach().clone()
    symbol = int(batch[0][0, 0])
    bad[0, 333, symbol] = bad[0, 77, symbol] = bad[0, 78, 0] = math.nan
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with pytest.raises(FsaValueError, match=f"frame 77, symbol {symbol} is nan"):
                ctc_alignment(bad, *batch, fused_log_softmax=fused)
    finally:
        torch.set_num_threads(before)


@needs_native
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("peak", [0.0, 60.0])
def test_float32_is_accurate_over_2000_frames_of_sharp_scores(peak, fused):
    generator = torch.Generator().manual_seed(7)
    num_frames, num_labels, num_symbols = 2000, 100, 50
    targets = torch.randint(1, num_symbols, (1, num_labels), generator=generator)
    logits = 20 * torch.randn(1, num_frames, num_symbols, generator=generator)
    positions = torch.linspace(0, num_frames - 2, num_labels).long()
    logits[0, :, 0] += peak  # blank everywhere, but for the labels' frames
    logits[0, positions, 0] -= peak
    logits[0, positions, targets[0]] += peak
    batch = (targets, [num_frames], [num_labels])
    scores = (logits if fused else logits.log_softmax(-1)).requires_grad_()
    exact_scores = scores.detach().double().requires_grad_()
    for by in ({"by_nll": 0.0, "by_entropy": 1.0}, {"by_entropy": 0.0}):
        nll, entropy, grad = results(scores, *batch, fused=fused, **by)
        exact_nll, exact_entropy, exact_grad = results(exact_scores, *batch, fused=fused, **by)
        assert nll.item() == pytest.approx(exact_nll.item(), rel=1e-6)
        assert entropy.item() == pytest.approx(exact_entropy.item(), abs=1e-4)
        assert (grad.double() - exact_grad).abs().max() < 1e-4


@needs_native
@pytest.mark.parametrize("depth", [1e3, 1e5, 1e6, 3e7])
def test_scores_far_down_that_every_path_must_pass_cost_no_digits(depth):
    scores, *batch = random_batch(5, 3, 60, 8, 6, torch.float32)
    far = scores.detach().clone()
    far[..., 1:] -= depth  # every label
    far[:, 20:23] -= depth  # and all symbols of some frames
    far.requires_grad_()
    exact = far.detach().double().requires_grad_()
    with _native.disabled():
        wanted = results(exact, *batch, fused=False)
    nll, entropy, grad = results(far, *batch, fused=False)
    torch.testing.assert_close(nll.double(), wanted[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(entropy.double(), wanted[1], rtol=0, atol=2e-5)
    torch.testing.assert_close(grad.double(), wanted[2], rtol=0, atol=2e-5)


@needs_native
def test_strides_are_free_and_may_be_zero():
    logits, *batch = random_batch(dtype=torch.float32)
    same = logits.detach()[:1].expand(4, -1, -1).requires_grad_()
    wanted = results(same.detach().clone().requires_grad_(), *batch)
    assert same.stride(0) == 0
    assert_all_equal(results(same, *batch), wanted)


MEMORY = """
import pathlib, sys, torch
from wfst_entropy.losses import ctc_alignment

def peak():  # not ru_maxrss, which begins with the peak of the process that started this one
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

def step(num_frames, num_labels):
    scores = torch.zeros(4, num_frames, 8).requires_grad_()
    targets = torch.arange(num_labels).remainder(7).add(1).expand(4, -1)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used now
    before = peak()
    out = ctc_alignment(scores, targets, [num_frames] * 4, [num_labels] * 4, fused_log_softmax=True)
    torch.autograd.grad((out.nll - out.entropy).sum(), scores)
    return peak() - before - 4 * scores.numel()

torch.set_num_threads(int(sys.argv[1]))
step(10, 2)  # what is loaded once
print(step(1000, 400) / (4 * 1000 * 801))
"""


@needs_native
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's peak memory")
@pytest.mark.parametrize("threads", [1, 4])
def test_memory_beside_inputs_and_gradient_is_at_most_40_bytes_per_cell(threads):
    command = [sys.executable, "-c", MEMORY, str(threads)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 1 < float(run.stdout) < 40
