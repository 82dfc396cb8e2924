"""Alignment statistics by hand, and their edge cases."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.metrics.alignment_stats import alignment_stats, summarise


def one_hot(paths, num_symbols=4):
    return torch.nn.functional.one_hot(torch.tensor(paths), num_symbols).float().log()


def test_by_hand():
    log_probs = one_hot([[0, 1, 1, 0, 2, 2, 3, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
    stats = alignment_stats(
        log_probs, torch.tensor([8, 2]), torch.tensor([3, 1]), torch.tensor([4.0, 1.0])
    )
    assert stats[0].blank_fraction == 3 / 8
    assert stats[0].peakiness == 3 / 5  # runs 11, 22, 3
    assert (stats[0].entropy_per_frame, stats[0].entropy_per_label) == (0.5, 4 / 3)
    assert (stats[1].blank_fraction, stats[1].peakiness) == (0.0, 0.5)  # only two frames are read
    summary = summarise(stats)
    assert summary is not None
    assert summary.entropy_per_frame == pytest.approx(0.5)
    assert summary.peakiness == pytest.approx(0.55)


def test_nothing_to_divide_by():
    log_probs = one_hot([[0, 0]])
    empty_text = alignment_stats(
        log_probs, torch.tensor([2]), torch.tensor([0]), torch.tensor([0.0])
    )
    assert empty_text[0].entropy_per_label == 0.0
    assert empty_text[0].peakiness is None
    no_frames = alignment_stats(
        torch.zeros(1, 0, 4), torch.tensor([0]), torch.tensor([0]), torch.tensor([0.0])
    )
    assert (no_frames[0].entropy_per_frame, no_frames[0].blank_fraction) == (0.0, 0.0)
    assert summarise([]) is None
    summary = summarise(no_frames)
    assert summary is not None and summary.peakiness is None


def test_sizes_must_agree():
    with pytest.raises(FsaValueError, match=r"same N, got \[1, 1, 1, 2\]"):
        alignment_stats(
            one_hot([[0]]), torch.tensor([1]), torch.tensor([1]), torch.tensor([0.0, 0.0])
        )
