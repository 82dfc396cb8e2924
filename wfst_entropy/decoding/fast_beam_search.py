"""A graph searched by a transducer whose predictor knows the last few labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import transducer_search as native
from wfst_entropy._native.search import Found
from wfst_entropy.algorithms._surgery import MAX_ARCS, MAX_STATES, errors_of_the_extension
from wfst_entropy.decoding._stream_batch import (
    StreamBatch,
    beginning_of,
    check_join_size,
    check_states,
    raise_bad_score,
    stream_batch,
)
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.lattice_scores import scaled_scores
from wfst_entropy.decoding.rnnt_decoding_streams import (
    RnntDecodingConfig,
    check_labels,
    transducer_graph,
)
from wfst_entropy.decoding.transducer import Transducer, TransducerHypothesis
from wfst_entropy.decoding.transducer_lattice import build_lattices
from wfst_entropy.fsa import Fsa
from wfst_entropy.topologies import trivial_graph

_FRAMES_BETWEEN_PRUNING = 25
_LARGEST = 2.0**26  # beyond this sums lose their digits


class FastBeamState(NamedTuple):
    """How far the search of one stream is; it never changes, so one may go on from it twice."""

    search: FastBeamSearch
    num_frames: int
    stream: Any
    lm: Tensor  # (contexts, J), the predictor after each context of the next frame


class FastBeamSearch:
    r"""Searches a decoding graph by a transducer, for lattices and best paths of many streams.

    At most one label per frame. Hypotheses with the same last `context_size` labels at the same
    state of the graph are one state of the search, so that the joiner is evaluated, once per frame
    for all streams together, for a few contexts only; see `RnntDecodingStreams`. Scores are

    .. math:: w(\pi) = \sum_t \big(\log p(y_t \mid h_t, t) - \mu \log q(y_t \mid h_t)\big)
        + \lambda \sum_{a \in \pi} g(a)

    with `ilme_scale` :math:`\mu` of the internal language model :math:`q`, which is the joiner with
    zeros for the frame, and `ngram_lm_scale` :math:`\lambda` of the graph's scores :math:`g`.

    Whole utterances are `start`, one `advance` and `results` (or `lattice`); chunks give the same.

    Args:
      transducer: with a `context_size`.
      decoding_graph: such as LG; arcs labelled 0 in an `Fsa` consume no frame (see
        `RnntDecodingStream`). None for `trivial_graph`: any labels.
      beam: nats, states further behind the best one of a frame are dropped.
      max_contexts, max_states: at most so many of a stream go on to the next frame.
      ngram_lm_scale: of the graph's scores, at least 0.
      temperature: log-probabilities are divided by it and normalised again; above 0.
      blank_penalty: taken from blank's logit; nats.
      ilme_scale: see above.
      allow_partial: whether a stream that is at no final state ends anywhere, instead of having no
        path.
      max_lattice_states, max_lattice_arcs: what the lattices of the streams of one call may hold.

    Raises:
      DecodingError: the transducer has no `context_size`, or a setting is out of range.
      FsaTypeError, FsaValueError, CyclicFsaError: the graph is none, or does not fit.

    Source: k2 and icefall, "fast beam search"; Kang et al. 2022, "Fast and parallel decoding for
    transducer".

    Example:
      >>> class Constant:  # the same log-probabilities in each frame and context
      ...     context_size = 1
      ...     def start(self, n): return torch.zeros(n, 3), []
      ...     def contexts(self, tokens): return torch.zeros(len(tokens), 3)
      ...     def project_encoder(self, encoder_out): return encoder_out
      ...     def join(self, am, lm): return (am + lm).log_softmax(1)
      >>> search = FastBeamSearch(Constant(), beam=8.0)
      >>> frames = torch.tensor([[[0.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 4.0]]])
      >>> states = search.advance(frames, torch.tensor([3]), [search.start()])
      >>> search.results(states)[0].tokens
      [1, 2]
    """

    def __init__(
        self,
        transducer: Transducer,
        decoding_graph: Fsa | DecodingGraph | None = None,
        *,
        beam: float = 20.0,
        max_contexts: int = 8,
        max_states: int = 64,
        ngram_lm_scale: float = 1.0,
        temperature: float = 1.0,
        blank_penalty: float = 0.0,
        ilme_scale: float = 0.0,
        allow_partial: bool = True,
        max_lattice_states: int = MAX_STATES,
        max_lattice_arcs: int = MAX_ARCS,
    ) -> None:
        if transducer.context_size is None:
            raise DecodingError(
                "transducer: its predictor depends on all labels of a hypothesis (such as an LSTM "
                "does), so hypotheses never meet in one state of a graph; use "
                "modified_beam_search, or a model with a stateless predictor (--predictor "
                "stateless)"
            )
        _check_settings(ngram_lm_scale, temperature, blank_penalty, ilme_scale)
        self.transducer, self.allow_partial = transducer, allow_partial
        self.temperature, self.blank_penalty = temperature, blank_penalty
        self.ilme_scale = ilme_scale
        self._limits = (max_lattice_states, max_lattice_arcs)
        begin = beginning_of(transducer)
        vocab_size = begin.num_symbols
        if vocab_size < 2:
            raise DecodingError("transducer: emits blank alone; needs at least one label")
        self.config = RnntDecodingConfig(
            vocab_size, transducer.context_size, beam, max_states, max_contexts
        )
        self._search = self.config._search()
        graph = trivial_graph(vocab_size - 1) if decoding_graph is None else decoding_graph
        self._graph = transducer_graph(_scaled(graph, ngram_lm_scale))
        check_labels(self._graph, vocab_size)
        self._start = FastBeamState(self, 0, self._search.start(self._graph._search), begin.lm)

    @property
    def decoding_graph(self) -> DecodingGraph:
        """The graph, ready for searches, its scores scaled."""
        return self._graph

    def start(self) -> FastBeamState:
        """The state of a stream that begins."""
        return self._start

    @torch.inference_mode()
    def advance(
        self, encoder_out: Tensor, lengths: Tensor, states: Sequence[FastBeamState]
    ) -> list[FastBeamState]:
        """Reads a chunk of each stream.

        Args:
          encoder_out: `(N, T, D)` float.
          lengths: `(N,)` integer, frames of each chunk, from 0 on; those beyond are not read.
          states: where each stream is.

        Returns:
          Where each stream is then; the old states can still be used.

        Raises:
          DecodingError: shapes, lengths or states do not fit each other, or the joiner gives NaN.
          FsaRuntimeError: the lattices outgrow the limits.
          KeyboardInterrupt: Ctrl-C.
        """
        batch = stream_batch(self.transducer, encoder_out, lengths, states, self)
        if batch is None:
            return list(states)
        return _Run(self, batch, states).read()

    def log_probs(self, am: Tensor, lm: Tensor) -> Tensor:
        """What the joiner gives, with penalty, temperature and without the internal language model.

        Args:
          am: `(n, J)`, projected encoder output.
          lm: `(n, J)`, the predictor.

        Returns:
          `(n, C)` float32 on the CPU.
        """
        log_probs = self._tempered(self.transducer.join(am, lm))
        if self.ilme_scale != 0:
            internal = self._tempered(self.transducer.join(torch.zeros_like(am), lm))
            log_probs = log_probs - self.ilme_scale * internal
        return log_probs.to("cpu", torch.float32)

    def _tempered(self, log_probs: Tensor) -> Tensor:
        if self.blank_penalty == 0 and self.temperature == 1:
            return log_probs
        logits = log_probs.clone()
        logits[:, 0] -= self.blank_penalty
        return (logits / self.temperature).log_softmax(1)

    def results(
        self, states: Sequence[FastBeamState], *, final: bool = True
    ) -> list[TransducerHypothesis]:
        """The best path of each stream so far; no labels, and score -inf, where there is none.

        `score` is the weight of that path, with its one alignment, `lm_score` the graph's part of
        it. `posterior` is the probability of its labels among the paths of the lattice, of all
        alignments and of all ways through the graph.

        Args:
          states: where each stream is.
          final: whether the streams end here; if not, paths may end at any state of the graph.
        """
        found, posteriors = self._best_paths(states, final)
        lm = self._graph.fsa.scores.detach().cpu().double()
        splits = found.state_splits[found.fsa_splits].tolist()
        results = []
        for begin, end, posterior in zip(splits, splits[1:], posteriors.tolist(), strict=False):
            arcs = slice(begin, end)
            labels, source = found.arcs.view(-1, 3)[arcs, 2], found.arc_map[arcs]
            spoken = (labels > 0) & (labels < self.config.vocab_size)
            read = found.read[arcs].double()
            lm_score = float(lm[source[source >= 0]].sum())
            results.append(
                TransducerHypothesis(
                    labels[spoken].tolist(),
                    found.frames[arcs][spoken].tolist(),
                    read[spoken].tolist(),
                    lm_score + float(read.sum()) if end > begin else -math.inf,
                    lm_score,
                    posterior=posterior,
                )
            )
        return results

    def lattice(self, states: Sequence[FastBeamState]) -> Fsa:
        """The lattices of all frames so far, `[stream][state][arc]`.

        As of `RnntDecodingStreams.format_output`: labels are those of frames, 0 for blank; where
        the graph has words, they are the `aux_labels`.
        """
        check_states(states, self)
        streams = [state.stream for state in states]
        counts = [state.num_frames for state in states]
        with errors_of_the_extension():
            found = native.lattices(
                [self._graph._search] * len(streams),
                streams,
                counts,
                self._paths_end(True),
                self.config.vocab_size,
            )
        return build_lattices([self._graph], found)

    def best_path(self, states: Sequence[FastBeamState], *, final: bool = True) -> Fsa:
        """The best path of each stream as a linear FSA, with attributes; empty where there is none.

        Args:
          states: where each stream is.
          final: as in `results`.
        """
        return build_lattices([self._graph], self._best_paths(states, final)[0])

    def _best_paths(self, states: Sequence[FastBeamState], final: bool) -> tuple[Found, Tensor]:
        check_states(states, self)
        graphs = [self._graph._search] * len(states)
        streams = [state.stream for state in states]
        end = self._paths_end(final)
        with errors_of_the_extension():
            return native.best_paths(graphs, streams, end, self.config.vocab_size)

    def _paths_end(self, final: bool) -> str:
        if not final:
            return "anywhere"
        return "final or anywhere" if self.allow_partial else "final"


class _Run:
    """One call of `advance`: rows of tensors are contexts, stream by stream."""

    def __init__(
        self, search: FastBeamSearch, batch: StreamBatch, states: Sequence[FastBeamState]
    ) -> None:
        self.search, self.batch, self.states = search, batch, states
        self.new = list(states)
        self.streams = [states[row].stream.copy() for row in batch.rows]
        self.contexts = search._search.contexts(self.streams)
        self.lm = torch.cat([states[row].lm for row in batch.rows])

    def read(self) -> list[FastBeamState]:
        for frame, am in enumerate(self.batch.am):
            self._finish(self.batch.num_active(frame))
            self._frame(frame, am)
        self._finish(0)
        return self.new

    def _frame(self, frame: int, am: Tensor) -> None:
        search, sizes = self.search, self.contexts.splits.diff()
        check_join_size(len(self.lm), search.config.vocab_size)
        stream_of_row = torch.arange(len(sizes)).repeat_interleave(sizes)
        log_probs = search.log_probs(am.index_select(0, stream_of_row.to(am.device)), self.lm)
        with errors_of_the_extension():
            bad = search._search.advance(
                "FastBeamSearch",
                [search._graph._search] * len(self.streams),
                self.streams,
                log_probs,
                max_states=search._limits[0],
                max_arcs=search._limits[1],
            )
        if bad.numel():
            row = self.batch.rows[int(stream_of_row[bad[0]])]
            raise_bad_score(row, self.states[row].num_frames + frame)
        for stream in self.streams:
            if stream.num_frames % _FRAMES_BETWEEN_PRUNING == 0:
                stream.forget_dead_ends()
        self._predict()

    def _predict(self) -> None:
        """The predictor after the contexts of the next frame; most have been there before."""
        first = self.contexts.splits[:-1]
        self.contexts = splits, labels, carried = self.search._search.contexts(self.streams)
        before = carried + first.repeat_interleave(splits.diff())
        new = (carried < 0).nonzero()[:, 0]
        lm = self.lm.index_select(0, before.masked_fill(carried < 0, 0).to(self.lm.device))
        if len(new):
            tokens = labels[new].to(lm.device)
            lm.index_copy_(0, new.to(lm.device), self.search.transducer.contexts(tokens))
        self.lm = lm

    def _finish(self, active: int) -> None:
        """Puts the streams from `active` on, which have no further frame, into their states."""
        splits = self.contexts.splits.tolist()
        for i in range(active, len(self.streams)):
            row = self.batch.rows[i]
            self.new[row] = FastBeamState(
                self.search,
                self.states[row].num_frames + self.batch.lengths[i],
                self.streams[i],
                self.lm[splits[i] : splits[i + 1]].clone(),
            )
        if active < len(self.streams):
            self.streams = self.streams[:active]
            self.contexts = self.search._search.contexts(self.streams)
            self.lm = self.lm[: splits[active]]


def _scaled(graph: Fsa | DecodingGraph, scale: float) -> Fsa | DecodingGraph:
    """The graph with its scores scaled."""
    if scale == 1:
        return graph
    if isinstance(graph, DecodingGraph):
        fsa = graph.fsa.with_scores(scaled_scores(graph.fsa.scores, scale))
        return DecodingGraph(fsa, epsilon_label=graph.epsilon_label, topology=graph.topology)
    return graph.with_scores(scaled_scores(graph.scores, scale))


def _check_settings(
    ngram_lm_scale: float, temperature: float, blank_penalty: float, ilme_scale: float
) -> None:
    for name, value, least in (
        ("ngram_lm_scale", ngram_lm_scale, 0.0),
        ("temperature", temperature, 1e-6),
        ("blank_penalty", blank_penalty, -_LARGEST),
        ("ilme_scale", ilme_scale, 0.0),
    ):
        if not least <= value <= _LARGEST:
            raise DecodingError(f"{name}: must lie in {least:g}..{_LARGEST:g}, got {value!r}")
