"""Ragged tensors against plain Python lists."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import (
    FsaIndexError,
    FsaTypeError,
    FsaValueError,
    RaggedShape,
    RaggedTensor,
)

floats = st.floats(-30, 30, width=32)
two_axes = st.lists(st.lists(floats, max_size=4), max_size=6)
three_axes = st.lists(
    st.lists(st.lists(st.integers(-9, 9), max_size=3), max_size=3), max_size=4
).filter(lambda x: any(x))


def ragged(lists, dtype=torch.float64):
    return RaggedTensor.from_lists(lists, dtype)


@given(two_axes)
def test_two_axes_round_trip(lists):
    r = ragged(lists)
    assert r.tolist() == lists
    assert [row.tolist() for row in r] == lists
    assert r.num_axes == 2 and len(r) == r.dim0 == len(lists)
    assert r.numel() == r.shape.tot_size(1) == sum(map(len, lists))


@given(three_axes)
def test_three_axes_round_trip_and_indexing(lists):
    r = RaggedTensor.from_lists(lists)
    assert r.num_axes == 3 and r.tolist() == lists
    assert [row.tolist() for row in r] == lists
    assert r.remove_axis(1).tolist() == [[x for y in row for x in y] for row in lists]
    assert r.remove_axis(0).tolist() == [y for row in lists for y in row]


@given(two_axes)
def test_row_ids_and_row_splits_say_the_same(lists):
    shape = ragged(lists).shape
    assert shape.row_ids(1).tolist() == [i for i, row in enumerate(lists) for _ in row]
    assert torch.bincount(shape.row_ids(1), minlength=len(lists)).tolist() == list(map(len, lists))
    assert shape.row_ids(1).dtype == shape.row_splits(1).dtype == torch.int64


@given(three_axes, st.data())
def test_index_picks_rows(lists, data):
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6))
    picked = RaggedTensor.from_lists(lists).index(torch.tensor(rows, dtype=torch.int64))
    assert picked.tolist() == [lists[i] for i in rows]


@given(three_axes, three_axes)
def test_cat(a, b):
    assert RaggedTensor.cat([ragged(a), ragged(b), ragged(a)]).tolist() == a + b + a


@given(two_axes)
def test_reductions(lists):
    r = ragged(lists)
    expected = {
        "sum": [math.fsum(row) for row in lists],
        "max": [max(row, default=-math.inf) for row in lists],
        "logsumexp": [
            math.log(math.fsum(map(math.exp, row))) if row else -math.inf for row in lists
        ],
    }
    for name, values in expected.items():
        torch.testing.assert_close(
            getattr(r, name)(), torch.tensor(values, dtype=torch.float64), rtol=1e-9, atol=1e-9
        )


@given(two_axes)
def test_normalize_sums_to_one(lists):
    normal = ragged(lists).normalize()
    assert normal.shape == ragged(lists).shape
    total = RaggedTensor(normal.shape, normal.values.exp()).sum()
    expected = torch.tensor([1.0 if row else 0.0 for row in lists], dtype=torch.float64)
    torch.testing.assert_close(total, expected)
    positive = RaggedTensor(normal.shape, ragged(lists).values.abs() + 0.5).normalize(use_log=False)
    torch.testing.assert_close(positive.sum(), expected)


def test_reductions_of_the_last_of_three_axes():
    r = ragged([[[1.0, 2.0], []], [], [[5.0]]])
    assert r.sum().tolist() == [3, 0, 5]
    assert r.max().tolist() == [2, -math.inf, 5]


def test_gradients_agree_with_finite_differences():
    shape = ragged([[0.0] * 3, [], [0.0], [0.0] * 2]).shape
    values = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values.requires_grad_()
    for function in (
        lambda v: RaggedTensor(shape, v).logsumexp()[[0, 2, 3]],
        lambda v: RaggedTensor(shape, v).max()[[0, 2, 3]],
        lambda v: RaggedTensor(shape, v).sum(),
        lambda v: RaggedTensor(shape, v).normalize().values,
        lambda v: RaggedTensor(shape, v.exp()).normalize(use_log=False).values,
        lambda v: RaggedTensor(shape, v).index(torch.tensor([3, 0, 3])).values,
        lambda v: RaggedTensor.cat([RaggedTensor(shape, v), RaggedTensor(shape, 2 * v)]).values,
    ):
        assert torch.autograd.gradcheck(function, (values,))


def test_minus_infinity_gives_zero_gradients():
    inf = math.inf
    values = torch.tensor([-inf, -inf, -inf, 1.0], dtype=torch.float64, requires_grad=True)
    r = RaggedTensor(RaggedShape(torch.tensor([0, 2, 2, 4])), values)
    total = r.logsumexp()
    assert total.tolist() == [-inf, -inf, 1.0]
    (gradient,) = torch.autograd.grad(total.sum(), values)
    assert gradient.tolist() == [0, 0, 0, 1]
    normal = r.normalize().values
    assert normal.tolist() == [-inf, -inf, -inf, 0.0]
    (gradient,) = torch.autograd.grad(normal[3], values)
    assert gradient.isfinite().all()


def test_large_values_do_not_overflow():
    r = RaggedTensor.from_lists([[1000.0, 1000.0], [-1000.0]])
    torch.testing.assert_close(r.logsumexp(), torch.tensor([1000 + math.log(2), -1000.0]))


def test_integer_values():
    r = RaggedTensor.from_lists([[3, 1], []], dtype=torch.int32)
    assert r.dtype == torch.int32
    assert r.sum().tolist() == [4, 0]
    assert r.max().tolist() == [3, -(2**31)]
    with pytest.raises(FsaTypeError, match=r"logsumexp: needs floating-point values, got .*int32"):
        r.logsumexp()


def test_equality_copy_and_pickle():
    r = RaggedTensor.from_lists([[[1], [2, 3]], []])
    for other in (copy.deepcopy(r), pickle.loads(pickle.dumps(r))):
        assert other == r and other is not r
    assert r != RaggedTensor.from_lists([[[1], [2], [3]], []])
    assert r != RaggedTensor.from_lists([[[1], [2, 4]], []])
    assert str(r) == "[[[1], [2, 3]], []]"


@pytest.mark.parametrize(
    ("splits", "error", "message"),
    [
        ([torch.tensor([0.0, 1.0])], FsaTypeError, r"axis 1: must be a 1-D int64 tensor"),
        ([[0, 1]], FsaTypeError, r"got list"),
        ([torch.tensor([1, 2])], FsaValueError, r"axis 1: must start with 0, got \[1, 2\]"),
        ([torch.tensor([], dtype=torch.int64)], FsaValueError, r"must start with 0"),
        ([torch.tensor([0, 3, 2])], FsaValueError, r"row 1 begins at 3 and ends at 2"),
        (
            [torch.tensor([0, 3]), torch.tensor([0, 1])],
            FsaValueError,
            r"axis 1 has 3 elements .* axis 2 has row_splits for 1 rows",
        ),
        ([], FsaValueError, r"at least one"),
    ],
)
def test_wrong_row_splits(splits, error, message):
    with pytest.raises(error, match=message):
        RaggedShape(*splits)


def test_other_errors():
    r = RaggedTensor.from_lists([[1, 2], [3]])
    with pytest.raises(FsaIndexError, match=r"index 2 is outside a ragged shape with 2 rows"):
        r[2]
    assert r[-1].tolist() == [3]
    with pytest.raises(FsaIndexError, match=r"axis: must be from 1 to 1 .* got 2"):
        r.shape.row_ids(2)
    with pytest.raises(FsaIndexError, match=r"needs at least 3 axes, got 2"):
        r.remove_axis(0)
    with pytest.raises(FsaIndexError, match=r"the last axis stays"):
        RaggedTensor.from_lists([[[1]]]).remove_axis(2)
    with pytest.raises(FsaValueError, match=r"shape \(3,\).*got \(2,\)"):
        RaggedTensor(r.shape, torch.zeros(2))
    with pytest.raises(FsaTypeError, match=r"every element must be an integer"):
        RaggedTensor.from_lists([[1.5]], dtype=torch.int64)
    with pytest.raises(FsaValueError, match=r"does not fit torch.int32"):
        RaggedTensor.from_lists([[2**40]], dtype=torch.int32)
    with pytest.raises(FsaTypeError, match=r"found 3 beside lists"):
        RaggedTensor.from_lists([[1], 3])
    with pytest.raises(FsaTypeError, match=r"found 2 beside lists"):
        RaggedTensor.from_lists([[[1], 2]])
    with pytest.raises(FsaTypeError, match=r"every element must be a number"):
        RaggedTensor.from_lists([["a"]])
    with pytest.raises(FsaValueError, match=r"need one number of axes"):
        RaggedTensor.cat([r, RaggedTensor.from_lists([[[1]]])])
