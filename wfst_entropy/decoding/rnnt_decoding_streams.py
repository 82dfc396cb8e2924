"""Graphs searched by a transducer, frame by frame, for many streams at a time."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import transducer_search as native
from wfst_entropy.algorithms._surgery import MAX_ARCS, MAX_STATES, errors_of_the_extension
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.intersect_dense_pruned import PARTIAL
from wfst_entropy.decoding.transducer_lattice import LogProbRows, build_lattices
from wfst_entropy.fsa import Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError, FsaValueError

_MOST_SYMBOLS = 2**31 - 1  # which labels arcs that consume no frame


@dataclasses.dataclass(frozen=True)
class RnntDecodingConfig:
    """How far the search of a transducer looks.

    Attributes:
      vocab_size: the number C of symbols, blank (0) included.
      decoder_history_len: how many last labels the predictor depends on, its context.
      beam: in nats; states further behind the best one of the same frame are dropped.
      max_states: at most so many states of a stream go on to the next frame, the best.
      max_contexts: likewise contexts; the transducer is evaluated once for each.

    Raises:
      FsaTypeError: `beam` is no number.
      FsaValueError: one of them is out of range, or `vocab_size ** decoder_history_len` (how many
        contexts there may be) is no less than 2**63.

    Source: k2, the class of the same name.
    """

    vocab_size: int
    decoder_history_len: int
    beam: float
    max_states: int
    max_contexts: int

    def __post_init__(self) -> None:
        for name in ("vocab_size", "decoder_history_len", "max_states", "max_contexts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise FsaValueError(f"{name}: must be an integer, at least 1, got {value!r}")
        if self.vocab_size > _MOST_SYMBOLS:
            raise FsaValueError(
                f"vocab_size: labels are 32-bit integers, so {_MOST_SYMBOLS} at most, got "
                f"{self.vocab_size}"
            )
        try:
            beam = float(self.beam)
        except (TypeError, ValueError, OverflowError) as error:
            raise FsaTypeError(f"beam: must be a number, got {self.beam!r:.80}") from error
        if not beam >= 0:
            raise FsaValueError(
                f"beam: must be at least 0 nats, got {self.beam}; math.inf keeps every path"
            )
        bits = self.decoder_history_len * math.log2(self.vocab_size)
        if self.decoder_history_len > 1024 or bits >= 63:
            raise FsaValueError(
                f"decoder_history_len: {self.decoder_history_len} labels out of {self.vocab_size} "
                "make too many contexts to be numbered (2**63); use a predictor with a smaller "
                "context_size"
            )

    def _search(self) -> native.TransducerSearch:
        return native.TransducerSearch(
            self.vocab_size,
            self.decoder_history_len,
            float(self.beam),
            self.max_states,
            self.max_contexts,
        )


class RnntDecodingStream:
    """One utterance: its graph, and what the search has found in the frames so far.

    Args:
      fsa: the decoding graph. In an `Fsa`, label 0 consumes no frame, such as on the back-off arcs
        of an LG; a `DecodingGraph` says itself which label does, or that none does (then 0 is a
        blank, as it is everywhere for k2), and is made ready once for many streams.

    Attributes:
      num_frames: how many frames it has.

    Raises:
      FsaTypeError: `fsa` is no graph.
      FsaValueError: it has no states, is a vector, or has a topology.
      CyclicFsaError: arcs that consume no frame form a cycle.

    Example:
      >>> from wfst_entropy.topologies import trivial_graph
      >>> RnntDecodingStream(trivial_graph(3))
      RnntDecodingStream(num_frames=0)
    """

    def __init__(self, fsa: Fsa | DecodingGraph) -> None:
        self.graph = transducer_graph(fsa)
        self._stream: Any = None  # of the extension; None before the first frame
        self._sizes: tuple[int, int] | None = None  # symbols and labels in a context

    @property
    def fsa(self) -> Fsa:
        """The decoding graph."""
        return self.graph.fsa

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        return 0 if self._stream is None else int(self._stream.num_frames)

    def __repr__(self) -> str:
        return f"RnntDecodingStream(num_frames={self.num_frames})"


class RnntDecodingStreams:
    r"""Several streams that go on together, one frame at a time.

    A state of the search is a state of the graph together with the last labels, the context. In
    each frame it emits blank and stays, or one label: along an arc of the graph with that label,
    after any arcs that consume no frame. The score is

    .. math:: w(\pi) = \sum_{t} \log p(y_t \mid h_t, t) + \sum_{a \in \pi} g(a)

    with the context :math:`h_t` of each frame and the graph's scores :math:`g`. Per frame, states
    within `beam` of the best one go on, at most `max_states` of at most `max_contexts` contexts (of
    equals, the smaller). ::

        streams = RnntDecodingStreams([RnntDecodingStream(graph) for _ in utterances], config)
        for t in range(num_frames):
            shape, contexts = streams.get_contexts()
            log_probs = ...  # joiner of frame t of stream shape.row_ids(1) and of contexts
            streams.advance(log_probs)
        streams.terminate_and_flush_to_streams()
        lattice = streams.format_output([num_frames] * len(utterances))

    Streams may have different graphs, and any numbers of frames behind them; they can be put
    together otherwise after each `terminate_and_flush_to_streams`.

    Unlike in k2 (`rnnt_decode.cu`):

    * arcs may consume no frame. They are taken right before a label or the end, so that no sequence
      of arcs and frame labels has two paths, and the states between take no room in the beam: as if
      they had been removed beforehand.
    * a final arc is taken after the last frame, with its score. In k2 it takes the place of the
      last frame's label, at score 0, and a label emitted there is lost.
    * `beam` is measured from the best state of the same frame; k2 drops arcs that end further than
      that below the best state of the frame before.
    * arcs that lead nowhere are not in the lattice.

    Args:
      src_streams: the streams; they stay as they are until `terminate_and_flush_to_streams`.
      config: how far the search looks.
      max_states, max_arcs: what the lattices of all streams may hold.

    Raises:
      FsaValueError: no stream, the same stream twice, a graph with a label that the vocabulary does
        not have, graphs on several devices, or a stream with frames of another vocabulary.

    Source: k2, the class of the same name.

    Example:
      >>> from wfst_entropy.topologies import trivial_graph
      >>> streams = RnntDecodingStreams(
      ...     [RnntDecodingStream(trivial_graph(2))], RnntDecodingConfig(3, 1, 10.0, 8, 4)
      ... )
      >>> for _ in range(2):
      ...     shape, contexts = streams.get_contexts()
      ...     streams.advance(torch.tensor([0.1, 0.7, 0.2]).log().expand(len(contexts), 3))
      >>> contexts.tolist()
      [[0], [1], [2]]
      >>> streams.terminate_and_flush_to_streams()
      >>> lattice = streams.format_output([2])
      >>> lattice.num_arcs, lattice.labels[:3].tolist()
      (15, [0, 1, 2])
    """

    def __init__(
        self,
        src_streams: Sequence[RnntDecodingStream],
        config: RnntDecodingConfig,
        *,
        max_states: int = MAX_STATES,
        max_arcs: int = MAX_ARCS,
    ) -> None:
        self.src_streams, self.config = list(src_streams), config
        self.num_streams = len(self.src_streams)
        self._limits = (max_states, max_arcs)
        _check_streams(self.src_streams, config)
        self._search = config._search()
        self._streams: list[Any] | None = [
            self._search.start(stream.graph._search)
            if stream._stream is None
            else stream._stream.copy()
            for stream in self.src_streams
        ]
        self._terminated = False

    @property
    def device(self) -> torch.device:
        """The device of the graphs, and of lattices. The search runs on the CPU."""
        return self.src_streams[0].graph.device

    def get_contexts(self) -> tuple[RaggedShape, Tensor]:
        """The contexts that the next frame's log-probabilities are needed for.

        Returns:
          A shape `[stream][context]`, and int64 `(num_contexts, decoder_history_len)`, the labels,
          the newest at the right and blanks at the left where there are none yet. A stream has no
          contexts once all its paths have lost their mass.

        Raises:
          FsaRuntimeError: after `terminate_and_flush_to_streams`.
        """
        splits, contexts, _ = self._search.contexts(self._going())
        return RaggedShape(splits).to(self.device), contexts.to(self.device)

    def advance(self, log_probs: Tensor) -> None:
        """Goes on by a frame.

        Args:
          log_probs: `(num_contexts, vocab_size)` float32 or float64, nats, a row for each context
            of `get_contexts`.

        Raises:
          FsaTypeError, FsaValueError: another shape or dtype, or a score is NaN or above 2**26;
            nothing has changed then.
          FsaRuntimeError: the lattices outgrow `max_states` or `max_arcs`, or after
            `terminate_and_flush_to_streams`.
          KeyboardInterrupt: Ctrl-C. After both of these the streams are as they were when this
            object was made.
        """
        going = self._going()
        splits, contexts, _ = self._search.contexts(going)
        _check_log_probs(log_probs, len(contexts), self.config.vocab_size)
        self._streams = None
        with errors_of_the_extension():
            bad = self._search.advance(
                "RnntDecodingStreams.advance",
                [stream.graph._search for stream in self.src_streams],
                going,
                log_probs.detach().to("cpu"),
                max_states=self._limits[0],
                max_arcs=self._limits[1],
            )
        self._streams = going
        if bad.numel():
            row, symbol = bad.tolist()
            stream = int(torch.searchsorted(splits, row, right=True)) - 1
            raise FsaValueError(
                f"log_probs[{row}, {symbol}]: is {float(log_probs[row, symbol])}, for stream "
                f"{stream} and context {contexts[row].tolist()}; scores are numbers up to 2**26, "
                "or -inf. Check the model's output for NaN."
            )

    def terminate_and_flush_to_streams(self) -> None:
        """Gives the streams what they found; this object cannot go on after it."""
        if self._terminated:
            return
        for source, stream in zip(self.src_streams, self._going(), strict=True):
            source._stream = stream
            source._sizes = (self.config.vocab_size, self.config.decoder_history_len)
        self._terminated = True

    def format_output(
        self,
        num_frames: Sequence[int],
        allow_partial: bool = True,
        log_probs: Tensor | None = None,
        t2s2c_shape: RaggedShape | None = None,
    ) -> Fsa:
        """The lattices of the first frames of all streams.

        Args:
          num_frames: of each stream, at most as many as it has in all.
          allow_partial: whether to take every state after the last frame for a final one where no
            final state was reached, instead of giving an empty lattice.
          log_probs: what all calls of `advance` got, `(rows, vocab_size)`, one below the other, to
            make the lattice differentiable in it.  Then no stream may have frames of before.
          t2s2c_shape: the shape of its rows, `[frame][stream][context]`; together with `log_probs`.

        Returns:
          An FsaVec `[stream][state][arc]`, top-sorted. Labels are what each frame emits, 0 being
          blank; arcs that consume no frame are labelled `vocab_size`; the last arc is labelled -1.
          Attributes of the graphs follow their arcs, with fillers where a stream's graph has none;
          blanks have fillers. `frame_idx` is the frame of each arc, `lm_scores` the graph's score
          and `partial` true on final arcs that the graph does not have. Differentiable in the
          graphs' scores.

        Raises:
          FsaTypeError, FsaValueError: `num_frames`, `log_probs` or its shape do not fit.
        """
        streams = [s._stream for s in self.src_streams] if self._terminated else self._going()
        if len(num_frames) != self.num_streams:
            raise FsaValueError(
                f"num_frames: needs one number for each of {self.num_streams} streams, got "
                f"{len(num_frames)}"
            )
        for i, (count, stream) in enumerate(zip(num_frames, streams, strict=True)):
            try:
                operator.index(count)
            except TypeError as error:
                raise FsaTypeError(f"num_frames[{i}]: must be an integer, got {count!r}") from error
            if not 0 <= count <= stream.num_frames:
                raise FsaValueError(
                    f"num_frames[{i}]: must lie in 0..{stream.num_frames}, what the stream has, "
                    f"got {count}"
                )
        if (log_probs is None) != (t2s2c_shape is None):
            raise FsaValueError("log_probs, t2s2c_shape: give both, or neither")
        rows = None
        if log_probs is not None and t2s2c_shape is not None:
            rows = LogProbRows(log_probs, t2s2c_shape, self.config.vocab_size)
        graphs = [stream.graph for stream in self.src_streams]
        with errors_of_the_extension():
            found = native.lattices(
                [graph._search for graph in graphs],
                streams,
                [int(count) for count in num_frames],
                "final or anywhere" if allow_partial else "final",
                self.config.vocab_size,
            )
        return build_lattices(graphs, found, rows)

    def _going(self) -> list[Any]:
        if self._terminated:
            raise FsaRuntimeError(
                "RnntDecodingStreams: was terminated; make a new one of the same streams to go on"
            )
        if self._streams is None:
            raise FsaRuntimeError(
                "RnntDecodingStreams: an earlier call of advance failed midway; make a new one of "
                "the same streams, which are as they were when this one was made"
            )
        return self._streams

    def __repr__(self) -> str:
        return f"RnntDecodingStreams({self.src_streams!r}, {self.config!r})"


def transducer_graph(fsa: Fsa | DecodingGraph) -> DecodingGraph:
    """The graph ready for a transducer; see `RnntDecodingStream`.

    Raises:
      FsaTypeError, FsaValueError, CyclicFsaError: see there.
    """
    graph = fsa if isinstance(fsa, DecodingGraph) else DecodingGraph(fsa, epsilon_label=0)
    if graph.num_fsas != 1:
        raise FsaValueError(f"fsa: must be one graph, got a vector of {graph.num_fsas}")
    if graph.topology is not None:
        raise FsaValueError(
            f"fsa: has the CTC topology {graph.topology!r}, but a transducer's labels are not "
            "repeated: pass the graph itself, or a DecodingGraph without a topology"
        )
    if graph.num_search_states == 0:
        raise FsaValueError("fsa: has no states, so nothing can be found with it")
    for name in ("frame_idx", PARTIAL):
        if name in graph.fsa.attributes:
            raise FsaValueError(f"fsa: has an attribute {name!r}, which lattices get; rename it")
    return graph


def check_labels(graph: DecodingGraph, vocab_size: int) -> None:
    """Refuses a graph with labels that a transducer does not emit.

    Raises:
      FsaValueError: naming the arc.
    """
    if graph._search.largest_label < vocab_size:
        return
    labels = graph.fsa.labels
    wrong = labels >= vocab_size
    if graph.epsilon_label is not None:
        wrong &= labels != graph.epsilon_label
    arc = int(wrong.nonzero()[0])
    raise FsaValueError(
        f"fsa: arc {graph.fsa.arcs[arc].tolist()} has label {int(labels[arc])}; the transducer's "
        f"labels lie in 1..{vocab_size - 1}. Is the graph of another vocabulary, or does it have "
        "disambiguation symbols?"
    )


def _check_streams(streams: list[RnntDecodingStream], config: RnntDecodingConfig) -> None:
    if not isinstance(config, RnntDecodingConfig):
        raise FsaTypeError(f"config: must be a RnntDecodingConfig, got {type(config).__name__}")
    if not streams:
        raise FsaValueError("src_streams: needs at least one stream")
    sizes = (config.vocab_size, config.decoder_history_len)
    for i, stream in enumerate(streams):
        if not isinstance(stream, RnntDecodingStream):
            raise FsaTypeError(
                f"src_streams[{i}]: must be a RnntDecodingStream, got {type(stream).__name__}"
            )
        if stream.graph.device != streams[0].graph.device:
            raise FsaValueError(
                f"src_streams[{i}]: has its graph on {stream.graph.device}, but src_streams[0] on "
                f"{streams[0].graph.device}"
            )
        if stream._sizes not in (None, sizes):
            raise FsaValueError(
                f"src_streams[{i}]: has frames of vocab_size, decoder_history_len = "
                f"{stream._sizes}, but config has {sizes}"
            )
        check_labels(stream.graph, config.vocab_size)
    if len({id(stream) for stream in streams}) < len(streams):
        raise FsaValueError("src_streams: has a stream twice; make one for each utterance")


def _check_log_probs(log_probs: Tensor, rows: int, vocab_size: int) -> None:
    if not isinstance(log_probs, Tensor) or log_probs.dtype not in (torch.float32, torch.float64):
        what = log_probs.dtype if isinstance(log_probs, Tensor) else type(log_probs).__name__
        raise FsaTypeError(f"log_probs: must be a float32 or float64 tensor, got {what}")
    if log_probs.shape != (rows, vocab_size):
        raise FsaValueError(
            f"log_probs: must be (num_contexts, vocab_size) = ({rows}, {vocab_size}), a row for "
            f"each context of get_contexts(), got {tuple(log_probs.shape)}"
        )
