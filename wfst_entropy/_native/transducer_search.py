"""The search of graphs by transducers in C++: streams, and what goes there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.eager import eager
from wfst_entropy._native.search import Found, SearchGraphs
from wfst_entropy._native.surgery import call_with_limits

_NO_LIMIT = 2**31 - 2
PATHS_END = {"final": 0, "final or anywhere": 1, "anywhere": 2}
"""Where paths may end: "final or anywhere" is anywhere only where no path is at a final state."""


class Contexts(NamedTuple):
    """The contexts of streams, one stream after the other; int64."""

    splits: Tensor  # (n + 1,), where those of each stream begin
    labels: Tensor  # (m, history), the newest last
    carried: (
        Tensor  # (m,), where it was among the stream's contexts a frame before; -1 if it is new
    )


class TransducerSearch:
    """The settings of a search; streams of different graphs may share it.

    Args:
      num_symbols: C, blank included.
      history: labels in a context, at least 1; `num_symbols ** history` is below 2**63.
      beam: nats, at least 0.
      max_states, max_contexts: at least 1, of a stream in a frame.
    """

    @eager
    def __init__(
        self, num_symbols: int, history: int, beam: float, max_states: int, max_contexts: int
    ) -> None:
        if not (num_symbols >= 1 and 1 <= history <= 2**16 and num_symbols**history < 2**63):
            raise ValueError(f"contexts: {num_symbols} ** {history} cannot be numbered")
        if not (beam >= 0 and max_states >= 1 and max_contexts >= 1):
            raise ValueError("beam, max_states, max_contexts: are too small")
        self.num_symbols, self.history = num_symbols, history
        self.native = kernel("TransducerSearch")(
            num_symbols, history, beam, min(max_states, _NO_LIMIT), min(max_contexts, _NO_LIMIT)
        )

    def start(self, graphs: SearchGraphs) -> Any:
        """A stream without frames, of the only graph; its labels are below `num_symbols`."""
        if graphs.num_graphs != 1 or graphs.largest_label >= self.num_symbols:
            raise ValueError(f"graphs: needs one graph with labels below {self.num_symbols}")
        return self.native.start(graphs.native)

    @eager
    def contexts(self, streams: Sequence[Any]) -> Contexts:
        """The contexts of the next frame."""
        splits, labels, carried = self.native.contexts(list(streams))
        return Contexts(
            torch.from_numpy(splits),
            torch.from_numpy(labels).view(-1, self.history),
            torch.from_numpy(carried),
        )

    @eager
    def advance(
        self,
        operation: str,
        graphs: Sequence[SearchGraphs],
        streams: Sequence[Any],
        log_probs: Tensor,
        *,
        max_states: int,
        max_arcs: int,
    ) -> Tensor:
        """Goes on by one frame, in place.

        Args:
          operation: the name for messages.
          graphs: of each stream, the one it was started with.
          streams: different ones.
          log_probs: `(m, C)` float32 or float64 on the CPU, one row for each of `contexts`.
          max_states, max_arcs: what all lattices together may hold.

        Returns:
          int64, empty, or row and symbol of a score that is NaN or above 2**26; then no stream has
          changed.

        Raises:
          LimitError: they hold more; the streams are of no use any more.
          KeyboardInterrupt: Ctrl-C, likewise.
        """
        if len({id(stream) for stream in streams}) != len(streams) or len(graphs) != len(streams):
            raise ValueError("streams: needs different ones, and a graph for each")
        rows = int(self.contexts(streams).splits[-1])
        log_probs = check(log_probs, "log_probs", log_probs.dtype, (rows, self.num_symbols))
        name = f"advance_{str(log_probs.dtype).removeprefix('torch.')}"
        bad = call_with_limits(
            operation,
            lambda progress: getattr(self.native, name)(
                [graph.native for graph in graphs],
                list(streams),
                progress,
                log_probs.data_ptr(),
                self.num_symbols,
                torch.get_num_threads(),
            ),
            max_states,
            max_arcs,
        )
        return torch.from_numpy(bad)


@eager
def lattices(
    graphs: Sequence[SearchGraphs],
    streams: Sequence[Any],
    num_frames: Sequence[int],
    paths_end: str,
    epsilon_label: int,
) -> Found:
    """The lattices of the first frames of streams.

    Args:
      graphs: of each stream.
      streams: which.
      num_frames: of each stream, at most those it has read.
      paths_end: a key of `PATHS_END`.
      epsilon_label: of arcs that consume no frame.

    Raises:
      InputError: dead ends were forgotten when there were more frames.
    """
    for stream, frames in zip(streams, num_frames, strict=True):
        if not 0 <= frames <= stream.num_frames:
            raise ValueError(f"num_frames: must lie in 0..{stream.num_frames}, got {frames}")
    parts = call_with_limits(
        "lattices",
        lambda progress: kernel("transducer_lattices")(
            [graph.native for graph in graphs],
            list(streams),
            progress,
            list(num_frames),
            PATHS_END[paths_end],
            epsilon_label,
            torch.get_num_threads(),
        ),
        _NO_LIMIT,
        _NO_LIMIT,
    )
    return Found(*(torch.from_numpy(part) for part in parts))


@eager
def best_paths(
    graphs: Sequence[SearchGraphs], streams: Sequence[Any], paths_end: str, epsilon_label: int
) -> tuple[Found, Tensor]:
    """The best path of each stream, and float64 the probability of its labels among all paths.

    Args: see `lattices`.
    """
    parts, posteriors = call_with_limits(
        "best_paths",
        lambda progress: kernel("transducer_best_paths")(
            [graph.native for graph in graphs],
            list(streams),
            progress,
            PATHS_END[paths_end],
            epsilon_label,
            torch.get_num_threads(),
        ),
        _NO_LIMIT,
        _NO_LIMIT,
    )
    return Found(*(torch.from_numpy(part) for part in parts)), torch.from_numpy(posteriors)
