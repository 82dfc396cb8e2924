"""The CTC topology, whole (`ctc_topo`) and already composed with transcripts (`ctc_graph`)."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, FsaValueError, RaggedShape
from wfst_entropy.topologies.linear import Sequences, append_final, as_ragged_labels


def ctc_topo(
    max_token: int, modified: bool = False, device: torch.device | str | None = None
) -> Fsa:
    """The transducer from frame labels (0 is blank) to token sequences.

    Standard: state 0 is "blank was last", state `i` "token `i` was last"; every state goes to every
    other, and a token is put out when its state is entered from another one: `(V + 1)(V + 2)` arcs
    for `V` tokens.  Modified: a token may also be put out again without a blank in between, which
    takes only `4 V + 2` arcs but gives some token sequences more than one path per frame labelling.

    States and arcs are k2's, in k2's order.  Scores are zero.

    Args:
      max_token: the largest token; a vocabulary of `C` symbols with blank has `C - 1`.
      modified: the smaller topology.
      device: of the result.

    Returns:
      `[state][arc]` with the int32 attribute `aux_labels`.

    Raises:
      FsaValueError: `max_token` is below 1, or so large that int32 cannot count the arcs.

    Source: Graves et al., Connectionist temporal classification, ICML 2006, section 3.1; the
    modified form: k2's `ctc_topo`.

    Example:
      >>> print(ctc_topo(1))
      0 0 0 0 0
      0 1 1 1 0
      0 2 -1 -1 0
      1 0 0 0 0
      1 1 1 0 0
      1 2 -1 -1 0
      2
    """
    if max_token < 1:
        raise FsaValueError(
            f"max_token: must be at least 1, the largest token beside blank 0, got {max_token}."
        )
    num_arcs = 4 * max_token + 2 if modified else (max_token + 1) * (max_token + 2)
    if num_arcs >= 2**31:
        raise FsaValueError(
            f"max_token: {max_token} takes {num_arcs} arcs, more than int32 can count; ctc_graph "
            "and ctc_loss need no topology; modified=True takes 4 arcs per token."
        )
    table = (_modified_topo_arcs if modified else _standard_topo_arcs)(max_token, device)
    aux_labels = table[:, 3].contiguous()
    return Fsa.from_arcs(table[:, :3], num_states=max_token + 2, aux_labels=aux_labels)


def _standard_topo_arcs(max_token: int, device: torch.device | str | None) -> Tensor:
    """Source, destination, label and aux_label, int32: each state to every other and the final."""
    final = max_token + 1
    states = torch.arange(max_token + 2, dtype=torch.int32, device=device)
    src = states[:-1, None].expand(-1, max_token + 2)
    dst = states.expand(max_token + 1, -1)
    label = dst.masked_fill(dst == final, -1)
    aux_label = label.masked_fill(dst == src, 0)
    return torch.stack([src, dst, label, aux_label], dim=2).reshape(-1, 4)


def _modified_topo_arcs(max_token: int, device: torch.device | str | None) -> Tensor:
    """As above: state 0 puts tokens out; state `i` only repeats token `i`."""
    tokens = torch.arange(1, max_token + 1, dtype=torch.int32, device=device)
    zero = torch.zeros_like(tokens)
    blank = tokens.new_tensor([[0, 0, 0, 0]])
    once = _arc(zero, zero, tokens, tokens)
    more = _arc(zero, tokens, tokens, tokens)
    final = tokens.new_tensor([[0, max_token + 1, -1, -1]])
    stay = _arc(tokens, tokens, tokens, zero)
    back = _arc(tokens, zero, tokens, zero)
    leaving = torch.stack([stay, back], dim=1).reshape(-1, 4)
    return torch.cat([blank, once, more, final, leaving])


def ctc_graph(
    symbols: Sequences, modified: bool = False, device: torch.device | str | None = None
) -> Fsa:
    """The CTC training graphs of a batch of transcripts: `ctc_topo` composed with `linear_fsa`.

    A transcript of `U` labels has `2 U + 2` states: `2 k` is the blank before label `k`, `2 k + 1`
    label `k`, the last the final state.  Its paths over `T` frames are the CTC alignments of the
    transcript.  In the standard topology two equal neighbours need a blank between them; in the
    modified one they do not.  An empty transcript accepts blanks only.

    States and arcs are k2's, in k2's order.  Scores are zero.  Built for the whole batch at once.

    Args:
      symbols: labels `[utt][position]`, lists or a ragged tensor; at least 1 each (0 is blank).
      modified: the modified topology.
      device: of the result; by default the CPU, or the device of the ragged tensor.

    Returns:
      `[fsa][state][arc]` with the int32 attribute `aux_labels`: the label on the arc that first
      enters its state, 0 elsewhere, -1 on arcs into the final state.

    Raises:
      FsaTypeError: symbols that are not integers.
      FsaValueError: a symbol below 1; the message names utterance and position.

    Source: Graves et al., Connectionist temporal classification, ICML 2006, section 4.1.

    Example:
      >>> print(ctc_graph([[5]])[0])
      0 0 0 0 0
      0 1 5 5 0
      1 2 0 0 0
      1 1 5 0 0
      1 3 -1 -1 0
      2 2 0 0 0
      2 3 -1 -1 0
      3
    """
    labels = as_ragged_labels(symbols, "symbols", 1, device)
    # Position k of the sequence with -1 appended stands for the states 2k (blank) and 2k + 1 (the
    # label, or the final state). Both go on to 2k + 1 with the label at k, or -1.
    sequence = append_final(labels)
    label = sequence.values
    is_label = label != -1
    following = torch.roll(label, -1)
    skip = is_label & ((following != label) | modified)
    blank = 2 * (
        torch.arange(label.numel(), device=label.device)
        - sequence.shape.row_splits(1)[sequence.shape.row_ids(1)]
    )
    zero = torch.zeros_like(label)
    candidates = torch.stack(
        [
            _arc(blank, blank, zero, zero),
            _arc(blank, blank + 1, label, label),
            _arc(blank + 1, blank + 2, zero, zero),
            _arc(blank + 1, blank + 1, label, zero),
            _arc(blank + 1, blank + 3, following, following),
        ],
        dim=1,
    )
    always = torch.ones_like(is_label)
    exists = torch.stack([always, always, is_label, is_label, skip], dim=1)
    table = candidates[exists].to(torch.int32)
    arcs_of_state = torch.stack([exists[:, :2].sum(1), exists[:, 2:].sum(1)], dim=1).flatten()
    arc_splits = torch.cat([arcs_of_state.new_zeros(1), arcs_of_state.cumsum(0)])
    shape = RaggedShape(2 * sequence.shape.row_splits(1), arc_splits)
    return Fsa(shape, table[:, :3], aux_labels=table[:, 3].contiguous())


def _arc(src: Tensor, dst: Tensor, label: Tensor, aux_label: Tensor) -> Tensor:
    return torch.stack([src, dst, label, aux_label], dim=1)


def min_num_frames(symbols: Sequences, modified: bool = False) -> Tensor:
    """The fewest frames over which each transcript has a CTC alignment.

    One per label, and in the standard topology one more for each label that equals the one before.

    Args:
      symbols: labels `[utt][position]`, as for `ctc_graph`.
      modified: for the modified topology.

    Returns:
      int64 `(N,)`, in frames after subsampling.

    Raises:
      FsaTypeError, FsaValueError: as `ctc_graph`.

    Example:
      >>> min_num_frames([[3, 3, 4], [], [1]]).tolist()
      [4, 0, 1]
    """
    labels = as_ragged_labels(symbols, "symbols", 1)
    splits = labels.shape.row_splits(1)
    frames = splits[1:] - splits[:-1]
    if modified:
        return frames
    utt = labels.shape.row_ids(1)
    repeats = (labels.values[1:] == labels.values[:-1]) & (utt[1:] == utt[:-1])
    return frames.index_add(0, utt[1:], repeats.to(torch.int64))
