"""k2's transducer losses: what k2 computed, and the laws behind it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wfst_entropy.compat import k2
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

Case = dict[str, Any]
GOLDEN = Path(__file__).parents[2] / "golden" / "k2" / "rnnt.json"
CASES = json.loads(GOLDEN.read_text())  # k2 1.24.4, float32
TYPES = ("regular", "modified", "constrained")


def close(got: Tensor, want: Any, tolerance: float = 2e-4) -> None:
    expected = torch.as_tensor(want, dtype=torch.float64)
    torch.testing.assert_close(got.detach().double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['rnnt_type']}-{c['delay_penalty']}")
def test_what_k2_computed(case: Case):
    am, lm = torch.tensor(case["am"]), torch.tensor(case["lm"])
    y, boundary = torch.tensor(case["symbols"]), torch.tensor(case["boundary"])
    options: Any = {
        "rnnt_type": case["rnnt_type"],
        "delay_penalty": case["delay_penalty"],
        "reduction": "none",
    }
    close(k2.rnnt_loss_smoothed(lm, am, y, 0, 0.25, 0.1, boundary, **options), case["smoothed"])
    simple, (px_grad, py_grad) = k2.rnnt_loss_simple(
        lm, am, y, 0, boundary, return_grad=True, **options
    )
    close(simple, case["simple"])
    close(px_grad, case["px_grad"])
    close(py_grad, case["py_grad"])
    want = torch.tensor(case["ranges"])
    ranges = k2.get_rnnt_prune_ranges(px_grad, py_grad, boundary, want.shape[2])
    assert torch.equal(ranges, want)
    am_pruned, lm_pruned = k2.do_rnnt_pruning(am, lm, ranges)
    logits = torch.tanh(am_pruned + lm_pruned).requires_grad_()
    pruned = k2.rnnt_loss_pruned(logits, y, ranges, 0, boundary, **options)
    close(pruned, case["pruned"])
    close(torch.autograd.grad(pruned.sum(), logits)[0], case["pruned_grad"], 1e-3)
    logits = torch.tanh(am[:, :, None] + lm[:, None]).requires_grad_()
    full = k2.rnnt_loss(logits, y, 0, boundary, **options)
    close(full, case["full"])
    (grad,) = torch.autograd.grad(full.sum(), logits)
    close(grad[0, :3], case["full_grad"], 1e-3)
    close(grad.norm(), case["full_grad_l2"], 1e-3)


def scores(n: int, s: int, t: int, extra: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    px = torch.randn(n, s, t + extra, generator=generator, dtype=torch.float64)
    return px, torch.randn(n, s + 1, t, generator=generator, dtype=torch.float64)


def path_scores(px: Tensor, py: Tensor, row: list[int]) -> Tensor:
    """The scores of all monotonic paths of one utterance, one by one."""
    s_begin, t_begin, s_end, t_end = row
    labels, frames = s_end - s_begin, t_end - t_begin
    modified = px.shape[1] == py.shape[1]
    steps = frames if modified else labels + frames
    totals = []
    for chosen in itertools.combinations(range(steps), labels):
        s, t, total = s_begin, t_begin, px.new_zeros(())
        for step in range(steps):
            if step in chosen:
                total = total + px[s, t]
                s, t = s + 1, t + modified
            else:
                total = total + py[s, t]
                t += 1
        totals.append(total)
    return torch.stack(totals)


@pytest.mark.parametrize("extra", [1, 0], ids=["regular", "modified"])
def test_the_recursion_sums_all_paths_within_the_boundary(extra: int):
    px, py = (x.requires_grad_() for x in scores(4, 3, 4, extra))
    rows = [[0, 0, 3, 4], [1, 2, 2, 4], [0, 1, 2, 3], [2, 1, 2, 4]]
    boundary = torch.tensor(rows)
    got, grads = k2.mutual_information_recursion(px, py, boundary, return_grad=True)
    assert torch.equal(got, k2.mutual_information_recursion(px, py, boundary))
    want = torch.stack([path_scores(px[i], py[i], row).logsumexp(0) for i, row in enumerate(rows)])
    torch.testing.assert_close(got, want)
    want_grads = torch.autograd.grad(want.sum(), (px, py))
    torch.testing.assert_close(grads, want_grads)
    torch.testing.assert_close(torch.autograd.grad((2 * got).sum(), (px, py)), tuple(
        2 * grad for grad in want_grads
    ))  # fmt: skip
    whole = torch.tensor([[0, 0, 3, 4]] * 4)
    assert torch.equal(
        k2.mutual_information_recursion(px, py), k2.mutual_information_recursion(px, py, whole)
    )


def test_grads_come_without_any_gradient_wanted():
    px, py = scores(1, 2, 3, 1)
    with torch.no_grad():
        plain, (px_grad, py_grad) = k2.mutual_information_recursion(px, py, return_grad=True)
    assert not plain.requires_grad and not px_grad.requires_grad
    torch.testing.assert_close(px_grad.sum((1, 2)), torch.tensor([2.0], dtype=torch.float64))
    torch.testing.assert_close(py_grad.sum((1, 2)), torch.tensor([3.0], dtype=torch.float64))


def test_the_joint_recursion_splits_the_sum():
    pairs = [scores(2, 2, 3, 1, seed) for seed in range(3)]
    px, py = [pair[0].requires_grad_() for pair in pairs], [pair[1] for pair in pairs]
    px[0].data[:, :, -1] = -math.inf
    boundary = torch.tensor([[0, 0, 2, 3], [0, 0, 1, 2]])
    shares = k2.joint_mutual_information_recursion(px, py, boundary)
    assert shares.shape == (3, 2)
    total, grads = k2.mutual_information_recursion(sum(px), sum(py), boundary, return_grad=True)
    torch.testing.assert_close(shares.sum(0), total)
    torch.testing.assert_close(
        shares[1], (px[1] * grads[0]).sum((1, 2)) + (py[1] * grads[1]).sum((1, 2))
    )
    by_share = torch.autograd.grad(shares.sum(), px[2], retain_graph=True)
    torch.testing.assert_close(by_share, torch.autograd.grad(total.sum(), px[2]))
    with pytest.raises(FsaValueError, match="one at least"):
        k2.joint_mutual_information_recursion([], [])


def batch(seed: int = 0, c: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """am (3, 7, C), lm (3, 4, C), symbols and a boundary, with padding."""
    generator = torch.Generator().manual_seed(seed)
    am = torch.randn(3, 7, c, generator=generator, dtype=torch.float64)
    lm = torch.randn(3, 4, c, generator=generator, dtype=torch.float64)
    y = torch.randint(1, c, (3, 3), generator=generator)
    return am, lm, y, torch.tensor([[0, 0, 3, 7], [0, 0, 2, 5], [0, 0, 1, 6]])


@pytest.mark.parametrize("rnnt_type", TYPES)
def test_simple_is_the_full_loss_of_a_sum(rnnt_type: str):
    am, lm, y, boundary = batch()
    full = am[:, :, None] + lm[:, None]
    options: Any = {"boundary": boundary, "rnnt_type": rnnt_type, "delay_penalty": 0.2}
    for reduction in ("none", "mean", "sum"):
        simple = k2.rnnt_loss_simple(lm, am, y, 0, reduction=reduction, **options)
        torch.testing.assert_close(simple, k2.rnnt_loss(full, y, 0, reduction=reduction, **options))
    assert simple.dim() == 0
    torch.testing.assert_close(
        k2.get_rnnt_logprobs(lm, am, y, 0, rnnt_type),
        k2.get_rnnt_logprobs_joint(full, y, 0, None, rnnt_type),
    )


def test_smoothed_scores_are_probabilities():
    """Each of the three distributions that are mixed is one: adding a constant changes nothing."""
    am, lm, y, boundary = batch()
    px, py = k2.get_rnnt_logprobs_smoothed(lm, am, y, 0, 0.2, 0.3, boundary)
    moved = k2.get_rnnt_logprobs_smoothed(lm + 3, am - 40, y, 0, 0.2, 0.3, boundary)
    torch.testing.assert_close((px, py), moved)
    # The distribution of am alone sums to one over all symbols; so does that of lm alone.
    for scales in ((1.0, 0.0), (0.0, 1.0)):
        masses = []
        for symbol in range(am.shape[2]):
            _, blank = k2.get_rnnt_logprobs_smoothed(lm, am, y, symbol, *scales, boundary)
            masses.append(blank.exp())
        torch.testing.assert_close(sum(masses), torch.ones(3, 4, 7, dtype=torch.float64))


@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("find", [k2.get_rnnt_prune_ranges, k2.get_rnnt_prune_ranges_deprecated])
def test_ranges_are_windows_that_a_path_can_follow(rnnt_type: str, find: Callable[..., Tensor]):
    for seed, s_range in itertools.product(range(5), (2, 3, 9)):
        am, lm, y, boundary = batch(seed)
        _, grads = k2.rnnt_loss_simple(
            lm, am, y, 0, boundary, rnnt_type, reduction="none", return_grad=True
        )
        ranges = find(*grads, boundary, s_range)
        size = min(s_range, 4)
        assert ranges.shape == (3, 7, size) and ranges.dtype == torch.int64
        begin = ranges[:, :, 0]
        assert bool((ranges == begin[:, :, None] + torch.arange(size)).all())
        rise = begin.diff(dim=1)
        step = size - 1 if rnnt_type == "regular" else 1
        assert bool(((rise >= 0) & (rise <= step)).all())
        assert begin[:, 0].tolist() == [0, 0, 0]
        last = begin[range(3), boundary[:, 3] - 1]
        assert last.tolist() == (boundary[:, 2] - size + 1).clamp(min=0).tolist()
        am_pruned, lm_pruned = k2.do_rnnt_pruning(am, lm, ranges)
        loss = k2.rnnt_loss_pruned(
            am_pruned + lm_pruned, y, ranges, 0, boundary, rnnt_type, reduction="none"
        )
        full = k2.rnnt_loss_simple(lm, am, y, 0, boundary, rnnt_type, reduction="none")
        assert bool((loss >= full - 1e-9).all() and loss.isfinite().all())
        if s_range == 9:
            torch.testing.assert_close(loss, full)


def test_too_small_ranges_are_refused():
    am, lm, y, boundary = batch()
    for rnnt_type, s_range in (("regular", 1), ("modified", 0)):
        _, grads = k2.rnnt_loss_simple(lm, am, y, 0, boundary, rnnt_type, return_grad=True)
        with pytest.raises(FsaValueError, match=f"at least {s_range + 1} for {rnnt_type}"):
            k2.get_rnnt_prune_ranges(*grads, boundary, s_range)


def test_hat_gives_blank_a_sigmoid_and_the_labels_the_rest():
    am, lm, y, boundary = batch()
    ranges = torch.arange(4).expand(3, 7, 4)
    for blank in (0, 2, 5):
        labels = torch.where(y == blank, 1 + blank // 5, y)
        labels = torch.where(labels == blank, 3, labels)
        logits = am[:, :, None] + lm[:, None]
        others = [c for c in range(6) if c != blank]
        by_hand = torch.empty_like(logits)
        by_hand[..., blank] = torch.nn.functional.logsigmoid(logits[..., blank])
        by_hand[..., others] = logits[..., others].log_softmax(-1)
        by_hand[..., others] += torch.nn.functional.logsigmoid(-logits[..., blank])[..., None]
        torch.testing.assert_close(by_hand.exp().sum(-1), torch.ones(3, 7, 4).double())
        got = k2.rnnt_loss_pruned(
            logits, labels, ranges, blank, boundary, reduction="none", use_hat_loss=True
        )
        # They are normalised already: a softmax leaves them as they are.
        want = k2.rnnt_loss_pruned(by_hand, labels, ranges, blank, boundary, reduction="none")
        torch.testing.assert_close(got, want)
        hat = k2.get_hat_logprobs_pruned(logits, labels, ranges, blank, None)
        plain = k2.get_rnnt_logprobs_pruned(by_hand, labels, ranges, blank, None)
        torch.testing.assert_close(hat, plain)


def test_fix_for_boundary_works_in_place():
    px = torch.zeros(2, 1, 4)
    assert k2.fix_for_boundary(px) is px and bool((px == 0).all())
    assert k2.fix_for_boundary(px, torch.tensor([[0, 0, 1, 3], [0, 0, 1, 1]])) is px
    assert px.isinf().nonzero().tolist() == [[0, 0, 3], [1, 0, 1]]


def test_what_lies_beyond_the_boundary_is_not_read():
    am, lm, y, boundary = batch()
    ranges = torch.arange(4).expand(3, 7, 4)
    logits = am[:, :, None] + lm[:, None]
    spoilt = logits.clone()
    spoilt[1, 5:], spoilt[1, :, 3:] = math.nan, math.inf
    for loss in (
        lambda x: k2.rnnt_loss(x, y, 0, boundary),
        lambda x: k2.rnnt_loss_pruned(x, y, ranges, 0, boundary),
    ):
        assert torch.equal(loss(logits), loss(spoilt))


def test_symbols_may_be_the_blank_as_in_k2():
    am, lm, y, boundary = batch()
    y[0, 0] = 0
    assert k2.rnnt_loss_simple(lm, am, y, 0, boundary).isfinite()


def test_a_training_step_as_recipes_write_it():
    """Smoothed loss, ranges, pruning, joiner, pruned loss; every module gets a gradient."""
    torch.manual_seed(0)
    encoder, decoder = torch.randn(2, 9, 8), torch.randn(2, 5, 8)
    simple_am, simple_lm = torch.nn.Linear(8, 6), torch.nn.Linear(8, 6)
    joiner = torch.nn.Linear(8, 6)
    y, lengths = torch.randint(1, 6, (2, 4)), torch.tensor([4, 3])
    boundary = torch.zeros(2, 4, dtype=torch.int64)
    boundary[:, 2], boundary[:, 3] = lengths, torch.tensor([9, 7])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        am, lm = simple_am(encoder), simple_lm(decoder)
        with torch.autocast("cpu", enabled=False):
            simple_loss, (px_grad, py_grad) = k2.rnnt_loss_smoothed(
                lm=lm.float(),
                am=am.float(),
                symbols=y,
                termination_symbol=0,
                lm_only_scale=0.25,
                am_only_scale=0.0,
                boundary=boundary,
                reduction="sum",
                delay_penalty=0.0,
                return_grad=True,
            )
        ranges = k2.get_rnnt_prune_ranges(
            px_grad=px_grad, py_grad=py_grad, boundary=boundary, s_range=3
        )
        am_pruned, lm_pruned = k2.do_rnnt_pruning(am=encoder, lm=decoder, ranges=ranges)
        logits = joiner(torch.tanh(am_pruned + lm_pruned))
        with torch.autocast("cpu", enabled=False):
            pruned_loss = k2.rnnt_loss_pruned(
                logits=logits.float(),
                symbols=y,
                ranges=ranges,
                termination_symbol=0,
                boundary=boundary,
                delay_penalty=0.0,
                reduction="sum",
            )
    (0.5 * simple_loss + pruned_loss).backward()
    for module in (simple_am, simple_lm, joiner):
        grad = module.weight.grad
        assert grad is not None and bool(grad.isfinite().all()) and bool((grad != 0).any())


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"boundary": torch.zeros(3, 3)}, FsaTypeError, "boundary: must be an int64 tensor"),
        ({"boundary": torch.zeros(3, 3).long()}, FsaValueError, r"must have shape \(3, 4\)"),
        (
            {"boundary": torch.tensor([[0, 0, 3, 8]] * 3)},
            FsaValueError,
            r"boundary\[0\] = \[0, 0, 3, 8\]: needs .* t_end <= 7",
        ),
        ({"symbols": torch.zeros(3, 3)}, FsaTypeError, "symbols: must be an int64 tensor"),
        ({"symbols": torch.full((3, 3), 6)}, FsaValueError, r"symbols: must lie in 0\.\.5, got 6"),
        ({"symbols": torch.ones(3, 2).long()}, FsaValueError, r"symbols: must have shape \(3, 3\)"),
        ({"termination_symbol": 6}, FsaValueError, "termination_symbol: must lie in"),
        ({"lm": torch.zeros(3, 4, 5)}, FsaValueError, "lm and am: must be"),
        ({"rnnt_type": "odd"}, FsaValueError, "rnnt_type: must be one of"),
        ({"reduction": None}, FsaValueError, "reduction: must be"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], error: type[Exception], match: str):
    am, lm, y, boundary = batch()
    arguments: dict[str, Any] = {"lm": lm, "am": am, "symbols": y, "termination_symbol": 0}
    with pytest.raises(error, match=match):
        k2.rnnt_loss_simple(**(arguments | {"boundary": boundary} | change))
