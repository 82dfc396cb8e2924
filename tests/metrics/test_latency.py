"""Word-time deviation and latency against hand-worked numbers."""

from __future__ import annotations

import pytest

from wfst_entropy.metrics.latency import (
    WordTime,
    emission_latencies,
    relative_latency,
    time_deviation,
    word_deviations,
)

REFERENCE = [WordTime("A", 0.0, 0.4), WordTime("B", 0.5, 0.9), WordTime("A", 1.0, 1.5)]


def test_hand_worked():
    shifted = [WordTime("A", 0.1, 0.3), WordTime("B", 0.5, 1.0), WordTime("A", 0.7, 1.5)]
    deviations = word_deviations(REFERENCE, shifted)
    assert [d.start for d in deviations] == pytest.approx([0.1, 0.0, -0.3])
    assert [d.end for d in deviations] == pytest.approx([-0.1, 0.1, 0.0])
    summary = time_deviation(deviations)
    assert summary is not None
    assert summary.as_dict() == pytest.approx(
        {
            "num_words": 3,
            "mean_start": -0.2 / 3,
            "mean_end": 0.0,
            "mean_abs_start": 0.4 / 3,
            "mean_abs_end": 0.2 / 3,
            "median_abs_start": 0.1,
            "median_abs_end": 0.1,
        }
    )
    assert relative_latency(deviations) == pytest.approx(-0.2 / 6)


def test_only_matching_words_count():
    hypothesis = [WordTime("X", 0.0, 0.1), WordTime("A", 0.2, 0.4), WordTime("A", 1.1, 1.6)]
    deviations = word_deviations(REFERENCE, hypothesis)
    assert [d.position for d in deviations] == [0, 2]
    assert [d.start for d in deviations] == pytest.approx([0.2, 0.1])


def test_shifting_everything_shifts_every_measure():
    later = [WordTime(w, s + 0.25, e + 0.25) for w, s, e in REFERENCE]
    summary = time_deviation(word_deviations(REFERENCE, later))
    assert summary is not None
    assert list(summary.as_dict().values()) == pytest.approx([3] + [0.25] * 6)
    assert relative_latency(word_deviations(REFERENCE, later)) == pytest.approx(0.25)
    assert relative_latency(word_deviations(later, REFERENCE)) == pytest.approx(-0.25)
    assert emission_latencies(REFERENCE, later) == pytest.approx([0.25] * 3)


def test_nothing_in_common_is_none_not_nan():
    assert time_deviation(word_deviations(REFERENCE, [])) is None
    assert relative_latency([]) is None
