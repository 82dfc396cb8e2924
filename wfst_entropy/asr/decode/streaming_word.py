"""A word of a stream: where it was said, and when it came out."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class StreamingWord:
    """A word of a stream; all times in seconds from the stream's beginning.

    `start` and `end` tell where the model emitted it. The others tell how much audio had been heard
    when it came out: what a listener waited for, but for the time of computing.

    Attributes:
      word: the word.
      start: beginning of the frame that emitted its first token; None where that is not known.
      end: end of the frame that emitted its last token.
      first: when a partial result first had this word at this place of the text.
      stable: since when all partial results have had it there.
      final: when it became final, at an endpoint or the end of the audio; None before.
      confidence: the probability that it was said there; None where the search does not tell.
    """

    word: str
    start: float | None
    end: float | None
    first: float
    stable: float
    final: float | None = None
    confidence: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times rounded to 0.1 ms.

        >>> StreamingWord("HI", 0.0, 0.24, 0.3375, 0.3375).as_dict()["first"]
        0.3375
        """
        fields = dataclasses.asdict(self)
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}
