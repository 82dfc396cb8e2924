"""k2's module `k2.rnnt_decode`: graphs searched by a transducer, frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import wfst_entropy.decoding as decoding
from wfst_entropy.compat.k2.autograd_utils import phantom_set_scores_to
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.index_ops import index_select
from wfst_entropy.compat.k2.online_dense_intersecter import ready_graph
from wfst_entropy.compat.k2.ragged import RaggedShape, RaggedTensor, core_shape, k2_shape
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.decoding import RnntDecodingConfig

__all__ = ["RnntDecodingConfig", "RnntDecodingStream", "RnntDecodingStreams"]


class RnntDecodingStream(decoding.RnntDecodingStream):
    """One utterance and its graph; see `wfst_entropy.RnntDecodingStream`.

    Args:
      fsa: one graph. As in k2, an arc labelled 0 emits blank: it consumes a frame.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> RnntDecodingStream(k2.trivial_graph(3)).num_frames
      0
    """

    def __init__(self, fsa: Fsa) -> None:
        super().__init__(ready_graph(fsa))
        self._graph = fsa

    @property
    def fsa(self) -> Fsa:  # type: ignore[override]
        """The decoding graph."""
        return self._graph

    @property
    def device(self) -> torch.device:
        """The device of the graph."""
        return self._graph.device

    def __str__(self) -> str:
        return f"{self!r}, device : {self.device}\n"


class RnntDecodingStreams(decoding.RnntDecodingStreams):
    """Several streams that go on together; see `wfst_entropy.RnntDecodingStreams`.

    Args:
      src_streams: the streams.
      config: how far the search looks.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> streams = k2.RnntDecodingStreams(
      ...     [k2.RnntDecodingStream(k2.trivial_graph(2))], k2.RnntDecodingConfig(3, 2, 10.0, 8, 4)
      ... )
      >>> shape, contexts = streams.get_contexts()
      >>> shape, contexts
      ([ [ x ] ], tensor([[0, 0]], dtype=torch.int32))
      >>> streams.advance(torch.tensor([[0.1, 0.7, 0.2]]).log())
      >>> streams.terminate_and_flush_to_streams()
      >>> streams.format_output([1])[0].aux_labels
      tensor([ 0,  1,  2, -1, -1, -1], dtype=torch.int32)
    """

    src_streams: list[RnntDecodingStream]  # type: ignore[assignment]

    def __init__(
        self, src_streams: Sequence[RnntDecodingStream], config: RnntDecodingConfig
    ) -> None:
        super().__init__(src_streams, config)

    def get_contexts(self) -> tuple[RaggedShape, Tensor]:  # type: ignore[override]
        """The shape `[stream][context]`, and the labels of each context, int32."""
        shape, contexts = super().get_contexts()
        return k2_shape(shape), contexts.to(torch.int32)

    def advance(self, logprobs: Tensor) -> None:
        """Goes on by a frame.

        Args:
          logprobs: `(num_contexts, vocab_size)`, one row for each context of `get_contexts`.
        """
        super().advance(logprobs)

    def format_output(  # type: ignore[override]
        self,
        num_frames: list[int],
        allow_partial: bool = True,
        log_probs: Tensor | None = None,
        t2s2c_shape: RaggedShape | None = None,
    ) -> Fsa:
        """The lattices, with the attributes of all graphs.

        Args:
          num_frames: how many frames of each stream.
          allow_partial: where no final state was reached, takes every state for one.
          log_probs: what `advance` got in all frames, to be differentiable in it.
          t2s2c_shape: the shape of its rows, `[frame][stream][context]`.
        """
        shape = None if t2s2c_shape is None else core_shape(t2s2c_shape)
        lattice = super().format_output(num_frames, allow_partial, log_probs, shape)
        ans = Fsa(RaggedArc.of(lattice))
        splits = lattice.shape.row_splits(2)[lattice.shape.row_splits(1)].tolist()
        arc_maps = [lattice.arc[begin:end] for begin, end in itertools.pairwise(splits)]
        graphs = [stream.fsa for stream in self.src_streams]
        for name, owner in _owners(graphs).items():
            setattr(ans, name, _joined(name, owner, graphs, arc_maps))
        for graph in graphs:
            for name, value in graph.named_non_tensor_attr():
                setattr(ans, name, value)
        phantom_set_scores_to(ans, lattice.scores)
        return ans

    def __str__(self) -> str:
        streams = "".join(f"stream[{i}] : {stream}" for i, stream in enumerate(self.src_streams))
        return f"num_streams : {self.num_streams}\n{streams}"


def _owners(graphs: list[Fsa]) -> dict[str, Fsa]:
    """For each attribute per arc the first graph that has it."""
    owners: dict[str, Fsa] = {}
    for graph in graphs:
        for name, _ in graph.named_tensor_attr(include_scores=False):
            owners.setdefault(name, graph)
    return owners


def _joined(name: str, owner: Fsa, graphs: list[Fsa], arc_maps: list[Tensor]) -> Any:
    """An attribute of all lattices; fillers, or empty lists, where a graph does not have it."""
    values: list[Any] = []
    for graph, arc_map in zip(graphs, arc_maps, strict=True):
        has = name in dict(graph.named_tensor_attr(include_scores=False))
        source = graph if has else owner
        arcs = arc_map if has else torch.full_like(arc_map, -1)
        value = getattr(source, name)
        if isinstance(value, RaggedTensor):
            values.append(value.index(arcs, axis=0, need_value_indexes=False)[0])
        else:
            filler = source.get_filler(name)
            values.append(index_select(value, arcs, default_value=filler))
    if isinstance(getattr(owner, name), RaggedTensor):
        return RaggedTensor.cat(values, 0)
    return torch.cat(values)
