"""Calibration by hand."""

from __future__ import annotations

import math

import pytest

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.metrics.calibration import calibration, correct_words


def test_by_hand():
    confidences = [0.95, 0.85, 0.85, 0.25, 0.3, 0.0]
    correct = [True, True, False, False, True, False]
    found = calibration(confidences, correct, num_bins=5)
    assert found is not None
    # bins (0..0.2], (0.2..0.4], (0.4..0.6], (0.6..0.8], (0.8..1]
    assert [b.num_words for b in found.bins] == [1, 2, 0, 0, 3]
    assert found.bins[1].confidence == pytest.approx(0.275)
    assert found.bins[1].accuracy == 0.5
    assert found.bins[2].confidence is None
    gaps = 1 * 0.0 + 2 * 0.225 + 3 * abs(2 / 3 - 2.65 / 3)
    assert found.ece == pytest.approx(gaps / 6)
    assert found.accuracy == 0.5
    cross = -sum(math.log(c if ok else 1 - c) for c, ok in zip(confidences, correct, strict=True))
    assert found.nce == pytest.approx(1 - cross / (6 * math.log(2)))


def test_the_constant_accuracy_is_calibrated_and_tells_nothing():
    found = calibration([0.75] * 4, [True, True, True, False])
    assert found is not None
    assert (found.ece, found.nce) == (0.0, pytest.approx(0.0))


def test_extremes():
    assert calibration([], []) is None
    sure = calibration([1.0, 1.0], [True, True])
    assert sure is not None and (sure.ece, sure.nce) == (0.0, None)
    wrong = calibration([1.0, 1.0], [True, False])
    assert wrong is not None and (wrong.ece, wrong.nce) == (0.5, -math.inf)


@pytest.mark.parametrize("num_bins", [1, 3, 10, 49, 100])
def test_a_range_has_its_upper_end(num_bins):
    ends = [(i + 1) / num_bins for i in range(num_bins)]
    found = calibration(ends, [True] * num_bins, num_bins=num_bins)
    assert found is not None
    assert [(b.high, b.num_words) for b in found.bins] == [(end, 1) for end in ends]


def test_correct_words():
    assert correct_words(["A", "B", "C"], ["A", "X", "C", "D"]) == [True, False, True, False]
    assert correct_words(["A"], []) == []


def test_errors():
    with pytest.raises(FsaValueError, match="1 confidences of 2 words"):
        calibration([0.5], [True, False])
    with pytest.raises(FsaValueError, match=r"word 1 has 1\.5"):
        calibration([0.5, 1.5], [True, False])
    with pytest.raises(FsaValueError, match="word 0 has nan"):
        calibration([math.nan], [True])
    with pytest.raises(FsaValueError, match="num_bins"):
        calibration([0.5], [True], num_bins=0)
