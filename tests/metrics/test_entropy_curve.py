"""The curve of a training, by hand."""

from __future__ import annotations

from wfst_entropy.metrics.entropy_curve import CurvePoint, entropy_curve


def test_two_epochs_by_hand():
    history = [
        {"step": 10, "curve": [[4, 80.0, 4.0, 8], [10, 200.0, 10.0, 20]]},
        # nothing was trained between the first two points; a resumed epoch may have fewer points
        {"step": 16, "curve": [[2, 8.0, 2.0, 4], [2, 8.0, 2.0, 4], [6, 16.0, 8.0, 8]]},
    ]
    assert entropy_curve(history) == [
        CurvePoint(2.0, 10.0, 0.5),
        CurvePoint(7.0, 10.0, 0.5),
        CurvePoint(11.0, 2.0, 0.5),
        CurvePoint(14.0, 2.0, 1.5),
    ]


def test_of_nothing():
    assert entropy_curve([]) == []
    assert entropy_curve([{"step": 3, "curve": []}]) == []
