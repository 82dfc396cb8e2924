"""Graphs with exactly one path."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedShape, RaggedTensor

Sequences = Sequence[Sequence[int]] | RaggedTensor
"""Labels `[utt][position]`, as lists or a ragged integer tensor."""


def linear_fsa(labels: Sequence[int] | Sequences, device: torch.device | str | None = None) -> Fsa:
    """The acceptor of one label sequence, or a vector of those of several.

    A sequence of `U` labels gives `U + 2` states and the arcs `i -> i + 1` with label `i`, the last
    with -1.  Scores are zero.  An empty sequence gives the single arc -1.

    Args:
      labels: a list of labels for one FSA; a list of lists, or a ragged tensor with two axes
        `[utt][position]`, for a vector.  Labels are not negative; 0 is epsilon.
      device: of the result; by default the CPU, or the device of the ragged tensor.

    Returns:
      `[state][arc]` for one list, `[fsa][state][arc]` otherwise.

    Raises:
      FsaTypeError: labels that are not integers.
      FsaValueError: a negative label; the message names utterance and position.

    Example:
      >>> print(linear_fsa([5, 7]))
      0 1 5 0
      1 2 7 0
      2 3 -1 0
      3
      >>> linear_fsa([[5, 7], []]).labels.tolist()
      [5, 7, -1, -1]
    """
    sequences, single = _one_or_many(labels, "labels", device)
    fsas = _linear(sequences)
    return fsas[0] if single else fsas


def linear_fst(
    labels: Sequence[int] | Sequences,
    aux_labels: Sequence[int] | Sequences,
    device: torch.device | str | None = None,
) -> Fsa:
    """The transducer of one pair of equally long sequences, or a vector of those of several.

    As `linear_fsa(labels)` with the int32 attribute `aux_labels`, which is -1 on the last arc.

    Args:
      labels: input labels, as for `linear_fsa`.
      aux_labels: output labels, as many as `labels` for each utterance.
      device: of the result.

    Raises:
      FsaTypeError: labels that are not integers.
      FsaValueError: a negative label, or different lengths; the message names the utterance.

    Example:
      >>> print(linear_fst([5, 7], [50, 0]))
      0 1 5 50 0
      1 2 7 0 0
      2 3 -1 -1 0
      3
    """
    inputs, single = _one_or_many(labels, "labels", device)
    outputs, outputs_single = _one_or_many(aux_labels, "aux_labels", device)
    if single != outputs_single or inputs.dim0 != outputs.dim0:
        raise FsaValueError(
            f"aux_labels: must be nested as labels, with {inputs.dim0} utterances, got "
            f"{outputs.dim0}."
        )
    sizes, other_sizes = _lengths(inputs), _lengths(outputs)
    differ = torch.nonzero(sizes != other_sizes)
    if differ.numel():
        utt = int(differ[0])
        raise FsaValueError(
            f"aux_labels: utterance {utt} has {int(other_sizes[utt])} of them for "
            f"{int(sizes[utt])} labels; pad with 0 (epsilon)."
        )
    fsas = _linear(inputs)
    fsas.set_attribute_("aux_labels", append_final(outputs).values.to(torch.int32))
    return fsas[0] if single else fsas


def as_ragged_labels(
    sequences: Sequences, name: str, lowest: int, device: torch.device | str | None = None
) -> RaggedTensor:
    """The sequences as a ragged int64 tensor `[utt][position]`, checked.

    Args:
      sequences: lists of integers, or a ragged integer tensor.
      name: of the argument, for messages.
      lowest: the smallest label allowed.
      device: of the result.

    Raises:
      FsaTypeError: not two levels, or not integers.
      FsaValueError: a label below `lowest`, or one that does not fit int32; the message names
        utterance and position.
    """
    if isinstance(sequences, RaggedTensor):
        ragged = sequences if device is None else sequences.to(device)
        if ragged.num_axes != 2 or ragged.dtype not in (torch.int32, torch.int64):
            raise FsaTypeError(
                f"{name}: a ragged tensor must be [utt][position] of int32 or int64, got "
                f"{ragged.num_axes} axes of {ragged.dtype}."
            )
        ragged = ragged.to(torch.int64)
    else:
        try:
            ragged = RaggedTensor.from_lists(sequences, torch.int64, device)
        except FsaTypeError as error:
            raise FsaTypeError(
                f"{name}: must be lists of integers, one list per utterance. {error}"
            ) from error
        if ragged.num_axes != 2:
            raise FsaTypeError(
                f"{name}: must be lists of integers, one list per utterance; got "
                f"{ragged.num_axes} levels."
            )
    wrong = torch.nonzero((ragged.values < lowest) | (ragged.values >= 2**31))
    if wrong.numel():
        element = int(wrong[0])
        utt = int(ragged.shape.row_ids(1)[element])
        position = element - int(ragged.shape.row_splits(1)[utt])
        reserved = "; 0 is the blank" if lowest == 1 else ""
        raise FsaValueError(
            f"{name}: utterance {utt}, position {position}: must be from {lowest} to 2**31 - 1"
            f"{reserved}, got {int(ragged.values[element])}."
        )
    return ragged


def append_final(labels: RaggedTensor) -> RaggedTensor:
    """The sequences with -1, the label of arcs into the final state, added to each."""
    splits = labels.shape.row_splits(1)
    utterances = torch.arange(labels.dim0 + 1, device=labels.device)
    values = torch.full((labels.numel() + labels.dim0,), -1, device=labels.device)
    # Each label moves up by the number of -1 before it.
    positions = torch.arange(labels.numel(), device=labels.device) + labels.shape.row_ids(1)
    values[positions] = labels.values
    return RaggedTensor(RaggedShape(splits + utterances), values)


def _one_or_many(
    labels: Sequence[int] | Sequences, name: str, device: torch.device | str | None
) -> tuple[RaggedTensor, bool]:
    """The sequences, and whether a single list (no element is a list) was given."""
    if isinstance(labels, RaggedTensor):
        return as_ragged_labels(labels, name, 0, device), False
    rows = list(labels)
    if any(isinstance(row, (list, tuple, Tensor)) for row in rows):
        return as_ragged_labels(rows, name, 0, device), False  # type: ignore[arg-type]
    return as_ragged_labels([rows], name, 0, device), True  # type: ignore[list-item]


def _lengths(labels: RaggedTensor) -> Tensor:
    splits = labels.shape.row_splits(1)
    return splits[1:] - splits[:-1]


def _linear(labels: RaggedTensor) -> Fsa:
    with_final = append_final(labels)
    # One arc per label and one for -1; every state but the last of each FSA has one.
    arc_splits = with_final.shape.row_splits(1)
    utterances = torch.arange(labels.dim0 + 1, device=labels.device)
    state_splits = arc_splits + utterances
    arcs_of_state = torch.ones(
        with_final.numel() + labels.dim0, dtype=torch.int64, device=labels.device
    )
    arcs_of_state[state_splits[1:] - 1] = 0
    arc_row_splits = torch.cat([arcs_of_state.new_zeros(1), arcs_of_state.cumsum(0)])
    src = torch.arange(with_final.numel(), device=labels.device)
    src = src - arc_splits[with_final.shape.row_ids(1)]
    arcs = torch.stack([src, src + 1, with_final.values], dim=1).to(torch.int32)
    return Fsa(RaggedShape(state_splits, arc_row_splits), arcs)
