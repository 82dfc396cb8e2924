"""The Fsa class: invariants, attributes, batching laws, autograd, saving."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import (
    Fsa,
    FsaAttributeError,
    FsaError,
    FsaFormatError,
    FsaIndexError,
    FsaTypeError,
    FsaValueError,
    RaggedShape,
    RaggedTensor,
    SymbolTable,
)

seeds = st.integers(0, 10**6)


def assert_same(a: Fsa, b: Fsa) -> None:
    assert a.shape == b.shape
    assert torch.equal(a.arcs, b.arcs)
    assert a.scores.dtype == b.scores.dtype and torch.equal(a.scores, b.scores)
    assert a.attributes.keys() == b.attributes.keys()
    for name, value in a.attributes.items():
        other = b.attributes[name]
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype and torch.equal(value, other), name
        else:
            assert value == other, name


# ---------------------------------------------------------------- batching laws


@given(st.lists(seeds, min_size=1, max_size=5))
def test_indexing_undoes_stacking(random_fsa, numbers):
    fsas = [random_fsa(seed) for seed in numbers]
    vec = Fsa.from_fsas(fsas)
    assert vec.num_axes == 3 and len(vec) == len(fsas)
    assert vec.num_states == sum(fsa.num_states for fsa in fsas)
    for i, (fsa, again) in enumerate(zip(fsas, vec, strict=True)):
        assert_same(fsa, again)
        assert_same(fsa, vec[i - len(fsas)])
    assert_same(vec, Fsa.from_fsas(list(vec)))


@given(st.lists(seeds, min_size=1, max_size=5), st.data())
def test_picking_equals_stacking_the_picked(random_fsa, numbers, data):
    fsas = [random_fsa(seed) for seed in numbers]
    picks = data.draw(st.lists(st.integers(-len(fsas), len(fsas) - 1), min_size=1, max_size=6))
    vec = Fsa.from_fsas(fsas)
    expected = Fsa.from_fsas([fsas[i] for i in picks])
    assert_same(vec[picks], expected)
    assert_same(vec[torch.tensor(picks, dtype=torch.int32)], expected)
    assert_same(vec[::-1], Fsa.from_fsas(fsas[::-1]))
    assert_same(vec[torch.tensor(picks[0])], fsas[picks[0]])


@given(seeds, seeds)
def test_vectors_among_the_stacked(random_fsa, a, b):
    a, b = random_fsa(a), random_fsa(b)
    assert_same(Fsa.from_fsas([Fsa.from_fsas([a, b]), a]), Fsa.from_fsas([a, b, a]))


@given(st.lists(seeds, min_size=1, max_size=5))
def test_states_and_arcs_counted_over_the_vector(random_fsa, numbers):
    fsas = [random_fsa(seed) for seed in numbers]
    vec = Fsa.from_fsas(fsas)
    offset, src, dst, arc_to_fsa, state_to_fsa, starts, finals = 0, [], [], [], [], [], []
    for i, fsa in enumerate(fsas):
        src += [s + offset for s, _, _ in fsa.arcs.tolist()]
        dst += [d + offset for _, d, _ in fsa.arcs.tolist()]
        arc_to_fsa += [i] * fsa.num_arcs
        state_to_fsa += [i] * fsa.num_states
        starts.append(offset if fsa.num_states else -1)
        offset += fsa.num_states
        finals.append(offset - 1 if fsa.num_states else -1)
    assert vec.src_states().tolist() == src
    assert vec.dst_states().tolist() == dst
    assert vec.arc_to_fsa().tolist() == arc_to_fsa
    assert vec.state_to_fsa().tolist() == state_to_fsa
    assert vec.start_states().tolist() == starts
    assert vec.final_states().tolist() == finals
    single = fsas[0]
    assert single.src_states().tolist() == single.arcs[:, 0].tolist()
    assert single.dst_states().tolist() == single.arcs[:, 1].tolist()
    assert single.state_to_fsa().tolist() == [0] * single.num_states
    assert single.final_states().tolist() == [single.num_states - 1]


def test_a_vector_of_no_fsas():
    vec = Fsa.from_fsas([])
    assert (vec.num_axes, vec.num_fsas, vec.num_states, vec.num_arcs) == (3, 0, 0, 0)
    assert list(vec) == [] and vec.start_states().tolist() == []
    assert len(Fsa.from_fsas([Fsa.from_str("0 1 -1 0\n1")])[[]]) == 0


# ---------------------------------------------------------------- autograd


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_pass_through_stacking_and_indexing(dtype):
    a = Fsa.from_str("0 1 5 1\n1 2 -1 2\n2").to(dtype).requires_grad_()
    b = Fsa.from_str("0 1 -1 3\n1").to(dtype).requires_grad_()
    weights = torch.rand(2, dtype=dtype, requires_grad=True)
    a.set_attribute_("weights", weights)
    b.set_attribute_("weights", torch.ones(1, dtype=dtype))
    vec = Fsa.from_fsas([a, b])
    assert vec.requires_grad and vec.scores.dtype == dtype
    loss = (vec[0].scores * torch.tensor([10.0, 20.0], dtype=dtype)).sum()
    loss = loss + 5 * vec[[1, 1]].scores.sum() + (3 * vec[0].weights).sum()
    loss.backward()
    assert a.scores.grad.tolist() == [10, 20]
    assert b.scores.grad.tolist() == [10]
    assert weights.grad.tolist() == [3, 3]


def test_with_scores_keeps_autograd_and_attributes():
    fsa = Fsa.from_str("0 1 5 7 1\n1 2 -1 -1 2\n2")
    leaf = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    other = fsa.with_scores(leaf * 3)
    other.scores.sum().backward()
    assert leaf.grad.tolist() == [3, 3]
    assert other.aux_labels.tolist() == [7, -1]
    assert fsa.scores.tolist() == [1, 2]
    other.set_attribute_("mine", 1)
    assert "mine" not in fsa.attributes


def test_detach_clone_and_to():
    fsa = Fsa.from_str("0 1 5 1\n1 2 -1 2\n2").requires_grad_()
    fsa.set_attribute_("weights", torch.ones(2, requires_grad=True) * 2)
    fsa.set_attribute_("words", RaggedTensor.from_lists([[1], []]))
    detached = fsa.detach()
    assert not detached.requires_grad and not detached.weights.requires_grad
    assert detached.scores.data_ptr() == fsa.scores.data_ptr()
    clone = fsa.clone()
    assert_same(clone.detach(), detached)
    for name in ("scores", "arcs", "weights"):
        assert getattr(clone, name).data_ptr() != getattr(fsa, name).data_ptr()
    assert clone.words.values.data_ptr() != fsa.words.values.data_ptr()
    clone.scores.sum().backward()
    assert fsa.scores.grad.tolist() == [1, 1]
    double = fsa.to(torch.float64)
    assert double.scores.dtype == torch.float64 and double.weights.dtype == torch.float32
    assert double.requires_grad
    assert_same(fsa.to("cpu").detach(), detached)
    assert fsa.to("meta").words.values.device.type == "meta"


def test_arcs_and_scores_are_contiguous():
    table = torch.tensor([[0, 1, -1, 9]], dtype=torch.int32)
    fsa = Fsa.from_arcs(table[:, :3], torch.zeros(1, 2)[:, 0])
    assert fsa.arcs.is_contiguous() and fsa.scores.is_contiguous()


def test_memory_is_freed_without_the_garbage_collector():
    class Marker:
        pass

    fsa = Fsa.from_str("0 1 -1 0\n1")
    assert fsa.properties.acyclic
    marker = Marker()
    fsa.set_attribute_("marker", marker)
    gone = weakref.ref(marker)
    gc.disable()
    try:
        del fsa, marker
        assert gone() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- attributes


def test_attributes_are_read_by_name_and_kept_in_a_mapping():
    fsa = Fsa.from_arcs([[0, 1, 3], [1, 2, -1]], durations=torch.tensor([4, 0]), text="hi")
    assert fsa.text == "hi" and fsa.durations.tolist() == [4, 0]
    assert dict(fsa.attributes).keys() == {"durations", "text"}
    assert repr(fsa) == "Fsa(num_states=3, num_arcs=2, durations, text)"
    assert fsa.select_attributes(torch.tensor([1, 1, 0]))["durations"].tolist() == [0, 0, 4]
    with pytest.raises(TypeError):
        fsa.attributes["text"] = "ho"
    with pytest.raises(FsaAttributeError, match=r"no attribute 'words'; it has: durations, text"):
        _ = fsa.words
    assert not hasattr(fsa, "words")
    with pytest.raises(FsaAttributeError, match=r"use fsa.set_attribute_\('words', value\)"):
        fsa.words = 3
    with pytest.raises(FsaValueError, match=r"'words': a tensor needs one entry per arc, 2, got 3"):
        fsa.set_attribute_("words", torch.zeros(3))
    with pytest.raises(FsaValueError, match=r"'words': .* 2, got a single number"):
        fsa.set_attribute_("words", torch.tensor(1))
    with pytest.raises(FsaValueError, match=r"'words': .* 2, got 1"):
        fsa.set_attribute_("words", RaggedTensor.from_lists([[1]]))
    for name in ("scores", "labels", "to", "_private", "not a name"):
        with pytest.raises(FsaAttributeError, match=f"attribute {name!r}"):
            fsa.set_attribute_(name, 3)


def test_stacking_needs_the_same_attributes():
    def fsa(**attributes):
        return Fsa.from_arcs([[0, 1, -1]], **attributes)

    shared = ("a", torch.ones(3))
    assert Fsa.from_fsas([fsa(x=shared, y=1), fsa(x=shared, y=1)]).x is shared
    for a, b, message in (
        (fsa(x=1), fsa(), r"attributes differ: fsas\[0\] has \['x'\], fsas\[1\] has \[\]"),
        (fsa(x="a"), fsa(x="b"), r"attribute 'x' must be one object, or equal values in all"),
        (fsa(x=torch.ones(1)), fsa(x=torch.ones(1).int()), r"'x' must be the same type, dtype"),
        (fsa(), fsa().to(torch.float64), r"scores of dtype differ: .*float32.*float64"),
    ):
        with pytest.raises(FsaValueError, match=message):
            Fsa.from_fsas([a, b])


# ---------------------------------------------------------------- saving


@given(seeds, st.booleans())
def test_saving_round_trips(random_fsa, seed, vector):
    fsa = random_fsa(seed)
    fsa.set_attribute_("meta", {"ids": [1, 2], "t": torch.ones(2), "none": None})
    fsa.set_attribute_("labels_sym", SymbolTable([("<eps>", 0), ("a", 3)]))
    if vector:
        fsa = Fsa.from_fsas([fsa, fsa])
    for value in (fsa.as_dict(), fsa):
        file = io.BytesIO()
        torch.save(value, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
        again = Fsa.from_dict(loaded) if isinstance(loaded, dict) else loaded
        assert torch.equal(again.meta["t"], torch.ones(2)) and again.meta["ids"] == [1, 2]
        again.set_attribute_("meta", fsa.meta)
        assert_same(again, fsa)


def test_pickle_and_deepcopy_keep_requires_grad_and_any_object():
    leaf = torch.zeros(1, requires_grad=True)
    words = RaggedTensor(RaggedShape(torch.tensor([0, 1])), leaf * 4)
    fsa = Fsa.from_arcs([[0, 1, -1]], leaf * 2, thing=Fsa, weights=leaf * 3, words=words)
    for again in (pickle.loads(pickle.dumps(fsa)), copy.deepcopy(fsa), copy.copy(fsa)):
        assert again.thing is Fsa
        assert again.requires_grad and again.scores.is_leaf
        assert_same(again.detach(), fsa.detach())
    with pytest.raises(FsaTypeError, match=r"attribute 'thing': holds a type; as_dict can keep"):
        fsa.as_dict()


def test_a_broken_dict_is_refused():
    good = Fsa.from_arcs([[0, 1, -1]], words=RaggedTensor.from_lists([[1]])).as_dict()
    with pytest.raises(FsaFormatError, match=r"not an Fsa: needed format 'wfst_entropy.Fsa'"):
        Fsa.from_dict({})
    with pytest.raises(FsaFormatError, match=r"version 1, got .* version 99"):
        Fsa.from_dict({**good, "version": 99})
    for key in ("row_splits", "arcs", "scores", "tensor_attributes"):
        with pytest.raises(FsaFormatError, match=f"key '{key}': needed a .*, got NoneType"):
            Fsa.from_dict({k: v for k, v in good.items() if k != key})
    for tables in ([], {"x": 3}):
        with pytest.raises(FsaFormatError, match=r"key 'symbol_tables': needed a dict of strings"):
            Fsa.from_dict({**good, "symbol_tables": tables})
    with pytest.raises(FsaFormatError, match=r"ragged attribute 'words'"):
        Fsa.from_dict({**good, "ragged_attributes": {"words": {}}})
    with pytest.raises(FsaValueError, match=r"destination must be a state"):
        Fsa.from_dict({**good, "arcs": torch.tensor([[0, 5, -1]], dtype=torch.int32)})


# ---------------------------------------------------------------- invariants


@pytest.mark.parametrize(
    ("arcs", "num_states", "message"),
    [
        ([[0, 1, 1], [1, 2, 2]], None, r"arc 1 .*destination 2, label 2.*must have label -1"),
        ([[0, 1, -1], [1, 2, -1]], None, r"arc 0 .*label -1 is only for arcs into the final"),
        ([[0, 3, 1]], 3, r"arc 0 .*destination 3.* of an FSA with 3 states.*must be a state"),
        ([[0, -1, 1]], 3, r"destination -1.*must be a state"),
        ([[0, 1, -2]], 3, r"a label must be -1 .*, 0 \(epsilon\) or positive"),
        ([[2, 1, 1]], 3, r"arc 0 .*no arc may leave the final state"),
        ([[1, 2, -1], [0, 1, 1]], None, r"are the arcs ordered by source\?"),
        ([[5, 1, 1]], 3, r"arc 0 \(5, 1, 1\) leaves a state outside 0 to 2"),
        ([[0, 1, 2**32 + 5], [1, 2, -1]], None, r"arc 0, column 2 is 4294967301, .* not fit int32"),
        ([], 1, r"has 1 state; an FSA has a start and a final state"),
    ],
)
def test_broken_invariants(arcs, num_states, message):
    with pytest.raises(FsaValueError, match=message) as caught:
        Fsa.from_arcs(arcs, num_states=num_states)
    assert isinstance(caught.value, FsaError) and isinstance(caught.value, ValueError)


def test_the_message_names_the_fsa_of_a_vector():
    shape = RaggedShape(torch.tensor([0, 2, 4]), torch.tensor([0, 1, 1, 3, 3]))
    arcs = torch.tensor([[0, 1, -1], [0, 1, -1], [0, 1, 7]], dtype=torch.int32)
    with pytest.raises(FsaValueError, match=r"FSA 1 of 2: arc 1 \(source 0, .*label 7\)"):
        Fsa(shape, arcs)


def test_wrong_types_and_shapes():
    shape = RaggedShape(torch.tensor([0, 1, 1]))
    arcs = torch.tensor([[0, 1, -1]], dtype=torch.int32)
    with pytest.raises(FsaTypeError, match=r"arcs: must be an int32 tensor .* got .*int64"):
        Fsa(shape, arcs.long())
    with pytest.raises(FsaValueError, match=r"arcs: must have shape \(1, 3\)"):
        Fsa(shape, arcs[:, :2])
    with pytest.raises(FsaTypeError, match=r"scores: must be a float32 or float64 tensor"):
        Fsa(shape, arcs, torch.zeros(1, dtype=torch.float16))
    with pytest.raises(FsaValueError, match=r"scores: must have one score per arc, \(1,\)"):
        Fsa(shape, arcs, torch.zeros(2))
    with pytest.raises(FsaTypeError, match=r"shape: must be a RaggedShape, got list"):
        Fsa([0, 1, 1], arcs)
    deep = RaggedShape(*[torch.tensor([0, 1])] * 3)
    with pytest.raises(FsaValueError, match=r"2 axes \[state\]\[arc\] or 3 .* got 4"):
        Fsa(deep, arcs)
    with pytest.raises(FsaTypeError, match=r"must be integers \(num_arcs, 3\)"):
        Fsa.from_arcs(torch.zeros(1, 3))


def test_indexing_errors():
    fsa = Fsa.from_str("0 1 -1 0\n1")
    with pytest.raises(FsaIndexError, match=r"one FSA, not a vector"):
        fsa[0]
    with pytest.raises(FsaTypeError, match=r"one FSA, not a vector"):
        len(fsa)
    vec = Fsa.from_fsas([fsa])
    with pytest.raises(FsaIndexError, match=r"fsa\[1\]: the vector has 1 FSAs"):
        vec[1]
    with pytest.raises(FsaIndexError, match=r"fsa\[\[0, 3\]\]: the vector has 1 FSAs"):
        vec[[0, 3]]
    for index in (torch.tensor([True]), 0.5, torch.zeros(1, 1, dtype=torch.int64)):
        with pytest.raises(FsaIndexError, match=r"needs an integer, a slice or a list"):
            vec[index]
