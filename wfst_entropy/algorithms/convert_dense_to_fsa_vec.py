"""Frame scores written out as linear graphs."""

from __future__ import annotations

import torch

from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedShape


def convert_dense_to_fsa_vec(dense: DenseFsaVec) -> Fsa:
    """Expands frame scores into the explicit FsaVec that they stand for.

    Sequence `s` becomes a chain of ``lengths[s] + 2`` states: an arc for each symbol from every
    frame to the next, and one with label -1 and score 0 into the final state. That is as much
    memory as the scores take, several times over: it is meant for tests and for looking at.

    Args:
        dense: the frame scores, (N, T, C).

    Returns:
        An FsaVec with one FSA per sequence. Its scores are differentiable in ``dense.scores``.

    Source: k2's function of this name.

    >>> scores = torch.tensor([[[-1.0, -2.0], [-3.0, -4.0]]])
    >>> print(convert_dense_to_fsa_vec(DenseFsaVec.from_lengths(scores, torch.tensor([2])))[0])
    0 1 0 -1
    0 1 1 -2
    1 2 0 -3
    1 2 1 -4
    2 3 -1 0
    3
    """
    num_symbols, device = dense.vocab_size, dense.device
    num_states = dense.lengths + 2
    sequence = torch.repeat_interleave(torch.arange(len(dense), device=device), num_states)
    first = (num_states.cumsum(0) - num_states)[sequence]
    state = torch.arange(int(num_states.sum()), device=device) - first
    behind = dense.lengths[sequence] - state  # frames still to come; -1 in the final state
    num_arcs = torch.where(behind > 0, num_symbols, behind + 1)
    shape = RaggedShape.from_sizes(num_states, num_arcs)

    of = shape.row_ids(2)  # the state of each arc
    symbol = torch.arange(len(of), device=device) - shape.row_splits(2)[of]
    is_final = behind[of] == 0
    label = symbol.masked_fill(is_final, -1)
    arcs = torch.stack([state[of], state[of] + 1, label], dim=1).to(torch.int32)
    emitting = (~is_final).nonzero().flatten()
    n, t = sequence[of[emitting]], state[of[emitting]]
    frame = dense.utterances[n] * dense.scores.shape[1] + dense.start_frames[n] + t
    read = dense.scores.reshape(-1).index_select(0, frame * num_symbols + symbol[emitting])
    scores = dense.scores.new_zeros(len(of)).index_copy(0, emitting, read)
    return Fsa(shape, arcs, scores)
