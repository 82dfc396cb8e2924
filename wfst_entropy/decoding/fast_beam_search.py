"""A graph searched by a transducer whose predictor knows the last few labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import transducer_search as native
from wfst_entropy._native.search import Found
from wfst_entropy.algorithms._surgery import MAX_ARCS, MAX_STATES, errors_of_the_extension
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.lattice_scores import scaled_scores
from wfst_entropy.decoding.rnnt_decoding_streams import (
    RnntDecodingConfig,
    check_labels,
    transducer_graph,
)
from wfst_entropy.decoding.transducer import Transducer, TransducerHypothesis
from wfst_entropy.decoding.transducer_lattice import build_lattices
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.topologies import trivial_graph

_FRAMES_BETWEEN_PRUNING = 25


class FastBeamState:
    """How far the search of one stream is; it never changes, so one may go on from it twice.

    Attributes:
      num_frames: how many frames it has read.
    """

    __slots__ = ("_search", "_stream", "num_frames")

    num_frames: int

    def __init__(self, search: FastBeamSearch, stream: Any) -> None:
        self._search, self._stream = search, stream
        self.num_frames = int(stream.num_frames)

    def __repr__(self) -> str:
        return f"FastBeamState(num_frames={self.num_frames})"


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
      FsaTypeError, FsaValueError, CyclicFsaError: the transducer has no `context_size`, the graph
        does not fit it, or a setting is out of range.

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
            raise FsaTypeError(
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
        vocab_size = _vocab_size(transducer)
        self.config = RnntDecodingConfig(
            vocab_size, transducer.context_size, beam, max_states, max_contexts
        )
        self._search = self.config._search()
        graph = trivial_graph(vocab_size - 1) if decoding_graph is None else decoding_graph
        self._graph = transducer_graph(_scaled(graph, ngram_lm_scale))
        check_labels(self._graph, vocab_size)

    @property
    def decoding_graph(self) -> DecodingGraph:
        """The graph, ready for searches, its scores scaled."""
        return self._graph

    def start(self) -> FastBeamState:
        """The state of a stream before its first frame."""
        return FastBeamState(self, self._search.start(self._graph._search))

    @torch.no_grad()
    def advance(
        self, encoder_out: Tensor, lengths: Tensor, states: Sequence[FastBeamState]
    ) -> list[FastBeamState]:
        """Goes on by a chunk of frames for each stream.

        Args:
          encoder_out: `(N, T, D)`.
          lengths: `(N,)` integers, frames of each stream, 0 to T.
          states: N, from `start` or from here.

        Returns:
          The new states; the old ones can still be used.

        Raises:
          FsaTypeError, FsaValueError: shapes or states do not fit, or a score is NaN.
          FsaRuntimeError: the lattices outgrow the limits.
          KeyboardInterrupt: Ctrl-C.
        """
        counts = _checked_lengths(encoder_out, lengths, len(states))
        self._check_states(states)
        streams = [state._stream.copy() for state in states]
        am = self.transducer.project_encoder(encoder_out)
        for t in range(max(counts, default=0)):
            going = [i for i, count in enumerate(counts) if count > t]
            self._advance(am[:, t], going, [streams[i] for i in going], t)
        return [FastBeamState(self, stream) for stream in streams]

    def _advance(self, am: Tensor, rows: list[int], streams: list[Any], t: int) -> None:
        """One frame of some streams, in place; `am` (N, J) are the rows of all."""
        splits, contexts = self._search.contexts(streams)
        of_stream = torch.tensor(rows).repeat_interleave(splits.diff())
        log_probs = self._log_probs(am[of_stream.to(am.device)], contexts.to(am.device))
        with errors_of_the_extension():
            bad = self._search.advance(
                "FastBeamSearch",
                [self._graph._search] * len(streams),
                streams,
                log_probs.to("cpu"),
                max_states=self._limits[0],
                max_arcs=self._limits[1],
            )
        if bad.numel():
            row, symbol = bad.tolist()
            raise FsaValueError(
                f"encoder_out: in row {int(of_stream[row])}, frame {t} and after the labels "
                f"{contexts[row].tolist()} the transducer gives symbol {symbol} the score "
                f"{float(log_probs[row, symbol])}; check the model and its input for NaN"
            )
        for stream in streams:
            if stream.num_frames % _FRAMES_BETWEEN_PRUNING == 0:
                stream.forget_dead_ends()

    def _log_probs(self, am: Tensor, contexts: Tensor) -> Tensor:
        lm = self.transducer.contexts(contexts)
        log_probs = self._tempered(self.transducer.join(am, lm))
        if self.ilme_scale != 0:
            internal = self.transducer.join(torch.zeros_like(am), lm)
            log_probs = log_probs - self.ilme_scale * self._tempered(internal)
        return log_probs

    def _tempered(self, log_probs: Tensor) -> Tensor:
        if self.blank_penalty == 0 and self.temperature == 1:
            return log_probs
        logits = log_probs.clone()
        logits[:, 0] -= self.blank_penalty
        return (logits / self.temperature).log_softmax(1)

    def results(self, states: Sequence[FastBeamState]) -> list[TransducerHypothesis]:
        """The best path of each stream so far; without labels where there is none.

        `score` is the weight of that path alone, with one alignment; `lm_score` the graph's part of
        it. `posterior` is its share among all paths of the lattice.
        """
        found = self._best_paths(states)
        lm = self._graph.fsa.scores.detach().cpu().double()
        arc_splits = found.state_splits[found.fsa_splits].tolist()
        results = []
        for begin, end in zip(arc_splits, arc_splits[1:], strict=False):
            labels = found.arcs.view(-1, 3)[begin:end, 2]
            source, read = found.arc_map[begin:end], found.read[begin:end]
            spoken = (labels > 0) & (labels < self.config.vocab_size)
            lm_score = float(lm[source[source >= 0]].sum())
            results.append(
                TransducerHypothesis(
                    labels[spoken].tolist(),
                    found.frames[begin:end][spoken].tolist(),
                    read[spoken].tolist(),
                    (lm_score + float(read.double().sum())) if end > begin else -math.inf,
                    lm_score,
                )
            )
        return results

    def lattice(self, states: Sequence[FastBeamState]) -> Fsa:
        """The lattices of all frames so far, `[stream][state][arc]`.

        As of `RnntDecodingStreams.format_output`: labels are those of frames, 0 for blank; where
        the graph has words, they are the `aux_labels`.
        """
        self._check_states(states)
        streams = [state._stream for state in states]
        graphs = [self._graph] * len(streams)
        with errors_of_the_extension():
            found = native.lattices(
                [self._graph._search] * len(streams),
                streams,
                [state.num_frames for state in states],
                self.allow_partial,
                self.config.vocab_size,
            )
        return build_lattices(graphs or [self._graph], found)

    def best_path(self, states: Sequence[FastBeamState]) -> Fsa:
        """The best path of each lattice, as linear FSAs; empty where there is none."""
        return build_lattices([self._graph], self._best_paths(states))

    def _best_paths(self, states: Sequence[FastBeamState]) -> Found:
        self._check_states(states)
        with errors_of_the_extension():
            return native.best_paths(
                [self._graph._search] * len(states),
                [state._stream for state in states],
                self.allow_partial,
                self.config.vocab_size,
            )

    def _check_states(self, states: Sequence[FastBeamState]) -> None:
        for i, state in enumerate(states):
            if not isinstance(state, FastBeamState):
                raise FsaTypeError(
                    f"states[{i}]: must be a FastBeamState, from start() or advance(), got "
                    f"{type(state).__name__}"
                )
            if state._search is not self:
                raise FsaValueError(f"states[{i}]: is of another search")


def _scaled(graph: Fsa | DecodingGraph, scale: float) -> Fsa | DecodingGraph:
    """The graph with its scores scaled."""
    if scale == 1:
        return graph
    if isinstance(graph, DecodingGraph):
        fsa = graph.fsa.with_scores(scaled_scores(graph.fsa.scores, scale))
        return DecodingGraph(fsa, epsilon_label=graph.epsilon_label, topology=graph.topology)
    if isinstance(graph, Fsa):
        return graph.with_scores(scaled_scores(graph.scores, scale))
    return graph  # refused by transducer_graph


def _vocab_size(transducer: Transducer) -> int:
    """How many symbols a transducer emits."""
    with torch.no_grad():
        lm, _ = transducer.start(1)
        symbols = int(transducer.join(torch.zeros_like(lm), lm).shape[1])
    if symbols < 2:
        raise FsaValueError(f"transducer: emits {symbols} symbols; needs blank and at least one")
    return symbols


def _check_settings(
    ngram_lm_scale: float, temperature: float, blank_penalty: float, ilme_scale: float
) -> None:
    for name, value, good in (
        ("ngram_lm_scale", ngram_lm_scale, ngram_lm_scale >= 0),
        ("temperature", temperature, temperature > 0),
        ("blank_penalty", blank_penalty, True),
        ("ilme_scale", ilme_scale, ilme_scale >= 0),
    ):
        if not (math.isfinite(value) and good):
            raise FsaValueError(f"{name}: is out of range, got {value}")


def _checked_lengths(encoder_out: Tensor, lengths: Tensor, num_states: int) -> list[int]:
    if encoder_out.dim() != 3 or not encoder_out.is_floating_point():
        raise FsaValueError(
            f"encoder_out: must be float (N, T, D), got {encoder_out.dtype} "
            f"{tuple(encoder_out.shape)}"
        )
    n, num_frames, _ = encoder_out.shape
    if lengths.shape != (n,) or lengths.is_floating_point() or num_states != n:
        raise FsaValueError(
            f"lengths, states: need {n} integers and {n} states, one for each row of encoder_out, "
            f"got lengths {lengths.dtype} {tuple(lengths.shape)} and {num_states} states"
        )
    counts: list[int] = lengths.tolist()
    for i, count in enumerate(counts):
        if not 0 <= count <= num_frames:
            raise FsaValueError(f"lengths[{i}]: must lie in 0..{num_frames}, got {count}")
    return counts
