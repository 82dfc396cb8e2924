"""CTC likelihood and entropy: definitions, parity, invariances, extremes, edge cases, errors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaError, FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.losses import CTCLoss, ctc_alignment, ctc_loss

INF = math.inf
KINDS = ("conditional", "raw", "per_frame", "per_label")
# maths: rows are frames
S = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]], dtype=torch.float64).log()

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())


def random_batch(seed=0, n=4, num_frames=30, num_symbols=8, num_labels=6, dtype=torch.float64):
    """Ragged lengths, repeated labels, unnormalised scores."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(n, num_frames, num_symbols, generator=generator, dtype=dtype)
    targets = torch.randint(1, num_symbols, (n, num_labels), generator=generator)
    targets[0, 1:2] = targets[0, 0]
    input_lengths = torch.randint(2 * num_labels, num_frames + 1, (n,), generator=generator)
    input_lengths[-1] = num_frames
    target_lengths = torch.randint(1, num_labels + 1, (n,), generator=generator)
    target_lengths[0] = num_labels
    return scores.requires_grad_(), targets, input_lengths, target_lengths


def gradients(out, scores, by_nll=1.0, by_entropy=-0.3):
    loss = (by_nll * torch.where(out.valid, out.nll, 0.0) + by_entropy * out.entropy).sum()
    (grad,) = torch.autograd.grad(loss, scores)
    return grad


@pytest.mark.parametrize(
    ("labels", "nll", "raw", "conditional"),
    [
        ([1], 1.1520130654, 0.8428635671, 1.5152767041),
        ([1, 2], 1.6820086053, 0.6001350712, 1.5445240354),
        ([1, 1], 4.4228486292, 0.0530741836, 0.0),
    ],
)
def test_exact_vectors(engine, labels, nll, raw, conditional):
    targets = torch.tensor([labels])
    wanted = {
        "conditional": conditional,
        "raw": raw,
        "per_frame": conditional / 3,
        "per_label": conditional / len(labels),
    }
    for kind in KINDS:
        out = ctc_alignment(S[None], targets, [3], [len(labels)], kind=kind)
        assert out.nll.item() == pytest.approx(nll, abs=1e-9)
        assert out.entropy.item() == pytest.approx(wanted[kind], abs=1e-9)
        assert out.valid.tolist() == [True]


@pytest.mark.parametrize("blank", [0, 2])
def test_equals_enumeration_of_all_paths(engine, ctc_enumeration, nll_and_entropy, blank):
    torch.manual_seed(1)
    symbols = [c for c in range(3) if c != blank]
    cases = [
        (num_frames, labels)
        for num_frames in range(6)
        for num_labels in range(4)
        for labels in itertools.product(symbols, repeat=num_labels)
    ]
    scores = (2 * torch.randn(len(cases), 5, 3, dtype=torch.float64)).requires_grad_()
    targets = torch.full((len(cases), 3), -7)  # what stands beyond a length is never looked at
    for n, (_, labels) in enumerate(cases):
        targets[n, : len(labels)] = torch.tensor(labels, dtype=torch.int64)
    out = ctc_alignment(
        scores, targets, [t for t, _ in cases], [len(y) for _, y in cases], blank=blank
    )
    grad = gradients(out, scores)
    for n, (num_frames, labels) in enumerate(cases):
        frames = scores.detach()[n].clone().requires_grad_()
        weights = ctc_enumeration(frames[:num_frames], labels, blank)
        assert out.valid[n] == (len(weights) > 0)
        if not len(weights):
            assert out.nll[n] == INF and out.entropy[n] == 0 and not grad[n].any()
            continue
        nll, entropy = nll_and_entropy(weights)
        wanted = torch.zeros_like(frames)
        if num_frames:
            (wanted,) = torch.autograd.grad(nll - 0.3 * entropy, frames)
        torch.testing.assert_close(out.nll[n], nll)
        torch.testing.assert_close(out.entropy[n], entropy)
        torch.testing.assert_close(grad[n], wanted)
        if len(weights) == 1:
            assert out.entropy[n] == 0


@pytest.mark.parametrize("concatenated", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_equals_torch_through_log_softmax(engine, reduction, concatenated):
    logits, targets, input_lengths, target_lengths = random_batch()
    if concatenated:
        targets = torch.cat([targets[n, :u] for n, u in enumerate(target_lengths)])
    ours = ctc_loss(
        logits.log_softmax(-1), targets, input_lengths, target_lengths, reduction=reduction
    )
    theirs = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1),
        targets,
        input_lengths,
        target_lengths,
        reduction=reduction,
    )
    torch.testing.assert_close(ours, theirs)
    weights = torch.linspace(0.5, 2, theirs.numel(), dtype=theirs.dtype)
    (ours,) = torch.autograd.grad((ours.flatten() * weights).sum(), logits)
    (theirs,) = torch.autograd.grad((theirs.flatten() * weights).sum(), logits)
    torch.testing.assert_close(ours, theirs)


def test_gradient_is_minus_the_posterior(engine):
    scores, *batch = random_batch()
    out = ctc_alignment(scores, *batch)
    (grad,) = torch.autograd.grad(out.nll.sum(), scores)
    inside = torch.arange(scores.shape[1]) < batch[1][:, None]
    assert bool((grad <= 0).all())
    torch.testing.assert_close(grad.sum(-1), -inside.to(grad))


@needs_native
@pytest.mark.parametrize("instruction_set", ["portable", "avx2", "avx512"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_kernels_equal_their_torch_twin(instruction_set, dtype, tolerance):
    close = {"rtol": tolerance, "atol": tolerance}
    try:
        with _native.using_instruction_set(instruction_set):
            pass
    except RuntimeError as error:
        pytest.skip(str(error))
    # 13, 14, 15 and 29 labels fill the vectors of 16 in every way
    for num_labels in (1, 13, 14, 15, 29):
        scores, *batch = random_batch(num_labels, 5, 80, 40, num_labels, dtype)
        with _native.using_instruction_set(instruction_set):
            kernel = ctc_alignment(scores, *batch)
            kernel_grad = gradients(kernel, scores)
        with _native.disabled():
            twin = ctc_alignment(scores, *batch)
        torch.testing.assert_close(kernel.nll, twin.nll, **close)
        torch.testing.assert_close(kernel.entropy, twin.entropy, **close)
        torch.testing.assert_close(kernel_grad, gradients(twin, scores), **close)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(engine, kind):
    scores, targets, _, _ = random_batch(n=3, num_frames=5, num_symbols=3, num_labels=2)
    targets[2, :2] = 1
    lengths = torch.tensor([5, 3, 2]), torch.tensor([2, 0, 2])  # the last has no path

    def nll_and_entropy(x):
        out = ctc_alignment(x, targets, *lengths, kind=kind)
        return torch.where(out.valid, out.nll, 0.0), out.entropy

    assert gradcheck(nll_and_entropy, scores)
    if engine == "torch" and kind in ("conditional", "raw"):  # the others are only divided
        assert gradgradcheck(nll_and_entropy, scores, fast_mode=True)


@needs_native
def test_kernel_refuses_a_second_derivative():
    scores, *batch = random_batch()
    loss = ctc_alignment(scores, *batch).nll.sum()
    (grad,) = torch.autograd.grad(loss, scores, create_graph=True)
    penalty = scores.square().sum() + grad.square().sum()
    with pytest.raises(FsaRuntimeError, match=r"no second derivative.*_native\.disabled"):
        torch.autograd.grad(penalty, scores)


def test_backward_twice_over_a_retained_graph(engine):
    scores, *batch = random_batch()
    out = ctc_alignment(scores, *batch)
    first = torch.autograd.grad(out.entropy.sum(), scores, retain_graph=True)
    second = torch.autograd.grad(out.entropy.sum(), scores)
    assert torch.equal(first[0], second[0])


def test_buffers_of_labels_and_lengths_may_be_filled_anew_before_the_backward_call(engine):
    scores, *batch = random_batch()
    wanted = gradients(ctc_alignment(scores, *batch), scores)
    buffers = [tensor.numpy().copy() for tensor in batch]  # autograd cannot see writes to these
    out = ctc_alignment(scores, *map(torch.from_numpy, buffers))
    for buffer in buffers:
        buffer[:] = 10**9
    assert torch.equal(gradients(out, scores), wanted)


def test_no_gradient_wanted(engine):
    scores, *batch = random_batch()
    with torch.no_grad():
        free = ctc_alignment(scores, *batch)
    assert not free.nll.requires_grad
    assert torch.equal(free.nll, ctc_alignment(scores, *batch).nll)
    assert torch.equal(free.entropy, ctc_alignment(scores.detach(), *batch).entropy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_utterance_does_not_depend_on_its_batch(engine, dtype):
    scores, targets, input_lengths, target_lengths = random_batch(dtype=dtype)
    together = ctc_alignment(scores, targets, input_lengths, target_lengths)
    grad = gradients(together, scores)
    # the torch engine's reductions may add in another order in another shape
    close = {"rtol": 0.0, "atol": 0.0} if engine == "native" else {"rtol": 1e-6, "atol": 1e-6}
    for n, (t, u) in enumerate(zip(input_lengths.tolist(), target_lengths.tolist())):
        alone = scores.detach()[n : n + 1, :t].clone().requires_grad_()
        out = ctc_alignment(alone, targets[n : n + 1, :u], [t], [u])
        torch.testing.assert_close(out.nll[0], together.nll[n], **close)
        torch.testing.assert_close(out.entropy[0], together.entropy[n], **close)
        torch.testing.assert_close(gradients(out, alone)[0], grad[n, :t], **close)
        assert not grad[n, t:].any()


def test_what_is_beyond_the_lengths_or_unused_is_never_read(engine):
    scores, targets, input_lengths, target_lengths = random_batch()
    dirty, dirty_targets = scores.detach().clone(), targets.clone()
    for n, (t, u) in enumerate(zip(input_lengths.tolist(), target_lengths.tolist())):
        unused = [c for c in range(1, scores.shape[2]) if c not in targets[n, :u]]
        dirty[n, t:] = math.nan
        dirty[n][:, unused] = math.nan
        dirty_targets[n, u:] = 10**9
    dirty.requires_grad_()
    clean_out = ctc_alignment(scores, targets, input_lengths, target_lengths)
    out = ctc_alignment(dirty, dirty_targets, input_lengths, target_lengths)
    assert torch.equal(out.nll, clean_out.nll) and torch.equal(out.entropy, clean_out.entropy)
    assert torch.equal(gradients(out, dirty), gradients(clean_out, scores))


@needs_native
def test_results_do_not_depend_on_the_number_of_threads():
    scores, *batch = random_batch(n=8, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = ctc_alignment(scores, *batch)
            results.append((out.nll, out.entropy, gradients(out, scores)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*results))


def test_a_constant_added_to_a_frame_moves_only_the_likelihood(engine):
    scores, *batch = random_batch()
    out = ctc_alignment(scores, *batch)
    shifted = ctc_alignment(scores + 1000.0, *batch)
    torch.testing.assert_close(shifted.nll, out.nll - 1000.0 * batch[1])
    torch.testing.assert_close(shifted.entropy, out.entropy)


def test_memory_order_of_the_scores_is_free(engine):
    scores, *batch = random_batch()
    time_major = scores.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    symbols_first = scores.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    wanted = ctc_alignment(scores, *batch)
    for other in (time_major, symbols_first):
        assert not other.is_contiguous()
        out = ctc_alignment(other, *batch)
        assert torch.equal(out.entropy, wanted.entropy)
        assert torch.equal(gradients(out, other), gradients(wanted, scores))
        wanted = ctc_alignment(scores, *batch)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(engine, dtype):
    scores, *batch = random_batch(dtype=torch.float32)
    half = scores.detach().to(dtype).requires_grad_()
    out, wanted = ctc_alignment(half, *batch), ctc_alignment(half.detach().float(), *batch)
    assert out.nll.dtype == torch.float32
    assert torch.equal(out.nll, wanted.nll)
    assert gradients(out, half).dtype == dtype


def test_float32_is_accurate_on_long_utterances(engine):
    torch.manual_seed(3)
    num_frames, num_labels, num_symbols = 1500, 300, 500
    if engine == "torch":
        num_frames, num_labels = 500, 100  # the same precision, in less time
    scores = torch.randn(1, num_frames, num_symbols).log_softmax(-1).requires_grad_()
    targets = torch.randint(1, num_symbols, (1, num_labels))
    exact_scores = scores.detach().double().requires_grad_()
    batch = (targets, [num_frames], [num_labels])
    out, exact = ctc_alignment(scores, *batch), ctc_alignment(exact_scores, *batch)
    assert out.nll.item() == pytest.approx(exact.nll.item(), rel=1e-6)
    assert out.entropy.item() == pytest.approx(exact.entropy.item(), abs=5e-3)
    grad, exact_grad = gradients(out, scores), gradients(exact, exact_scores)
    assert (grad.double() - exact_grad).abs().max() < 5e-4


@pytest.mark.parametrize("scale", [50.0, 1e4, 1e6])
def test_extreme_logits(engine, scale):
    logits, *batch = random_batch(num_frames=60, dtype=torch.float32)
    scores = (scale * logits.detach()).log_softmax(-1).requires_grad_()
    out = ctc_alignment(scores, *batch)
    exact_scores = scores.detach().double().requires_grad_()
    with _native.disabled():
        exact = ctc_alignment(exact_scores, *batch)
    grad = gradients(out, scores)
    assert grad.isfinite().all() and out.nll.isfinite().all() and out.entropy.isfinite().all()
    torch.testing.assert_close(out.nll.double(), exact.nll, rtol=1e-6, atol=0)
    torch.testing.assert_close(out.entropy.double(), exact.entropy, rtol=0, atol=1e-4)
    torch.testing.assert_close(grad.double(), gradients(exact, exact_scores), rtol=0, atol=1e-4)


def test_a_nearly_certain_model_keeps_its_small_loss(engine):
    num_frames = 200
    logits = torch.zeros(1, num_frames, 5, dtype=torch.float64)
    best = [0, 1, 0, 2] * (num_frames // 4)
    logits[0, range(num_frames), best] = 12.0
    targets = torch.tensor([[c for c in best if c]])
    batch = (targets, [num_frames], [targets.shape[1]])
    scores = logits.log_softmax(-1)
    exact = ctc_alignment(scores, *batch).nll.item()
    # log-probabilities rounded to float32 limit what can be asked for
    given = ctc_alignment(scores.float().double(), *batch).nll.item()
    assert 1e-3 < exact < 1e-2
    assert ctc_alignment(scores.float(), *batch).nll.item() == pytest.approx(given, rel=5e-3)


@pytest.mark.parametrize("mask", [-INF, -1e30, torch.finfo(torch.float32).min])
def test_masked_scores_carry_no_mass(engine, mask):
    torch.manual_seed(0)
    scores = torch.randn(3, 4, 4)
    scores[0, :, 1] = mask  # label 1 can never be emitted: no path
    scores[1, 0, 0] = scores[1, 2:, 1] = scores[1, 1, 1] = mask  # only 1 2 0 0 and 1 0 2 0 ... stay
    scores[2, 0, 0] = scores[2, 1:, 1] = scores[2, 1, 0] = scores[2, 3, 2] = mask
    scores[2, 2, 0] = mask  # only 1 2 2 0 is left
    scores.requires_grad_()
    targets = torch.tensor([[1, 2]] * 3)
    out = ctc_alignment(scores, targets, [4] * 3, [2] * 3)
    assert out.valid.tolist() == [False, True, True]
    assert out.nll[0] == INF and out.entropy[0] == 0
    assert out.entropy[1] > 0 and out.entropy[2] == 0
    alone = -sum(scores[2, t, c].item() for t, c in enumerate([1, 2, 2, 0]))
    assert out.nll[2].item() == pytest.approx(alone, rel=1e-6)
    grad = gradients(out, scores, by_nll=0.0)
    assert not grad[0].any() and not grad[2].any() and grad[1].isfinite().all()
    assert not gradients(ctc_alignment(scores, targets, [4] * 3, [2] * 3), scores)[0].any()


def test_no_path(engine):
    scores, targets, _, _ = random_batch(n=2)
    targets[:] = 1
    for kind in KINDS:
        out = ctc_alignment(scores, targets, [5, 3], [3, 2], kind=kind)  # 1 1 1 needs 5, 1 1 3
        assert out.valid.tolist() == [True, True]
        out = ctc_alignment(scores, targets, [4, 2], [3, 2], kind=kind)
        assert out.nll.tolist() == [INF, INF] and out.entropy.tolist() == [0, 0]
        (grad,) = torch.autograd.grad(out.nll.sum() + out.entropy.sum(), scores)
        assert not grad.any()
    loss = ctc_loss(scores, targets, [4, 3], [3, 2], zero_infinity=True, entropy_scale=0.5)
    (grad,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite() and not grad[0].any() and grad[1].any()
    assert ctc_loss(scores, targets, [4, 3], [3, 2]) == INF


def test_one_path_has_no_entropy_at_all(engine):
    torch.manual_seed(5)
    labels = torch.randint(1, 20, (1, 300))
    num_frames = 300 + int((labels[:, 1:] == labels[:, :-1]).sum())
    scores = torch.randn(1, num_frames, 20).requires_grad_()
    out = ctc_alignment(scores, labels, [num_frames], [300])
    (grad,) = torch.autograd.grad(out.entropy.sum(), scores)
    assert out.valid.all() and out.entropy.item() == 0 and not grad.any()


def test_empty_transcripts_and_no_frames(engine):
    scores = torch.randn(3, 4, 3).requires_grad_()
    targets = torch.ones(3, 2, dtype=torch.int64)
    out = ctc_alignment(scores, targets, [4, 0, 0], [0, 0, 1])
    assert out.valid.tolist() == [True, True, False]
    torch.testing.assert_close(out.nll[0], -scores[0, :, 0].sum())
    assert out.nll[1:].tolist() == [0, INF] and out.entropy.tolist() == [0, 0, 0]
    grad = gradients(out, scores)
    assert grad[0, :, 0].tolist() == [-1] * 4 and not grad[1:].any()
    nothing = torch.zeros(0, dtype=torch.int64)
    assert ctc_alignment(scores, nothing, [4, 4, 4], [0, 0, 0]).valid.all()
    assert ctc_alignment(scores[:, :0], nothing, [0, 0, 0], [0, 0, 0]).nll.tolist() == [0, 0, 0]
    assert ctc_alignment(scores[:0], nothing, [], []).nll.shape == (0,)


def test_loss_is_nll_minus_scaled_entropy(engine):
    scores, targets, input_lengths, target_lengths = random_batch()
    target_lengths[1] = 0
    batch = (targets, input_lengths, target_lengths)
    for kind in KINDS:
        out = ctc_alignment(scores, *batch, kind=kind)
        loss = out.nll - 0.25 * out.entropy
        assert torch.equal(
            ctc_loss(scores, *batch, entropy_scale=0.25, reduction="none", kind=kind), loss
        )
        module = CTCLoss(reduction="sum", entropy_scale=0.25, kind=kind)
        torch.testing.assert_close(module(scores, *batch), loss.sum())
        mean = CTCLoss(entropy_scale=0.25, kind=kind)(scores, *batch)
        torch.testing.assert_close(mean, (loss / target_lengths.clamp(min=1)).mean())
    assert ctc_loss(scores, *batch, entropy_scale=-1.0) > ctc_loss(scores, *batch)
    assert "entropy_scale=0.25" in repr(module)


@pytest.mark.parametrize("value", [math.nan, INF, 1e9])
def test_a_score_that_is_no_number_is_named(engine, value):
    scores, targets, input_lengths, target_lengths = random_batch()
    symbol = int(targets[2, 0])
    bad = scores.detach().clone()
    bad[2, 7, symbol] = value
    message = rf"log_probs: .* utterance 2, frame 7, symbol {symbol} is (nan|inf|1000000000.0)"
    with pytest.raises(FsaValueError, match=message):
        ctc_alignment(bad, targets, input_lengths, target_lengths)


SCORES = torch.zeros(2, 5, 4)
TARGETS = torch.tensor([[1, 2], [3, 1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SCORES, torch.tensor([[1, 2], [3, 4]]), [5, 5], [2, 2]),
         r"targets: utterance 1, position 1 is 4, outside the vocabulary.* 0\.\.3"),
        ((SCORES, torch.tensor([[1, -1], [3, 1]]), [5, 5], [2, 2]),
         "targets: utterance 0, position 1 is -1"),
        ((SCORES, torch.tensor([[1, 2], [0, 1]]), [5, 5], [2, 2]),
         r"targets: utterance 1, position 0 is 0, the blank"),
        ((SCORES, torch.tensor([1, 2, 3, 0]), [5, 5], [1, 3]),
         r"targets: utterance 1, position 2 is 0, the blank"),
        ((SCORES, TARGETS, [5, 6], [2, 2]), r"input_lengths\[1\] = 6: utterance 1 .* 0\.\.5"),
        ((SCORES, TARGETS, [-1, 5], [2, 2]), r"input_lengths\[0\] = -1"),
        ((SCORES, TARGETS, [5, 5], [3, 2]), r"target_lengths\[0\] = 3: .* 0\.\.2"),
        ((SCORES, TARGETS, [5], [2, 2]), r"input_lengths: must have shape \(2,\).* got \(1,\)"),
        ((SCORES, TARGETS[:1], [5, 5], [2, 2]), r"targets: must have shape \(2, U\), or"),
        ((SCORES, TARGETS.flatten(), [5, 5], [2, 1]), "sum to 3, but .* have 4 labels"),
        ((SCORES[0], TARGETS, [5, 5], [2, 2]), r"log_probs: must be batch-first \(N, T, C\)"),
    ],
)  # fmt: skip
def test_errors_say_what_and_where(engine, arguments, message):
    with pytest.raises(FsaValueError, match=message) as caught:
        ctc_alignment(*arguments)
    assert isinstance(caught.value, FsaError)


def test_an_empty_batch_has_a_sum_but_no_mean(engine):
    nothing = (SCORES[:0], TARGETS[:0], [], [])
    assert ctc_loss(*nothing, reduction="sum") == 0
    assert ctc_loss(*nothing, reduction="none").shape == (0,)
    with pytest.raises(FsaValueError, match='reduction="mean": there are no utterances'):
        ctc_loss(*nothing)


def test_a_raw_entropy_beyond_the_numbers_is_an_error(engine):
    scores = SCORES.clone()
    scores[1] += 30  # Z = e^(5 * 30) and more; the first utterance is fine
    message = 'kind="raw": the entropy of utterance 1 overflows, its log Z is 15'
    with pytest.raises(FsaValueError, match=message):
        ctc_alignment(scores, TARGETS, [5, 5], [2, 2], kind="raw")
    assert ctc_alignment(scores.double(), TARGETS, [5, 5], [2, 2], kind="raw").entropy[1] < -1e60


def test_errors_of_options_and_dtypes(engine):
    good = (SCORES, TARGETS, [5, 5], [2, 2])
    with pytest.raises(FsaValueError, match=r"kind: must be one of .*'per_label', got 'per-label'"):
        ctc_alignment(*good, kind="per-label")
    with pytest.raises(FsaValueError, match="reduction: must be one of 'none', 'mean', 'sum'"):
        ctc_loss(*good, reduction="avg")
    with pytest.raises(FsaValueError, match=r"blank: must be a symbol in 0\.\.3, got 4"):
        ctc_loss(*good, blank=4)
    with pytest.raises(
        FsaTypeError, match=r"targets: must be an integer tensor, got torch.float32"
    ):
        ctc_loss(SCORES, TARGETS.float(), [5, 5], [2, 2])
    with pytest.raises(FsaTypeError, match="input_lengths: must be integers, got"):
        ctc_loss(SCORES, TARGETS, [0.5, 1.0], [2, 2])
    with pytest.raises(FsaTypeError, match="log_probs: must be a floating-point tensor"):
        ctc_loss(SCORES.long(), TARGETS, [5, 5], [2, 2])
