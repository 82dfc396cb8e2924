"""Word-time deviation and latency against hand-worked numbers."""

from __future__ import annotations

import pytest

from wfst_entropy.metrics.latency import (
    WordTime,
    emission_latencies,
    final_latency,
    latency_percentiles,
    mean_symbol_delay,
    partial_latency,
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


def test_partial_and_final_latency():
    assert partial_latency(REFERENCE, [WordTime("Z", 0.0, 1.75)]) == pytest.approx(0.25)
    assert partial_latency(REFERENCE, []) is None
    assert partial_latency([], REFERENCE) is None
    assert final_latency(REFERENCE, 2.0) == pytest.approx(0.5)
    assert final_latency([], 2.0) is None


def test_percentiles_are_those_of_numpy():
    np = pytest.importorskip("numpy")
    values = [0.3, -0.1, 0.7, None, 0.2, 0.25, 0.9, 0.9]
    found = latency_percentiles(values)
    known = [v for v in values if v is not None]
    assert found is not None
    assert found.as_dict() == pytest.approx(
        {
            "num_utterances": 7,
            "mean": np.mean(known),
            "p50": np.percentile(known, 50),
            "p90": np.percentile(known, 90),
        }
    )
    one = latency_percentiles([0.5])
    assert one is not None and (one.p50, one.p90) == (0.5, 0.5)
    assert latency_percentiles([None]) is None


def test_symbol_delay_by_hand():
    emitted = [WordTime("A", 0.2, 0.4), WordTime("X", 0.5, 0.6), WordTime("A", 1.1, 1.3)]
    delay = mean_symbol_delay([REFERENCE, REFERENCE], [emitted, []])
    assert delay == pytest.approx(((0.2 + 0.1) / 2, (0.0 - 0.2) / 2))
    assert mean_symbol_delay([REFERENCE], [[]]) is None
    with pytest.raises(ValueError, match="zip"):
        mean_symbol_delay([REFERENCE], [])
