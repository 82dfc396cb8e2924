"""k2's picking and adding by index: `index_select`, `index_add`, `index_and_sum` ..."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged_tensor import RaggedTensor, core_ragged, k2_ragged
from wfst_entropy.fsa import ragged_index as core
from wfst_entropy.fsa.errors import FsaIndexError, FsaTypeError, FsaValueError


def index_select(src: Tensor, index: Tensor, default_value: float = 0) -> Tensor:
    """`src[index]` along the first axis; differentiable.

    Args:
      src: one or two axes.
      index: int32 `(m,)`; where it is -1, the result is `default_value` (0 if `src` has two axes).
      default_value: for -1.

    Raises:
      FsaTypeError, FsaIndexError: the index is not of integers, or outside `src`.

    Example:
      >>> index_select(torch.tensor([5, 6, 7]), torch.tensor([2, -1], dtype=torch.int32), -8)
      tensor([ 7, -8])
    """
    return core.index_select(src, index, default_value if src.dim() == 1 else 0).contiguous()


def index_add(index: Tensor, value: Tensor, in_out: Tensor) -> None:
    """`in_out[index[i]] += value[i]`, in place; -1 is skipped; not differentiable.

    Args:
      index: int32 `(m,)`.
      value: `(m,)` or `(m, width)`.
      in_out: `(n,)` or `(n, width)`, of the dtype of `value`.

    Raises:
      FsaTypeError: the index is not of integers, or dtypes differ.
      FsaIndexError: an index outside `in_out`.
      FsaValueError: shapes do not fit.

    Example:
      >>> total = torch.zeros(2)
      >>> index_add(torch.tensor([1, -1, 1]), torch.tensor([1.0, 2.0, 4.0]), total)
      >>> total
      tensor([0., 5.])
    """
    if value.dtype != in_out.dtype or index.is_floating_point():
        raise FsaTypeError(
            f"index_add: needs integers and two tensors of one dtype, got index {index.dtype}, "
            f"value {value.dtype}, in_out {in_out.dtype}."
        )
    if value.shape != (index.numel(), *in_out.shape[1:]) or index.dim() != 1:
        raise FsaValueError(
            f"index_add: shapes do not fit: index {tuple(index.shape)}, value "
            f"{tuple(value.shape)}, in_out {tuple(in_out.shape)}."
        )
    if bool(((index < -1) | (index >= in_out.shape[0])).any()):
        raise FsaIndexError(
            f"index: must be from -1 to {in_out.shape[0] - 1}, got from {int(index.min())} to "
            f"{int(index.max())}."
        )
    kept = index >= 0
    with torch.no_grad():
        in_out.index_add_(0, index[kept].to(torch.int64), value[kept])


def index(src: Tensor, indexes: RaggedTensor, default_value: float | None = None) -> RaggedTensor:
    """The elements of a 1-D tensor at ragged positions; -1 gives `default_value`, or else 0.

    Example:
      >>> index(torch.tensor([0, 10, 20], dtype=torch.int32), RaggedTensor([[2, -1], [1]]))
      RaggedTensor([[20, 0],
                    [10]], dtype=torch.int32)
    """
    default = 0 if default_value is None else default_value
    return k2_ragged(core.index_ragged(src, core_ragged(indexes), default))


def index_and_sum(src: Tensor, indexes: RaggedTensor) -> Tensor:
    """`sum_j src[indexes[i][j]]` for each list `i`; -1 is skipped; differentiable.

    Example:
      >>> index_and_sum(torch.tensor([1.0, 2.0]), RaggedTensor([[0, 1, 1], [-1]]))
      tensor([5., 0.])
    """
    return core.index_and_sum(src, core_ragged(indexes))


def simple_ragged_index_select(src: Tensor, indexes: RaggedTensor) -> Tensor:
    """For each list of positions the one element of `src` there that is not 0; 0 if none is.

    Args:
      src: int32 `(n,)`.
      indexes: int32 with two axes.

    Raises:
      FsaTypeError: `src` is not of integers.
      FsaValueError: in a list, more than one element is not 0.
      FsaIndexError: an index outside `src`.

    Example:
      >>> src = torch.tensor([0, 2, 0], dtype=torch.int32)
      >>> simple_ragged_index_select(src, RaggedTensor([[1, 0], [2]]))
      tensor([2, 0], dtype=torch.int32)
    """
    if src.is_floating_point():
        raise FsaTypeError(f"src: must be of integers, got {src.dtype}.")
    nonzero = core.index_and_sum((src != 0).to(torch.int64), core_ragged(indexes))
    rows = torch.nonzero(nonzero > 1)
    if rows.numel():
        row = int(rows[0])
        raise FsaValueError(
            f"list {row} of `indexes` meets {int(nonzero[row])} elements of src that are not 0; "
            "at most one is allowed."
        )
    return core.index_and_sum(src, core_ragged(indexes))
