"""The graph of all ways to insert, delete and substitute symbols of a sequence."""

from __future__ import annotations

import math

import torch

from wfst_entropy.fsa import Fsa, FsaValueError, RaggedShape
from wfst_entropy.topologies.linear import Sequences, append_final, as_ragged_labels

_EDIT_SCORE = -0.5


def levenshtein_graph(
    symbols: Sequences,
    ins_del_score: float = -0.501,
    device: torch.device | str | None = None,
) -> Fsa:
    """The graphs that `levenshtein_alignment` aligns with each other, one per sequence.

    State `i` stands before symbol `i` of a sequence of `U`, and has three arcs: epsilon to itself
    (the other sequence has a symbol more), epsilon to `i + 1` (skip the symbol, or replace it) and
    the symbol to `i + 1`.  State `U` has the first of them and the arc -1.  Where the graphs of two
    sequences are intersected, with epsilon as a symbol like others, both take one arc at a time: a
    match scores 0, a substitution 2 x -0.5 = -1, an insertion or deletion `ins_del_score - 0.5`.
    At the default that is slightly worse than a substitution, so that a best path has the fewest
    errors and among these the most substitutions.  The attribute `ins_del_score_offset` is what to
    subtract to make each edit count -1.

    States, arcs and scores are k2's, in k2's order (k2 names the offset
    `__ins_del_score_offset_internal_attr_`).

    Args:
      symbols: labels `[utt][position]`, lists or a ragged tensor; at least 1 each (0 is epsilon).
      ins_del_score: score of the epsilon arcs of a state to itself; negative.
      device: of the result; by default the CPU, or the device of the ragged tensor.

    Returns:
      `[fsa][state][arc]` with the int32 attribute `aux_labels` (the symbol, also on the epsilon arc
      that skips it) and the float32 attribute `ins_del_score_offset`: `ins_del_score + 0.5` on the
      arcs of a state to itself, else 0.

    Raises:
      FsaTypeError: symbols that are not integers.
      FsaValueError: a symbol below 1 (the message names utterance and position), or a score that is
        not below 0 or not finite.

    Example:
      >>> print(levenshtein_graph([[7]])[0])
      0 0 0 0 -0.501
      0 1 0 7 -0.5
      0 1 7 7 0
      1 1 0 0 -0.501
      1 2 -1 -1 0
      2
    """
    if not -math.inf < ins_del_score < 0:
        raise FsaValueError(
            "ins_del_score: must be below 0 (where inserting earns a score there is no best path) "
            f"and finite, got {ins_del_score}; the default is -0.501."
        )
    # Position k of the sequence with -1 appended stands for state k and its two or three arcs.
    sequence = append_final(as_ragged_labels(symbols, "symbols", 1, device))
    label, splits = sequence.values, sequence.shape.row_splits(1)
    utterance = sequence.shape.row_ids(1)
    state = torch.arange(label.numel(), device=label.device) - splits[utterance]
    zero = torch.zeros_like(label)
    candidates = torch.stack(
        [
            torch.stack([state, state, zero, zero], dim=1),
            torch.stack([state, state + 1, zero, label], dim=1),
            torch.stack([state, state + 1, label, label], dim=1),
        ],
        dim=1,
    )
    exists = torch.ones(label.numel(), 3, dtype=torch.bool, device=label.device)
    exists[:, 1] = label != -1
    scores = torch.tensor([ins_del_score, _EDIT_SCORE, 0.0], device=label.device)
    offsets = torch.tensor([ins_del_score - _EDIT_SCORE, 0.0, 0.0], device=label.device)
    table = candidates[exists].to(torch.int32)
    # The final state of each utterance follows its last position and has no arcs.
    counts = torch.zeros(label.numel() + sequence.dim0, dtype=torch.int64, device=label.device)
    counts[torch.arange(label.numel(), device=label.device) + utterance] = exists.sum(1)
    state_splits = splits + torch.arange(sequence.dim0 + 1, device=label.device)
    arc_splits = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Fsa(
        RaggedShape(state_splits, arc_splits),
        table[:, :3],
        scores.expand(label.numel(), 3)[exists],
        aux_labels=table[:, 3].contiguous(),
        ins_del_score_offset=offsets.expand(label.numel(), 3)[exists],
    )
