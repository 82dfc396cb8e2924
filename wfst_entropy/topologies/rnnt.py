"""The transducer's lattices of transcripts as graphs, and scores on their arcs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.connect import connect
from wfst_entropy.algorithms.dense_pairing import SCORE_LIMIT
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedShape
from wfst_entropy.topologies.linear import Sequences, as_ragged_labels

_TYPES = ("regular", "modified", "constrained")


def rnnt_graph(
    symbols: Sequences,
    num_frames: Tensor | list[int],
    rnnt_type: str = "regular",
    ranges: Tensor | None = None,
) -> Fsa:
    """The lattice of all RNN-T alignments of each transcript, whole or pruned.

    A node (t, u) has seen t frames and u labels; paths run from (0, 0) to (T, U), and on to the
    final state.  A blank (label 0) leads from (t, u) to (t + 1, u).  A label leads to

    - (t, u + 1) in the `"regular"` lattice, so a blank ends every path;
    - (t + 1, u + 1) in the `"modified"` one: each frame has a label or a blank;
    - in the `"constrained"` one, to a second node (t, u + 1) that only a blank leaves: each frame
      has a blank, and at most one label before it.

    With `ranges`, of the nodes of frame t only those with u in `ranges[n, t]` remain.  Nodes on no
    path are left out; without any path the FSA is empty.  States are in topological order; scores
    are zero, see `rnnt_lattice` and `rnnt_grid_lattice`.  The scores of a transducer depend on the
    node, not on the frame alone, so there is no topology to intersect with frame scores.  But the
    regular grid is a composition: a graph of frames, where state t has loops for all labels and a
    blank to t + 1, with the transcript's linear FSA that has a blank loop at each state (the
    "temporal" and the "unit" schema of graph transducers); the blank taken as an ordinary symbol.

    Args:
      symbols: labels `[utt][position]`, lists or a ragged tensor; at least 1 each (0 is blank).
      num_frames: integers `(N,)`.
      rnnt_type: `"regular"`, `"modified"` or `"constrained"`.
      ranges: integers `(N, T, S)`, the values of u kept in each frame: S consecutive ones, as
        k2's `get_rnnt_prune_ranges` makes them.  What lies beyond a transcript is ignored.

    Returns:
      `[fsa][state][arc]` on the CPU or the device of ragged `symbols`, with int32 attributes:
      `frame_idx` is t, `label_idx` is u of the node that the arc leaves (T and U on the arc into
      the final state), and with `ranges`, `range_idx` is the place of u in `ranges[n, t]`.

    Raises:
      FsaTypeError: symbols, frames or ranges that are not integers.
      FsaValueError: a symbol below 1, another number of utterances, an unknown type, ranges that
        are not consecutive (the message names the place), or 2**30 nodes.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Figure 1; the types
    and the pruning: Kuang et al. 2022, "Pruned RNN-T for fast, memory-efficient ASR training" and
    k2; graphs by composition: Laptev et al. 2023, "Powerful and extensible WFST framework for
    RNN-Transducer losses" (arXiv 2303.10384).

    Example:
      >>> graph = rnnt_graph([[5]], [2])
      >>> print(graph[0].to_str(aux_label_names=["frame_idx", "label_idx"]))
      0 1 5 0 0 0
      0 2 0 0 0 0
      1 3 0 0 1 0
      2 3 5 1 0 0
      3 4 0 1 1 0
      4 5 -1 2 1 0
      5
    """
    if rnnt_type not in _TYPES:
        wanted = ", ".join(map(repr, _TYPES))
        raise FsaValueError(f"rnnt_type: must be one of {wanted}, got {rnnt_type!r}.")
    labels = as_ragged_labels(symbols, "symbols", 1)
    frames = _check_frames(num_frames, labels.dim0).to(labels.device)
    lengths = labels.shape.row_splits(1).diff()
    layers = 2 if rnnt_type == "constrained" else 1
    num_nodes = float((frames.double() * layers * (lengths + 1) + 2).sum())
    if num_nodes >= 2**30:
        raise FsaValueError(
            f"num_frames: the grids have {num_nodes:.3g} nodes, and each up to two arcs, more than "
            "int32 can count; pass fewer utterances at a time."
        )
    nodes = _Nodes.of(lengths, frames, layers)
    inside = None if ranges is None else _InRange(ranges, frames)
    shape, table = _arcs(nodes, labels.values, labels.shape.row_splits(1), rnnt_type, inside)
    src_dst_label, attributes = table[:, :3].to(torch.int32), table[:, 3:].to(torch.int32)
    named = {"frame_idx": attributes[:, 0], "label_idx": attributes[:, 1]}
    if inside is not None:
        n = shape.row_ids(1)[shape.row_ids(2)]
        named["range_idx"] = inside.place(n, table[:, 3], table[:, 4]).to(torch.int32)
    columns = {name: column.contiguous() for name, column in named.items()}
    return connect(Fsa(shape, src_dst_label, **columns))


class _Nodes(NamedTuple):
    """All nodes of all utterances, the one after the last frame and the final state included.

    An utterance has `frames * layers * width` nodes, ordered by frame, layer and u, and two more.
    """

    n: Tensor
    t: Tensor
    layer: Tensor
    u: Tensor
    number: Tensor  # within the utterance
    frames: Tensor  # of the node's utterance, as the following
    width: Tensor
    end: Tensor  # the number of the node (T, U)
    counts: Tensor  # nodes of each utterance

    @classmethod
    def of(cls, lengths: Tensor, frames: Tensor, layers: int) -> _Nodes:
        width = lengths + 1
        ends = frames * layers * width
        counts = ends + 2
        shape = RaggedShape.from_sizes(counts)
        n = shape.row_ids(1)
        number = torch.arange(n.numel(), device=n.device) - shape.row_splits(1)[n]
        t = number // (layers * width[n])
        rest = number - t * layers * width[n]
        layer, u = rest // width[n], rest % width[n]
        beyond = number >= ends[n]
        t, u = torch.where(beyond, frames[n], t), torch.where(beyond, lengths[n], u)
        return cls(n, t, layer, u, number, frames[n], width[n], ends[n], counts)


class _InRange:
    """Which nodes pruning has left."""

    def __init__(self, ranges: Any, frames: Tensor) -> None:
        if not isinstance(ranges, Tensor) or ranges.is_floating_point():
            came = ranges.dtype if isinstance(ranges, Tensor) else type(ranges).__name__
            raise FsaTypeError(f"ranges: must be an integer tensor (N, T, S), got {came}.")
        longest = int(frames.max()) if frames.numel() else 0
        n = frames.numel()
        if ranges.dim() != 3 or ranges.shape[0] != n or not ranges.shape[2]:
            raise FsaValueError(
                f"ranges: must be (N, T, S) with N = {n} and S at least 1, got "
                f"{tuple(ranges.shape)}."
            )
        if ranges.shape[1] < longest:
            raise FsaValueError(
                f"ranges: must have {longest} frames, the largest of num_frames, got "
                f"{tuple(ranges.shape)}."
            )
        self.ranges = ranges.to(frames.device, torch.int64)
        self.size = ranges.shape[2]
        steps = torch.arange(self.size, device=frames.device)
        wrong = (self.ranges != self.ranges[:, :, :1] + steps).any(2) | (self.ranges[:, :, 0] < 0)
        wrong &= torch.arange(ranges.shape[1], device=frames.device) < frames[:, None]
        for i, t in wrong.nonzero()[:1].tolist():
            raise FsaValueError(
                f"ranges: utterance {i}, frame {t} has {self.ranges[i, t].tolist()}; the values of "
                "u must be consecutive, from at least 0."
            )

    def place(self, n: Tensor, t: Tensor, u: Tensor) -> Tensor:
        """Of u in its range; anything for t beyond the frames."""
        if not self.ranges.shape[1]:
            return torch.zeros_like(u)
        return u - self.ranges[n, t.clamp(max=self.ranges.shape[1] - 1), 0]

    def __call__(self, n: Tensor, t: Tensor, u: Tensor) -> Tensor:
        place = self.place(n, t, u)
        return (place >= 0) & (place < self.size)


def _arcs(
    nodes: _Nodes, labels: Tensor, splits: Tensor, rnnt_type: str, inside: _InRange | None
) -> tuple[RaggedShape, Tensor]:
    """The shape, and for each arc: source, destination, label, t and u."""
    n, t, u, layer, width, end = (
        nodes.n, nodes.t, nodes.u, nodes.layer, nodes.width, nodes.end
    )  # fmt: skip
    layers = 2 if rnnt_type == "constrained" else 1
    in_grid, last_frame = nodes.number < end, t + 1 == nodes.frames
    has_label = in_grid & (layer == 0) & (u + 1 < width)
    has_blank = in_grid & (~last_frame | (u + 1 == width))
    to_end = last_frame.clone()
    label_frame, label_layer = t, layer
    if rnnt_type == "modified":
        has_label &= ~last_frame | (u + 2 == width)
        label_frame = t + 1
    elif rnnt_type == "constrained":
        label_layer = layer + 1
    if inside is not None:
        here = inside(n, t, u)
        has_label &= here & ((label_frame == nodes.frames) | inside(n, label_frame, u + 1))
        has_blank &= here & (to_end | inside(n, t + 1, u))
    label_dst = (label_frame * layers + label_layer) * width + u + 1
    label_dst = torch.where(label_frame == nodes.frames, end, label_dst)
    blank_dst = torch.where(to_end, end, (t + 1) * layers * width + u)
    # Without frames the node (T, U) is the start, where no label has been seen.
    has_final = (nodes.number == end) & ((nodes.frames > 0) | (width == 1))
    position = (splits[n] + u).clamp(max=max(labels.numel() - 1, 0))
    symbol = labels[position] if labels.numel() else torch.zeros_like(u)
    zero = torch.zeros_like(u)
    candidates = torch.stack(
        [
            torch.stack([nodes.number, label_dst, symbol, t, u], 1),
            torch.stack([nodes.number, torch.where(has_final, end + 1, blank_dst),
                         torch.where(has_final, -1, zero), t, u], 1),
        ],
        dim=1,
    )  # fmt: skip
    exists = torch.stack([has_label, has_blank | has_final], dim=1)
    shape = RaggedShape.from_sizes(nodes.counts, exists.sum(1))
    return shape, candidates[exists]


def _check_frames(num_frames: Any, num_utterances: int) -> Tensor:
    """The frames as int64."""
    frames = torch.as_tensor(num_frames)
    if frames.numel() and (frames.is_floating_point() or frames.dtype == torch.bool):
        raise FsaTypeError(f"num_frames: must be integers, got {frames.dtype}.")
    if tuple(frames.shape) != (num_utterances,):
        raise FsaValueError(
            f"num_frames: must have shape ({num_utterances},), one number for each transcript, got "
            f"{tuple(frames.shape)}."
        )
    for n in (frames < 0).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(f"num_frames[{n}] = {int(frames[n])}: must not be negative.")
    return frames.to(torch.int64)


def rnnt_lattice(graph: Fsa, logits: Tensor, *, fused_log_softmax: bool = True) -> Fsa:
    r"""Puts the scores of a joiner's output on the arcs of `rnnt_graph`; differentiable.

    The arc with label c that leaves the node (t, u) gets :math:`x_{t,u,c} - \log\sum_{c'}
    e^{x_{t,u,c'}}`.  Totals, entropies (`path_entropy`), divergences (`path_kl`) and values in any
    semiring (`get_tot_scores`) of the result are those of the transducer.

    Args:
      graph: what `rnnt_graph` returned, on the device of the logits.
      logits: (N, T, U + 1, C), for N FSAs; (N, T, S, C), those left by pruning, for a graph with
        ranges of S values.  Half precision is computed in float32.
      fused_log_softmax: whether to normalise; False takes the logits as log-weights.

    Returns:
      The graph with these scores; what is below -2**26 counts as -inf, no mass.

    Raises:
      FsaTypeError: logits that are not floating point, or a graph without the attributes.
      FsaValueError: logits of a wrong shape, too small for the graph, or with a score on an arc
        that is NaN or above 2**26; the message names utterance, frame, labels seen and symbol.

    Example:
      >>> from wfst_entropy.algorithms import get_tot_scores
      >>> lattice = rnnt_lattice(rnnt_graph([[1]], [2]), torch.zeros(1, 2, 2, 2))
      >>> get_tot_scores(lattice).exp()     # two paths of three arcs of 1/2
      tensor([0.2500])
    """
    scores = _check_scores("logits", logits, 4)
    places = _Places(graph, scores, "logits")
    symbol = graph.labels[places.emitting].to(torch.int64)
    for i in (symbol >= scores.shape[3]).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"logits: have shape {tuple(scores.shape)}, but the graph of utterance "
            f"{int(places.n[i])} has the symbol {int(symbol[i])}; needed are more symbols, C."
        )
    read = scores.flatten().index_select(0, places.node * scores.shape[3] + symbol)
    if fused_log_softmax:
        read = read - scores.logsumexp(3).flatten().index_select(0, places.node)
    return places.put(read, "logits")


def rnnt_grid_lattice(graph: Fsa, blank_scores: Tensor, label_scores: Tensor) -> Fsa:
    """Puts the scores of blanks and labels at each node on the arcs of `rnnt_graph`.

    Args:
      graph: what `rnnt_graph` returned, on the device of the scores.
      blank_scores: (N, T, U + 1), log-weights in nats of the blank at each node, for N FSAs; with
        ranges of S values, (N, T, S).
      label_scores: (N, T, U) or (N, T, U + 1), those of the next label; with ranges, (N, T, S).

    Returns:
      The graph with these scores, differentiable; what is below -2**26 counts as -inf, no mass.

    Raises:
      FsaTypeError, FsaValueError: as `rnnt_lattice`.

    Example:
      >>> from wfst_entropy.algorithms import path_entropy
      >>> blank = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]]).log()
      >>> label = torch.tensor([[[0.4], [0.5]]]).log()
      >>> path_entropy(rnnt_grid_lattice(rnnt_graph([[1]], [2]), blank, label))
      tensor([0.6926])
    """
    blanks = _check_scores("blank_scores", blank_scores, 3)
    labels = _check_scores("label_scores", label_scores, 3).to(blanks.dtype)
    width = blanks.shape[2]
    if labels.shape[:2] != blanks.shape[:2] or labels.shape[2] not in (width, width - 1):
        raise FsaValueError(
            f"label_scores: must have shape {tuple(blanks.shape)}, or one less along the last "
            f"axis, to fit blank_scores, got {tuple(labels.shape)}."
        )
    places = _Places(graph, blanks, "blank_scores")
    is_label = graph.labels[places.emitting] > 0
    row, u = places.node // max(width, 1), places.node % max(width, 1)
    for i in (is_label & (u >= labels.shape[2])).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"label_scores: have shape {tuple(labels.shape)}, but the graph of utterance "
            f"{int(places.n[i])} has a label at position {int(u[i])} of the last axis."
        )
    both = torch.cat([blanks.flatten(), labels.flatten()])
    label_place = blanks.numel() + row * labels.shape[2] + u
    read = both.index_select(0, torch.where(is_label, label_place, places.node))
    return places.put(read, "blank_scores, label_scores")


class _Places:
    """Where in (N, T, W) the nodes lie that the arcs of a graph leave."""

    def __init__(self, graph: Fsa, scores: Tensor, name: str) -> None:
        if not isinstance(graph, Fsa) or not {"frame_idx", "label_idx"} <= set(graph.attributes):
            raise FsaTypeError(
                "graph: must be an Fsa from rnnt_graph, with the attributes frame_idx and label_idx"
            )
        if graph.device != scores.device:
            raise FsaValueError(
                f"graph: is on {graph.device}, but {name} on {scores.device}; use graph.to(device)."
            )
        self.graph = graph
        self.emitting = (graph.labels >= 0).nonzero().flatten()
        self.n = graph.arc_to_fsa()[self.emitting]
        self.t = graph.frame_idx[self.emitting].to(torch.int64)
        pruned = "range_idx" in graph.attributes
        u = graph.range_idx if pruned else graph.label_idx
        u = u[self.emitting].to(torch.int64)
        num_utterances, num_frames, width = scores.shape[:3]
        if num_utterances != graph.num_fsas:
            raise FsaValueError(
                f"{name}: must be of {graph.num_fsas} utterances, as many as graphs, got shape "
                f"{tuple(scores.shape)}."
            )
        outside = (self.t < 0) | (self.t >= num_frames) | (u < 0) | (u >= width)
        for i in outside.nonzero().flatten().tolist()[:1]:
            third = "the place in the range" if pruned else "the number of labels seen"
            raise FsaValueError(
                f"{name}: have shape {tuple(scores.shape)}, but the graph of utterance "
                f"{int(self.n[i])} has a node with frame {int(self.t[i])} and {int(u[i])} on the "
                f"third axis ({third})."
            )
        self.node = (self.n * num_frames + self.t) * width + u

    def put(self, read: Tensor, name: str) -> Fsa:
        """The graph with these scores of the arcs that leave nodes."""
        for i in (~(read.detach() <= SCORE_LIMIT)).nonzero().flatten().tolist()[:1]:
            arc = self.emitting[i]
            raise FsaValueError(
                f"{name}: the score of utterance {int(self.n[i])}, frame {int(self.t[i])}, after "
                f"{int(self.graph.label_idx[arc])} labels, symbol {int(self.graph.labels[arc])} is "
                f"{float(read[i])}; a log-weight must be a number up to 2**26, or -inf."
            )
        read = read.masked_fill(read.detach() < -SCORE_LIMIT, -torch.inf)
        scores = read.new_zeros(self.graph.num_arcs).index_copy(0, self.emitting, read)
        return self.graph.with_scores(scores)


def _check_scores(name: str, scores: Any, num_axes: int) -> Tensor:
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        came = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise FsaTypeError(f"{name}: must be a floating-point tensor, got {came}.")
    if scores.dim() != num_axes:
        axes = "(N, T, U + 1, C)" if num_axes == 4 else "(N, T, U + 1)"
        raise FsaValueError(f"{name}: must be {axes}, got shape {tuple(scores.shape)}.")
    return scores if scores.dtype in (torch.float32, torch.float64) else scores.float()
