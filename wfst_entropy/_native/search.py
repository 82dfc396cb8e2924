"""Searches in C++: graphs made ready for them, and what goes there and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import kernel
from wfst_entropy._native.dense import DenseSequences
from wfst_entropy._native.eager import eager
from wfst_entropy._native.surgery import GraphArrays, call_with_limits, checked_view

TOPOLOGIES = {None: 0, "standard": 1, "modified": 2}


class SearchOptions(NamedTuple):
    """What a search keeps; see `intersect_dense_pruned`."""

    search_beam: float
    output_beam: float
    min_active_states: int
    max_active_states: int
    allow_partial: bool

    def native(self) -> Any:
        """The extension's form of it."""
        return kernel("SearchOptions")(*self)


class Found(NamedTuple):
    """What a search gives for a batch: a vector of FSAs, and what stands behind each arc."""

    fsa_splits: Tensor
    state_splits: Tensor
    arcs: Tensor  # int32, flat
    arc_map: Tensor  # int64, -1 for none
    frames: Tensor  # int32
    positions: Tensor  # int64, of the frame score in (N, T, C), -1 for none; empty for streams
    read: Tensor  # float32, for streams the frame score itself
    partial: Tensor  # uint8 (num_fsas,)
    bad_score: (
        Tensor  # int64, empty or the sequence, frame and symbol of a score that may not be used
    )
    rows: Tensor  # int32, of transducers: which of its frame's rows of scores; -1 for none


class SearchGraphs:
    """Graphs made ready for searches; they do not refer to the tensors any more.

    Args:
      graph: with scores.
      topology: a key of `TOPOLOGIES`.
      epsilon_label: of the arcs that consume no frame; None for none (without a topology).
      max_states: the largest number of states of all searches, topology included.

    Raises:
      LimitError: there are more.
      CycleError: arcs that consume no frame form a cycle.
      InputError: a score is NaN or above 2**26, or a label is below -1.
    """

    @eager
    def __init__(
        self, graph: GraphArrays, topology: str | None, epsilon_label: int | None, max_states: int
    ) -> None:
        kept, view = checked_view(graph)
        self.native = call_with_limits(
            "DecodingGraph",
            lambda progress: kernel("SearchGraphs")(
                view, progress, TOPOLOGIES[topology], _epsilon(epsilon_label)
            ),
            max_states,
            2**31 - 2,
        )
        self.num_graphs: int = self.native.num_graphs
        self.num_states: int = self.native.num_search_states
        self.largest_label: int = self.native.largest_label
        self.num_bytes: int = self.native.bytes
        del kept


@eager
def search(
    function: str,
    operation: str,
    graphs: SearchGraphs,
    sequences: DenseSequences,
    options: SearchOptions,
    epsilon_label: int | None,
    *,
    max_states: int,
    max_arcs: int,
) -> Found:
    """Runs `search_lattices` or `search_best_paths` of the extension.

    Args:
      function: its name.
      operation: the name for messages.
      graphs: one, or as many as there are sequences.
      sequences: the frame scores.
      options: what is kept.
      epsilon_label: what to label arcs with that consume no frame; None if there are none.
      max_states, max_arcs: what all lattices together may hold at any time.

    Raises:
      LimitError: they hold more.
      KeyboardInterrupt: Ctrl-C.
    """
    if graphs.num_graphs not in (1, sequences.num_sequences):
        raise ValueError(f"graphs: need 1 or {sequences.num_sequences}, got {graphs.num_graphs}")
    _check_labels(graphs, sequences)
    parts = call_with_limits(
        operation,
        lambda progress: kernel(function)(
            graphs.native, sequences.native(), progress, options.native(), _epsilon(epsilon_label)
        ),
        max_states,
        max_arcs,
    )
    return Found(*(torch.from_numpy(part) for part in parts))


@eager
def advance(
    operation: str,
    graphs: SearchGraphs,
    sequences: DenseSequences,
    options: SearchOptions,
    streams: list[Any],
    *,
    max_states: int,
    max_arcs: int,
) -> tuple[list[Any], Tensor]:
    """Goes on with streams along a chunk of frames each.

    Args:
      operation: the name for messages.
      graphs: one graph.
      sequences: the chunks.
      options: what is kept.
      streams: one for each chunk, from `start` or from here.
      max_states, max_arcs: what all lattices together may hold at any time.

    Returns:
      New streams, and `Found.bad_score`.

    Raises:
      LimitError, KeyboardInterrupt: as `search`.
    """
    if len(streams) != sequences.num_sequences:
        raise ValueError(f"streams: need {sequences.num_sequences}, got {len(streams)}")
    _check_labels(graphs, sequences)
    new, bad_score = call_with_limits(
        operation,
        lambda progress: kernel("advance_streams")(
            graphs.native, sequences.native(), progress, options.native(), streams
        ),
        max_states,
        max_arcs,
    )
    return new, torch.from_numpy(bad_score)


def start(graphs: SearchGraphs, options: SearchOptions) -> Any:
    """A stream without frames, of the only graph."""
    return kernel("start_stream")(graphs.native, options.native())


@eager
def read(
    output: str,
    graphs: SearchGraphs,
    streams: list[Any],
    options: SearchOptions,
    epsilon_label: int | None,
) -> Found:
    """What streams have found so far.

    Args:
      output: "lattice" or "best_path".
      graphs, options: those that the streams were made with.
      streams: which.
      epsilon_label: as in `search`.
    """
    parts = call_with_limits(
        output,
        lambda progress: kernel("read_streams")(
            graphs.native,
            streams,
            progress,
            options.native(),
            _epsilon(epsilon_label),
            ("lattice", "best_path").index(output),
            torch.get_num_threads(),
        ),
        2**31 - 2,
        2**31 - 2,
    )
    return Found(*(torch.from_numpy(part) for part in parts))


def _check_labels(graphs: SearchGraphs, sequences: DenseSequences) -> None:
    if graphs.largest_label >= sequences.scores.shape[2]:
        raise ValueError(f"graphs: label {graphs.largest_label} is beyond the frame scores")


def _epsilon(label: int | None) -> int:
    return int(kernel("NO_LABEL")) if label is None else label
