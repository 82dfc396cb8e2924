"""What the searches share that keep hypotheses of a transducer, stream by stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from torch import Tensor

from wfst_entropy.asr.search.greedy import hypothesis_of_tokens
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup
from wfst_entropy.decoding.transducer import TransducerHypothesis


class StreamSearch(Protocol):
    """A search of many streams, whose states are separate objects that never change."""

    def start(self) -> Any:
        """The state of a stream that begins."""
        ...

    def advance(self, encoder_out: Tensor, lengths: Tensor, states: Sequence[Any], /) -> list[Any]:
        """Read a chunk `(N, T, D)` of each of N streams, `lengths` `(N,)` frames of it."""
        ...

    def results(self, states: Sequence[Any], /) -> list[TransducerHypothesis]:
        """What has been found so far."""
        ...


class TransducerMethod:
    """A decoding method that is a `StreamSearch`; a whole utterance is a stream of one chunk.

    Subclasses say in `stream_search` which one it is.

    Args:
      setup: with the transducer head.
    """

    reads: ClassVar[Reads] = "encoder_out"
    default_scales: ClassVar[Scales] = {}
    grid: ClassVar[Sequence[Scales]] = ()

    def __init__(self, setup: SearchSetup) -> None:
        self.tokenizer, self.options, self.transducer = setup.tokenizer, setup.options, setup.head
        self.scales: Scales = setup.scales_of(self.default_scales)

    def stream_search(self, scales: Scales) -> StreamSearch:
        """The search with these scales."""
        raise NotImplementedError

    def search(
        self, encoder_out: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        return self._search(encoder_out, lengths, self.scales)

    def search_grid(
        self, encoder_out: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one search for each scale."""
        found = [self._search(encoder_out, lengths, scales) for scales in grid]
        return [[hypothesis.words for hypothesis in hypotheses] for hypotheses in found]

    def _search(self, encoder_out: Tensor, lengths: Tensor, scales: Scales) -> list[Hypothesis]:
        search = self.stream_search(scales)
        states = [search.start()] * len(lengths)
        results = search.results(search.advance(encoder_out, lengths, states))
        return [self.hypothesis(result) for result in results]

    def hypothesis(self, result: TransducerHypothesis) -> Hypothesis:
        """The words of what a stream search has found, with the frames that emitted them."""
        found = hypothesis_of_tokens(result.tokens, result.frames, self.tokenizer, result.log_probs)
        if result.score == -math.inf:
            found.problem = "no path has any probability"
        return found
