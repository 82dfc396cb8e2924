"""Lattices of graphs against frame scores in torch, on any device."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from wfst_entropy.algorithms._dense_lattice import Structure
from wfst_entropy.algorithms.dense_pairing import PairedArcs, Pairing, without_masks
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaRuntimeError


def torch_lattice(
    a_fsas: Fsa, b_fsas: DenseFsaVec, output_beam: float, max_states: int, max_arcs: int
) -> Structure:
    """The states and arcs of the lattices; the twin of the kernel `intersect_dense_lattice`."""
    pairing = Pairing(a_fsas, b_fsas)
    with torch.no_grad():
        frames = _expand(pairing, max_states, max_arcs)
        _score_backward(pairing, frames)
        _prune(pairing, frames, output_beam)
        return _assemble(pairing, frames)


class _Frame:
    """The pairs of one frame, in ascending order, and the arcs that leave them."""

    def __init__(self, states: Tensor, forward: Tensor) -> None:
        self.states = states
        self.forward = forward  # best score from the start
        self.backward = forward.new_zeros(0)  # best score to the end
        self.arcs: PairedArcs
        self.src: Tensor  # positions in this frame's states
        self.dst: Tensor  # positions in the next frame's states
        self.scores: Tensor


def _expand(pairing: Pairing, max_states: int, max_arcs: int) -> list[_Frame]:
    """Follows all arcs with mass from the starts, frame by frame; best scores on the way."""
    starts = pairing.starts[pairing.starts >= 0]
    frames = [_Frame(starts, torch.zeros(len(starts), dtype=torch.float64, device=starts.device))]
    num_states = num_arcs = 0
    graph_scores = without_masks(pairing.a_fsas.scores.detach().double())
    for t in range(pairing.max_length + 2):
        frame = frames[-1]
        arcs, src = pairing.arcs_leaving(frame.states)
        at_end = t == pairing.lengths[arcs.sequence]
        allowed = torch.where(arcs.label < 0, at_end, t < pairing.lengths[arcs.sequence])
        arcs, src = PairedArcs(*(x[allowed] for x in arcs)), src[allowed]
        emitted = torch.zeros(len(src), dtype=torch.float64, device=src.device)
        emit = arcs.label >= 0
        if bool(emit.any()):
            read = pairing.frame_scores(arcs.sequence[emit], t, arcs.label[emit])
            emitted[emit] = read.detach().double()
        scores = graph_scores[arcs.arc] + emitted
        mass = scores > -math.inf
        frame.arcs, frame.src = PairedArcs(*(x[mass] for x in arcs)), src[mass]
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


def _check_size(number: int, limit: int, what: str, t: int, pairing: Pairing) -> None:
    if number > limit:
        raise FsaRuntimeError(
            f"max_{what}: the lattices of {pairing.num_sequences} sequences have {number} {what} "
            f"up to frame {t} of {pairing.max_length}, more than {limit}; pass fewer sequences at "
            f"a time, raise max_{what}, or use intersect_dense_tot_scores, which needs no lattice"
        )


def _best(scores: Tensor, index: Tensor, size: int) -> Tensor:
    return scores.new_full((size,), -math.inf).scatter_reduce_(0, index, scores, "amax")


def _score_backward(pairing: Pairing, frames: list[_Frame]) -> None:
    """Fills the best scores to the end; -inf for a pair that no successful path passes."""
    frames[-1].backward = frames[-1].forward.new_zeros(0)
    for t in range(len(frames) - 2, -1, -1):
        frame, following = frames[t], frames[t + 1]
        onward = frame.scores + following.backward[frame.dst]
        frame.backward = _best(onward, frame.src, len(frame.states))
        is_final = pairing.finals[pairing.sequence_of(frame.states)] == frame.states
        frame.backward = frame.backward.masked_fill(is_final, 0.0)


def _prune(pairing: Pairing, frames: list[_Frame], output_beam: float) -> None:
    """Keeps the arcs on successful paths within the beam of the best one."""
    first = frames[0]
    best = first.backward.new_full((pairing.num_sequences,), -math.inf)
    best[pairing.sequence_of(first.states)] = first.backward
    # sums of the same path in another order differ by rounding, which must not cut the best path
    threshold = best - output_beam - 1e-9 * best.abs().masked_fill(best.isinf(), 0.0)
    for frame, following in pairwise(frames):
        total = frame.forward[frame.src] + frame.scores + following.backward[frame.dst]
        keep = (total > -math.inf) & (total >= threshold[frame.arcs.sequence])
        frame.arcs = PairedArcs(*(x[keep] for x in frame.arcs))
        frame.src, frame.dst, frame.scores = frame.src[keep], frame.dst[keep], frame.scores[keep]


def _assemble(pairing: Pairing, frames: list[_Frame]) -> Structure:
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
