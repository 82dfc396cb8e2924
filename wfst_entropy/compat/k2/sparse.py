"""k2's sparse matrices of posteriors: `create_sparse`, and the module `k2.sparse`."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def create_sparse(
    rows: Tensor,
    cols: Tensor,
    values: Tensor,
    size: tuple[int, int] | None = None,
    min_col_index: int | None = None,
) -> Tensor:
    """A sparse matrix of `values`, such as posteriors `(frame, phone)`; differentiable.

    Args:
      rows: integers `(n,)`, from 0 on.
      cols: integers `(n,)`.
      values: `(n,)`.
      size: of the matrix; by default what the largest row and column need.
      min_col_index: entries with smaller columns are left out.

    Returns:
      A tensor in coordinate form, not coalesced.

    Raises:
      FsaValueError: the three are not vectors of one length.

    Example:
      >>> rows, cols = torch.tensor([0, 0, 1]), torch.tensor([2, -1, 1])
      >>> create_sparse(rows, cols, torch.ones(3), (2, 3), min_col_index=0).to_dense()
      tensor([[0., 0., 1.],
              [0., 1., 0.]])
    """
    if rows.dim() != 1 or rows.shape != cols.shape or rows.shape != values.shape:
        raise FsaValueError(
            "rows, cols, values: must be vectors of one length, got shapes "
            f"{tuple(rows.shape)}, {tuple(cols.shape)}, {tuple(values.shape)}."
        )
    if min_col_index is not None:
        kept = cols >= min_col_index
        rows, cols, values = rows[kept], cols[kept], values[kept]
    indices = torch.stack([rows.to(torch.int64), cols.to(torch.int64)])
    if size is None:
        return torch.sparse_coo_tensor(indices, values, check_invariants=True)
    return torch.sparse_coo_tensor(indices, values, size, check_invariants=True)


def abs(sparse_tensor: Tensor) -> Tensor:
    """The absolute values of a coalesced sparse tensor; differentiable.

    Raises:
      FsaTypeError: it is not sparse.
      FsaValueError: it is not coalesced; call `coalesce()` first, so that entries at one place add
        up before their absolute value is taken.

    Example:
      >>> matrix = torch.tensor([[0.0, -2.0]]).to_sparse()
      >>> abs(matrix).to_dense()
      tensor([[0., 2.]])
    """
    if sparse_tensor.layout != torch.sparse_coo:
        raise FsaTypeError("sparse_tensor: must be sparse (coordinate form).")
    if not sparse_tensor.is_coalesced():
        raise FsaValueError("sparse_tensor: must be coalesced; call coalesce() first.")
    return torch.sparse_coo_tensor(
        sparse_tensor.indices(),
        sparse_tensor.values().abs(),
        sparse_tensor.shape,
        is_coalesced=True,
        check_invariants=False,
    )
