"""CTC best-path search of streams, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from wfst_entropy.decoding.ctc_greedy_search import GreedyHypothesis, ctc_greedy_search
from wfst_entropy.decoding.errors import DecodingError


class CtcGreedyState(NamedTuple):
    """How far the search of one stream is; it never changes, so one may go on from it twice."""

    num_frames: int = 0
    tokens: tuple[int, ...] = ()
    start_frames: tuple[int, ...] = ()
    end_frames: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()


class OnlineCtcGreedySearch:
    """`ctc_greedy_search` for streams: the same hypotheses, whatever the chunks.

    Args:
      blank: the blank symbol.

    Example:
      >>> import torch
      >>> scores = torch.tensor([[[0.1, 0.8], [0.2, 0.7], [0.9, 0.0], [0.0, 0.9]]]).log()
      >>> search = OnlineCtcGreedySearch()
      >>> states = [search.start()]
      >>> for chunk in scores.split(1, dim=1):
      ...     states = search.advance(chunk, torch.tensor([1]), states)
      >>> found = search.results(states)[0]
      >>> found.tokens, found.start_frames, found.end_frames
      ([1, 1], [0, 3], [2, 4])
    """

    def __init__(self, *, blank: int = 0) -> None:
        self.blank = blank

    def start(self) -> CtcGreedyState:
        """The state of a stream that begins."""
        return CtcGreedyState()

    def advance(
        self, log_probs: Tensor, lengths: Tensor, states: Sequence[CtcGreedyState]
    ) -> list[CtcGreedyState]:
        """Reads a chunk of each stream.

        Args:
          log_probs: `(N, T, C)` float.
          lengths: `(N,)` integer, frames of each chunk, from 0 on; those beyond are not read.
          states: where each stream is.

        Returns:
          Where each stream is then.

        Raises:
          DecodingError: there is not one state for each chunk, or see `ctc_greedy_search`.
        """
        chunks = ctc_greedy_search(log_probs, lengths, blank=self.blank)
        if len(states) != len(chunks):
            raise DecodingError(
                f"states: needs one for each of {len(chunks)} chunks, got {len(states)}."
            )
        return [
            _joined(state, chunk, length)
            for state, chunk, length in zip(states, chunks, lengths.tolist(), strict=True)
        ]

    def results(self, states: Sequence[CtcGreedyState]) -> list[GreedyHypothesis]:
        """What each stream has so far; frames are counted from its beginning."""
        return [
            GreedyHypothesis(
                list(state.tokens),
                list(state.start_frames),
                list(state.end_frames),
                list(state.log_probs),
            )
            for state in states
        ]


def _joined(state: CtcGreedyState, chunk: GreedyHypothesis, length: int) -> CtcGreedyState:
    """The state after a chunk; a run of equal symbols that the chunk cut is one again."""
    offset = state.num_frames
    starts = [frame + offset for frame in chunk.start_frames]
    ends = [frame + offset for frame in chunk.end_frames]
    means, kept = list(chunk.log_probs), len(state.tokens)
    goes_on = state.tokens[-1:] == tuple(chunk.tokens[:1]) and state.end_frames[-1:] == (offset,)
    if goes_on and starts[:1] == [offset]:
        kept -= 1
        starts[0] = state.start_frames[-1]
        total = state.log_probs[-1] * (offset - starts[0]) + means[0] * (ends[0] - offset)
        means[0] = total / (ends[0] - starts[0])
    return CtcGreedyState(
        offset + length,
        (*state.tokens[:kept], *chunk.tokens),
        (*state.start_frames[:kept], *starts),
        (*state.end_frames[:kept], *ends),
        (*state.log_probs[:kept], *means),
    )
