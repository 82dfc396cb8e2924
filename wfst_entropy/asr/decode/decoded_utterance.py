"""What decoding found out about one utterance, and the time that it took."""

from __future__ import annotations

import dataclasses
from typing import Any

from wfst_entropy.asr.decode.streaming_word import StreamingWord
from wfst_entropy.decoding.alignment import WordSpan
from wfst_entropy.metrics.alignment_stats import AlignmentStats
from wfst_entropy.metrics.latency import (
    WordDeviation,
    WordTime,
    emission_latencies,
    word_deviations,
)


def reference_times(cut: Any) -> list[WordTime]:
    """The true word times of a lhotse cut, from its supervision's alignment `word`; maybe none."""
    alignment = (cut.supervisions[0].alignment or {}).get("word", [])
    return [WordTime(item.symbol, item.start, item.end) for item in alignment]


@dataclasses.dataclass
class DecodedUtterance:
    """What is known of one utterance.

    Attributes:
      cut_id: its name.
      ref: words of the reference.
      hyp: words of the hypothesis.
      emitted: words of the hypothesis, from the first frame of the first token to the first frame
        of the last one, seconds.
      confidences: of the same words, None where the method does not tell.
      lattice_entropy: of the paths that the search kept, nats; None without a lattice.
      word_entropy: of their word sequences alone, nats; None where the method does not tell.
      stats: entropy and peakiness of its alignments; None where the text cannot be aligned.
      aligned: words of the reference with the times of the forced alignment, seconds.
      spans: the same words with score and entropy.
      true_times: words of the reference with their true times, if the corpus has them.
      problem: why the utterance cannot be decoded or its text not be aligned, or "".
      search_problem: what the search says about its hypothesis, or "".
      failed: it could not be decoded; its hypothesis is empty, and its words count as deleted.
      streamed: of a stream, when each word of the hypothesis came out.
      heard: of a stream, seconds of audio at the final result.
    """

    cut_id: str
    ref: list[str]
    hyp: list[str] = dataclasses.field(default_factory=list)
    emitted: list[WordTime] = dataclasses.field(default_factory=list)
    confidences: list[float | None] = dataclasses.field(default_factory=list)
    lattice_entropy: float | None = None
    word_entropy: float | None = None
    stats: AlignmentStats | None = None
    aligned: list[WordTime] = dataclasses.field(default_factory=list)
    spans: list[WordSpan] = dataclasses.field(default_factory=list)
    true_times: list[WordTime] = dataclasses.field(default_factory=list)
    problem: str = ""
    search_problem: str = ""
    failed: bool = False
    streamed: list[StreamingWord] = dataclasses.field(default_factory=list)
    heard: float | None = None

    def deviations(self) -> list[WordDeviation]:
        """Forced alignment against true times."""
        return word_deviations(self.true_times, self.aligned)

    def latencies(self) -> list[float]:
        """Emission of the hypothesis against the true ends of words."""
        return emission_latencies(self.true_times, self.emitted)


@dataclasses.dataclass
class TimeSpent:
    """Seconds that decoding took, and of speech that was decoded in them."""

    model: float = 0.0
    search: float = 0.0
    audio: float = 0.0

    def as_dict(self) -> dict[str, float | None]:
        """For a summary: the search's time by the speech's is its real-time factor."""
        factor = self.search / self.audio if self.audio else None
        return dataclasses.asdict(self) | {"search_real_time_factor": factor}
