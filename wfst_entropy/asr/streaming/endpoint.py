"""When an utterance of a stream is over."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from wfst_entropy.asr.options import OptionError, option


class EndpointRule(NamedTuple):
    """An utterance is over if all of this holds; seconds."""

    min_trailing_silence: float
    min_utterance_length: float = 0.0
    must_contain_words: bool = False

    def holds(self, trailing_silence: float, utterance_length: float, has_words: bool) -> bool:
        """Whether it holds.

        Args:
          trailing_silence: since the last token.
          utterance_length: since the utterance began.
          has_words: whether there is any token.
        """
        return (
            trailing_silence >= self.min_trailing_silence
            and utterance_length >= self.min_utterance_length
            and (has_words or not self.must_contain_words)
        )


@dataclasses.dataclass
class EndpointOptions:
    """The three rules of Kaldi and sherpa; an utterance is over if any of them holds.

    1. Much silence, whether anything was said or not.
    2. Some silence after words.
    3. A long utterance.

    Silence is time since the last token that the search found.

    Raises:
      OptionError: a value is negative.

    >>> EndpointOptions().is_endpoint(1.5, 4.0, has_words=True)
    True
    >>> EndpointOptions().is_endpoint(1.5, 1.5, has_words=False)
    False
    """

    rule1_min_trailing_silence: float = option(
        2.4, "End an utterance after so many seconds of silence, with words or without."
    )
    rule2_min_trailing_silence: float = option(
        1.2, "End an utterance after so many seconds of silence after words."
    )
    rule3_min_utterance_length: float = option(
        20.0, "End an utterance that is so many seconds long."
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value >= 0:
                raise OptionError(f"{field.name}: needs at least 0 seconds, got {value}")

    @property
    def rules(self) -> tuple[EndpointRule, EndpointRule, EndpointRule]:
        """As rules."""
        return (
            EndpointRule(self.rule1_min_trailing_silence),
            EndpointRule(self.rule2_min_trailing_silence, must_contain_words=True),
            EndpointRule(0.0, self.rule3_min_utterance_length),
        )

    def is_endpoint(
        self, trailing_silence: float, utterance_length: float, has_words: bool
    ) -> bool:
        """Whether any rule holds; see `EndpointRule.holds`."""
        return any(rule.holds(trailing_silence, utterance_length, has_words) for rule in self.rules)

    def is_silence(self, trailing_silence: float, has_words: bool) -> bool:
        """Whether rule 1 or 2 holds, so that nobody speaks."""
        return any(rule.holds(trailing_silence, 0.0, has_words) for rule in self.rules[:2])
