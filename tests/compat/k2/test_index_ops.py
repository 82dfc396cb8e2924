"""k2's index_select, index_add, index, index_and_sum and simple_ragged_index_select."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from wfst_entropy.compat.k2.index_ops import (
    index,
    index_add,
    index_and_sum,
    index_select,
    simple_ragged_index_select,
)
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.fsa import FsaIndexError, FsaTypeError, FsaValueError

dtypes = st.sampled_from([torch.int32, torch.int64, torch.float32, torch.float64])
positions = st.lists(st.integers(-1, 5), max_size=9)
strides = st.integers(1, 3)


@given(dtypes, positions, strides, st.sampled_from([(), (4,)]))
def test_index_select(dtype, rows, stride, width):
    src = torch.arange(1, 6 * stride * 4 + 1).reshape(6 * stride, 4)[::stride].to(dtype)
    src = src if width else src[:, 0]
    i = tensor(rows, dtype=torch.int32)
    default = 7 if not width else 0
    picked = index_select(src, i, 7)
    expected = [src[j].tolist() if j >= 0 else torch.full(width, default).tolist() for j in rows]
    assert picked.tolist() == expected and picked.dtype == dtype and picked.is_contiguous()
    if dtype.is_floating_point:
        src = src.clone().requires_grad_()
        index_select(src, i).sum().backward()
        counts = tensor([rows.count(j) for j in range(6)], dtype=dtype)
        assert torch.equal(src.grad, counts.reshape(-1, *[1] * len(width)).expand_as(src))


@given(dtypes, positions, strides, st.sampled_from([(), (3,)]))
def test_index_add(dtype, rows, stride, width):
    size = 6 * stride
    total = torch.arange(size * 3).reshape(size, 3)[::stride].to(dtype)
    total = total if width else total[:, 0]
    value = torch.arange(1, len(rows) * 3 + 1).reshape(-1, 3).to(dtype)
    value = value if width else value[:, 0]
    expected = total.clone()
    for j, row in enumerate(rows):
        if row >= 0:
            expected[row] += value[j]
    assert index_add(tensor(rows, dtype=torch.int32), value, total) is None
    assert torch.equal(total, expected)


def test_ragged_positions():
    src = tensor([0, 10, 20, 30], dtype=torch.int32)
    picked = index(src, RaggedTensor([[[1, 3], []], [[0, -1]]]), default_value=-2)
    assert picked == RaggedTensor([[[10, 30], []], [[0, -2]]])
    assert index(src.float(), RaggedTensor([[-1]])).tolist() == [[0.0]]
    src = tensor([1.0, 2.0, 3.0], requires_grad=True)
    total = index_and_sum(src, RaggedTensor([[1, 2, -1], [0, 2, 2], [-1], []]))
    assert total.tolist() == [5, 7, 0, 0]
    (total * tensor([10.0, 20, 30, 40])).sum().backward()
    assert src.grad.tolist() == [20, 10, 50]


def test_simple_ragged_index_select():
    lists = RaggedTensor([[1, 0, 4], [2, 3], [0], [], [4, 5, 2]])
    src = tensor([0, 2, 0, 10, 0, -1], dtype=torch.int32)
    spread = src.expand(3, -1).t().flatten()[::3]
    assert not spread.is_contiguous()
    for source in (src, spread):
        picked = simple_ragged_index_select(source, lists)
        assert picked.tolist() == [2, 10, 0, 0, -1] and picked.dtype == torch.int32
    with pytest.raises(FsaValueError, match=r"list 1 of `indexes` meets 2 elements of src"):
        simple_ragged_index_select(src, RaggedTensor([[0], [1, 3]]))
    with pytest.raises(FsaTypeError, match=r"src: must be of integers, got torch.float32"):
        simple_ragged_index_select(src.float(), lists)


def test_wrong_arguments():
    with pytest.raises(FsaIndexError, match=r"from -1 to 1, got from 0 to 2"):
        index_add(tensor([0, 2]), torch.ones(2), torch.zeros(2))
    with pytest.raises(FsaTypeError, match=r"index torch.int64, value torch.float32, in_out .*64"):
        index_add(tensor([0]), torch.ones(1), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(FsaValueError, match=r"index \(1,\), value \(2,\), in_out \(2,\)"):
        index_add(tensor([0]), torch.ones(2), torch.zeros(2))
    with pytest.raises(FsaIndexError, match=r"from -1 to 1, got from -2 to 0"):
        index_select(torch.zeros(2), tensor([0, -2]))
