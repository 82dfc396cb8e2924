"""Changes of the lists of a ragged tensor: removing values, padding, sorting, repeats, joining.

The methods of `RaggedTensor` call these functions and describe them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaIndexError, FsaValueError
from wfst_entropy.fsa.ragged_reductions import check_fits, last_row_ids
from wfst_entropy.fsa.ragged_shape import RaggedShape, sizes_to_splits

if TYPE_CHECKING:
    from wfst_entropy.fsa.ragged import RaggedTensor


def keep_elements(shape: RaggedShape, kept: Tensor) -> RaggedShape:
    """The shape without the elements of the last axis where `kept`, bool `(numel,)`, is False."""
    count = sizes_to_splits(kept)
    *outer, last = shape.all_row_splits()
    return RaggedShape._unchecked([*outer, count[last]])


def pad(ragged: RaggedTensor, mode: str, padding_value: float, pad_left: bool) -> Tensor:
    """See `RaggedTensor.pad`."""
    if ragged.num_axes != 2:
        raise FsaValueError(
            f"pad: needs a ragged tensor with 2 axes, got {ragged.num_axes}; use remove_axis."
        )
    if mode not in ("constant", "replicate"):
        raise FsaValueError(f"mode: must be 'constant' or 'replicate', got {mode!r}.")
    check_fits("padding_value", padding_value, ragged.dtype)
    splits = ragged.shape.row_splits(1)
    sizes = (splits[1:] - splits[:-1])[:, None]
    width = ragged.shape.max_size(1)
    column = torch.arange(width, device=ragged.device)[None, :]
    if pad_left:
        column = column - (width - sizes)
    outside = (column < 0) | (column >= sizes)
    if mode == "replicate":
        outside = (sizes == 0).expand(-1, width)
        column = column.clamp(min=0).minimum((sizes - 1).clamp(min=0))
    table = ragged.values.new_full((ragged.dim0, width), padding_value)
    if not ragged.numel():
        return table
    positions = torch.where(outside, 0, splits[:-1, None] + column)
    return torch.where(outside, table, ragged.values[positions])


def sort_order(ragged: RaggedTensor, descending: bool) -> Tensor:
    """int64 positions that put the values of each sublist in order; equal ones stay in order."""
    values = ragged.values.detach()
    by_value = torch.argsort(values, descending=descending, stable=True)
    by_row = torch.argsort(last_row_ids(ragged)[by_value], stable=True)
    return by_value[by_row]


def rank_sublists(ragged: RaggedTensor) -> Tensor:
    """Ranks of the sublists of the last axis by length, then by their values in turn.

    Equal sublists, and no others, have equal ranks.  Substrings of length 1, 2, 4, ... are ranked
    from the ranks of their halves, so the cost is that of `log2(longest)` sorts.

    Returns:
      int64, one per sublist, from 0 on without gaps.
    """
    splits = ragged.shape.row_splits(ragged.num_axes - 1)
    sizes = splits[1:] - splits[:-1]
    if not ragged.numel():
        return torch.zeros_like(sizes)
    ends = splits[1:][last_row_ids(ragged)]
    positions = torch.arange(ragged.numel(), device=ragged.device)
    _, rank = torch.unique(ragged.values.detach(), return_inverse=True)
    length, longest = 1, int(sizes.max())
    while length < longest:
        second = positions + length
        inside = second < ends
        tail = torch.where(inside, rank[torch.where(inside, second, 0)] + 1, 0)
        _, rank = torch.unique(rank * (ragged.numel() + 1) + tail, return_inverse=True)
        length *= 2
    first = torch.where(sizes > 0, rank[splits[:-1].clamp(max=ragged.numel() - 1)], 0)
    _, of_sublist = torch.unique(sizes * ragged.numel() + first, return_inverse=True)
    return of_sublist


def unique_sublists(ragged: RaggedTensor) -> tuple[RaggedTensor, RaggedTensor, Tensor]:
    """See `RaggedTensor.unique`."""
    axis = ragged.num_axes - 2  # of the sublists
    num_sublists = ragged.shape.tot_size(axis)
    rank = rank_sublists(ragged)
    if axis == 0:
        parent, num_parents = torch.zeros_like(rank), 1
    else:
        parent, num_parents = ragged.shape.row_ids(axis), ragged.shape.tot_size(axis - 1)
    key = parent * (num_sublists + 1) + rank
    order = torch.argsort(key, stable=True)
    is_first = torch.ones_like(order, dtype=torch.bool)
    is_first[1:] = key[order[1:]] != key[order[:-1]]
    new2old = order[is_first]
    starts = torch.nonzero(is_first).flatten()
    repeats = torch.diff(starts, append=starts.new_tensor([num_sublists]))
    parents = RaggedShape.from_sizes(torch.bincount(parent[new2old], minlength=num_parents))
    shape, positions = ragged.shape.get_layer(axis).index(new2old)
    if axis > 0:
        outer = ragged.shape.all_row_splits()[: axis - 1]
        shape = RaggedShape._unchecked([*outer, parents.row_splits(1), shape.row_splits(1)])
    distinct = type(ragged)(shape, ragged.values[positions])
    return distinct, type(ragged)(parents, repeats), new2old


def cat_rows(tensors: Sequence[RaggedTensor]) -> tuple[RaggedShape, Tensor]:
    """Joins row `i` of all tensors, for each `i`: the shape, and positions in the joined values."""
    rows = sorted({tensor.dim0 for tensor in tensors})
    if len(rows) != 1:
        raise FsaValueError(
            f"tensors: along axis 1 all must have the same number of rows (dim0), got {rows}."
        )
    stacked = RaggedShape.cat([tensor.shape for tensor in tensors])
    order = torch.arange(stacked.dim0, device=stacked.device)
    order = order.reshape(len(tensors), rows[0]).T.reshape(-1)
    shape, positions = stacked.index(order)
    first, *others = shape.all_row_splits()
    return RaggedShape._unchecked([first[:: len(tensors)], *others], shape.numel()), positions


def slice_axis(ragged: RaggedTensor, axis: int, begin: int, end: int) -> RaggedTensor:
    """See `RaggedTensor.arange`."""
    if not 0 <= axis < ragged.num_axes - 1:
        raise FsaIndexError(f"axis: must be from 0 to {ragged.num_axes - 2}, got {axis}.")
    for _ in range(axis):
        ragged = ragged.remove_axis(0)
    if not 0 <= begin <= end <= ragged.dim0:
        raise FsaIndexError(
            f"begin, end: need 0 <= begin <= end <= {ragged.dim0}, got {begin} and {end}."
        )
    shape, first, last = ragged.shape.slice_rows(begin, end)
    return type(ragged)(shape, ragged.values[first:last])
