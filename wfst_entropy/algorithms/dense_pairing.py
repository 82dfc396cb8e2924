"""Which states and arcs of graphs meet which frames of scores, for the torch engine."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.kernel_gradient import bad_score
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError

SCORE_LIMIT = 2.0**26
"""Log-weights below ``-SCORE_LIMIT`` (masks such as -1e30) are no mass; above, they are refused."""


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


def without_masks(scores: Tensor) -> Tensor:
    """Log-weights in which masks are -inf.

    >>> without_masks(torch.tensor([-1.0, -1e30])).tolist()
    [-1.0, -inf]
    """
    return scores.masked_fill(scores.detach() < -SCORE_LIMIT, -math.inf)


class PairedArcs(NamedTuple):
    """Arcs of the graphs as seen by the sequences; all int64 of one length."""

    arc: Tensor  # the number of the arc in a_fsas
    src: Tensor  # states counted over all sequences
    dst: Tensor
    label: Tensor
    sequence: Tensor


class Pairing:
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

    def arcs_leaving(self, states: Tensor) -> tuple[PairedArcs, Tensor]:
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
        return PairedArcs(arc, self.src[arc] + shift, dst, self.labels[arc], sequence), position

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
        return without_masks(read.masked_fill(~inside, -math.inf))


def all_arcs(pairing: Pairing) -> PairedArcs:
    """The arcs of all graphs, for each sequence anew where they share one graph."""
    states = torch.arange(pairing.num_states, device=pairing.labels.device)
    return pairing.arcs_leaving(states)[0]
