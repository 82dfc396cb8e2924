"""Pruned search of streams: chunk by chunk, with the state kept between chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wfst_entropy._native import search as native
from wfst_entropy._native.dense import DenseSequences
from wfst_entropy.algorithms._surgery import (
    MAX_ARCS,
    MAX_STATES,
    errors_of_the_extension,
    select_scores,
)
from wfst_entropy.decoding.decoding_graph import DecodingGraph
from wfst_entropy.decoding.intersect_dense_pruned import (
    check_search_names,
    raise_bad_score,
    search_options,
    structure_of,
    with_search_attributes,
)
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


class DecodeStateInfo:
    """How far the search of one stream is; it never changes, so one may go on from it twice.

    Attributes:
      num_frames: how many frames it has read.
    """

    __slots__ = ("_graph", "_stream", "_vocab_size", "num_frames")

    num_frames: int

    def __init__(self, graph: DecodingGraph, stream: Any, vocab_size: int) -> None:
        self._graph, self._stream, self._vocab_size = graph, stream, vocab_size
        self.num_frames = int(stream.num_frames)

    def __repr__(self) -> str:
        return f"DecodeStateInfo(num_frames={self.num_frames})"


class OnlineDenseIntersecter:
    """`intersect_dense_pruned` for streams: the same lattice, whatever the chunks.

    After each chunk there is the lattice of all frames so far, as if the stream ended there, or,
    for next to nothing, its best path. Streams may begin at different times, and a batch may have
    any of them, each with a chunk of its own length (even of no frames).

    Args:
      decoding_graph: one graph for all streams.
      num_streams: at most so many at a time.
      search_beam, output_beam, min_active_states, max_active_states, allow_partial: see
        `intersect_dense_pruned`.
      max_states, max_arcs: likewise, of the streams of one call.

    Raises:
      FsaValueError: `decoding_graph` is more than one graph, `num_streams` is below 1, or see
        `intersect_dense_pruned`.

    Source: the class of this name of k2; the method `decode` is the same.

    Example:
      >>> import torch
      >>> graph = Fsa.from_str("0 0 0 0\\n0 1 1 0\\n1 1 1 0\\n1 2 -1 0\\n2")
      >>> scores = torch.tensor([[[0.4, 0.6], [0.1, 0.9]]]).log()
      >>> search = OnlineDenseIntersecter(graph, 1, 20.0, 8.0, 30, 10000)
      >>> states = [None]
      >>> for t in range(2):
      ...     chunk = DenseFsaVec.from_lengths(scores[:, t : t + 1], torch.tensor([1]))
      ...     states = search.advance(chunk, states)
      >>> search.best_path(states).labels.tolist()
      [1, 1, -1]
    """

    def __init__(
        self,
        decoding_graph: Fsa | DecodingGraph,
        num_streams: int,
        search_beam: float,
        output_beam: float,
        min_active_states: int,
        max_active_states: int,
        allow_partial: bool = True,
        *,
        max_states: int = MAX_STATES,
        max_arcs: int = MAX_ARCS,
    ) -> None:
        self._options = search_options(
            search_beam, output_beam, min_active_states, max_active_states, allow_partial
        )
        self._graph, self._limits = DecodingGraph.of(decoding_graph), (max_states, max_arcs)
        check_search_names(self._graph.fsa, "frame_idx")
        if self._graph.num_fsas != 1:
            raise FsaValueError(
                f"decoding_graph: must be one graph for all streams, got {self._graph.num_fsas}"
            )
        if num_streams < 1:
            raise FsaValueError(f"num_streams: must be at least 1, got {num_streams}")
        self.num_streams = num_streams

    @property
    def decoding_graph(self) -> DecodingGraph:
        """The graph, ready for searches."""
        return self._graph

    def decode(
        self, dense_fsas: DenseFsaVec, decode_states: Sequence[DecodeStateInfo | None]
    ) -> tuple[Fsa, list[DecodeStateInfo]]:
        """Goes on by a chunk of frames for each stream, and gives the lattices so far.

        Args:
          dense_fsas: the chunks.
          decode_states: where the stream of each chunk is; None for one that begins.

        Returns:
          The lattices, as of `intersect_dense_pruned` (differentiable in the graph's scores only),
          and the new states.

        Raises:
          FsaTypeError, FsaValueError: the states do not fit the chunks or the graph; or see
            `intersect_dense_pruned`.
          FsaRuntimeError, KeyboardInterrupt: see there; the states can still be used.
        """
        states = self.advance(dense_fsas, decode_states)
        return self.lattice(states), states

    def advance(
        self, dense_fsas: DenseFsaVec, decode_states: Sequence[DecodeStateInfo | None]
    ) -> list[DecodeStateInfo]:
        """As `decode`, without the lattices.

        Raises:
          FsaError: see `decode`.
        """
        self._graph.check_fits(dense_fsas)
        states = list(decode_states)
        if not len(states) == dense_fsas.num_seqs <= self.num_streams:
            raise FsaValueError(
                f"decode_states: needs one state (or None) for each of {dense_fsas.num_seqs} "
                f"chunks, and num_streams={self.num_streams} at most, got {len(states)}"
            )
        streams = [self._stream(i, state, dense_fsas) for i, state in enumerate(states)]
        ranges = (dense_fsas.utterances, dense_fsas.start_frames, dense_fsas.lengths)
        sequences = DenseSequences(
            dense_fsas.scores.detach().to("cpu"), *(x.to("cpu") for x in ranges)
        )
        with errors_of_the_extension():
            new, bad_score = native.advance(
                "OnlineDenseIntersecter",
                self._graph._search,
                sequences,
                self._options,
                streams,
                max_states=self._limits[0],
                max_arcs=self._limits[1],
            )
        raise_bad_score(bad_score, dense_fsas)
        return [DecodeStateInfo(self._graph, stream, dense_fsas.vocab_size) for stream in new]

    def _stream(self, i: int, state: DecodeStateInfo | None, dense: DenseFsaVec) -> Any:
        if state is None:
            return native.start(self._graph._search, self._options)
        self._check_state(i, state)
        if state._vocab_size != dense.vocab_size:
            raise FsaValueError(
                f"dense_fsas: has {dense.vocab_size} symbols, but decode_states[{i}] has read "
                f"frames of {state._vocab_size}"
            )
        return state._stream

    def _check_state(self, i: int, state: DecodeStateInfo) -> None:
        if not isinstance(state, DecodeStateInfo):
            raise FsaTypeError(
                f"decode_states[{i}]: must be a DecodeStateInfo, or None for a stream that begins, "
                f"got {type(state).__name__}"
            )
        if state._graph is not self._graph:
            raise FsaValueError(f"decode_states[{i}]: is of a search with another graph")

    def lattice(self, decode_states: Sequence[DecodeStateInfo]) -> Fsa:
        """The lattices of all frames that streams have read; see `decode`."""
        return self._read("lattice", decode_states)

    def best_path(self, decode_states: Sequence[DecodeStateInfo]) -> Fsa:
        """The best path of each stream so far, as of `beam_search_best_path`."""
        return self._read("best_path", decode_states)

    def _read(self, output: str, states: Sequence[DecodeStateInfo]) -> Fsa:
        for i, state in enumerate(states):
            self._check_state(i, state)
        sizes = {state._vocab_size for state in states}
        if len(sizes) > 1:
            raise FsaValueError(f"decode_states: have read frames of {sorted(sizes)} symbols")
        epsilon = self._graph.lattice_epsilon(sizes.pop() if sizes else 0)
        streams = [state._stream for state in states]
        with errors_of_the_extension():
            found = native.read(output, self._graph._search, streams, self._options, epsilon)
        graph = self._graph.fsa
        shape, arcs, arc_map, frames = structure_of(found, graph.device)
        scores = select_scores(graph.scores, arc_map) + found.read.to(graph.device)
        attributes = graph.select_attributes(arc_map, arcs[:, 2])
        lattice = graph._like(shape, arcs, scores, attributes)
        lattice.set_attribute_("frame_idx", frames)
        return with_search_attributes(lattice, graph, arc_map)
