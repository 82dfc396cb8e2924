"""Are words that a recogniser is 90 % sure of right in 90 % of the cases?"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.metrics.wer import align_words


@dataclass(frozen=True)
class CalibrationBin:
    """The words whose confidence lies in one range; a point of the reliability plot.

    Attributes:
      low: lower end of the range, not in it (but 0 is in the first).
      high: upper end, in it.
      num_words: how many there are.
      confidence: their mean confidence, None without words.
      accuracy: share of them that is right, None without words.
    """

    low: float
    high: float
    num_words: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """How well confidences tell which words are right.

    Attributes:
      num_words: words of the hypotheses.
      accuracy: share of them that is right.
      confidence: mean confidence.
      ece: expected calibration error, in 0..1; 0 is perfect.
      nce: normalised cross entropy; 1 is perfect, 0 what the constant `accuracy` would give,
        below 0 worse than that. None where all words are right or all wrong.
      bins: the reliability plot.
    """

    num_words: int
    accuracy: float
    confidence: float
    ece: float
    nce: float | None
    bins: tuple[CalibrationBin, ...]

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for a report."""
        return asdict(self)


def correct_words(ref: Sequence[str], hyp: Sequence[str]) -> list[bool]:
    """Which words of a hypothesis are right, by edit-distance alignment.

    >>> correct_words(["a", "b"], ["a", "c", "b"])
    [True, False, True]
    """
    return [r == h for r, h in align_words(ref, hyp) if h is not None]


def calibration(
    confidences: Sequence[float], correct: Sequence[bool], *, num_bins: int = 10
) -> Calibration | None:
    r"""Compares the confidences of words with how often they are right.

    With the words of bin b, :math:`n_b`, their mean confidence and accuracy:
    :math:`\mathrm{ECE} = \sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|` (Guo et al. 2017,
    "On calibration of modern neural networks", Eq. 3), and
    :math:`\mathrm{NCE} = 1 - H(c) / H_0` with :math:`H(c) = -\sum_i \log(c_i` if word i is right
    else :math:`1 - c_i)` and :math:`H_0` the same of the constant accuracy (NIST's SCTK).

    Args:
      confidences: of each word, in 0..1.
      correct: whether the word is right, see `correct_words`.
      num_bins: ranges of equal width.

    Returns:
      The figures, or None without words. A word of confidence 0 or 1 that is the other way round
      makes the NCE minus infinity.

    Raises:
      FsaValueError: the lengths differ, a confidence is no probability, or there is no bin.

    >>> found = calibration([0.9, 0.9, 0.6, 0.6], [True, True, True, False])
    >>> round(found.ece, 4), round(found.nce, 4)
    (0.1, 0.2719)
    """
    if len(confidences) != len(correct):
        raise FsaValueError(
            f"calibration: {len(confidences)} confidences of {len(correct)} words; give one each."
        )
    if num_bins < 1:
        raise FsaValueError(f"num_bins: needs at least 1, got {num_bins}.")
    for place, value in enumerate(confidences):
        if not 0 <= value <= 1:
            raise FsaValueError(f"confidences: word {place} has {value}; needed are 0 to 1.")
    if not confidences:
        return None
    bins = _bins(confidences, correct, num_bins)
    gaps = [
        b.num_words * abs(b.accuracy - b.confidence)
        for b in bins
        if b.accuracy is not None and b.confidence is not None  # an empty bin has neither
    ]
    num_words = len(confidences)
    return Calibration(
        num_words=num_words,
        accuracy=sum(correct) / num_words,
        confidence=math.fsum(confidences) / num_words,
        ece=math.fsum(gaps) / num_words,
        nce=_normalised_cross_entropy(confidences, correct),
        bins=bins,
    )


def _bins(
    confidences: Sequence[float], correct: Sequence[bool], num_bins: int
) -> tuple[CalibrationBin, ...]:
    members: list[list[int]] = [[] for _ in range(num_bins)]
    ends = [(index + 1) / num_bins for index in range(num_bins)]
    for place, value in enumerate(confidences):
        members[bisect.bisect_left(ends, value)].append(place)
    bins = []
    for index, places in enumerate(members):
        size = len(places)
        bins.append(
            CalibrationBin(
                index / num_bins,
                (index + 1) / num_bins,
                size,
                math.fsum(confidences[i] for i in places) / size if size else None,
                sum(correct[i] for i in places) / size if size else None,
            )
        )
    return tuple(bins)


def _normalised_cross_entropy(
    confidences: Sequence[float], correct: Sequence[bool]
) -> float | None:
    right = sum(correct)
    wrong = len(correct) - right
    if not right or not wrong:
        return None
    base = -right * math.log(right / len(correct)) - wrong * math.log(wrong / len(correct))
    chances = [c if good else 1 - c for c, good in zip(confidences, correct, strict=True)]
    if min(chances) == 0:
        return -math.inf
    return 1 + math.fsum(map(math.log, chances)) / base
