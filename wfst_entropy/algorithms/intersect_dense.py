"""A graph against frame scores: the lattice itself, or only its total in any semiring."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import can_run
from wfst_entropy._native import dense as native_dense
from wfst_entropy.algorithms._dense_lattice import FrameNames, Structure, build_lattice
from wfst_entropy.algorithms._intersect_dense_kernel import kernel_totals
from wfst_entropy.algorithms._surgery import MAX_ARCS, MAX_STATES, run
from wfst_entropy.algorithms.kernel_gradient import bad_score
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    LogSemiring,
    Semiring,
    Value,
    map_slots,
)

_LOG = LogSemiring()

SCORE_LIMIT = 2.0**26
"""Log-weights below ``-SCORE_LIMIT`` (masks such as -1e30) are no mass; above, they are refused."""


def intersect_dense(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec,
    *,
    output_beam: float = math.inf,
    max_states: int = MAX_STATES,
    max_arcs: int = MAX_ARCS,
    a_to_b_map: Tensor | list[int] | None = None,
    seqframe_idx_name: str | None = None,
    frame_idx_name: str | None = "frame_idx",
) -> Fsa:
    """Intersects graphs with frame scores and returns the lattices of all their alignments.

    Every arc of a graph consumes one frame (label 0, blank, too), and the arcs into its final state
    follow the last frame. A state of the lattice is a pair (frame, state of the graph) that lies on
    some successful path; states are numbered by frame, so the lattice is top-sorted. An arc scores
    ``a_fsas.scores`` plus the frame's score of its label, and arcs whose weight is no mass (-inf,
    or a mask below -2**26) are left out.

    Args:
        a_fsas: one FSA (or a vector of one) shared by all sequences, or one FSA for each.
        b_fsas: the frame scores, (N, T, C), on the same device.
        output_beam: drops arcs all of whose paths are more than this many nats behind the best
            path of their sequence.
        max_states: the largest number of states, over all sequences and before pruning.
        max_arcs: likewise of arcs.
        a_to_b_map: which sequence each FSA of ``a_fsas`` meets, integers (number of FSAs,); several
            may meet the same one, and the result has one lattice for each FSA.
        seqframe_idx_name: name of an int32 attribute for the row of each arc in ``b_fsas``, where
            every sequence has one row per frame and one for the arcs into its final state.
        frame_idx_name: name of an int32 attribute for the frame of each arc within its sequence
            (the number of frames for the arcs into the final state); None for no such attribute.

    Returns:
        An FsaVec with one lattice per sequence; a sequence without a successful path has an empty
        one. Scores are differentiable in both inputs. Attributes of ``a_fsas`` follow its arcs.

    Raises:
        FsaValueError: the number of FSAs is neither 1 nor that of the sequences, a label is not in
            the vocabulary, devices differ, a score that is read is NaN or above 2**26,
            ``output_beam`` is negative, ``a_to_b_map`` names no sequence, or ``a_fsas`` has an
            attribute of the name wanted for frames.
        FsaAttributeError: no attribute can have the name wanted for frames.
        FsaRuntimeError: the lattice outgrows ``max_states`` or ``max_arcs``.
        KeyboardInterrupt: Ctrl-C.

    Source: exact form of the frame-synchronous intersection of k2 (``intersect_dense``).

    >>> graph = Fsa.from_str("0 0 0 0\\n0 1 1 0\\n1 1 1 0\\n1 2 -1 0\\n2")
    >>> scores = torch.tensor([[[0.4, 0.6], [0.5, 0.5]]]).log()
    >>> lattice = intersect_dense(graph, DenseFsaVec.from_lengths(scores, torch.tensor([2])))
    >>> lattice.labels.tolist(), lattice.frame_idx.tolist()
    ([0, 1, 1, 1, -1], [0, 0, 1, 1, 2])
    """
    if not output_beam >= 0:
        raise FsaValueError(
            f"output_beam: must be at least 0 nats, got {output_beam}; math.inf keeps every path"
        )
    names = FrameNames(frame_idx_name, seqframe_idx_name)
    names.check(a_fsas)
    all_sequences, chosen = b_fsas, None
    if a_to_b_map is not None:
        chosen = _sequences_of(a_to_b_map, a_fsas, b_fsas)
        b_fsas = b_fsas.index_select(chosen)
    check_graph(a_fsas, b_fsas)
    limits = (output_beam, max_states, max_arcs)
    make = _native_lattice if can_run(b_fsas.scores) else _torch_lattice
    structure = make(a_fsas, b_fsas, *limits)
    rows = all_sequences.lengths + 1
    first_rows = (rows.cumsum(0) - rows) if chosen is None else (rows.cumsum(0) - rows)[chosen]
    return build_lattice(a_fsas, b_fsas, structure, names, first_rows)


def _sequences_of(a_to_b_map: Tensor | list[int], a_fsas: Fsa, b_fsas: DenseFsaVec) -> Tensor:
    chosen = torch.as_tensor(a_to_b_map)
    if chosen.is_floating_point() or tuple(chosen.shape) != (a_fsas.num_fsas,):
        raise FsaValueError(
            f"a_to_b_map: needs one integer for each of the {a_fsas.num_fsas} FSAs of a_fsas, got "
            f"{chosen.dtype} {tuple(chosen.shape)}"
        )
    chosen = chosen.to(b_fsas.device, torch.int64)
    wrong = (chosen < 0) | (chosen >= b_fsas.num_seqs)
    for i in wrong.nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"a_to_b_map[{i}] = {int(chosen[i])}: must be one of the {b_fsas.num_seqs} sequences "
            "of b_fsas, counted from 0"
        )
    return chosen


def intersect_dense_tot_scores(
    a_fsas: Fsa,
    b_fsas: DenseFsaVec | tuple[DenseFsaVec, ...],
    semiring: Semiring = _LOG,
    *,
    dtype: torch.dtype | None = None,
    a_to_b_map: Tensor | list[int] | None = None,
) -> Value:
    r"""Computes the total of all alignments of each sequence without building their lattice.

    The same as ``get_tot_scores(intersect_dense(a_fsas, b_fsas), semiring)``, that is
    :math:`\bigoplus_\pi \bigotimes_{a \in \pi} (w(a) + x_{t, \mathrm{label}(a)})`, by one loop over
    frames for the whole batch, on any device and for any semiring. On the CPU, `LogSemiring` and
    `ConditionalEntropySemiring` have a C++ kernel.

    Args:
        a_fsas: one FSA (or a vector of one) shared by all sequences, or one FSA for each.
        b_fsas: the frame scores, (N, T, C), on the same device; for a semiring over several models
            a tuple, such as ``(student, teacher)``, with sequences of the same lengths. Each
            model's path weights contain the graph's.
        semiring: whose ``convert`` takes one tensor of log-weights, or a tuple of them.
        dtype: in which to compute; by default the common dtype of the scores. float64 is worth its
            cost for long sequences.
        a_to_b_map: see `intersect_dense`; the result then has one value for each FSA.

    Returns:
        A value with slots (S,), one per sequence: zero where no alignment exists. Differentiable in
        both inputs, as often as the semiring is; by a kernel, once.

    Raises:
        FsaValueError: as `intersect_dense`; also for models with sequences of different lengths.
        FsaTypeError: ``dtype`` is one of integers.
        ValueError: the semiring is for other log-weights, such as those of probabilities only.
        TypeError: it is for another number of models.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> scores = torch.tensor([[[0.4, 0.6], [0.5, 0.5]]]).log()
    >>> dense = DenseFsaVec.from_lengths(scores, torch.tensor([2]))
    >>> intersect_dense_tot_scores(graph, dense).exp()     # .4 * .5 + .6 * .5
    tensor([0.5000])
    """
    models = b_fsas if isinstance(b_fsas, tuple) else (b_fsas,)
    if a_to_b_map is not None:
        chosen = _sequences_of(a_to_b_map, a_fsas, models[0])
        models = tuple(model.index_select(chosen) for model in models)
    dtype = dtype or torch.result_type(a_fsas.scores, models[0].scores)
    if not dtype.is_floating_point:
        raise FsaTypeError(f"dtype: must be a floating-point one, got {dtype}")
    if isinstance(b_fsas, tuple):
        return models_tot_scores(tuple((a_fsas, model) for model in models), semiring, dtype)
    (dense,) = models
    entropy = type(semiring) is ConditionalEntropySemiring
    has_kernel = entropy or type(semiring) is LogSemiring
    if has_kernel and can_run(dense.scores) and dtype in (dense.dtype, torch.float64):
        check_graph(a_fsas, dense)
        nll, entropies, _ = kernel_totals(a_fsas, dense.to(dtype), "b_fsas", entropy=entropy)
        return (-nll, entropies) if entropy else -nll
    return _fused_total((_Pairing(a_fsas, dense),), semiring.convert, semiring, dtype)


def models_tot_scores(
    models: tuple[tuple[Fsa, DenseFsaVec], ...],
    semiring: Semiring,
    dtype: torch.dtype,
    names: tuple[str, ...] = (),
) -> Value:
    """`intersect_dense_tot_scores` of a semiring over several models, each with its arc scores.

    Args:
        models: graphs that differ in their scores only, and frame scores.
        semiring: whose ``convert`` takes a tuple of log-weights; for one model, a tensor.
        dtype: in which to compute.
        names: of the frame scores, for messages.

    Raises:
        FsaValueError: see `intersect_dense_tot_scores`.
    """
    names = names or ("b_fsas",) * len(models)
    check_same_lengths(tuple(dense for _, dense in models), names)
    pairings = tuple(
        _Pairing(graph, dense, name) for name, (graph, dense) in zip(names, models, strict=True)
    )
    return _fused_total(pairings, _convert_models(semiring, len(models)), semiring, dtype)


def _convert_models(semiring: Semiring, num_models: int) -> Callable[..., Value]:
    return semiring.convert if num_models == 1 else lambda *x: semiring.convert(x)


def check_same_lengths(models: tuple[DenseFsaVec, ...], names: tuple[str, ...]) -> None:
    """Refuses models whose sequences have different lengths.

    Raises:
        FsaValueError: with the name of the argument.
    """
    first = models[0].lengths
    for name, dense in zip(names, models, strict=True):
        if dense.lengths.shape != first.shape or bool((dense.lengths != first).any()):
            raise FsaValueError(
                f"{name}: must have sequences as long as those of {names[0]}, "
                f"{first.tolist()}, got {dense.lengths.tolist()}"
            )


def _fused_total(
    pairings: tuple[_Pairing, ...],
    convert: Callable[..., Value],
    semiring: Semiring,
    dtype: torch.dtype,
) -> Value:
    """The same in torch: one step of the recursion per frame, for all sequences at once."""
    pairing = pairings[0]
    arcs = _all_arcs(pairing)
    graph_scores = [_without_masks(p.a_fsas.scores.to(dtype))[arcs.arc] for p in pairings]
    state_end = pairing.lengths[pairing.sequence_of(torch.arange(pairing.num_states).to(arcs.arc))]
    started = torch.zeros(pairing.num_states, dtype=torch.bool, device=arcs.arc.device)
    started[pairing.starts[pairing.starts >= 0]] = True
    value = map_slots(
        lambda one, zero: torch.where(started, one, zero),
        semiring.one((pairing.num_states,), dtype, started.device),
        semiring.zero((pairing.num_states,), dtype, started.device),
    )
    emit = (arcs.label >= 0).nonzero().flatten()
    emit = emit[torch.argsort(arcs.dst[emit], stable=True)]
    src, dst, label, sequence = (x[emit] for x in (arcs.src, arcs.dst, arcs.label, arcs.sequence))
    arc_scores = [scores[emit] for scores in graph_scores]
    for t in range(pairing.max_length):
        weights = (
            scores + p.frame_scores(sequence, t, label).to(dtype)
            for scores, p in zip(arc_scores, pairings, strict=True)
        )
        reached = semiring.times(
            map_slots(lambda slot: slot.index_select(0, src), value), convert(*weights)
        )
        merged = semiring.segment_sum(reached, dst, pairing.num_states)
        running = t < state_end
        value = map_slots(lambda new, old, r=running: torch.where(r, new, old), merged, value)
    final = (arcs.label < 0).nonzero().flatten()
    last = map_slots(lambda slot: slot.index_select(0, arcs.src[final]), value)
    last = semiring.times(last, convert(*(scores[final] for scores in graph_scores)))
    return semiring.segment_sum(last, arcs.sequence[final], pairing.num_sequences)


def check_graph(a_fsas: Fsa, b_fsas: DenseFsaVec) -> None:
    """Refuses graphs that do not fit the frame scores; see `intersect_dense`.

    Raises:
        FsaValueError: naming the FSA, the arc and its label or score.
    """
    if a_fsas.num_fsas not in (1, b_fsas.num_seqs):
        raise FsaValueError(
            f"a_fsas: must be one FSA for all {b_fsas.num_seqs} sequences of b_fsas, or one for "
            f"each, got {a_fsas.num_fsas}"
        )
    if a_fsas.device != b_fsas.device:
        raise FsaValueError(
            f"a_fsas: is on {a_fsas.device}, but b_fsas on {b_fsas.device}; use a_fsas.to(device)"
        )
    labels, scores = a_fsas.labels, a_fsas.scores.detach()
    for wrong, what, need in (
        (labels >= b_fsas.vocab_size, "label", f"labels lie in 0..{b_fsas.vocab_size - 1}, or -1"),
        (labels < -1, "label", f"labels lie in 0..{b_fsas.vocab_size - 1}, or -1"),
        (~(scores <= SCORE_LIMIT), "score", "scores are numbers up to 2**26, or -inf"),
    ):
        for arc in wrong.nonzero().flatten().tolist()[:1]:
            fsa = int(a_fsas.arc_to_fsa()[arc])
            first = int((a_fsas.arc_to_fsa() < fsa).sum())
            value = labels[arc].item() if what == "label" else scores[arc].item()
            raise FsaValueError(
                f"a_fsas: FSA {fsa}, arc {arc - first} {a_fsas.arcs[arc].tolist()} has {what} "
                f"{value}; {need}, for frame scores {tuple(b_fsas.scores.shape)}"
            )


def _without_masks(scores: Tensor) -> Tensor:
    return scores.masked_fill(scores.detach() < -SCORE_LIMIT, -math.inf)


class _Arcs(NamedTuple):
    """Arcs of the graphs as seen by the sequences; all int64 of one length."""

    arc: Tensor  # the number of the arc in a_fsas
    src: Tensor  # states counted over all sequences
    dst: Tensor
    label: Tensor
    sequence: Tensor


class _Pairing:
    """Which sequence has which graph: states are numbered over all sequences."""

    def __init__(self, a_fsas: Fsa, b_fsas: DenseFsaVec, name: str = "b_fsas") -> None:
        check_graph(a_fsas, b_fsas)
        self.a_fsas, self.b_fsas, self.name = a_fsas, b_fsas, name
        self.num_sequences = b_fsas.num_seqs
        self.shared = a_fsas.num_fsas == 1
        self.num_states = a_fsas.num_states * (self.num_sequences if self.shared else 1)
        self.lengths = b_fsas.lengths
        self.max_length = int(self.lengths.max()) if self.num_sequences else 0
        self.labels = a_fsas.labels.to(torch.int64)
        self.src, self.dst = a_fsas.src_states(), a_fsas.dst_states()
        self.starts = self._per_sequence(a_fsas.start_states())
        self.finals = self._per_sequence(a_fsas.final_states())

    def _per_sequence(self, states: Tensor) -> Tensor:
        if not self.shared:
            return states
        shift = torch.arange(self.num_sequences, device=states.device) * self.a_fsas.num_states
        return torch.where(states >= 0, states + shift, -1)

    def sequence_of(self, states: Tensor) -> Tensor:
        """The sequence of states numbered over all sequences."""
        if self.shared:
            return states // max(self.a_fsas.num_states, 1)
        return self.a_fsas.state_to_fsa()[states]

    def arcs_leaving(self, states: Tensor) -> tuple[_Arcs, Tensor]:
        """The arcs that leave given states, and the position in `states` of each one's source."""
        shape, shared = self.a_fsas.shape, self.shared
        splits = shape.row_splits(shape.num_axes - 1)
        graph_states = states % max(self.a_fsas.num_states, 1) if shared else states
        first, counts = splits[graph_states], splits[graph_states + 1] - splits[graph_states]
        position = torch.repeat_interleave(torch.arange(len(states)).to(states), counts)
        ends = counts.cumsum(0)
        arc = torch.arange(len(position)).to(states) + (first - ends + counts)[position]
        shift = (states - graph_states)[position]
        sequence = self.sequence_of(states)[position]
        dst = self.dst[arc] + shift
        return _Arcs(arc, self.src[arc] + shift, dst, self.labels[arc], sequence), position

    def frame_scores(self, sequence: Tensor, t: int, label: Tensor) -> Tensor:
        """The scores of labels in frame t of sequences, -inf beyond a sequence's frames."""
        scores = self.b_fsas.scores
        inside = t < self.lengths[sequence]
        frame = torch.where(inside, self.b_fsas.start_frames[sequence] + t, 0)
        read = scores[self.b_fsas.utterances[sequence], frame, label]
        refused = inside & ~(read.detach() <= SCORE_LIMIT)
        if bool(refused.any()):
            i = int(refused.nonzero()[0])
            n, at = int(self.b_fsas.utterances[sequence[i]]), int(frame[i])
            raise bad_score(self.name, n, at, int(label[i]), float(read[i].detach()))
        return _without_masks(read.masked_fill(~inside, -math.inf))


def _all_arcs(pairing: _Pairing) -> _Arcs:
    states = torch.arange(pairing.num_states, device=pairing.labels.device)
    return pairing.arcs_leaving(states)[0]


class _Frame:
    """The pairs of one frame, in ascending order, and the arcs that leave them."""

    def __init__(self, states: Tensor, forward: Tensor) -> None:
        self.states = states
        self.forward = forward  # best score from the start
        self.backward = forward.new_zeros(0)  # best score to the end
        self.arcs: _Arcs
        self.src: Tensor  # positions in this frame's states
        self.dst: Tensor  # positions in the next frame's states
        self.scores: Tensor


def _expand(pairing: _Pairing, max_states: int, max_arcs: int) -> list[_Frame]:
    """Follows all arcs with mass from the starts, frame by frame; best scores on the way."""
    starts = pairing.starts[pairing.starts >= 0]
    frames = [_Frame(starts, torch.zeros(len(starts), dtype=torch.float64, device=starts.device))]
    num_states = num_arcs = 0
    graph_scores = _without_masks(pairing.a_fsas.scores.detach().double())
    for t in range(pairing.max_length + 2):
        frame = frames[-1]
        arcs, src = pairing.arcs_leaving(frame.states)
        at_end = t == pairing.lengths[arcs.sequence]
        allowed = torch.where(arcs.label < 0, at_end, t < pairing.lengths[arcs.sequence])
        arcs, src = _Arcs(*(x[allowed] for x in arcs)), src[allowed]
        emitted = torch.zeros(len(src), dtype=torch.float64, device=src.device)
        emit = arcs.label >= 0
        if bool(emit.any()):
            read = pairing.frame_scores(arcs.sequence[emit], t, arcs.label[emit])
            emitted[emit] = read.detach().double()
        scores = graph_scores[arcs.arc] + emitted
        mass = scores > -math.inf
        frame.arcs, frame.src = _Arcs(*(x[mass] for x in arcs)), src[mass]
        frame.scores = scores[mass]
        states, frame.dst = torch.unique(frame.arcs.dst, return_inverse=True)
        num_states, num_arcs = num_states + len(frame.states), num_arcs + len(frame.src)
        _check_size(num_states, max_states, "states", t, pairing)
        _check_size(num_arcs, max_arcs, "arcs", t, pairing)
        forward = _best(frame.forward[frame.src] + frame.scores, frame.dst, len(states))
        frames.append(_Frame(states, forward))
        if not len(states):
            break
    return frames


def _check_size(number: int, limit: int, what: str, t: int, pairing: _Pairing) -> None:
    if number > limit:
        raise FsaRuntimeError(
            f"max_{what}: the lattices of {pairing.num_sequences} sequences have {number} {what} "
            f"up to frame {t} of {pairing.max_length}, more than {limit}; pass fewer sequences at "
            f"a time, raise max_{what}, or use intersect_dense_tot_scores, which needs no lattice"
        )


def _best(scores: Tensor, index: Tensor, size: int) -> Tensor:
    return scores.new_full((size,), -math.inf).scatter_reduce_(0, index, scores, "amax")


def _score_backward(pairing: _Pairing, frames: list[_Frame]) -> None:
    """Fills the best scores to the end; -inf for a pair that no successful path passes."""
    frames[-1].backward = frames[-1].forward.new_zeros(0)
    for t in range(len(frames) - 2, -1, -1):
        frame, following = frames[t], frames[t + 1]
        onward = frame.scores + following.backward[frame.dst]
        frame.backward = _best(onward, frame.src, len(frame.states))
        is_final = pairing.finals[pairing.sequence_of(frame.states)] == frame.states
        frame.backward = frame.backward.masked_fill(is_final, 0.0)


def _prune(pairing: _Pairing, frames: list[_Frame], output_beam: float) -> None:
    """Keeps the arcs on successful paths within the beam of the best one."""
    first = frames[0]
    best = first.backward.new_full((pairing.num_sequences,), -math.inf)
    best[pairing.sequence_of(first.states)] = first.backward
    # sums of the same path in another order differ by rounding, which must not cut the best path
    threshold = best - output_beam - 1e-9 * best.abs().masked_fill(best.isinf(), 0.0)
    for frame, following in pairwise(frames):
        total = frame.forward[frame.src] + frame.scores + following.backward[frame.dst]
        keep = (total > -math.inf) & (total >= threshold[frame.arcs.sequence])
        frame.arcs = _Arcs(*(x[keep] for x in frame.arcs))
        frame.src, frame.dst, frame.scores = frame.src[keep], frame.dst[keep], frame.scores[keep]


def _native_lattice(
    a_fsas: Fsa, b_fsas: DenseFsaVec, output_beam: float, max_states: int, max_arcs: int
) -> Structure:
    """The states and arcs of the lattices."""
    sequences = native_dense.DenseSequences(
        b_fsas.scores.detach(), b_fsas.utterances, b_fsas.start_frames, b_fsas.lengths
    )
    result = run(
        "intersect_dense_lattice",
        a_fsas,
        scores=True,
        parameters=(sequences.native(), float(output_beam)),
        max_states=max_states,
        max_arcs=max_arcs,
    )
    arc_map, frames, positions, bad = result.maps
    if bad.numel():
        s, t, symbol = bad.tolist()
        n, t = int(b_fsas.utterances[s]), int(b_fsas.start_frames[s]) + t
        raise bad_score("b_fsas", n, t, symbol, float(b_fsas.scores.detach()[n, t, symbol]))
    return Structure(result.shape, result.arcs, arc_map, frames, positions)


def _torch_lattice(
    a_fsas: Fsa, b_fsas: DenseFsaVec, output_beam: float, max_states: int, max_arcs: int
) -> Structure:
    """The same on any device."""
    pairing = _Pairing(a_fsas, b_fsas)
    with torch.no_grad():
        frames = _expand(pairing, max_states, max_arcs)
        _score_backward(pairing, frames)
        _prune(pairing, frames, output_beam)
        return _assemble(pairing, frames)


def _assemble(pairing: _Pairing, frames: list[_Frame]) -> Structure:
    """Numbers the pairs that are left by sequence, frame and state, and makes the lattice."""
    frames, device = frames[:-1], pairing.labels.device
    sizes = [len(frame.states) for frame in frames]
    begins = [sum(sizes[:t]) for t in range(len(sizes) + 1)]
    states = torch.cat([frame.states for frame in frames])
    src = torch.cat([frame.src + begins[t] for t, frame in enumerate(frames)])
    dst = torch.cat([frame.dst + begins[t + 1] for t, frame in enumerate(frames)])
    arc_map, _, _, label, sequence = (
        torch.cat(columns) for columns in zip(*(frame.arcs for frame in frames))
    )
    t_of_arc = torch.cat([torch.full_like(frame.src, t) for t, frame in enumerate(frames)])

    used = torch.zeros(len(states), dtype=torch.bool, device=device)
    used[src] = True
    used[dst] = True
    kept = used.nonzero().flatten()
    kept = kept[torch.argsort(pairing.sequence_of(states[kept]), stable=True)]
    number = torch.full((len(states),), -1, device=device)
    number[kept] = torch.arange(len(kept), device=device)
    counts = torch.bincount(pairing.sequence_of(states[kept]), minlength=pairing.num_sequences)
    first_state = (counts.cumsum(0) - counts)[sequence]

    order = torch.argsort(number[src], stable=True)
    src, dst, label, arc_map, sequence, t_of_arc, first_state = (
        x[order] for x in (src, dst, label, arc_map, sequence, t_of_arc, first_state)
    )
    arcs = torch.stack([number[src] - first_state, number[dst] - first_state, label], dim=1)
    shape = RaggedShape.from_sizes(counts, torch.bincount(number[src], minlength=len(kept)))
    dense = pairing.b_fsas
    row = dense.utterances * dense.scores.shape[1] + dense.start_frames
    position = (row[sequence] + t_of_arc) * dense.vocab_size + label
    position = position.masked_fill(label < 0, -1)
    return Structure(shape, arcs.to(torch.int32), arc_map, t_of_arc.to(torch.int32), position)
