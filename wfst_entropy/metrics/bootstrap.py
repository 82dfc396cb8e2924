"""Is one recogniser better than another, or was it the choice of the test utterances?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from wfst_entropy.metrics.wer import Recognition, ScoringError, error_stats

# Resampled test sets at a time: the counts of one batch of them stay in the cache.
_BATCH = 500


@dataclass
class WerDifference:
    """Word error rates of two systems on the same utterances, and bootstrap intervals.

    All in per cent; `difference` is `wer - baseline_wer` (points), `relative` is that by
    `baseline_wer`. Negative: the system makes fewer errors than the baseline.

    Attributes:
      baseline_wer: of the baseline.
      wer: of the system.
      difference: in points.
      low: lower end of the interval of `difference`.
      high: its upper end.
      relative: change relative to the baseline.
      relative_low: lower end of the interval of `relative`.
      relative_high: its upper end.
      num_utterances: utterances of the test set.
      confidence: of the intervals, such as 0.95.
    """

    baseline_wer: float
    wer: float
    difference: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    num_utterances: int
    confidence: float

    def as_dict(self) -> dict[str, float]:
        """The fields by name, for a report."""
        return asdict(self)


def wer_difference(
    baseline: Sequence[Recognition],
    results: Sequence[Recognition],
    *,
    num_samples: int = 10000,
    confidence: float = 0.95,
    seed: int = 0,
) -> WerDifference:
    """The difference of two word error rates with its paired bootstrap interval.

    Test sets of the same size are drawn from the utterances with replacement,
    `W_b = 100 sum_u n_bu e_u / sum_u n_bu r_u` with `n_bu` the times that sample b has utterance
    u, `e_u` its errors and `r_u` its reference words; both systems are scored on the same samples.
    The interval has the percentiles of `W_b - W'_b` and of `(W_b - W'_b) / W'_b`: Bisani and Ney
    2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation".

    Args:
      baseline: one entry per utterance.
      results: of the other system; the same utterances with the same references, in any order.
      num_samples: resampled test sets.
      confidence: between 0 and 1.
      seed: of the resampling.

    Returns:
      Rates, difference and intervals. Where a baseline makes no error, relative changes are 0 if
      the other system makes none, else infinite.

    Raises:
      ScoringError: the test sets differ, there is no reference word, or an argument is out of
        range.
      MissingAlignerError: kaldialign is not installed.

    >>> good = [Recognition(f"u{i}", ["a", "b"], ["a", "b"]) for i in range(20)]
    >>> bad = [r._replace(hyp=["a"]) for r in good]
    >>> found = wer_difference(bad, good)
    >>> found.difference, found.low, found.high, found.relative
    (-50.0, -50.0, -50.0, -100.0)
    """
    _check(num_samples, confidence)
    before, now, words = _counts(baseline, results)
    return _difference(before, now, words, num_samples, confidence, seed)


def wer_difference_of_counts(
    baseline_errors: Sequence[int],
    errors: Sequence[int],
    ref_words: Sequence[int],
    *,
    num_samples: int = 10000,
    confidence: float = 0.95,
    seed: int = 0,
) -> WerDifference:
    """`wfst_entropy.metrics.bootstrap.wer_difference` where only the counts were kept.

    Args:
      baseline_errors: of each utterance, of the baseline.
      errors: of the same utterances, of the other system.
      ref_words: reference words of each utterance.
      num_samples: resampled test sets.
      confidence: between 0 and 1.
      seed: of the resampling.

    Raises:
      ScoringError: the lengths differ, there is no reference word, or an argument is out of range.

    >>> wer_difference_of_counts([1] * 20, [0] * 20, [2] * 20).difference
    -50.0
    """
    _check(num_samples, confidence)
    if not len(baseline_errors) == len(errors) == len(ref_words):
        raise ScoringError(
            f"the counts are of {len(baseline_errors)}, {len(errors)} and {len(ref_words)} "
            "utterances; compare results of the same test set"
        )
    if not sum(ref_words):
        raise ScoringError("the results have no reference word, so there is no word error rate")
    before, now, words = np.array([baseline_errors, errors, ref_words], dtype=np.int64)
    return _difference(before, now, words, num_samples, confidence, seed)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    num_samples: int = 10000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The bootstrap interval of a ratio of sums over utterances, `sum_u a_u / sum_u b_u`.

    A word error rate is such a ratio (errors by words), and so is any mean over matched words.

    Args:
      numerators: a_u.
      denominators: b_u, none below 0.
      num_samples: resampled test sets.
      confidence: between 0 and 1.
      seed: of the resampling.

    Returns:
      The lower and the upper end.

    Raises:
      ScoringError: the lengths differ, all denominators are 0, or an argument is out of range.

    >>> ratio_interval([1.0] * 8, [2.0] * 8)
    (0.5, 0.5)
    """
    _check(num_samples, confidence)
    above, below = (np.array(x, dtype=np.float64) for x in (numerators, denominators))
    if above.shape != below.shape or not below.sum() > 0:
        raise ScoringError(
            f"the ratio of {len(above)} numerators and {len(below)} denominators (their sum is "
            f"{below.sum():g}) is not known; give one each, and not all 0"
        )
    ratios = np.empty(num_samples)
    for rows, times in _samples(len(below), num_samples, seed):
        total = times @ below
        # a sample in which nothing counts tells nothing: take the whole set's ratio
        whole = above.sum() / below.sum()
        safe = np.where(total > 0, total, 1.0)
        ratios[rows] = np.where(total > 0, (times @ above) / safe, whole)
    low, high = np.quantile(ratios, _ends(confidence), method="nearest")
    return float(low), float(high)


def _check(num_samples: int, confidence: float) -> None:
    if num_samples < 1:
        raise ScoringError(f"num_samples: needs at least 1, got {num_samples}")
    if not 0 < confidence < 1:
        raise ScoringError(f"confidence: needs a number between 0 and 1, got {confidence}")


def _ends(confidence: float) -> list[float]:
    return [(1 - confidence) / 2, (1 + confidence) / 2]


def _samples(size: int, num_samples: int, seed: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Batches of resampled test sets: their rows, and how often each has each utterance."""
    rng = np.random.default_rng(seed)
    uniform = np.full(size, 1 / size)
    for start in range(0, num_samples, _BATCH):
        rows = slice(start, min(start + _BATCH, num_samples))
        yield rows, rng.multinomial(size, uniform, size=rows.stop - rows.start)


def _difference(
    before: np.ndarray,
    now: np.ndarray,
    words: np.ndarray,
    num_samples: int,
    confidence: float,
    seed: int,
) -> WerDifference:
    differences, relatives = np.empty(num_samples), np.empty(num_samples)
    for rows, times in _samples(len(words), num_samples, seed):
        total = np.maximum(times @ words, 1)  # a sample of utterances without a word has no rate
        old, new = 100.0 * (times @ before) / total, 100.0 * (times @ now) / total
        differences[rows], relatives[rows] = new - old, _relative(old, new)
    # not interpolated, for between a finite and an infinite change there is nothing
    low, high = np.quantile(differences, _ends(confidence), method="nearest")
    relative_low, relative_high = np.quantile(relatives, _ends(confidence), method="nearest")
    rate_before, rate = 100.0 * before.sum() / words.sum(), 100.0 * now.sum() / words.sum()
    return WerDifference(
        baseline_wer=float(rate_before),
        wer=float(rate),
        difference=float(rate - rate_before),
        low=float(low),
        high=float(high),
        relative=float(_relative(rate_before, rate)),
        relative_low=float(relative_low),
        relative_high=float(relative_high),
        num_utterances=len(words),
        confidence=confidence,
    )


def _relative(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """`100 (new - old) / old`, and 0 where both are 0."""
    change = np.asarray(new - old, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(change == 0, 0.0, 100.0 * change / old)


def _counts(
    baseline: Sequence[Recognition], results: Sequence[Recognition]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of the baseline, of the other system, and reference words, by utterance."""
    others = {r.cut_id: r for r in results}
    if len(others) != len(results) or len({r.cut_id for r in baseline}) != len(baseline):
        raise ScoringError("an utterance occurs twice in the results; ids must be unique")
    unpaired = {r.cut_id for r in baseline} ^ set(others)
    if unpaired:
        raise ScoringError(
            f"the two results differ in {len(unpaired)} utterance(s), the first is "
            f"{min(unpaired)!r}; compare results of the same test set"
        )
    columns = []
    for before in baseline:
        now = others[before.cut_id]
        if list(before.ref) != list(now.ref):
            raise ScoringError(
                f"utterance {before.cut_id!r} has two references: {' '.join(before.ref)!r} and "
                f"{' '.join(now.ref)!r}; compare results of the same test set"
            )
        pair = error_stats([before]).num_errors, error_stats([now]).num_errors
        columns.append((*pair, len(before.ref)))
    if not sum(words for _, _, words in columns):
        raise ScoringError("the results have no reference word, so there is no word error rate")
    before_errors, errors, words = np.array(columns, dtype=np.int64).T
    return before_errors, errors, words
