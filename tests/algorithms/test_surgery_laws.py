"""What holds for every operation with an arc map: vectors, attributes, gradients, empty FSAs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_machine

import wfst_entropy as we
from wfst_entropy import Fsa, FsaError, RaggedTensor

EMPTY = Fsa.from_arcs([], torch.empty(0, dtype=torch.float64), 0)

UNARY = {
    "add_epsilon_self_loops": we.add_epsilon_self_loops,
    "arc_sort": we.arc_sort,
    "closure": lambda f, ret_arc_map=False: we.closure(f, ret_arc_map=ret_arc_map),
    "closure_plus": lambda f, ret_arc_map=False: we.closure(f, "plus", ret_arc_map=ret_arc_map),
    "connect": we.connect,
    "expand_ragged_attributes": we.expand_ragged_attributes,
    "invert": we.invert,
    "project_input": lambda f, ret_arc_map=False: we.project(f, ret_arc_map=ret_arc_map),
    "project_output": lambda f, ret_arc_map=False: we.project(f, "output", ret_arc_map=ret_arc_map),
    "remove_epsilon_self_loops": we.remove_epsilon_self_loops,
    "reverse": we.reverse,
    "top_sort": we.top_sort,
    "union": we.union,
}
EACH = {name: operation for name, operation in UNARY.items() if name != "union"}


def concat(pair, other, ret_arc_map=False):
    return we.concat(pair, other, ret_arc_maps=ret_arc_map)


def replace(index, other, ret_arc_map=False):
    out = we.replace_fsa(other, index, 2, ret_arc_map=True)
    return out if ret_arc_map else out[0]


BINARY = {"concat": concat, "replace": replace}


def machine(rng, cyclic=False):
    """A transducer with one attribute of each kind; the lists on arcs are ragged."""
    fsa = random_machine(rng, cyclic=cyclic, transducer=True)
    ends = fsa.labels == -1
    lists = [[-1] if end else rng.integers(0, 4, rng.integers(3)).tolist() for end in ends]
    number = torch.from_numpy(rng.standard_normal(fsa.num_arcs))
    fsa.set_attribute_("words", RaggedTensor.from_lists(lists, dtype=torch.int32))
    fsa.set_attribute_("frames", torch.from_numpy(rng.integers(0, 9, fsa.num_arcs)))
    fsa.set_attribute_("frames_filler", 99)
    fsa.set_attribute_("cost", number)
    return fsa.set_attribute_("origin", "toy")


def same(a, b):
    assert a.shape == b.shape and torch.equal(a.arcs, b.arcs) and torch.equal(a.scores, b.scores)
    assert a.scores.dtype == b.scores.dtype and a.attributes.keys() == b.attributes.keys()
    for name, value in a.attributes.items():
        other = b.attributes[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def valid(fsa):
    """The constructor checks everything again."""
    Fsa(fsa.shape, fsa.arcs, fsa.scores, **fsa.attributes)


@pytest.mark.parametrize("name", UNARY)
def test_arc_map_carries_scores_attributes_and_gradients(name):
    rng = np.random.default_rng(3)
    for _ in range(10):
        fsa = machine(rng).requires_grad_()
        before = fsa.clone()
        new, arc_map = UNARY[name](fsa, ret_arc_map=True)
        valid(new)
        same(fsa, before)
        same(new, UNARY[name](fsa))
        assert arc_map.dtype == torch.int64 and arc_map.shape == (new.num_arcs,)
        found = arc_map >= 0
        scores = torch.where(found, fsa.scores[arc_map.clamp(min=0)], 0)
        assert torch.equal(new.scores, scores)
        assert new.origin == "toy" and new.frames_filler == 99
        assert new.frames.tolist() == [int(fsa.frames[i]) if i >= 0 else 99 for i in arc_map]
        assert new.cost.tolist() == [float(fsa.cost[i]) if i >= 0 else 0.0 for i in arc_map]
        weights = torch.from_numpy(rng.standard_normal(new.num_arcs))
        (new.scores * weights).sum().backward()
        expected = torch.zeros(fsa.num_arcs, dtype=torch.float64)
        expected.index_add_(0, arc_map[found], weights[found])
        torch.testing.assert_close(fsa.scores.grad, expected)


@pytest.mark.parametrize("name", UNARY)
def test_extra_labels_end_with_minus_one_and_only_there(name):
    rng = np.random.default_rng(4)
    for _ in range(10):
        new = UNARY[name](machine(rng))
        if "aux_labels" in new.attributes:
            assert torch.equal(new.aux_labels == -1, new.labels == -1)


@pytest.mark.parametrize("name", EACH)
def test_vector_is_each_fsa_alone(name):
    rng, operation = np.random.default_rng(5), EACH[name]
    fsas = [machine(rng) for _ in range(3)]
    nothing = fsas[0].select_attributes(torch.empty(0, dtype=torch.int64))
    fsas.insert(1, Fsa(EMPTY.shape, EMPTY.arcs, EMPTY.scores, **nothing))
    vector, arc_map = operation(Fsa.from_fsas(fsas), ret_arc_map=True)
    assert vector.num_axes == 3 and arc_map.numel() == vector.num_arcs
    for new, old in zip(vector, fsas, strict=True):
        same(new, operation(old))


@pytest.mark.parametrize("name", UNARY)
def test_float32_stays_and_empty_is_fine(name):
    fsa = machine(np.random.default_rng(6)).to(torch.float32)
    assert UNARY[name](fsa).scores.dtype == torch.float32
    empty = EMPTY.clone().set_attribute_("aux_labels", torch.empty(0, dtype=torch.int32))
    assert UNARY[name](Fsa.from_fsas([empty, empty])).num_arcs == (2 if name == "closure" else 0)
    one = UNARY[name](empty)
    assert (one.num_axes, one.num_states) == (2, 2 if name == "closure" else 0)
    none = Fsa.from_fsas([empty])[[]]
    assert UNARY[name](none).num_states == 0


@pytest.mark.parametrize("name", UNARY)
def test_only_an_fsa_is_taken(name):
    with pytest.raises(FsaError, match=r"must be|needs an Fsa"):
        UNARY[name]("0 1 -1 0")


@pytest.mark.parametrize("name", BINARY)
def test_two_operands_and_their_maps(name):
    rng, operation = np.random.default_rng(7), BINARY[name]
    for _ in range(10):
        a, b = machine(rng).requires_grad_(), machine(rng).requires_grad_()
        b.set_attribute_("only_b", torch.arange(b.num_arcs))
        new, a_map, b_map = operation(a, b, ret_arc_map=True)
        valid(new)
        assert not bool(((a_map >= 0) & (b_map >= 0)).any())
        for column in ("scores", "cost", "frames", "only_b"):
            expected = []
            for i, j in zip(a_map.tolist(), b_map.tolist(), strict=True):
                value = 0.0 if column != "frames" else 99
                if i >= 0 and column != "only_b":
                    value = getattr(a, column)[i].item()
                elif j >= 0:
                    value = getattr(b, column)[j].item()
                expected.append(value)
            assert getattr(new, column).tolist() == expected, column
        assert torch.equal(new.aux_labels == -1, new.labels == -1)
        words = [
            a.words[i].tolist() if i >= 0 else b.words[j].tolist() if j >= 0 else []
            for i, j in zip(a_map.tolist(), b_map.tolist(), strict=True)
        ]
        assert new.words.tolist() == words
        weights = torch.from_numpy(rng.standard_normal(new.num_arcs))
        (new.scores * weights).sum().backward()
        for old, arc_map in ((a, a_map), (b, b_map)):
            expected = torch.zeros(old.num_arcs, dtype=torch.float64)
            expected.index_add_(0, arc_map[arc_map >= 0], weights[arc_map >= 0])
            torch.testing.assert_close(old.scores.grad, expected)


@pytest.mark.parametrize("name", BINARY)
def test_vectors_of_two_operands(name):
    rng, operation = np.random.default_rng(8), BINARY[name]
    a, b = [machine(rng) for _ in range(3)], machine(rng)
    vector = operation(Fsa.from_fsas(a), b)
    for new, old in zip(vector, a, strict=True):
        same(new, operation(old, b))
    with pytest.raises(FsaError, match="float"):
        operation(a[0], b.to(torch.float32))
    with pytest.raises(FsaError, match="must be an Fsa, got int"):
        operation(a[0], 3)


def test_grown_results_stop_at_the_limits():
    fsa = Fsa.from_str("0 1 1 0\n1 2 1 0\n2 3 -1 0\n3", acceptor=True)
    with pytest.raises(FsaError, match=r"replace.*max_states"):
        we.replace_fsa(fsa, fsa, 1, max_states=5)
    with pytest.raises(FsaError, match=r"replace.*max_arcs"):
        we.replace(fsa, {1: Fsa.from_str("0 1 2 0\n1 2 -1 0\n2", acceptor=True)}, max_arcs=4)
    fsa.set_attribute_("aux_labels", RaggedTensor.from_lists([[1] * 10, [], []]))
    assert we.invert(fsa).num_states == 13
