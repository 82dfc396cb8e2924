"""Modified beam search of a transducer: the best label sequences, with their alignments summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import is_available, why_not
from wfst_entropy._native.modified_beam import ModifiedBeamKernel, ScaledNgram
from wfst_entropy.decoding._ngram_tables import largest_scaled, ngram_tables
from wfst_entropy.decoding._stream_batch import (
    LARGEST,
    StreamBatch,
    adjusted,
    beginning_of,
    check_adjustments,
    check_join_size,
    check_states,
    raise_bad_score,
    stream_batch,
)
from wfst_entropy.decoding.ctc_prefix_beam_search import PhraseBoosts
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.transducer import Transducer, TransducerHypothesis
from wfst_entropy.fsa import Fsa


class BeamState(NamedTuple):
    """How far the search of one stream is; it never changes, so one may go on from it twice."""

    search: ModifiedBeamSearch
    num_frames: int
    beam: Any
    lm: Tensor  # (hypotheses, J)
    predictor_state: list[Tensor]  # (hypotheses, ...)


class TransducerNbest(NamedTuple):
    """What the beam of one stream holds.

    Attributes:
      hypotheses: different label sequences, the best first; at least one.
      entropy: nats, of the posteriors of all hypotheses in the beam; 0 if there is but one.
      num_frames: frames that were read.
      partial: whether something is missing to the end: the search stopped before a frame at which
        no hypothesis had any probability, or an n-gram lets no hypothesis end (no end is scored
        then).
    """

    hypotheses: list[TransducerHypothesis]
    entropy: float
    num_frames: int
    partial: bool


class ModifiedBeamSearch:
    r"""The best label sequences, at most one label a frame; any chunking gives the same.

    A frame emits blank or one label, so that all hypotheses of all streams go on together, in one
    call of the joiner and one of the predictor a frame.  They are ordered by

    .. math:: \log \sum_{\pi \in B^{-1}(y)} \prod_t p(\pi_t \mid t, y_{<u_t})
        + \lambda \log p_{LM}(y) + \mu \log p_{LODR}(y) + \mathrm{boosts}(y) + \beta |y|,

    where :math:`B` removes blanks.  Alignments of the same labels are summed before the beam is
    cut; the sum holds those whose label sequences were in the beam at each frame, so it is a lower
    bound, and exact with a beam that never prunes.  Of equally good hypotheses one that stays as it
    is comes before one that gets a label, then the one whose origin was better, then the smaller
    label.

    Args:
      transducer: the model.
      beam_size: hypotheses kept of each stream.
      search_beam: hypotheses whose score is so many nats below the best of the frame are dropped.
      lm: an n-gram over tokens as an FSA, as in `ctc_prefix_beam_search`; a token that it does not
        know is never found.
      ngram_lm_scale: :math:`\lambda`.
      backoff_label: of both n-grams, by default C, the id of `#0`.
      lodr_lm: a second n-gram, of low order and of the training texts, whose score stands for what
        the transducer has learned of its own texts (density ratio).
      lodr_scale: :math:`\mu`, below 0 to subtract it.
      context_graph: a `ContextGraph` over the same tokens; what it gave for phrases that are not
        completed is taken back at the end.
      length_bonus: :math:`\beta`, nats per token.
      blank_penalty: taken from the joiner's log-probability of blank, which is normalised again.
      temperature: log-probabilities are divided by it and normalised again.

    Raises:
      DecodingError: an option is out of range, an n-gram is none over these tokens, the transducer
        is none, or the C++ module is missing.

    Source: the search with one symbol per frame of icefall and k2 (`modified_beam_search`), and
    Zheng et al. 2022, "An empirical study of language model integration for transducer based
    speech recognition" (LODR).

    Example:
      >>> class Copying:
      ...     "Frames are log-probabilities; the labels so far do not matter."
      ...     context_size = 1
      ...     def project_encoder(self, encoder_out): return encoder_out
      ...     def start(self, n): return torch.zeros(n, 3), []
      ...     def step(self, tokens, state): return torch.zeros(len(tokens), 3), state
      ...     def join(self, am, lm): return am + lm
      ...     def contexts(self, tokens): return torch.zeros(len(tokens), 3)
      >>> frames = torch.tensor([[[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]]]).log()
      >>> search = ModifiedBeamSearch(Copying())
      >>> states = search.advance(frames, torch.tensor([2]), [search.start()])
      >>> (found,) = search.nbest(states, 3)
      >>> import math
      >>> [(h.tokens, h.frames, round(math.exp(h.score), 2)) for h in found.hypotheses]
      [([1], [0], 0.4), ([], [], 0.25), ([1, 1], [0, 1], 0.16)]
    """

    def __init__(
        self,
        transducer: Transducer,
        beam_size: int = 4,
        *,
        search_beam: float = 20.0,
        lm: Fsa | None = None,
        ngram_lm_scale: float = 1.0,
        backoff_label: int | None = None,
        lodr_lm: Fsa | None = None,
        lodr_scale: float = -0.1,
        context_graph: PhraseBoosts | None = None,
        length_bonus: float = 0.0,
        blank_penalty: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        if not is_available():
            raise DecodingError(f"ModifiedBeamSearch: needs the C++ module: {why_not()}.")
        if isinstance(beam_size, bool) or not 1 <= beam_size <= 2**24:
            raise DecodingError(f"beam_size: must be an integer in 1..{2**24}, got {beam_size!r}.")
        if not search_beam >= 0:
            raise DecodingError(f"search_beam: must be at least 0, got {search_beam!r}.")
        check_adjustments(blank_penalty, temperature)
        given = {
            "ngram_lm_scale": ngram_lm_scale,
            "lodr_scale": lodr_scale,
            "length_bonus": length_bonus,
        }
        for name, value in given.items():
            if not abs(value) <= LARGEST:
                raise DecodingError(f"{name}: must lie in -2**26..2**26, got {value!r}.")
        self.transducer, self.beam_size = transducer, beam_size
        self.blank_penalty, self.temperature = blank_penalty, temperature
        begin = beginning_of(transducer)
        self.num_symbols = begin.num_symbols
        backoff = self.num_symbols if backoff_label is None else backoff_label
        ngrams = [("lm", lm, ngram_lm_scale), ("lodr_lm", lodr_lm, lodr_scale)]
        self._kernel = ModifiedBeamKernel(
            self.num_symbols,
            beam_size=beam_size,
            search_beam=search_beam,
            length_bonus=length_bonus,
            ngrams=[
                _scaled_ngram(name, fsa, scale, self.num_symbols, backoff)
                for name, fsa, scale in ngrams
                if fsa is not None
            ],
            context=None if context_graph is None else context_graph.tables(),
        )
        self._start = BeamState(self, 0, self._kernel.new_beam(), begin.lm, begin.state)

    def start(self) -> BeamState:
        """The state of a stream that begins."""
        return self._start

    @torch.inference_mode()
    def advance(
        self, encoder_out: Tensor, lengths: Tensor, states: Sequence[BeamState]
    ) -> list[BeamState]:
        """Reads a chunk of each stream.

        Args:
          encoder_out: `(N, T, D)` float.
          lengths: `(N,)` integer, frames of each chunk, from 0 on; those beyond are not read.
          states: where each stream is.

        Returns:
          Where each stream is then.

        Raises:
          DecodingError: shapes, lengths or states do not fit each other, the joiner gives NaN, or
            there are too many hypotheses for the memory.
        """
        batch = stream_batch(self.transducer, encoder_out, lengths, states, self)
        if batch is None:
            return list(states)
        return _Run(self, batch, states).read()

    def results(
        self, states: Sequence[BeamState], *, final: bool = True
    ) -> list[TransducerHypothesis]:
        """The best hypothesis of each stream so far; see `nbest`."""
        return [found.hypotheses[0] for found in self.nbest(states, 1, final=final)]

    def nbest(
        self, states: Sequence[BeamState], nbest: int, *, final: bool = True
    ) -> list[TransducerNbest]:
        """The best hypotheses of each stream so far, which may go on after it.

        Args:
          states: where each stream is.
          nbest: at most so many; there are no more than `beam_size`.
          final: whether the streams end here: then the n-grams' scores of the end count, and boosts
            for phrases not completed are taken back.

        Raises:
          DecodingError: `nbest` is below 1, or a state is of another search.
        """
        if nbest < 1:
            raise DecodingError(f"nbest: must be at least 1, got {nbest}.")
        check_states(states, self)
        return [self._nbest(state, nbest, final) for state in states]

    def _nbest(self, state: BeamState, nbest: int, final: bool) -> TransducerNbest:
        rows, ends = self._kernel.hypotheses(state.beam, final)
        log_posteriors = torch.tensor([row[3] for row in rows], dtype=torch.float64).log_softmax(0)
        posteriors = log_posteriors.exp()
        hypotheses = [
            TransducerHypothesis._make([*(x.tolist() for x in row[:3]), *row[3:], posterior])
            for row, posterior in zip(rows[:nbest], posteriors.tolist())
        ]
        entropy = 0.0 - float((posteriors * log_posteriors).nansum())
        return TransducerNbest(
            hypotheses, max(entropy, 0.0), state.beam.num_frames, state.beam.stopped or not ends
        )

    def log_probs(self, am: Tensor, lm: Tensor) -> Tensor:
        """What the joiner gives, with penalty and temperature: float32 on the CPU.

        Raises:
          DecodingError: it gives another shape than at first.
        """
        log_probs = self.transducer.join(am, lm)
        if log_probs.shape != (len(lm), self.num_symbols):
            raise DecodingError(
                f"transducer: join must give ({len(lm)}, {self.num_symbols}) here, as many symbols "
                f"as at first, got {tuple(log_probs.shape)}."
            )
        return adjusted(log_probs, self.blank_penalty, self.temperature).to("cpu", torch.float32)


def _scaled_ngram(name: str, fsa: Fsa, scale: float, num_symbols: int, backoff: int) -> ScaledNgram:
    try:
        tables = ngram_tables(fsa, num_symbols, 0, backoff)
    except DecodingError as error:
        raise DecodingError(str(error).replace("lm:", f"{name}:", 1)) from None
    return ScaledNgram(tables, scale, largest_scaled(tables, scale))


class _Run:
    """One call of `advance`: rows of tensors are hypotheses, stream by stream."""

    def __init__(
        self, search: ModifiedBeamSearch, batch: StreamBatch, states: Sequence[BeamState]
    ) -> None:
        self.search, self.batch, self.states = search, batch, states
        self.new = list(states)
        own = [states[row] for row in batch.rows]
        self.beams = search._kernel.begin([state.beam for state in own])
        self.lm = torch.cat([state.lm for state in own])
        columns = zip(*(state.predictor_state for state in own), strict=True)
        self.predictor_state = [torch.cat(column) for column in columns]
        self.active = len(own)
        self.stream_of_row = self._streams_of_rows()

    def read(self) -> list[BeamState]:
        for frame in range(self.batch.lengths[0]):
            self._finish(self.batch.num_active(frame))
            self._frame(frame)
        self._finish(0)
        return self.new

    def _streams_of_rows(self) -> Tensor:
        sizes = [len(self.states[row].lm) for row in self.batch.rows]
        return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(self.lm.device)

    def _frame(self, frame: int) -> None:
        transducer, device = self.search.transducer, self.lm.device
        check_join_size(len(self.lm), self.search.num_symbols)
        am = self.batch.am[frame].index_select(0, self.stream_of_row)
        step = self.beams.step(self.active, self.search.log_probs(am, self.lm))
        if step.bad >= 0:
            row = self.batch.rows[step.bad]
            raise_bad_score(row, self.states[row].num_frames + frame)
        if not step.changed:
            return
        rows, sources = step.rows.to(device), step.sources.to(device)
        streams, lm, state = self.stream_of_row, self.lm, self.predictor_state
        if len(sources):
            state_of_sources = [x.index_select(0, sources) for x in state]
            new_lm, new_state = transducer.step(step.tokens.to(device), state_of_sources)
            streams = torch.cat([streams, streams.index_select(0, sources)])
            lm = torch.cat([lm, new_lm])
            state = [torch.cat(pair) for pair in zip(state, new_state, strict=True)]
        self.stream_of_row = streams.index_select(0, rows)
        self.lm = lm.index_select(0, rows)
        self.predictor_state = [x.index_select(0, rows) for x in state]

    def _finish(self, active: int) -> None:
        """Puts the streams from `active` on, which have no further frame, into their states."""
        while self.active > active:
            self.active -= 1
            first, row = self.beams.num_rows(self.active), self.batch.rows[self.active]
            self.new[row] = BeamState(
                self.search,
                self.states[row].num_frames + self.batch.lengths[self.active],
                self.beams.beam(self.active),
                self.lm[first:].clone(),
                [x[first:].clone() for x in self.predictor_state],
            )
            self.lm, self.stream_of_row = self.lm[:first], self.stream_of_row[:first]
            self.predictor_state = [x[:first] for x in self.predictor_state]


def modified_beam_search(
    transducer: Transducer,
    encoder_out: Tensor,
    lengths: Tensor,
    beam_size: int = 4,
    *,
    nbest: int = 1,
    **options: Any,
) -> list[TransducerNbest]:
    """Decodes whole utterances; see `ModifiedBeamSearch`.

    Args:
      transducer: the model.
      encoder_out: `(N, T, D)` float.
      lengths: `(N,)` integer, frames of each utterance; those beyond are not read.
      beam_size: hypotheses kept of each utterance.
      nbest: hypotheses returned of each, at most.
      options: those of `ModifiedBeamSearch`.

    Returns:
      One n-best list per utterance.

    Raises:
      DecodingError: as there.
    """
    search = ModifiedBeamSearch(transducer, beam_size, **options)
    states = search.advance(encoder_out, lengths, [search.start()] * len(lengths))
    return search.nbest(states, nbest)
