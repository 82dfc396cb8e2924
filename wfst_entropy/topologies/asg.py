"""ASG's graphs: no blank, and a learnable score for each pair of neighbouring frame labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.algorithms.dense_pairing import SCORE_LIMIT
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedShape, RaggedTensor
from wfst_entropy.topologies.linear import Sequences, append_final, as_ragged_labels


def asg_topo(transitions: Tensor) -> Fsa:
    """The graph of all frame labellings: each token after each, ASG's denominator.

    State 0 is the start, state i + 1 "token i was last"; an arc from i + 1 to j + 1 reads token j
    and scores `transitions[i, j]`. The first token of an utterance scores 0.

    Args:
      transitions: (C, C), log-weights in nats of token j (column) after token i (row), also of
        j = i, staying. wav2letter's matrix is the transpose.

    Returns:
      One FSA `[state][arc]`, its scores differentiable in `transitions`. Labels are columns of the
      frame scores, from 0 on: label 0 is a token like others.

    Raises:
      FsaTypeError, FsaValueError: `transitions` is not floating point, not square, or has NaN or a
        number above 2**26.

    Source: Collobert, Puhrsch and Synnaeve 2016, "Wav2Letter: an end-to-end ConvNet-based speech
    recognition system", section 2.3 (the full-connect graph).

    Example:
      >>> print(asg_topo(torch.tensor([[0.5]])))
      0 1 0 0
      0 2 -1 0
      1 1 0 0.5
      1 2 -1 0
      2
    """
    transitions = _check_transitions(transitions)
    c = transitions.shape[0]
    states = torch.arange(c + 1, device=transitions.device)
    src = states[:, None].expand(-1, c + 1)
    dst = (states + 1).expand(c + 1, -1)
    label = torch.where(dst == c + 1, -1, dst - 1)
    arcs = torch.stack([src, dst, label], 2).reshape(-1, 3)
    scores = torch.nn.functional.pad(transitions, (0, 1, 1, 0)).flatten()
    return Fsa.from_arcs(arcs, scores, c + 2)


def asg_graph(symbols: Sequences, transitions: Tensor) -> Fsa:
    """The graphs of given transcripts: each token one or more times, ASG's numerator.

    State u is "label u was last", counting from 1, with a loop; every path over T frames is one of
    `asg_topo`, with the same score. That needs neighbouring labels to differ: see `pack_repeats`.
    An empty transcript has a path over no frames only.

    Args:
      symbols: labels `[utt][position]`, lists or a ragged tensor, from 0 to C - 1.
      transitions: (C, C), see `asg_topo`.

    Returns:
      `[fsa][state][arc]`, on the device of `transitions` and its scores differentiable in these.

    Raises:
      FsaTypeError: symbols that are not integers, `transitions` that are not floating point.
      FsaValueError: a label outside the matrix, or one that equals its neighbour; the message names
        utterance and position.

    Source: as `asg_topo` (the graph of a transcript).

    Example:
      >>> print(asg_graph([[2, 0]], torch.arange(9.0).view(3, 3))[0])
      0 1 2 0
      1 1 2 8
      1 2 0 6
      2 2 0 0
      2 3 -1 0
      3
    """
    transitions = _check_transitions(transitions)
    labels = as_ragged_labels(symbols, "symbols", 0, transitions.device)
    _check_labels(labels, transitions.shape[0])
    sequence = append_final(labels)
    utterance = sequence.shape.row_ids(1)
    state = torch.arange(sequence.numel(), device=labels.device)
    state = state - sequence.shape.row_splits(1)[utterance]
    onward = sequence.values
    last = torch.roll(onward, 1)  # the label of the state; none for state 0
    inner = state > 0
    table = torch.stack(
        [torch.stack([state, state, last], 1), torch.stack([state, state + 1, onward], 1)], 1
    )
    exists = torch.stack([inner, torch.ones_like(inner)], 1)
    scored = torch.stack([inner, inner & (onward >= 0)], 1)
    pairs = torch.stack([last * len(transitions) + last, last * len(transitions) + onward], 1)
    read = transitions.flatten().index_select(0, pairs[scored])
    scores = read.new_zeros(exists.numel()).index_copy(0, scored.flatten().nonzero()[:, 0], read)
    sizes = sequence.shape.row_splits(1).diff()
    arcs_of_state = torch.zeros(
        int(sizes.sum()) + sizes.numel(), dtype=torch.int64, device=labels.device
    )
    arcs_of_state[state + sequence.shape.row_splits(1)[utterance] + utterance] = exists.sum(1)
    shape = RaggedShape.from_sizes(sizes + 1, arcs_of_state)
    return Fsa(shape, table[exists].to(torch.int32), scores[exists.flatten()])


def pack_repeats(symbols: Sequence[Sequence[int]], repeat_labels: Sequence[int]) -> list[list[int]]:
    """Replaces repetitions of a label by labels that mean "once more", "twice more", ...

    Without a blank, two equal neighbours could not be told from one that lasts longer.

    Args:
      symbols: the transcripts.
      repeat_labels: `repeat_labels[k - 1]` stands for k more of the label before it. A run longer
        than they reach goes on with the label itself.

    Raises:
      FsaValueError: a transcript has one of `repeat_labels`, or there are none.

    Source: Collobert, Puhrsch and Synnaeve 2016 (see `asg_topo`).

    Example:
      >>> pack_repeats([[3, 3, 1], [4, 4, 4, 4]], [8, 9])
      [[3, 8, 1], [4, 9, 4]]
    """
    if not repeat_labels:
        raise FsaValueError("repeat_labels: there must be at least one.")
    packed: list[list[int]] = []
    for utterance, labels in enumerate(symbols):
        row: list[int] = []
        for label, run in groupby(labels):
            if label in repeat_labels:
                raise FsaValueError(
                    f"symbols: utterance {utterance} has the label {label}, one of repeat_labels; "
                    "those must be kept for repetitions."
                )
            left = len(list(run))
            while left:
                more = min(left - 1, len(repeat_labels))
                row += [label, repeat_labels[more - 1]] if more else [label]
                left -= more + 1
        packed.append(row)
    return packed


def _check_transitions(transitions: Any) -> Tensor:
    if not isinstance(transitions, Tensor) or not transitions.is_floating_point():
        came = transitions.dtype if isinstance(transitions, Tensor) else type(transitions).__name__
        raise FsaTypeError(f"transitions: must be a floating-point tensor (C, C), got {came}.")
    if transitions.dim() != 2 or transitions.shape[0] != transitions.shape[1]:
        raise FsaValueError(
            f"transitions: must be (C, C), one score for each token after each, got "
            f"{tuple(transitions.shape)}."
        )
    values = transitions.detach()
    for i, j in (~(values <= SCORE_LIMIT)).nonzero()[:1].tolist():
        raise FsaValueError(
            f"transitions[{i}, {j}] is {float(values[i, j])}; a log-weight must be a number up to "
            "2**26, or -inf."
        )
    if transitions.dtype in (torch.float32, torch.float64):
        return transitions
    return transitions.float()


def _check_labels(labels: RaggedTensor, num_symbols: int) -> None:
    utterance = labels.shape.row_ids(1)
    equal = torch.zeros_like(labels.values, dtype=torch.bool)
    equal[1:] = (labels.values[1:] == labels.values[:-1]) & (utterance[1:] == utterance[:-1])
    for wrong, what in (
        (labels.values >= num_symbols, f"labels lie in 0..{num_symbols - 1}, for the transitions"),
        (equal, "the label before it is the same; without a blank they are one: use pack_repeats"),
    ):
        for i in wrong.nonzero().flatten().tolist()[:1]:
            n = int(utterance[i])
            raise FsaValueError(
                f"symbols: utterance {n}, position {i - int(labels.shape.row_splits(1)[n])} is "
                f"{int(labels.values[i])}: {what}."
            )
