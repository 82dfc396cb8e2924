"""Windows of label positions: the best ones, that a path can follow, and what they pick."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses import (
    RnntArcPosteriors,
    do_rnnt_pruning,
    get_rnnt_prune_ranges,
    rnnt_loss_smoothed,
)

TYPES = ("regular", "modified", "constrained")
FRAMES, LABELS = [9, 7, 8], [6, 4, 0]


def posteriors(seed: int, rnnt_type: str, scale: float = 3.0) -> RnntArcPosteriors:
    generator = torch.Generator().manual_seed(seed)
    am = scale * torch.randn(3, 9, 8, generator=generator, dtype=torch.float64)
    lm = scale * torch.randn(3, 7, 8, generator=generator, dtype=torch.float64)
    y = torch.randint(1, 8, (3, 6), generator=generator)
    _, found = rnnt_loss_smoothed(
        am, lm, y, FRAMES, LABELS, rnnt_type=rnnt_type, return_arc_posteriors=True
    )
    return found


def best_begin(blank: Tensor, label: Tensor, size: int) -> int:
    """The definition, for one frame: planes (U + 1,) and (U,)."""
    worth = [
        float(blank[u : u + size].sum()) - (float(label[u - 1]) if u else 0.0)
        for u in range(len(blank) - size + 1)
    ]
    return worth.index(max(worth))


def possible(begins: list[int], step: int) -> list[int]:
    """Lowered to the least that comes later, raised ahead of steep rises, 0 at first."""
    bounds = list(begins)
    for t in reversed(range(len(bounds) - 1)):
        bounds[t] = min(bounds[t], bounds[t + 1])
    for t in reversed(range(len(bounds) - 1)):
        bounds[t] = max(bounds[t], bounds[t + 1] - step)
    return [min(bound, t * step) for t, bound in enumerate(bounds)]


@pytest.mark.parametrize("s_range", [2, 3, 5, 7, 20])
@pytest.mark.parametrize("rnnt_type", TYPES)
def test_the_best_windows_that_a_path_can_follow(rnnt_type: str, s_range: int):
    size = min(s_range, 7)
    step = size - 1 if rnnt_type == "regular" else 1
    for seed in range(4):
        found = posteriors(seed, rnnt_type)
        ranges = get_rnnt_prune_ranges(found, FRAMES, LABELS, s_range, rnnt_type=rnnt_type)
        assert ranges.shape == (3, 9, size) and ranges.dtype == torch.int64
        assert torch.equal(ranges, ranges[:, :, :1] + torch.arange(size))
        for n, (frames, labels) in enumerate(zip(FRAMES, LABELS)):
            last = max(labels + 1 - size, 0)
            begins = [
                best_begin(found.blank[n, t], found.label[n, t], size) if t < frames - 1 else last
                for t in range(9)
            ]
            assert ranges[n, :, 0].tolist() == possible(begins, step)


def test_short_utterances_reach_as_far_as_they_can():
    """Two frames, four labels, one a frame: the bound cannot come to the last window."""
    zeros = RnntArcPosteriors(torch.zeros(1, 2, 5), torch.zeros(1, 2, 4))
    ranges = get_rnnt_prune_ranges(zeros, [2], [4], 1, rnnt_type="modified")
    assert ranges.tolist() == [[[0], [1]]]
    none = RnntArcPosteriors(torch.zeros(2, 0, 1), torch.zeros(2, 0, 0))
    assert get_rnnt_prune_ranges(none, [0, 0], [0, 0], 2).shape == (2, 0, 1)


def test_pruning_picks_positions_and_gives_them_their_gradient():
    generator = torch.Generator().manual_seed(0)
    am = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    lm = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    ranges = torch.tensor([[[0, 1], [1, 2], [3, 4]], [[0, 1], [0, 1], [0, 1]]])
    am_pruned, lm_pruned = do_rnnt_pruning(am, lm, ranges)
    assert am_pruned.shape == (2, 3, 2, 4) and lm_pruned.shape == (2, 3, 2, 6)
    assert am_pruned.data_ptr() == am.data_ptr()
    for n, t, s in torch.cartesian_prod(*map(torch.arange, (2, 3, 2))).tolist():
        assert torch.equal(am_pruned[n, t, s], am[n, t])
        assert torch.equal(lm_pruned[n, t, s], lm[n, int(ranges[n, t, s])])
    assert torch.autograd.gradcheck(lambda a, b: do_rnnt_pruning(a, b, ranges), (am, lm))
    assert torch.autograd.gradgradcheck(
        lambda a, b: do_rnnt_pruning(a, b, ranges)[1] ** 2, (am, lm)
    )


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"s_range": 1}, FsaValueError, "at least 2 for regular transducers, .*; got 1"),
        ({"s_range": 0, "rnnt_type": "modified"}, FsaValueError, "at least 1 for modified"),
        ({"rnnt_type": "odd"}, FsaValueError, "rnnt_type: must be one of"),
        ({"logit_lengths": [10, 1, 1]}, FsaValueError, r"logit_lengths\[0\] = 10"),
        ({"target_lengths": [7, 1, 1]}, FsaValueError, r"target_lengths\[0\] = 7"),
        (
            {"posteriors": (torch.zeros(3, 9, 7), torch.zeros(3, 9, 7))},
            FsaValueError,
            r"posteriors.label: must have shape \(3, 9, 6\)",
        ),
        (
            {"posteriors": (torch.zeros(3, 9).long(), torch.zeros(3, 9, 7))},
            FsaTypeError,
            "posteriors.blank: must be a floating-point tensor",
        ),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], error: type[Exception], match: str):
    arguments: dict[str, Any] = {"posteriors": posteriors(0, "regular"), "s_range": 3}
    arguments |= {"logit_lengths": FRAMES, "target_lengths": LABELS}
    with pytest.raises(error, match=match):
        get_rnnt_prune_ranges(**(arguments | change))


@pytest.mark.parametrize(
    ("ranges", "error", "match"),
    [
        (torch.zeros(2, 3, 2), FsaTypeError, "ranges: must be an int64 tensor"),
        (torch.zeros(2, 4, 2).long(), FsaValueError, r"must have shape \(2, 3, S\)"),
        (
            torch.tensor([[[0, 1]] * 3, [[0, 1], [4, 5], [4, 5]]]),
            FsaValueError,
            r"utterance 1, frame 1, has the label position 5; .* in 0\.\.4",
        ),
        (torch.full((2, 3, 2), -1), FsaValueError, "label position -1"),
    ],
)
def test_wrong_ranges_are_named(ranges: Tensor, error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        do_rnnt_pruning(torch.zeros(2, 3, 4), torch.zeros(2, 5, 4), ranges)
    with pytest.raises(FsaValueError, match="lm: must hold 2 utterances"):
        do_rnnt_pruning(
            torch.zeros(2, 3, 4), torch.zeros(1, 5, 4), torch.zeros(2, 3, 2, dtype=torch.int64)
        )
