"""How likelihood and alignment entropy go over a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple


class CurvePoint(NamedTuple):
    """Means over the frames of some consecutive batches.

    Attributes:
      step: batches trained, at the middle of them.
      nll: negative log-likelihood of the transcripts, nats per frame.
      entropy: entropy of the alignments (of the kind that was trained with), nats per frame.
    """

    step: float
    nll: float
    entropy: float


def entropy_curve(history: Sequence[Mapping[str, Any]]) -> list[CurvePoint]:
    """The curve that a training left in its `history.jsonl`.

    Args:
      history: one row per epoch: `step`, batches trained at its end, and `curve`, points
        `[batches of this epoch, sum of nll, sum of entropy, sum of frames]` that rise.

    Returns:
      A point between any two points of the history.

    >>> entropy_curve([{"step": 4, "curve": [[2, 30.0, 5.0, 10], [4, 40.0, 15.0, 20]]}])
    [CurvePoint(step=1.0, nll=3.0, entropy=0.5), CurvePoint(step=3.0, nll=1.0, entropy=1.0)]
    """
    points = []
    for row in history:
        curve = [[0, 0.0, 0.0, 0.0], *row["curve"]]
        first = row["step"] - curve[-1][0]
        for before, now in pairwise(curve):
            frames = now[3] - before[3]
            if frames > 0:
                middle = first + (before[0] + now[0]) / 2
                nll, entropy = ((now[i] - before[i]) / frames for i in (1, 2))
                points.append(CurvePoint(middle, nll, entropy))
    return points
