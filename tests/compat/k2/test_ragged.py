"""k2's ragged API: what its callers give and what they see."""

from __future__ import annotations

import io
import pickle

import pytest
import torch
from torch import tensor

from wfst_entropy.compat.k2 import ragged as k2r
from wfst_entropy.compat.k2.ragged import RaggedShape, RaggedTensor
from wfst_entropy.fsa import FsaFormatError, FsaIndexError, FsaTypeError, FsaValueError
from wfst_entropy.fsa import RaggedTensor as CoreTensor

DTYPES = [torch.int32, torch.float32, torch.float64]


def int32(*numbers):
    return tensor(numbers, dtype=torch.int32)


def same(a, b):
    """Equal values, dtype and shape."""
    return a.dtype == b.dtype and torch.equal(a, b)


# ---------------------------------------------------------------- construction and views


@pytest.mark.parametrize("make", [RaggedTensor, k2r.create_ragged_tensor])
def test_construction_and_dtypes(make):
    assert make([[1000, 2], [3]]).dtype == torch.int32
    assert make([[1, 2.5], []]).dtype == torch.float32
    assert make("[[1] [2 3, 4] []]") == make([[1], [2, 3, 4], []])
    assert make("[[1.] []]").dtype == torch.float32
    assert make(s="[[1] []]").dim0 == 2
    assert make([]).num_axes == 2 and make([]).dtype == torch.int32
    assert make("[ [[] [3]] [[10]] ]").num_axes == 3
    for dtype in DTYPES:
        a = make([[1], [2, 3]], dtype=dtype, device=torch.device("cpu"))
        assert a.dtype == dtype and a.device == torch.device("cpu") and not a.is_cuda
        assert make("[[1] [2 3]]", dtype, "cpu") == a
        assert make(data=[[1], [2, 3]], dtype=dtype, device=None) == a
    for wrong in (torch.int64, torch.float16):
        with pytest.raises(FsaTypeError, match=f"dtype: must be one of .* got {wrong}"):
            make([[1]], dtype=wrong)
    with pytest.raises(FsaValueError, match=r"values: must fit int32, got from 1 to 4294967296"):
        make([[1, 2**32]])
    with pytest.raises(FsaTypeError, match=r"data: must be lists, a str, .* got None"):
        make()


@pytest.mark.parametrize("dtype", DTYPES)
def test_ordinary_tensors_share_memory_if_contiguous(dtype):
    whole = torch.arange(24, dtype=dtype).reshape(2, 3, 4)
    shared = RaggedTensor(whole)
    assert shared.shape.tot_sizes() == (2, 6, 24)
    whole[0, 0, 0] = 7
    assert shared.values[0] == 7
    part = whole[:, 0, ::2]
    copied = RaggedTensor(tensor=part)
    part[0, 0] = 9
    assert copied.values[0] == 7 and copied.tolist()[1] == part[1].tolist()
    with pytest.raises(FsaTypeError, match=r"got torch.int64"):
        RaggedTensor(torch.zeros(2, 2, dtype=torch.int64))


def test_from_shape_and_value():
    shape = RaggedShape("[ [x x] [] [x] ]")
    value = tensor([1.0, 2.0, 3.0], requires_grad=True)
    for a in (RaggedTensor(shape, value), RaggedTensor(shape=shape, value=value)):
        assert a.requires_grad and a.values is value
        assert a.shape == shape
    with pytest.raises(FsaTypeError, match=r"value: needed beside a shape"):
        RaggedTensor(shape)
    with pytest.raises(FsaValueError, match=r"shape \(3,\)"):
        RaggedTensor(shape, tensor([1.0]))


def test_values_are_a_view_that_cannot_be_rebound():
    a = RaggedTensor([[1], [2], [], [3, 4]])
    with pytest.raises(AttributeError):
        a.values = 10
    a.values[0] = 10
    a.values[-1] *= 2
    assert a == RaggedTensor([[10], [2], [], [3, 8]])
    b = a.clone()
    a.values[0] = 1
    assert a != b and b.tolist()[0] == [10]


def test_text_forms():
    a = RaggedTensor([[[1, 2, 3], [], [0]], [[2], [3, 10.5]]])
    assert a.to_str_simple() == (
        "RaggedTensor([[[1, 2, 3], [], [0]], [[2], [3, 10.5]]], dtype=torch.float32)"
    )
    pad = " " * 14
    assert (
        str(a)
        == repr(a)
        == (
            f"RaggedTensor([[[1, 2, 3],\n{pad} [],\n{pad} [0]],\n{pad}[[2],\n{pad} [3, 10.5]]], "
            "dtype=torch.float32)"
        )
    )
    assert str(RaggedTensor([])) == "RaggedTensor([], dtype=torch.int32)"
    assert str(RaggedTensor([[123456789]])) == "RaggedTensor([[123456789]], dtype=torch.int32)"
    with pytest.raises(FsaFormatError, match=r"1 lists open"):
        RaggedTensor("[[1]")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lists", [[[1, 2], [3], []], [[[1, 2], [3], []], [[4], [5, 6]]]])
def test_state_and_saving(dtype, lists):
    a = RaggedTensor(lists, dtype)
    state = a.__getstate__()
    assert len(state) == 2 * a.num_axes - 1 and state[1] == "row_ids1"
    assert same(state[0], a.shape.row_splits(1)) and state[-1] is a.values
    file = io.BytesIO()
    torch.save(a, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == a
    assert pickle.loads(pickle.dumps(a)) == a
    with pytest.raises(FsaFormatError, match=r"needed \(row_splits1, .* got 2 entries"):
        RaggedTensor([[1]]).__setstate__(state[:2])


def test_a_file_with_k2s_own_class_is_read(monkeypatch):
    """pybind11 pickles an object as its class, made without arguments, and its state."""
    import sys
    import types

    class Foreign:
        def __init__(self, state):
            self.state = state

        def __getstate__(self):
            return self.state

        def __setstate__(self, state):
            raise AssertionError("k2's own class must not be asked for")

    Foreign.__module__, Foreign.__qualname__, Foreign.__name__ = (
        "_k2.ragged", "RaggedTensor", "RaggedTensor",
    )  # fmt: skip
    module = types.ModuleType("_k2.ragged")
    module.RaggedTensor = Foreign
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "_k2", types.ModuleType("_k2"))
        patch.setitem(sys.modules, "_k2.ragged", module)
        file = io.BytesIO()
        written = Foreign((int32(0, 2, 2), "row_ids1", int32(5, 6)))
        torch.save({"aux_labels": written}, file)
    file.seek(0)
    read = torch.load(file, weights_only=True)["aux_labels"]
    assert isinstance(read, RaggedTensor) and read.tolist() == [[5, 6], []]


def test_to_and_from_the_core():
    wide = CoreTensor.from_lists([[1, 2], []])
    assert wide.dtype == torch.int64
    assert k2r.k2_ragged(wide).dtype == torch.int32
    a = RaggedTensor([[1.0], []])
    assert k2r.core_ragged(a).values is a.values
    assert k2r.core_shape(a.shape) == k2r.core_ragged(a).shape
    with pytest.raises(FsaTypeError, match=r"shape: must be a RaggedShape, got list"):
        k2r.core_shape([1])
    with pytest.raises(FsaTypeError, match=r"got torch.float16"):
        k2r.k2_ragged(wide.to(torch.float16))
    huge = CoreTensor.from_lists([[0]]).shape
    huge._tot_sizes = (1, 2**31)
    with pytest.raises(FsaValueError, match=r"does not fit k2's int32 row splits"):
        k2r.k2_shape(huge)


def test_conversion():
    a = RaggedTensor([[1], [2, 3]])
    assert a.to(torch.float64).dtype == torch.float64 and a.to(dtype=torch.float32).tolist() == [
        [1.0], [2.0, 3.0],
    ]  # fmt: skip
    assert a.to("cpu") == a.to(torch.device("cpu")) == a.to(device=None) == a
    assert a != a.to(torch.float32)
    assert a != [[1], [2, 3]]
    with pytest.raises(FsaTypeError, match=r"got torch.int64"):
        a.to(torch.int64)


# ---------------------------------------------------------------- autograd


def test_requires_grad():
    a = RaggedTensor([[1, 2], [10], []], dtype=torch.float32)
    assert a.grad is None and a.requires_grad is False
    a.requires_grad = True
    assert a.requires_grad is True
    assert a.requires_grad_(False) is a and a.requires_grad is False
    with pytest.raises(RuntimeError):
        RaggedTensor([[1]]).requires_grad_(True)


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_sum_and_logsumexp_give_gradients(dtype):
    a = RaggedTensor([[1, 2], [], [5]], dtype=dtype).requires_grad_(True)
    total = a.sum()
    assert same(total, tensor([3, 0, 5], dtype=dtype))
    (total * tensor([10, 20, 30])).sum().backward()
    assert a.grad.tolist() == [10, 10, 30]
    a = RaggedTensor([[-1.1, 2.2], [], [5.5]], dtype=dtype).requires_grad_()
    total = a.logsumexp()
    assert total[1] == -torch.inf
    total.sum().backward()
    expected = torch.cat([tensor([-1.1, 2.2], dtype=dtype).softmax(0), torch.ones(1, dtype=dtype)])
    torch.testing.assert_close(a.grad, expected)


def test_normalize_gives_gradients_also_from_expanded_ones():
    for use_log in (True, False):
        for scale in (torch.ones(4), torch.arange(4.0)):
            a = RaggedTensor([[1, 3.0], [], [2.0, 0.5]]).requires_grad_()
            (a.normalize(use_log=use_log).values * scale).sum().backward()
            b = tensor([[1, 3.0], [2.0, 0.5]], requires_grad=True)
            normal = b.log_softmax(1) if use_log else b / b.sum(1, keepdim=True)
            (normal.flatten() * scale).sum().backward()
            torch.testing.assert_close(a.grad, b.grad.flatten())


# ---------------------------------------------------------------- operations


@pytest.mark.parametrize("dtype", DTYPES)
def test_getitem(dtype):
    a = RaggedTensor("[ [[1 2] [] [10]] [[3] [5]] [[6]] ]", dtype=dtype)
    assert a[1] == RaggedTensor([[3], [5]], dtype=dtype)
    assert same(a[0][2], tensor([10], dtype=dtype))
    assert a[0:2].tolist() == [[[1, 2], [], [10]], [[3], [5]]]
    assert a[int32(2, -1, 2)].tolist() == [[[6]], [], [[6]]]
    with pytest.raises(FsaIndexError, match=r"index 3 is outside"):
        a[3]


def test_index_by_tensor_and_by_ragged():
    a = RaggedTensor([[0, 2, 3], [], [0, 1, 2], [], [], [3, -1.25]])
    b, positions = a.index(int32(2, 0, 3, 5), axis=0, need_value_indexes=True)
    assert b.tolist() == [[0, 1, 2], [0, 2, 3], [], [3, -1.25]]
    assert same(positions, int32(3, 4, 5, 0, 1, 2, 6, 7))
    assert a.index(int32(0, -1), axis=0)[1] is None
    c = RaggedTensor([[[1, 3], [], [2]], [[5, 8], [], [-1], [2]]])
    b, positions = c.index(int32(0, 2, 1, 6, 3, 5, 4), axis=1, need_value_indexes=True)
    assert b.tolist() == [[[1, 3], [2], []], [[2], [5, 8], [-1], []]]
    assert positions.tolist() == [0, 1, 2, 6, 3, 4, 5]
    assert c.index(RaggedTensor([[[1]], [[0], [1]]])).num_axes == 5


def test_arange_shares_memory():
    a = RaggedTensor([[0], [1], [2], [], [3]])
    b = a.arange(axis=0, begin=1, end=4)
    b.values[0] = -1
    assert b.tolist() == [[-1], [2], []] and a.tolist()[1] == [-1]
    c = RaggedTensor([[[1], [], [2]], [[], [4, 5], []]])
    assert c.arange(axis=1, begin=2, end=5).tolist() == [[2], [], [4, 5]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(dtype):
    lowest = float(torch.finfo(dtype).min) if dtype.is_floating_point else -(2**31)
    highest = float(torch.finfo(dtype).max) if dtype.is_floating_point else 2**31 - 1
    a = RaggedTensor([[1, 3, -1], [], [3, 0], [1]], dtype)
    assert same(a.max(), tensor([3, lowest, 3, 1], dtype=dtype))
    assert same(a.min(), tensor([-1, highest, 0, 1], dtype=dtype))
    assert a.max(initial_value=2).tolist() == [3, 2, 3, 2]
    assert a.min(0).tolist() == [-1, 0, 0, 0]
    assert same(a.argmax(), int32(1, -1, 3, 5)) and same(a.argmax(2), int32(1, -1, 3, -1))
    assert a.sum(initial_value=10).tolist() == [13, 10, 13, 11]
    b = RaggedTensor([[[3, 2], [0, -1], []], [[2, 5]]], dtype)
    assert b.max(0).tolist() == [3, 0, 0, 5] and b.argmax().tolist() == [0, 2, -1, 5]
    # The last of equal values, as k2's.
    assert RaggedTensor([[2, 2, 1]], dtype).argmax().tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_edits(dtype):
    a = RaggedTensor([[1, 2, 0], [3, 0], [0]], dtype)
    assert a.remove_values_eq(0).tolist() == [[1, 2], [3], []]
    assert a.remove_values_leq(1).tolist() == [[2], [3], []]
    assert a.add(tensor([1, 2, 3], dtype=dtype), -1).tolist() == [[0, 1, -1], [1, -2], [-3]]
    assert same(a.pad("constant", 9), tensor([[1, 2, 0], [3, 0, 9], [0, 9, 9]], dtype=dtype))
    assert a.pad(mode="replicate", padding_value=9).tolist() == [[1, 2, 0], [3, 0, 0], [0, 0, 0]]
    assert RaggedTensor("[[] []]", dtype).pad("constant", 1).shape == (2, 0)
    b = a.clone()
    assert same(b.sort_(descending=True, need_new2old_indexes=True), int32(1, 0, 2, 3, 4, 5))
    assert b.tolist() == [[2, 1, 0], [3, 0], [0]] and b.sort_() is None
    assert b.dtype == dtype and b.tolist() == [[0, 1, 2], [0, 3], [0]]
    c = RaggedTensor([[4], [5, 6], []], dtype)
    assert k2r.cat([a, c], axis=1).tolist() == [[1, 2, 0, 4], [3, 0, 5, 6], [0]]
    assert k2r.cat((a, c), axis=0) == RaggedTensor.cat([a, c], axis=0)
    with pytest.raises(FsaTypeError, match=r"srcs: must have one dtype, got torch.*, torch"):
        k2r.cat([a, c.to(torch.float32 if dtype != torch.float32 else torch.int32)], 0)
    assert RaggedTensor("[[[1] [2]] [[]]]", dtype).remove_axis(1).tolist() == [[1, 2], []]


def test_unique():
    a = RaggedTensor([[3, 1], [3], [1], [1], [3, 1], [2]])
    sublists, repeats, new2old = a.unique(need_num_repeats=True, need_new2old_indexes=True)
    assert sublists == RaggedTensor([[1], [2], [3], [3, 1]])
    assert repeats == RaggedTensor([[2, 1, 1, 2]])
    assert same(new2old, int32(2, 5, 1, 0))
    assert a.unique()[1:] == (None, None)
    b = RaggedTensor([[[1, 2], [2, 1], [1, 2]], [[3], [2], [0, 1], [2]], [[], [2, 3], []]])
    sublists, repeats, new2old = b.unique(True, True)
    assert sublists.tolist() == [[[1, 2], [2, 1]], [[2], [3], [0, 1]], [[], [2, 3]]]
    assert repeats.tolist() == [[2, 1], [2, 1, 1], [2, 1]]
    assert new2old.tolist() == [0, 1, 4, 3, 5, 7, 8]


# ---------------------------------------------------------------- shapes


def test_shapes():
    shape = RaggedShape("[ [[x x] [] [x]] [[] [x x x]] ]")
    assert (shape.dim0, shape.num_axes, shape.numel()) == (2, 3, 6)
    assert shape.tot_sizes() == (2, 5, 6) and shape.tot_size(1) == 5
    assert shape.max_size(1) == 3 and shape.max_size(2) == 3
    assert same(shape.row_splits(2), int32(0, 2, 2, 3, 3, 6))
    assert same(shape.row_ids(1), int32(0, 0, 0, 1, 1))
    assert str(shape) == repr(shape) == "[ [ [ x x ] [ ] [ x ] ] [ [ ] [ x x x ] ] ]"
    assert shape.get_layer(0).compose(shape.get_layer(1)) == shape
    assert shape[1] == RaggedShape("[[] [x x x]]") != shape[0]
    assert shape.remove_axis(2) == RaggedShape("[[x x x] [x x]]")
    assert shape.to("cpu") == shape and shape.device == torch.device("cpu")
    picked, positions = shape.index(axis=0, indexes=int32(-1, 1))
    assert picked == RaggedShape("[ [] [[] [x x x]] ]") and same(positions, int32(3, 4, 5))
    assert shape.index(2, int32(0, 5), need_value_indexes=False)[1] is None
    assert k2r.regular_ragged_shape(dim0=2, dim1=1) == RaggedShape("[[x] [x]]")
    assert RaggedShape.regular_ragged_shape(1, 2).numel() == 2
    for args in ((), (True, 3, 5, 100), (False, 2, 4, 0, 0)):
        assert k2r.random_ragged_shape(*args).num_axes >= 2


def test_shapes_from_splits_and_ids():
    splits, ids = int32(0, 2, 2, 3), int32(0, 0, 2)
    for args in ((splits,), (splits, ids), (None, ids), (splits, None, 3)):
        assert k2r.create_ragged_shape2(*args) == RaggedShape("[[x x] [] [x]]")
    for args, message in (
        ((), r"one of them is needed"),
        ((splits, int32(0, 1, 2)), r"must agree with row_splits.*\[0, 0, 2\].*\[0, 1, 2\]"),
        ((None, int32(1, 0)), r"must not fall"),
        ((None, int32(-1, 0)), r"must not be negative, got -1"),
        ((splits, None, 4), r"cached_tot_size: is 4, but has 3"),
    ):
        with pytest.raises(FsaValueError, match=message):
            k2r.create_ragged_shape2(*args)


def test_values_of_a_tensor_with_strides_are_copied():
    table = torch.arange(12, dtype=torch.int32).reshape(2, 6)
    every_second = table[:, ::2]
    ragged = RaggedTensor(every_second)
    every_second[0, 0] = -5
    assert ragged.tolist() == [[0, 2, 4], [6, 8, 10]] and ragged.values.is_contiguous()
    shared = RaggedTensor(table)
    table[0, 1] = 9
    assert shared.values[1] == 9
