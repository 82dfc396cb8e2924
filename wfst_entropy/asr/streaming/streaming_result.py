"""What has been recognised in a stream, with times and latencies."""

from __future__ import annotations

import dataclasses
from typing import Any

from wfst_entropy.asr.decode.streaming_word import StreamingWord


@dataclasses.dataclass(frozen=True)
class StreamingResult:
    """What has been recognised in a segment of a stream.

    Attributes:
      text: its words.
      words: with times, in order.
      tokens: ids of the tokens.
      timestamps: seconds from the stream's beginning, of the beginning of the frame that emitted
        each token.
      is_final: whether it cannot change any more: an endpoint was found, or the audio has ended.
      segment: its number, from 0; `StreamingRecognizer.reset` begins the next one.
      start: where the segment begins, seconds.
      heard: seconds of audio that this is of.
      problem: what the search says about it, or "".
    """

    text: str
    words: list[StreamingWord]
    tokens: list[int]
    timestamps: list[float]
    is_final: bool
    segment: int
    start: float
    heard: float
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            "is_final": self.is_final,
            "segment": self.segment,
            "start": round(self.start, 4),
            "heard": round(self.heard, 4),
            "words": [word.as_dict() for word in self.words],
            "tokens": self.tokens,
            "timestamps": [round(time, 4) for time in self.timestamps],
        } | ({"problem": self.problem} if self.problem else {})
