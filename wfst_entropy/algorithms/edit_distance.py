"""Levenshtein distances of many pairs of sequences at once."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import FsaTypeError, FsaValueError, RaggedTensor


def edit_distance(hyps: RaggedTensor, refs: RaggedTensor) -> Tensor:
    r"""The fewest insertions, deletions and substitutions that turn each sequence into another.

    All pairs go through the table together, one row for each position of the hypotheses:
    :math:`d_{i,j} = \min(d_{i-1,j} + 1, d_{i,j-1} + 1, d_{i-1,j-1} + [h_i \ne r_j])`, where the
    middle term along a row is a running minimum.

    Args:
      hyps: integers `[pair][position]`.
      refs: integers `[pair][position]`, on the same device.

    Returns:
      int64 `(num_pairs,)`.

    Raises:
      FsaTypeError, FsaValueError: not ragged with two axes of integers; different numbers of
        sequences.

    Source: Levenshtein 1966; Wagner and Fischer 1974, "The string-to-string correction problem".

    >>> a = RaggedTensor.from_lists([[1, 2, 3], [4]])
    >>> b = RaggedTensor.from_lists([[2, 3, 3, 3], []])
    >>> edit_distance(a, b)
    tensor([3, 1])
    """
    for name, sequences in (("hyps", hyps), ("refs", refs)):
        if not isinstance(sequences, RaggedTensor) or sequences.num_axes != 2:
            raise FsaTypeError(f"{name}: must be ragged integers [pair][position].")
        if sequences.dtype.is_floating_point and sequences.numel():
            raise FsaTypeError(f"{name}: must be integers, got {sequences.dtype}.")
    if hyps.dim0 != refs.dim0:
        raise FsaValueError(
            f"refs: must be as many sequences as hyps, {hyps.dim0}, got {refs.dim0}."
        )
    reference = _padded(refs)
    hypothesis = _padded(hyps)
    place = torch.arange(reference.shape[1] + 1, device=reference.device)
    row = place.expand(hyps.dim0, -1)
    lengths = hyps.shape.row_splits(1).diff()
    for i in range(hypothesis.shape[1]):
        # less the place, so that one more insertion costs nothing along the row
        differs = hypothesis[:, i, None] != reference
        aligned = torch.minimum(row[:, 1:] + 1, row[:, :-1] + differs) - place[1:]
        onward = torch.cat([row[:, :1] + 1, aligned], 1).cummin(1).values + place
        row = torch.where(i < lengths[:, None], onward, row)
    return row.gather(1, refs.shape.row_splits(1).diff()[:, None])[:, 0]


def _padded(sequences: RaggedTensor) -> Tensor:
    """As (num_pairs, longest), with zeros after the end."""
    splits = sequences.shape.row_splits(1)
    lengths = splits.diff()
    place = torch.arange(int(lengths.max()) if lengths.numel() else 0, device=splits.device)
    inside = place < lengths[:, None]
    result = torch.zeros(inside.shape, dtype=torch.int64, device=splits.device)
    return result.masked_scatter(inside, sequences.values.to(torch.int64))
