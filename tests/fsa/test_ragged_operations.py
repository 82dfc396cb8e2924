"""Operations on ragged tensors against nested Python lists."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import (
    FsaFormatError,
    FsaIndexError,
    FsaTypeError,
    FsaValueError,
    RaggedShape,
    RaggedTensor,
    index_and_sum,
    index_ragged,
    index_select,
    random_ragged_shape,
    regular_ragged_shape,
)

numbers = st.integers(-3, 3)
dtypes = st.sampled_from([torch.int32, torch.int64, torch.float32, torch.float64])
two_axes = st.lists(st.lists(numbers, max_size=4), max_size=6)
three_axes = st.lists(st.lists(st.lists(numbers, max_size=3), max_size=3), max_size=4).filter(any)


def ragged(lists, dtype=torch.int64):
    return RaggedTensor.from_lists(lists, dtype)


def flat(lists):
    return [x for row in lists for x in row]


# ---------------------------------------------------------------- text and other forms


@given(three_axes, dtypes)
def test_text_round_trips(lists, dtype):
    r = ragged(lists, dtype)
    text = str(lists)
    assert RaggedTensor.from_str(text, dtype) == r
    spaced = text.replace(",", " ").replace("]", " ] ").replace("[", " [ ")
    assert RaggedTensor.from_str(spaced, dtype) == r
    assert r.to_str_simple() == f"RaggedTensor({text}, dtype={dtype})"
    crosses = "".join("x" if c.isdigit() else " " if c in "-," else c for c in text)
    assert RaggedShape.from_str(crosses) == r.shape
    assert RaggedShape.from_str(str(r.shape)) == r.shape


def test_dtype_of_texts_and_shape_of_empty_ones():
    assert RaggedTensor.from_str("[[1 2] []]").dtype == torch.int64
    assert RaggedTensor.from_str("[[1 2.] []]").dtype == torch.float32
    assert RaggedTensor.from_str("[[1e3 inf]]").tolist() == [[1000, math.inf]]
    assert RaggedTensor.from_str("[ ]").num_axes == 2
    assert RaggedTensor.from_str("[[[] []] [[]]]").num_axes == 3
    assert str(RaggedShape.from_str("[[x x] [] [x]]")) == "[ [ x x ] [ ] [ x ] ]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[1 2] [3]", r"character 10 .*ends with 1 lists open"),
        ("[[1]] 2", r"character 6 \(near '\[\[1\]\] 2'\): one outer list .* here is '2'"),
        ("1 [2]", r"character 0 .*one outer list is needed, but here is '1'"),
        ("[[1]]]", r"character 5 .*here is '\]'"),
        ("", r"character 0 .*0 lists open"),
        ("[[1 a]]", r"every element must be a number: .*'a'"),
    ],
)
def test_wrong_texts(text, message):
    with pytest.raises(FsaFormatError, match=message):
        RaggedTensor.from_str(text)


def test_wrong_shape_texts():
    with pytest.raises(FsaFormatError, match=r"every element must be 'x', got '1'"):
        RaggedShape.from_str("[[x 1]]")
    with pytest.raises(FsaTypeError, match=r"found 'x' beside lists"):
        RaggedShape.from_str("[x x]")


@given(st.lists(st.integers(0, 3), min_size=2, max_size=4))
def test_ordinary_tensors(sizes):
    tensor = torch.arange(math.prod(sizes)).reshape(sizes)
    r = RaggedTensor.from_tensor(tensor)
    if all(sizes[:-1]):
        assert r.tolist() == tensor.tolist()
    assert r.shape == regular_ragged_shape(*sizes) and r.num_axes == len(sizes)
    if tensor.numel():
        assert r.values.data_ptr() == tensor.data_ptr()
    with pytest.raises(FsaValueError, match=r"needs two axes or more, got \(3,\)"):
        RaggedTensor.from_tensor(torch.zeros(3))


@given(st.integers(0, 10**6))
def test_random_shapes_are_valid_and_in_range(seed):
    shape = random_ragged_shape(3, 4, 5, 9, seed=seed)
    assert RaggedShape(*shape.all_row_splits()) == shape  # the constructor checks
    assert shape.num_axes in (3, 4) and 5 <= shape.numel() <= 9
    with pytest.raises(FsaValueError, match=r"2 <= min_num_axes <= max_num_axes, got \(1, 4\)"):
        random_ragged_shape(1)


# ---------------------------------------------------------------- picking


@given(three_axes, st.data())
def test_rows_by_number_slice_and_list(lists, data):
    r = ragged(lists)
    i = data.draw(st.integers(-len(lists), len(lists) - 1))
    assert r[i].tolist() == lists[i]
    part = data.draw(st.slices(len(lists)))
    assert r[part].tolist() == lists[part]
    rows = data.draw(st.lists(st.integers(-1, len(lists) - 1), max_size=5))
    expected = [lists[i] if i >= 0 else [] for i in rows]
    assert r[rows].tolist() == expected
    assert r[torch.tensor(rows, dtype=torch.int32)].tolist() == expected
    begin = data.draw(st.integers(0, len(lists)))
    end = data.draw(st.integers(begin, len(lists)))
    assert r.arange(0, begin, end).tolist() == lists[begin:end]
    inner = flat(lists)
    end = data.draw(st.integers(0, len(inner)))
    assert r.arange(1, 0, end).tolist() == inner[:end]


@given(three_axes, st.data())
def test_index_of_inner_axes(lists, data):
    r = ragged(lists)
    inner = flat(lists)
    rows = sorted(data.draw(st.lists(st.sampled_from(range(len(inner))), max_size=5)))
    parent = [i for i, row in enumerate(lists) for _ in row]
    expected = [[inner[j] for j in rows if parent[j] == i] for i in range(len(lists))]
    picked = r.index(torch.tensor(rows, dtype=torch.int64), axis=1)
    assert picked.tolist() == expected and picked.num_axes == 3
    elements = flat(inner)
    if elements:
        kept = sorted(data.draw(st.lists(st.sampled_from(range(len(elements))), max_size=5)))
        picked = r.index(torch.tensor(kept, dtype=torch.int64), axis=2)
        assert picked.values.tolist() == [elements[j] for j in kept]
        assert picked.shape.row_ids(2).tolist() == [r.shape.row_ids(2).tolist()[j] for j in kept]


@given(two_axes.filter(bool), st.data())
def test_ragged_indexes(lists, data):
    rows = st.integers(-1, len(lists) - 1)
    indexes = data.draw(st.lists(st.lists(rows, max_size=3), max_size=3))
    picked = ragged(lists).index(ragged(indexes))
    assert picked.tolist() == [[lists[i] if i >= 0 else [] for i in row] for row in indexes]
    assert picked.num_axes == 3


@given(st.lists(numbers, max_size=5), st.data())
def test_tensors_at_ragged_positions(values, data):
    rows = st.integers(-1, len(values) - 1)
    indexes = data.draw(st.lists(st.lists(rows, max_size=3), max_size=4))
    src = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    for default in (0, 7):
        picked = index_ragged(src, ragged(indexes), default)
        expected = [[values[i] if i >= 0 else default for i in row] for row in indexes]
        assert picked.tolist() == expected
    total = index_and_sum(src, ragged(indexes))
    assert total.tolist() == [sum(values[i] for i in row if i >= 0) for row in indexes]
    weight = torch.arange(1.0, len(indexes) + 1, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((total * weight).sum() + 0 * src.sum(), src)
    expected = [0.0] * len(values)
    for i, row in enumerate(indexes):
        for j in row:
            if j >= 0:
                expected[j] += i + 1
    assert gradient.tolist() == expected


def test_wrong_indexes():
    r = ragged([[1, 2], [3]])
    with pytest.raises(FsaIndexError, match=r"indexes: must be from -1 to 1, got from 0 to 2"):
        r.index(torch.tensor([2, 0]))
    with pytest.raises(FsaIndexError, match=r"indexes: must be from 0 to 2, got from -1 to 0"):
        r.index(torch.tensor([-1, 0]), axis=1)
    with pytest.raises(FsaTypeError, match=r"must be a 1-D tensor of integers, got torch.float32"):
        r.index(torch.tensor([0.0]))
    with pytest.raises(FsaTypeError, match=r"must be a 1-D tensor of integers, got torch.bool"):
        r[torch.tensor([True, False])]
    with pytest.raises(FsaValueError, match=r"rows, which must not fall, got rows \[1, 0\]"):
        r.index(torch.tensor([2, 0]), axis=1)
    with pytest.raises(FsaIndexError, match=r"axis: must be 0 for ragged indexes, got 1"):
        r.index(ragged([[0]]), axis=1)
    with pytest.raises(FsaIndexError, match=r"need 0 <= begin <= end <= 2, got 1 and 3"):
        r.arange(0, 1, 3)
    with pytest.raises(FsaIndexError, match=r"axis: must be from 0 to 0, got 1"):
        r.arange(1, 0, 1)
    with pytest.raises(FsaIndexError, match=r"layer: must be from 0 to 0, got 1"):
        r.shape.get_layer(1)
    with pytest.raises(FsaIndexError, match=r"must be from -1 to 1, got from 0 to 2"):
        index_select(torch.zeros(2), torch.tensor([0, 2]))
    with pytest.raises(FsaTypeError, match=r"indexes: must be integers, got torch.float32"):
        index_ragged(torch.zeros(2), ragged([[0]], torch.float32))
    with pytest.raises(FsaValueError, match=r"src: must have one axis, got shape \(2, 1\)"):
        index_ragged(torch.zeros(2, 1), ragged([[0]]))
    with pytest.raises(FsaValueError, match=r"indexes: must have 2 axes, got 3"):
        index_and_sum(torch.zeros(2), ragged([[[0]]]))


def test_selection_with_a_default_keeps_dtype_and_width():
    src = torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)
    picked = index_select(src, torch.tensor([1, -1], dtype=torch.int32), default_value=-5)
    assert picked.tolist() == [[3, 4], [-5, -5]] and picked.dtype == torch.int32
    assert index_select(src[:0], torch.tensor([-1])).tolist() == [[0, 0]]


# ---------------------------------------------------------------- reductions


@given(two_axes, dtypes, numbers)
def test_reductions_with_a_start(lists, dtype, start):
    r = ragged(lists, dtype)
    assert r.sum(start).tolist() == [sum(row) + start for row in lists]
    assert r.max(start).tolist() == [max([*row, start]) for row in lists]
    assert r.min(start).tolist() == [min([*row, start]) for row in lists]
    begin, expected = 0, []
    for row in lists:
        best = max([*row, start])
        where = [begin + j for j, x in enumerate(row) if x == best]
        expected.append(where[-1] if where else -1)
        begin += len(row)
    assert r.argmax(start).tolist() == expected
    for result in (r.sum(start), r.max(start), r.min(start)):
        assert result.dtype == dtype
    if dtype.is_floating_point:
        expected = [math.log(sum(map(math.exp, [*row, start]))) for row in lists]
        torch.testing.assert_close(r.logsumexp(start), torch.tensor(expected, dtype=dtype))


def test_empty_sublists_without_a_start():
    r = ragged([[2, 1], []])
    assert r.min().tolist() == [1, 2**63 - 1] and r.max().tolist() == [2, -(2**63)]
    assert r.argmax().tolist() == [0, -1]
    assert r.to(torch.float32).min().tolist() == [1, math.inf]
    assert r.to(torch.float64).logsumexp(-math.inf).tolist()[1] == -math.inf


def test_gradients_of_reductions_and_edits():
    shape = ragged([[0] * 3, [], [0], [0] * 2]).shape
    values = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    values.requires_grad_()
    other = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    other.requires_grad_()

    def make(v):
        return RaggedTensor(shape, v)

    for function in (
        lambda v, w: make(v).min()[[0, 2, 3]],
        lambda v, w: make(v).logsumexp(0.5),
        lambda v, w: make(v).add(w, 0.3).values,
        lambda v, w: make(v).pad("replicate", 0.0),
        lambda v, w: make(v).pad("constant", 1.0, pad_left=True),
        lambda v, w: make(v)[1:3].values,
        lambda v, w: make(v)[0],
        lambda v, w: make(v).remove_values_leq(0).values,
        lambda v, w: RaggedTensor.cat([make(v), make(2 * v)], axis=1).values,
    ):
        assert torch.autograd.gradcheck(function, (values, other))


# ---------------------------------------------------------------- edits


@given(three_axes, numbers)
def test_removing_values(lists, cut):
    r = ragged(lists)
    assert r.remove_values_eq(cut).tolist() == [
        [[x for x in sub if x != cut] for sub in row] for row in lists
    ]
    assert r.remove_values_leq(cut).tolist() == [
        [[x for x in sub if x > cut] for sub in row] for row in lists
    ]


@given(two_axes, dtypes, st.booleans())
def test_padding(lists, dtype, left):
    r = ragged(lists, dtype)
    width = max(map(len, lists), default=0)
    for mode in ("constant", "replicate"):
        expected = []
        for row in lists:
            edge = (row[0] if left else row[-1]) if row and mode == "replicate" else 9
            filled = [edge] * (width - len(row))
            expected.append(filled + row if left else row + filled)
        padded = r.pad(mode, 9, left)
        assert padded.tolist() == expected and padded.dtype == dtype
        assert padded.shape == (len(lists), width)


@given(two_axes, dtypes, st.booleans())
def test_sorting(lists, dtype, descending):
    r = ragged(lists, dtype)
    old = r.clone()
    order = r.sort_(descending)
    assert r.tolist() == [sorted(row, reverse=descending) for row in lists]
    assert torch.equal(old.values[order], r.values)
    # Stable: among equal values of one row, positions rise.
    rows = r.shape.row_ids(1).tolist()
    for k in range(1, r.numel()):
        if rows[k] == rows[k - 1] and r.values[k] == r.values[k - 1]:
            assert order[k] > order[k - 1]


@given(st.lists(st.lists(st.lists(st.integers(0, 1), max_size=6), max_size=6), max_size=3), dtypes)
def test_unique_sublists(lists, dtype):
    if not any(lists):
        lists = [[[]]]
    r = ragged(lists, dtype)
    distinct, repeats, new2old = r.unique()
    expected = [sorted(map(list, set(map(tuple, row))), key=lambda x: (len(x), x)) for row in lists]
    assert distinct.tolist() == expected and distinct.dtype == dtype
    counts = [[row.count(sub) for sub in subs] for row, subs in zip(lists, expected, strict=True)]
    assert repeats.tolist() == counts
    begin, first = 0, []
    for row, subs in zip(lists, expected, strict=True):
        first += [begin + row.index(sub) for sub in subs]
        begin += len(row)
    assert new2old.tolist() == first
    # With two axes, all sublists are one list.
    joined, repeats, new2old = r.remove_axis(0).unique()
    rows = flat(lists)
    expected = sorted(map(list, set(map(tuple, rows))), key=lambda x: (len(x), x))
    assert joined.tolist() == expected
    assert repeats.tolist() == [[rows.count(sub) for sub in expected]]
    assert new2old.tolist() == [rows.index(sub) for sub in expected]


def test_unique_tells_apart_what_a_small_hash_would_not():
    lists = [[1, 31], [2, 0], [1, 31]]
    distinct, repeats, _ = ragged(lists).unique()
    assert distinct.tolist() == [[1, 31], [2, 0]] and repeats.tolist() == [[2, 1]]


def test_unique_of_four_axes_counts_with_two():
    distinct, repeats, new2old = ragged([[[[1], [1]], [[2]]], [[[1], [3, 3]]]]).unique()
    assert distinct.tolist() == [[[[1]], [[2]]], [[[1], [3, 3]]]]
    assert repeats.tolist() == [[2], [1], [1, 1]] and new2old.tolist() == [0, 2, 3, 4]


@given(st.lists(three_axes, min_size=1, max_size=3))
def test_joining_along_axis_1(parts):
    rows = min(map(len, parts))
    parts = [lists[:rows] for lists in parts]
    if not all(any(lists) for lists in parts):
        return
    expected = [[x for lists in parts for x in lists[i]] for i in range(rows)]
    assert RaggedTensor.cat([ragged(lists) for lists in parts], axis=1).tolist() == expected
    inner = [[flat(row) for row in lists] for lists in parts]
    expected = [[x for lists in inner for x in lists[i]] for i in range(rows)]
    assert RaggedTensor.cat([ragged(lists) for lists in inner], axis=1).tolist() == expected


@given(three_axes)
def test_shape_operations(lists):
    shape = ragged(lists).shape
    assert shape.tot_sizes() == (len(lists), len(flat(lists)), len(flat(flat(lists))))
    assert shape.max_size(1) == max(map(len, lists))
    assert shape.max_size(2) == max(map(len, flat(lists)), default=0)
    layers = shape.get_layer(0), shape.get_layer(1)
    assert layers[0].compose(layers[1]) == shape
    assert shape.remove_axis(2) == layers[0]
    assert [shape[i] for i in range(len(lists))] == [
        RaggedTensor.from_lists([*row, [0]]).shape.slice_rows(0, len(row))[0] for row in lists
    ]


def test_requires_grad_clone_and_dtype():
    r = ragged([[1], [2, 3]], torch.float32)
    assert not r.requires_grad and r.grad is None
    r.requires_grad_()
    (r.clone().sum() * torch.tensor([10.0, 20.0])).sum().backward()
    assert r.grad.tolist() == [10, 20, 20]
    assert not r.detach().requires_grad and r.detach().values.data_ptr() == r.values.data_ptr()
    assert r.clone().values.data_ptr() != r.values.data_ptr()
    assert r != r.to(torch.float64)
    assert r.tot_size(1) == 3


def test_wrong_edits():
    r = ragged([[1, 2], [3]])
    with pytest.raises(FsaValueError, match=r"pad: needs a ragged tensor with 2 axes, got 3"):
        ragged([[[1]]]).pad()
    with pytest.raises(FsaValueError, match=r"mode: must be 'constant' or 'replicate', got 'edge'"):
        r.pad("edge")
    with pytest.raises(FsaValueError, match=r"value: needs one number per sublist .*\(2,\), got"):
        r.add(torch.ones(3))
    with pytest.raises(FsaValueError, match=r"same number of rows \(dim0\), got \[1, 2\]"):
        RaggedTensor.cat([r, ragged([[1]])], axis=1)
    with pytest.raises(FsaIndexError, match=r"axis: must be 0 or 1, got 2"):
        RaggedTensor.cat([r, r], axis=2)
    with pytest.raises(FsaValueError, match=r"inner: needs one row per element .*, 3, got 2"):
        r.shape.compose(r.shape)
    with pytest.raises(FsaTypeError, match=r"normalize: needs floating-point values"):
        r.normalize()
