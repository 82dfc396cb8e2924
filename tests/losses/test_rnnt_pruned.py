"""Pruned transducers: every path of the windows, full windows, what is not read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    PrunedRNNTLoss,
    do_rnnt_pruning,
    get_rnnt_prune_ranges,
    rnnt_alignment,
    rnnt_alignment_kl,
    rnnt_loss,
    rnnt_loss_pruned,
    rnnt_loss_smoothed,
    rnnt_pruned_alignment,
    rnnt_pruned_alignment_kl,
)

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())

TYPES = ("regular", "modified", "constrained")
FRAMES, LABELS = [5, 4, 4], [3, 2, 0]
LENGTHS = (FRAMES, LABELS)


def batch(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (3, 5, 3, 4), ranges (3, 5, 3) with uneven steps, targets (3, 3)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 5, 3, 4, generator=generator, dtype=dtype)
    begins = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 2], [0, 0, 0, 0, 0]])
    ranges = begins[:, :, None] + torch.arange(3)
    return logits, ranges, torch.randint(1, 4, (3, 3), generator=generator)


def planes(logits: Tensor, ranges: Tensor, labels: list[int]) -> tuple[Tensor, Tensor]:
    """Blank (T, U + 1) and label (T, U) of one utterance, -inf outside the windows."""
    log_probs = logits.log_softmax(-1)
    never = logits.new_full((), -math.inf)
    blank = [[never] * (len(labels) + 1) for _ in ranges]
    label = [[never] * len(labels) for _ in ranges]
    for t, window in enumerate(ranges.tolist()):
        for s, u in enumerate(window):
            if u <= len(labels):
                blank[t][u] = log_probs[t, s, 0]
            if u < len(labels):
                label[t][u] = log_probs[t, s, labels[u]]
    rows = [torch.stack(row) for row in blank], [torch.stack(row) for row in label if row]
    width = len(labels)
    return torch.stack(rows[0]), torch.stack(rows[1]) if width else logits.new_zeros(len(blank), 0)


def paths(
    enumeration: Callable[..., Tensor], logits: Tensor, ranges: Tensor, y: Tensor, kind: str
) -> list[Tensor]:
    """The log-weights of the paths of each utterance that are not forbidden."""
    found = []
    for n, (frames, count) in enumerate(zip(FRAMES, LABELS)):
        labels = y[n, :count].tolist()
        weights = enumeration(*planes(logits[n, :frames], ranges[n, :frames], labels), kind)
        found.append(weights[weights > -math.inf])
    return found


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_all_paths_of_the_windows_and_no_others(
    engine: str,
    rnnt_type: str,
    rnnt_enumeration: Callable[..., Tensor],
    nll_and_entropy: Callable[[Tensor], tuple[Tensor, Tensor]],
):
    logits, ranges, y = batch()
    logits.requires_grad_()
    weights = paths(rnnt_enumeration, logits, ranges, y, rnnt_type)
    assert [len(w) for w in weights][2] == 1 and len(weights[0]) > 2
    want = [torch.stack(pair) for pair in zip(*map(nll_and_entropy, weights))]
    got = rnnt_pruned_alignment(logits, ranges, y, *LENGTHS, rnnt_type=rnnt_type)
    for ours, theirs in zip(got[:2], want):
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(
            torch.autograd.grad(ours.sum(), logits, retain_graph=True),
            torch.autograd.grad(theirs.sum(), logits, retain_graph=True),
        )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_the_divergence_of_all_paths(
    engine: str, rnnt_type: str, reverse: bool, rnnt_enumeration: Callable[..., Tensor]
):
    logits, ranges, y = batch()
    teacher, _, _ = batch(1)
    logits.requires_grad_(), teacher.requires_grad_()
    args = (ranges, y, *LENGTHS)
    got = rnnt_pruned_alignment_kl(logits, teacher, *args, rnnt_type=rnnt_type, reverse=reverse)
    want = []
    for n in range(3):
        one = paths(rnnt_enumeration, logits, ranges, y, rnnt_type)[n].log_softmax(0)
        two = paths(rnnt_enumeration, teacher.detach(), ranges, y, rnnt_type)[n].log_softmax(0)
        first, second = (one, two) if reverse else (two, one)
        want.append((first.exp() * (first - second)).sum())
    torch.testing.assert_close(got.kl, torch.stack(want))
    torch.testing.assert_close(
        got.nll, rnnt_pruned_alignment(logits, *args, rnnt_type=rnnt_type).nll
    )
    assert bool(got.valid.all())
    torch.testing.assert_close(
        torch.autograd.grad(got.kl.sum(), logits, retain_graph=True),
        torch.autograd.grad(torch.stack(want).sum(), logits),
    )
    assert torch.autograd.grad(got.kl.sum(), teacher, allow_unused=True) == (None,)
    taught = rnnt_pruned_alignment_kl(logits, teacher, *args, teacher_grad=True)
    assert bool((torch.autograd.grad(taught.kl.sum(), teacher)[0] != 0).any())


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_windows_of_all_positions_are_the_full_lattice(engine: str, rnnt_type: str):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 4, 6, generator=generator, requires_grad=True)
    teacher = torch.randn(3, 5, 4, 6, generator=generator)
    _, _, y = batch()
    ranges = torch.arange(4).expand(3, 5, 4)
    options: Any = {"rnnt_type": rnnt_type, "delay_penalty": 0.2, "fastemit_lambda": 0.1}
    pruned = rnnt_pruned_alignment(logits, ranges, y, *LENGTHS, **options)
    full = rnnt_alignment(logits, y, *LENGTHS, **options)
    for ours, theirs in zip(pruned[:2], full[:2]):
        assert torch.equal(ours, theirs)
        (a,) = torch.autograd.grad(ours.sum(), logits, retain_graph=True)
        (b,) = torch.autograd.grad(theirs.sum(), logits, retain_graph=True)
        assert torch.equal(a, b)
    for reduction in ("none", "sum", "mean"):
        options |= {"reduction": reduction, "entropy_scale": 0.3, "kind": "per_frame"}
        assert torch.equal(
            rnnt_loss_pruned(logits, ranges, y, *LENGTHS, **options),
            rnnt_loss(logits, y, *LENGTHS, **options),
        )
    assert torch.equal(
        rnnt_pruned_alignment_kl(logits, teacher, ranges, y, *LENGTHS).kl,
        rnnt_alignment_kl(logits, teacher, y, *LENGTHS).kl,
    )
    # Positions beyond the longest transcript change nothing.
    wider = torch.cat([logits, torch.full((3, 5, 2, 6), math.nan)], 2)
    more = rnnt_pruned_alignment(wider, torch.arange(6).expand(3, 5, 6), y, *LENGTHS)
    assert torch.equal(more.nll, rnnt_alignment(logits, y, *LENGTHS).nll)


def test_the_module_is_the_function():
    logits, ranges, y = batch()
    options: Any = {"reduction": "sum", "entropy_scale": 0.2, "use_hat_loss": True}
    module = PrunedRNNTLoss(**options)
    want = rnnt_loss_pruned(logits, ranges, y, *LENGTHS, **options)
    assert torch.equal(module(logits, ranges, y, *LENGTHS), want)
    assert "use_hat_loss=True" in repr(module)
    with pytest.raises(FsaValueError, match="reduction: must be one of"):
        PrunedRNNTLoss(reduction="odd")


def test_numerical_gradients():
    logits, ranges, y = batch()
    logits = logits[:2, :, :, :3].requires_grad_()
    y = y[:2].clamp(max=2)

    def both(logits: Tensor) -> Tensor:
        out = rnnt_pruned_alignment(logits, ranges[:2], y, FRAMES[:2], LABELS[:2])
        return out.nll - 0.3 * out.entropy

    def hat(logits: Tensor) -> Tensor:
        return rnnt_pruned_alignment(
            logits, ranges[:2], y, FRAMES[:2], LABELS[:2], use_hat_loss=True
        ).nll

    for loss in (both, hat):
        assert torch.autograd.gradcheck(loss, logits, fast_mode=True)
    with _native.disabled():
        assert torch.autograd.gradgradcheck(both, logits, fast_mode=True)


@pytest.mark.parametrize("hat", [False, True])
def test_what_lies_beyond_the_lengths_is_not_read(engine: str, hat: bool):
    logits, ranges, y = batch()
    spoilt, strange = logits.clone(), ranges.clone()
    outside = (torch.arange(5) >= torch.tensor(FRAMES)[:, None])[:, :, None]
    strange += 7 * outside
    outside = outside | (ranges > torch.tensor(LABELS)[:, None, None])
    spoilt[outside] = math.nan
    results = []
    for x, r in ((logits, ranges), (spoilt, strange)):
        x.requires_grad_()
        out = rnnt_pruned_alignment(x, r, y, *LENGTHS, use_hat_loss=hat)
        results.append((*out, *torch.autograd.grad((out.nll + out.entropy).sum(), x)))
    assert all(map(torch.equal, *results))
    assert bool((results[0][3][outside.expand(-1, -1, 3)] == 0).all())


def test_an_utterance_alone_is_the_same_bit_for_bit(engine: str):
    logits, ranges, y = batch(dtype=torch.float32)
    whole = rnnt_pruned_alignment(logits, ranges, y, *LENGTHS)
    for i, (frames, count) in enumerate(zip(FRAMES, LABELS)):
        alone = rnnt_pruned_alignment(
            logits[i : i + 1, :frames],
            ranges[i : i + 1, :frames],
            y[i : i + 1, :count],
            [frames],
            [count],
        )
        assert torch.equal(alone.nll[0], whole.nll[i])
        assert torch.equal(alone.entropy[0], whole.entropy[i])


@needs_native
def test_the_same_bit_for_bit_for_any_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 30, 3, 17, generator=generator, requires_grad=True)
    ranges = (torch.arange(30) // 4)[None, :, None] + torch.arange(3).expand(5, 30, 3)
    y = torch.randint(1, 17, (5, 9), generator=generator)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            out = rnnt_pruned_alignment(logits, ranges, y, [30, 29, 28, 30, 27], [9, 8, 7, 6, 5])
            (grad,) = torch.autograd.grad((out.nll - out.entropy).sum(), logits)
            results.append((*out, grad))
    finally:
        torch.set_num_threads(before)
    assert results[0][2].tolist() == [True, True, True, False, False]
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_windows_without_a_path(engine: str):
    """A jump over a position, a window that stays behind, no frames; beside one that is fine."""
    logits, ranges, y = batch()
    ranges = ranges.clone()
    ranges[1] = torch.tensor([[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5], [3, 4, 5]])
    logits.requires_grad_()
    out = rnnt_pruned_alignment(logits, ranges, y, [5, 5, 0], [3, 3, 1])
    assert out.valid.tolist() == [True, False, False]
    assert out.nll[1:].tolist() == [math.inf] * 2 and out.entropy[1:].tolist() == [0.0, 0.0]
    (grad,) = torch.autograd.grad((out.nll + out.entropy).sum(), logits)
    assert bool((grad[1:] == 0).all() and (grad[0] != 0).any())
    behind = rnnt_pruned_alignment(logits, torch.arange(3).expand(3, 5, 3), y, [5] * 3, [3] * 3)
    assert not bool(behind.valid.any())
    zeroed = rnnt_loss_pruned(
        logits, ranges, y, [5, 5, 0], [3, 3, 1], reduction="none", zero_infinity=True
    )
    assert zeroed[1:].tolist() == [0.0, 0.0]
    empty = rnnt_pruned_alignment(logits[:0], ranges[:0], y[:0], [], [])
    assert empty.nll.shape == (0,)


def test_hat_factorises(engine: str):
    logits, ranges, y = batch()
    by_hand = torch.cat(
        [
            torch.nn.functional.logsigmoid(logits[..., :1]),
            logits[..., 1:].log_softmax(-1) + torch.nn.functional.logsigmoid(-logits[..., :1]),
        ],
        -1,
    )
    want = rnnt_pruned_alignment(by_hand, ranges, y, *LENGTHS, fused_log_softmax=False)
    got = rnnt_pruned_alignment(logits, ranges, y, *LENGTHS, use_hat_loss=True)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(engine: str, dtype: torch.dtype):
    logits, ranges, y = batch()
    logits = logits.to(dtype).requires_grad_()
    out = rnnt_pruned_alignment(logits, ranges, y, *LENGTHS)
    assert out.nll.dtype == torch.float32
    exact = rnnt_pruned_alignment(logits.double(), ranges, y, *LENGTHS)
    torch.testing.assert_close(out.nll, exact.nll.float())
    torch.testing.assert_close(out.entropy, exact.entropy.float())
    (grad,) = torch.autograd.grad(out.nll.sum(), logits)
    assert grad.dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = rnnt_pruned_alignment(logits, ranges, y, *LENGTHS)
        (again,) = torch.autograd.grad(cast.nll.sum(), logits)
    assert torch.equal(cast.nll, out.nll) and torch.equal(again, grad)


def test_kernels_equal_the_torch_engine_on_a_whole_training_step():
    results = []
    for native in (True, False):
        generator = torch.Generator().manual_seed(0)
        am = torch.randn(3, 20, 9, generator=generator, requires_grad=True)
        lm = torch.randn(3, 8, 9, generator=generator, requires_grad=True)
        y = torch.randint(1, 9, (3, 7), generator=generator)
        lengths = ([20, 17, 13], [7, 5, 6])
        if not native:
            with _native.disabled():
                results.append(training_step(am, lm, y, lengths))
        else:
            results.append(training_step(am, lm, y, lengths))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def training_step(am: Tensor, lm: Tensor, y: Tensor, lengths: Any) -> list[Tensor]:
    """Loss, ranges and gradients."""
    simple, posteriors = rnnt_loss_smoothed(am, lm, y, *lengths, return_arc_posteriors=True)
    ranges = get_rnnt_prune_ranges(posteriors, *lengths, s_range=4)
    am_pruned, lm_pruned = do_rnnt_pruning(am, lm, ranges)
    logits = torch.tanh(am_pruned + lm_pruned)
    loss = simple + rnnt_loss_pruned(logits, ranges, y, *lengths, entropy_scale=0.1)
    return [loss.detach(), ranges, *torch.autograd.grad(loss, (am, lm))]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"logits": torch.zeros(3, 5, 3)}, FsaValueError, r"logits: must be \(N, T, S, C\)"),
        ({"logits": torch.zeros(3, 5, 3, 4).long()}, FsaTypeError, "logits: must be a floating"),
        ({"ranges": torch.zeros(3, 5, 2).long()}, FsaValueError, r"must have shape \(3, 5, 3\)"),
        ({"ranges": torch.zeros(3, 5, 3)}, FsaTypeError, "ranges: must be an int64 tensor"),
        (
            {"ranges": torch.zeros(3, 5, 3).long()},
            FsaValueError,
            r"consecutive, but those of utterance 0, frame 0, are \[0, 0, 0\]",
        ),
        ({"ranges": torch.arange(-1, 2).expand(3, 5, 3)}, FsaValueError, "label position -1"),
        ({"blank": 4}, FsaValueError, r"blank: must be a symbol in 0\.\.3, got 4"),
        ({"logit_lengths": [6, 1, 1]}, FsaValueError, r"logit_lengths\[0\] = 6"),
        ({"targets": torch.zeros(3, 3).long()}, FsaValueError, "is 0, the blank"),
        ({"rnnt_type": "odd"}, FsaValueError, "rnnt_type: must be one of"),
        ({"kind": "odd"}, FsaValueError, "kind: must be one of"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], error: type[Exception], match: str):
    logits, ranges, y = batch()
    arguments: dict[str, Any] = {"logits": logits, "ranges": ranges, "targets": y}
    arguments |= {"logit_lengths": FRAMES, "target_lengths": LABELS}
    with pytest.raises(error, match=match):
        rnnt_pruned_alignment(**(arguments | change))


def test_a_bad_logit_is_named_with_its_place_in_the_lattice(engine: str):
    logits, ranges, y = batch()
    logits[0, 3, 1, 2] = math.nan
    with pytest.raises(FsaValueError, match="logits: utterance 0, frame 3, after 2 labels, symbol"):
        rnnt_pruned_alignment(logits, ranges, y, *LENGTHS)
