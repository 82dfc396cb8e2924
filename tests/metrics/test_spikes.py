"""Widths of token posteriors by hand."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.metrics.spikes import SpikeStats, mean_spike_stats, spike_stats


def test_by_hand():
    # token 0: one sure frame; token 1: spread evenly over four frames, and lasting two in all
    posteriors = torch.zeros(1, 6, 2)
    posteriors[0, 0, 0] = 1.0
    posteriors[0, 1:5, 1] = 0.5
    (stats,) = spike_stats(posteriors, [6], [2], threshold=0.4)
    assert stats.width == pytest.approx((1 + 4) / 2)
    assert stats.frames_above == (1 + 4) / 2
    assert stats.peak == 0.75
    assert stats.blank_fraction == pytest.approx(1 / 6)  # a half is not "less than half"
    (stricter,) = spike_stats(posteriors, [6], [2])
    assert stricter.frames_above == 0.5


def test_width_is_the_exponential_of_the_entropy():
    column = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    entropy = -sum(p * math.log(p) for p in column.tolist())
    for scale in (1.0, 2.5):  # how long a token lasts in all does not matter
        (stats,) = spike_stats(scale * column[None, :, None], [4], [1])
        assert stats.width == pytest.approx(math.exp(entropy))


def test_only_what_is_inside_counts():
    posteriors = torch.rand(2, 5, 3)
    inside = spike_stats(posteriors[1:, :3, :2], [3], [2])[0]
    assert spike_stats(posteriors, [5, 3], [3, 2])[1] == inside


def test_nothing_to_divide_by():
    no_text, no_frames = spike_stats(torch.zeros(2, 3, 1), [3, 0], [0, 1])
    assert no_text == SpikeStats(3, 0, None, None, None, 1.0)
    assert no_frames == SpikeStats(0, 1, None, None, None, None)
    assert mean_spike_stats([]) is None
    means = mean_spike_stats([no_text, no_frames])
    assert means == SpikeStats(1.5, 0.5, None, None, None, 1.0)
    # a text without any alignment has posteriors of zero, and no token anywhere
    (impossible,) = spike_stats(torch.zeros(1, 2, 3), [2], [3])
    assert (impossible.width, impossible.peak) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("args", "threshold", "message"),
    [
        ((torch.zeros(1, 2, 1), [3], [1]), 0.5, "up to 3 frames and 1 tokens"),
        ((torch.zeros(1, 2, 1), [2, 2], [1]), 0.5, "N lengths"),
        ((torch.zeros(1, 2, 1), [2], [1]), 1.0, "threshold: needs a probability below 1"),
    ],
)
def test_errors(args, threshold, message):
    with pytest.raises(FsaValueError, match=message):
        spike_stats(*args, threshold=threshold)
