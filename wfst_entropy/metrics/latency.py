"""When words come out: deviation from reference word times and emission latency, in seconds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from wfst_entropy.metrics.wer import align_words


class WordTime(NamedTuple):
    """A word with its start and end in seconds from the beginning of the utterance."""

    word: str
    start: float
    end: float


class WordDeviation(NamedTuple):
    """A word that two time-marked texts share: how much later the second one has it, in seconds.

    `position` is its place in the first text.
    """

    position: int
    start: float
    end: float


@dataclass
class TimeDeviation:
    """Deviation of word times over a test set, in seconds.

    `mean_*` are signed (positive: later than the reference), `*_abs_*` are of absolute values.
    """

    num_words: int
    mean_start: float
    mean_end: float
    mean_abs_start: float
    mean_abs_end: float
    median_abs_start: float
    median_abs_end: float

    def as_dict(self) -> dict[str, float]:
        """The fields by name, for a report."""
        return asdict(self)


def word_deviations(
    reference: Sequence[WordTime], hypothesis: Sequence[WordTime]
) -> list[WordDeviation]:
    """Time differences of the words that both texts share.

    The texts are aligned by edit distance; for each matched word i with reference times
    `(s_i, e_i)` and hypothesis times `(s'_i, e'_i)` the result has `s'_i - s_i` and `e'_i - e_i`.

    Args:
      reference: words with true times, in order of time.
      hypothesis: words with estimated times, in order of time.

    Returns:
      One entry per matched word, seconds; substituted, deleted and inserted words have none.

    >>> word_deviations([WordTime("a", 0.0, 0.5)], [WordTime("a", 0.25, 0.5)])
    [WordDeviation(position=0, start=0.25, end=0.0)]
    """
    deviations = []
    i = j = 0
    pairs = align_words([w.word for w in reference], [w.word for w in hypothesis])
    for ref_word, hyp_word in pairs:
        if ref_word == hyp_word:
            ref, hyp = reference[i], hypothesis[j]
            deviations.append(WordDeviation(i, hyp.start - ref.start, hyp.end - ref.end))
        i += ref_word is not None
        j += hyp_word is not None
    return deviations


def time_deviation(deviations: Sequence[WordDeviation]) -> TimeDeviation | None:
    """Mean and median deviation of word times.

    `mean_abs_start = (1/N) sum_i |s'_i - s_i|`, and likewise for ends and medians.

    Args:
      deviations: from `word_deviations`, of all utterances together.

    Returns:
      The summary in seconds, or None where no word matched (a mean over nothing is no number).

    >>> time_deviation([WordDeviation(0, -0.5, 0.25), WordDeviation(1, 0.5, 0.25)]).mean_abs_start
    0.5
    """
    if not deviations:
        return None
    starts = [d.start for d in deviations]
    ends = [d.end for d in deviations]
    return TimeDeviation(
        num_words=len(deviations),
        mean_start=statistics.fmean(starts),
        mean_end=statistics.fmean(ends),
        mean_abs_start=statistics.fmean(map(abs, starts)),
        mean_abs_end=statistics.fmean(map(abs, ends)),
        median_abs_start=statistics.median(map(abs, starts)),
        median_abs_end=statistics.median(map(abs, ends)),
    )


def relative_latency(deviations: Sequence[WordDeviation]) -> float | None:
    """Emission latency of one system relative to another (negative: it emits earlier).

    `(1 / 2N) sum_i (s'_i - s_i + e'_i - e_i)` over the N words that both hypotheses share: the
    relative latency of Chiu et al. 2022 (arXiv 2202.01855), as it is used with semiring
    distillation.

    Args:
      deviations: from `word_deviations(baseline hypothesis, hypothesis)`, of all utterances.

    Returns:
      Seconds, or None where no word matched.

    >>> relative_latency([WordDeviation(0, 0.1, 0.3)])
    0.2
    """
    if not deviations:
        return None
    return sum(d.start + d.end for d in deviations) / (2 * len(deviations))


def emission_latencies(reference: Sequence[WordTime], emitted: Sequence[WordTime]) -> list[float]:
    """How long after the end of a spoken word its last token is first emitted.

    For each matched word, `start of its last token's first frame - true end of the word`; the
    model's own look-ahead comes on top where it is not causal.

    Args:
      reference: words with true times.
      emitted: hypothesis words; `end` is the time at which the last token was first emitted.

    Returns:
      Seconds per matched word; negative where the model is sure before the word is over.

    >>> emission_latencies([WordTime("a", 0.0, 0.5)], [WordTime("a", 0.25, 0.75)])
    [0.25]
    """
    return [d.end for d in word_deviations(reference, emitted)]
