"""Picking from a tensor by a ragged tensor of positions."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaIndexError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged import RaggedTensor
from wfst_entropy.fsa.ragged_reductions import check_fits


def index_ragged(src: Tensor, indexes: RaggedTensor, default_value: float = 0) -> RaggedTensor:
    """The elements of `src` at ragged positions; differentiable.

    Args:
      src: `(n,)`, any dtype.
      indexes: integers from 0 to `n - 1`, or -1 for `default_value`.
      default_value: stands where an index is -1.

    Returns:
      A ragged tensor with the shape of `indexes` and the dtype of `src`.

    Raises:
      FsaTypeError: the indexes are not integers.
      FsaValueError: `src` has not one axis.
      FsaIndexError: an index outside `src`.

    Example:
      >>> index_ragged(torch.tensor([5, 6, 7]), RaggedTensor.from_lists([[2, -1], [0]]))
      [[7, 0], [5]]
    """
    if src.dim() != 1:
        raise FsaValueError(f"src: must have one axis, got shape {tuple(src.shape)}.")
    return RaggedTensor(indexes.shape, index_select(src, indexes.values, default_value))


def index_and_sum(src: Tensor, indexes: RaggedTensor) -> Tensor:
    """`sum_j src[indexes[i][j]]` for each list `i`; differentiable.

    With an arc map of lists, the scores of new arcs from those of old ones.

    Args:
      src: `(n, ...)`, any dtype.
      indexes: two axes, integers from 0 to `n - 1`, or -1 for nothing.

    Returns:
      `(indexes.dim0, ...)`.

    Raises:
      FsaTypeError, FsaIndexError: as `index_ragged`.
      FsaValueError: `indexes` has not two axes.

    Example:
      >>> src = torch.tensor([1.0, 2.0, 4.0])
      >>> index_and_sum(src, RaggedTensor.from_lists([[0, 2, 2], [], [1, -1]])).tolist()
      [9.0, 0.0, 2.0]
    """
    if indexes.num_axes != 2:
        raise FsaValueError(f"indexes: must have 2 axes, got {indexes.num_axes}.")
    total = src.new_zeros(indexes.dim0, *src.shape[1:])
    return total.index_add(0, indexes.shape.row_ids(1), index_select(src, indexes.values))


def index_select(src: Tensor, indexes: Tensor, default_value: float = 0) -> Tensor:
    """`src[indexes]` along the first axis, with `default_value` where an index is -1.

    Differentiable in `src`.

    Args:
      src: `(n, ...)`, any dtype.
      indexes: integers `(m,)`, from -1 to `n - 1`.
      default_value: stands where an index is -1.

    Returns:
      `(m, ...)`.

    Raises:
      FsaTypeError: the indexes are not integers.
      FsaIndexError: an index outside `src`.
      FsaValueError: a `default_value` that integers of the dtype of `src` cannot hold, or another
        number of axes.

    Example:
      >>> index_select(torch.tensor([5, 6, 7]), torch.tensor([2, -1]), default_value=9).tolist()
      [7, 9]
    """
    if indexes.is_floating_point() or indexes.dtype == torch.bool:
        raise FsaTypeError(f"indexes: must be integers, got {indexes.dtype}.")
    if indexes.dim() != 1 or not src.dim():
        raise FsaValueError(
            "index_select: needs `src` with at least one axis and `indexes` with exactly one, got "
            f"shapes {tuple(src.shape)} and {tuple(indexes.shape)}."
        )
    indexes = indexes.to(torch.int64)
    if bool(((indexes < -1) | (indexes >= src.shape[0])).any()):
        raise FsaIndexError(
            f"indexes: must be from -1 to {src.shape[0] - 1}, got from {int(indexes.min())} to "
            f"{int(indexes.max())}."
        )
    nothing = indexes < 0
    if not bool(nothing.any()):
        return src[indexes]
    check_fits("default_value", default_value, src.dtype)
    if not src.shape[0]:
        return src.new_full((indexes.numel(), *src.shape[1:]), default_value)
    nothing = nothing.reshape(-1, *[1] * (src.dim() - 1))
    return torch.where(nothing, src.new_tensor(default_value), src[indexes.clamp(min=0)])
