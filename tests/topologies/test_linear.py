"""Linear graphs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError, RaggedTensor
from wfst_entropy.topologies import linear_fsa, linear_fst

labels = st.lists(st.integers(0, 9), max_size=5)


@given(st.lists(labels, max_size=5))
def test_a_vector_holds_the_single_ones(sequences):
    vec = linear_fsa(sequences) if sequences else linear_fsa(RaggedTensor.from_lists(sequences))
    assert vec.num_axes == 3 and len(vec) == len(sequences)
    for sequence, fsa in zip(sequences, vec, strict=True):
        single = linear_fsa(sequence)
        n = len(sequence)
        assert single.num_axes == 2 and single.num_states == n + 2
        expected = [[i, i + 1, x] for i, x in enumerate([*sequence, -1])]
        assert single.arcs.tolist() == fsa.arcs.tolist() == expected
        assert single.to_str() == fsa.to_str()
        assert fsa.scores.tolist() == [0] * (n + 1)


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5), min_size=1))
def test_transducers(pairs):
    inputs = [[i for i, _ in row] for row in pairs]
    outputs = [[o for _, o in row] for row in pairs]
    vec = linear_fst(inputs, outputs)
    assert vec.aux_labels.dtype == torch.int32
    assert torch.equal(vec.arcs, linear_fsa(inputs).arcs)
    for i, fsa in enumerate(vec):
        assert fsa.aux_labels.tolist() == [*outputs[i], -1]
        assert fsa.to_str() == linear_fst(inputs[i], outputs[i]).to_str()


def test_inputs_of_other_kinds():
    expected = linear_fsa([[1, 2], []]).arcs
    ragged = RaggedTensor.from_lists([[1, 2], []])
    assert torch.equal(linear_fsa(ragged).arcs, expected)
    assert torch.equal(linear_fsa(ragged.to(torch.int32)).arcs, expected)
    tensors = [torch.tensor([1, 2]), torch.tensor([], dtype=torch.int64)]
    assert torch.equal(linear_fsa(tensors).arcs, expected)
    assert linear_fsa([]).to_str() == "0 1 -1 0\n1"
    assert isinstance(linear_fsa([[]])[0], Fsa)


def test_errors():
    with pytest.raises(FsaValueError, match=r"labels: utterance 1, position 2: .* from 0 .* -1"):
        linear_fsa([[1], [1, 2, -1]])
    with pytest.raises(FsaValueError, match=r"position 0: must be from 0 to 2\*\*31 - 1, got"):
        linear_fsa([2**31])
    with pytest.raises(
        FsaTypeError, match=r"labels: must be lists of integers.* got torch.float32"
    ):
        linear_fsa([[1.5]])
    with pytest.raises(FsaTypeError, match=r"labels: must be lists of integers.* got 3 levels"):
        linear_fsa([[[1]]])
    with pytest.raises(FsaTypeError, match=r"a ragged tensor must be .* got 2 axes of .*float32"):
        linear_fsa(RaggedTensor.from_lists([[1.5]]))
    with pytest.raises(FsaValueError, match=r"aux_labels: utterance 1 has 1 of them for 2 labels"):
        linear_fst([[1], [1, 2]], [[1], [1]])
    with pytest.raises(FsaValueError, match=r"aux_labels: must be nested as labels, with 2"):
        linear_fst([[1], [1, 2]], [[1]])
    with pytest.raises(FsaValueError, match=r"aux_labels: must be nested as labels"):
        linear_fst([1], [[1]])
