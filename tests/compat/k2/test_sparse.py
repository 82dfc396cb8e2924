"""create_sparse and sparse.abs, with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import tensor

from wfst_entropy.compat.k2 import sparse
from wfst_entropy.fsa import FsaTypeError, FsaValueError


def test_create_sparse():
    rows = tensor([0, 0, 1, 2, 2, 3], dtype=torch.int32)
    cols = tensor([10, 11, 20, 21, 24, -1], dtype=torch.int32)
    values = torch.arange(1.0, 7.0).requires_grad_()
    matrix = sparse.create_sparse(
        rows=rows, cols=cols, values=values, size=(6, 25), min_col_index=0
    )
    assert matrix.is_sparse and matrix.shape == (6, 25) and matrix.requires_grad
    assert matrix._indices().tolist() == [rows[:-1].tolist(), cols[:-1].tolist()]
    assert matrix._values().tolist() == [1, 2, 3, 4, 5]
    (matrix.to_dense() * torch.arange(25.0)).sum().backward()
    assert values.grad.tolist() == [10, 11, 20, 21, 24, 0]
    assert sparse.create_sparse(rows[:2], cols[:2], torch.ones(2)).shape == (1, 12)
    with pytest.raises(FsaValueError, match=r"got shapes \(6,\), \(6,\), \(2,\)"):
        sparse.create_sparse(rows, cols, torch.ones(2))
    with pytest.raises(RuntimeError, match="negative"):
        sparse.create_sparse(rows, cols, torch.ones(6), (6, 25))


@pytest.mark.parametrize("scale", [2.0, -3.0])
def test_abs_agrees_with_the_dense_one(scale):
    indexes = tensor([[0, 0, 1, 2, 0, 2, 2], [0, 1, 0, 1, 0, 1, 0]])
    gradients = []
    for dense in (False, True):
        values = tensor([1.0, 2, -3, 4, -2, -6, 0], requires_grad=True)
        matrix = sparse.create_sparse(*indexes, values, (3, 3)).coalesce()
        difference = (matrix * 10 + (-matrix)).coalesce()
        if dense:
            total = matrix.to_dense().abs().sum() + difference.to_dense().abs().sum()
        else:
            positive = sparse.abs(matrix)
            assert positive.is_sparse
            assert torch.equal(positive._values(), matrix._values().abs())
            total = torch.sparse.sum(positive) + torch.sparse.sum(sparse.abs(difference))
        assert total.item() == 80
        (scale * total).backward()
        gradients.append(values.grad)
    assert torch.equal(*gradients)


def test_wrong_arguments_of_abs():
    with pytest.raises(FsaTypeError, match=r"must be sparse"):
        sparse.abs(torch.zeros(2, 2))
    with pytest.raises(FsaValueError, match=r"must be coalesced; call coalesce\(\) first"):
        places = tensor([[0, 0], [0, 0]])
        sparse.abs(torch.sparse_coo_tensor(places, torch.ones(2), check_invariants=True))
