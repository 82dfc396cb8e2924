"""Greedy search of a transducer: the best symbol each time, for many streams at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.decoding._stream_batch import (
    LARGEST,
    StreamBatch,
    adjusted,
    beginning_of,
    check_adjustments,
    check_states,
    raise_bad_score,
    stream_batch,
)
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.transducer import Transducer, TransducerHypothesis

_MOST_SYMBOLS = 1000  # a frame with more is an endless loop of a broken model


class GreedyState(NamedTuple):
    """How far the search of one stream is; it never changes, so one may go on from it twice."""

    search: TransducerGreedySearch
    num_frames: int
    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    log_probs: tuple[float, ...]
    score: float
    lm: Tensor  # (1, J)
    predictor_state: list[Tensor]  # (1, ...)


class TransducerGreedySearch:
    r"""The best symbol of each frame and label context.

    In each frame the best symbol is taken; if it is a label, the predictor reads it, and the frame
    is asked again, until blank comes or `max_sym_per_frame` labels have.  Of equally good symbols
    the smallest wins.  Each frame takes one call of the joiner and one of the predictor for all
    streams (times the labels that one frame has at most).

    Args:
      transducer: the model.
      max_sym_per_frame: labels that one frame may emit.
      blank_penalty: taken from the joiner's log-probability of blank, which is normalised again.

    Raises:
      DecodingError: an option is out of range, or the transducer is none.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", section 2.4, with
    a beam of one.

    Example:
      >>> class Copying:
      ...     "Frames are log-probabilities; the labels so far do not matter."
      ...     context_size = 1
      ...     def project_encoder(self, encoder_out): return encoder_out
      ...     def start(self, n): return torch.zeros(n, 3), []
      ...     def step(self, tokens, state): return torch.zeros(len(tokens), 3), state
      ...     def join(self, am, lm): return am + lm
      ...     def contexts(self, tokens): return torch.zeros(len(tokens), 3)
      >>> frames = torch.tensor([[[0.1, 0.8, 0.1], [0.9, 0.1, 0.0], [0.2, 0.3, 0.5]]]).log()
      >>> search = TransducerGreedySearch(Copying())
      >>> states = [search.start()]
      >>> for chunk in frames.split(1, dim=1):
      ...     states = search.advance(chunk, torch.tensor([1]), states)
      ...     print(search.results(states)[0].tokens)
      [1]
      [1]
      [1, 2]
      >>> search.results(states)[0].frames
      [0, 2]
    """

    def __init__(
        self, transducer: Transducer, max_sym_per_frame: int = 1, *, blank_penalty: float = 0.0
    ) -> None:
        if isinstance(max_sym_per_frame, bool) or not 1 <= max_sym_per_frame <= _MOST_SYMBOLS:
            raise DecodingError(
                f"max_sym_per_frame: must be an integer in 1..{_MOST_SYMBOLS}, got "
                f"{max_sym_per_frame!r}."
            )
        check_adjustments(blank_penalty, 1.0)
        self.transducer, self.max_sym_per_frame = transducer, max_sym_per_frame
        self.blank_penalty = blank_penalty
        begin = beginning_of(transducer)
        self._start = GreedyState(self, 0, (), (), (), 0.0, begin.lm, begin.state)

    def start(self) -> GreedyState:
        """The state of a stream that begins."""
        return self._start

    @torch.inference_mode()
    def advance(
        self, encoder_out: Tensor, lengths: Tensor, states: Sequence[GreedyState]
    ) -> list[GreedyState]:
        """Reads a chunk of each stream; any chunking gives the same.

        Args:
          encoder_out: `(N, T, D)` float.
          lengths: `(N,)` integer, frames of each chunk, from 0 on; those beyond are not read.
          states: where each stream is.

        Returns:
          Where each stream is then.

        Raises:
          DecodingError: shapes, lengths or states do not fit each other, or the joiner gives NaN.
        """
        batch = stream_batch(self.transducer, encoder_out, lengths, states, self)
        if batch is None:
            return list(states)
        return _Run(self, batch, states).read()

    def results(self, states: Sequence[GreedyState]) -> list[TransducerHypothesis]:
        """What each stream has so far; `score` is the log-probability of this one alignment.

        Raises:
          DecodingError: a state is of another search.
        """
        check_states(states, self)
        return [
            TransducerHypothesis(list(s.tokens), list(s.frames), list(s.log_probs), s.score)
            for s in states
        ]


class _Run:
    """One call of `advance`."""

    def __init__(
        self, search: TransducerGreedySearch, batch: StreamBatch, states: Sequence[GreedyState]
    ) -> None:
        self.search, self.batch, self.states = search, batch, states
        own = [states[row] for row in batch.rows]
        self.lm = torch.cat([state.lm for state in own])
        columns = zip(*(state.predictor_state for state in own), strict=True)
        self.predictor_state = [torch.cat(column) for column in columns]
        self.found: list[list[tuple[int, int, float]]] = [[] for _ in own]  # of each stream
        self.totals = [state.score for state in own]

    def read(self) -> list[GreedyState]:
        for frame, am in enumerate(self.batch.am):
            rows = list(range(self.batch.num_active(frame)))
            for _ in range(self.search.max_sym_per_frame):
                if rows:
                    rows = self._ask(frame, am, rows)
        new = list(self.states)
        for place, row in enumerate(self.batch.rows):
            new[row] = self._new_state(place, self.states[row])
        return new

    def _ask(self, frame: int, am: Tensor, rows: list[int]) -> list[int]:
        """Asks the joiner for one frame of some streams, and gives those that emit a label."""
        transducer, lm = self.search.transducer, self.lm
        if len(rows) < len(lm):
            chosen = self._index(rows)
            am, lm = am.index_select(0, chosen), lm.index_select(0, chosen)
        log_probs = adjusted(transducer.join(am, lm), self.search.blank_penalty, 1.0)
        best, symbols = log_probs.max(dim=1)  # NaN wins a maximum, so it shows
        emitting, places = [], []
        answers = zip(rows, best.tolist(), symbols.tolist(), strict=True)
        for place, (row, log_prob, token) in enumerate(answers):
            absolute = self.states[self.batch.rows[row]].num_frames + frame
            if not log_prob <= LARGEST:
                raise_bad_score(self.batch.rows[row], absolute)
            self.totals[row] += log_prob
            if token:
                self.found[row].append((token, absolute, log_prob))
                emitting.append(row)
                places.append(place)
        if emitting:
            self._step(emitting, symbols.index_select(0, self._index(places)))
        return emitting

    def _step(self, rows: list[int], tokens: Tensor) -> None:
        """The predictor reads a label of some streams."""
        if len(rows) == len(self.lm):
            self.lm, self.predictor_state = self.search.transducer.step(
                tokens, self.predictor_state
            )
            return
        chosen = self._index(rows)
        state = [x.index_select(0, chosen) for x in self.predictor_state]
        lm, state = self.search.transducer.step(tokens, state)
        self.lm = self.lm.index_copy(0, chosen, lm)
        self.predictor_state = [
            old.index_copy(0, chosen, new)
            for old, new in zip(self.predictor_state, state, strict=True)
        ]

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, device=self.lm.device)

    def _new_state(self, place: int, old: GreedyState) -> GreedyState:
        found = self.found[place]
        return GreedyState(
            search=old.search,
            num_frames=old.num_frames + self.batch.lengths[place],
            tokens=old.tokens + tuple(token for token, _, _ in found),
            frames=old.frames + tuple(frame for _, frame, _ in found),
            log_probs=old.log_probs + tuple(log_prob for _, _, log_prob in found),
            score=self.totals[place],
            lm=self.lm[place : place + 1].clone(),
            predictor_state=[x[place : place + 1].clone() for x in self.predictor_state],
        )


def greedy_search(
    transducer: Transducer,
    encoder_out: Tensor,
    lengths: Tensor,
    *,
    max_sym_per_frame: int = 1,
    blank_penalty: float = 0.0,
) -> list[TransducerHypothesis]:
    """Decodes whole utterances; see `TransducerGreedySearch`.

    Args:
      transducer: the model.
      encoder_out: `(N, T, D)` float.
      lengths: `(N,)` integer, frames of each utterance; those beyond are not read.
      max_sym_per_frame, blank_penalty: as there.

    Returns:
      One hypothesis per utterance.

    Raises:
      DecodingError: as there.
    """
    search = TransducerGreedySearch(transducer, max_sym_per_frame, blank_penalty=blank_penalty)
    states = search.advance(encoder_out, lengths, [search.start()] * len(lengths))
    return search.results(states)
