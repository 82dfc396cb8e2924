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


@dataclass(frozen=True)
class LatencyPercentiles:
    """How a latency is distributed over the utterances of a test set, seconds.

    `p50` and `p90` of partial latencies are what FastEmit calls PR50 and PR90.
    """

    num_utterances: int
    mean: float
    p50: float
    p90: float

    def as_dict(self) -> dict[str, float]:
        """The fields by name, for a report."""
        return asdict(self)


def partial_latency(reference: Sequence[WordTime], emitted: Sequence[WordTime]) -> float | None:
    """How long after the end of speech the last token of the recognised text came out.

    `emission of the last token - true end of the last word`, whatever the words are: Yu et al.
    2021, "FastEmit" (arXiv 2010.11148), section 4.2.

    Args:
      reference: words with true times, in order of time.
      emitted: hypothesis words; `end` is the time at which the last token was first emitted.

    Returns:
      Seconds (negative: before the speaker was done), or None where either text is empty.

    >>> partial_latency([WordTime("a", 0.0, 0.5)], [WordTime("b", 0.25, 0.75)])
    0.25
    """
    if not reference or not emitted:
        return None
    return emitted[-1].end - reference[-1].end


def final_latency(reference: Sequence[WordTime], final_time: float) -> float | None:
    """How long after the end of speech the final result was there, seconds.

    Args:
      reference: words with true times, in order of time.
      final_time: when the recogniser declared its result final, seconds from the utterance's start;
        with an endpointer its decision, without one the end of the audio.

    Returns:
      Seconds, or None without a reference.

    >>> final_latency([WordTime("a", 0.0, 0.5)], 1.25)
    0.75
    """
    return final_time - reference[-1].end if reference else None


def latency_percentiles(latencies: Sequence[float | None]) -> LatencyPercentiles | None:
    """Mean, median and 90th percentile over utterances, interpolated between neighbours.

    Args:
      latencies: of each utterance, from `partial_latency` or `final_latency`; None does not count.

    Returns:
      The summary in seconds, or None where no utterance has a latency.

    >>> latency_percentiles([0.0, 1.0, None, 2.0]).p90
    1.8
    """
    known = sorted(latency for latency in latencies if latency is not None)
    if not known:
        return None
    return LatencyPercentiles(
        len(known), statistics.fmean(known), _quantile(known, 0.5), _quantile(known, 0.9)
    )


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def mean_symbol_delay(
    reference: Sequence[Sequence[WordTime]], emitted: Sequence[Sequence[WordTime]]
) -> tuple[float, float] | None:
    """How much later than spoken a recogniser shows words, on average over matched words.

    Delay of a word's first token against the true start of the word, and of its last token against
    the true end: `(1/N) sum_i (b_i - s_i)` and `(1/N) sum_i (e_i - t_i)` with emissions `b_i, e_i`.

    Args:
      reference: words of each utterance with true times.
      emitted: hypothesis words of the same utterances, from the emission of the first token to
        that of the last.

    Returns:
      Seconds at the starts and at the ends, or None where no word matched.

    >>> mean_symbol_delay([[WordTime("a", 0.0, 0.5)]], [[WordTime("a", 0.25, 0.375)]])
    (0.25, -0.125)
    """
    pairs = zip(reference, emitted, strict=True)
    deviations = [d for ref, hyp in pairs for d in word_deviations(ref, hyp)]
    if not deviations:
        return None
    return (
        statistics.fmean(d.start for d in deviations),
        statistics.fmean(d.end for d in deviations),
    )
