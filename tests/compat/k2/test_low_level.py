"""The functions of `_k2`."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.compat import k2

_k2 = k2._k2


def int32(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.int32)


def test_bits():
    for number in (0.0, 1.0, -2.5, 1e-30):
        bits = _k2.float_as_int(number)
        assert _k2.int_as_float(bits) == pytest.approx(number)
        assert int(_k2.as_int(torch.tensor([number]))) == bits
    table = torch.tensor([1.0, 2.0])
    _k2.as_int(table)[0] = _k2.float_as_int(7.0)
    assert table.tolist() == [7, 2], "memory is shared"
    with pytest.raises(TypeError, match=r"must be a torch\.int32"):
        _k2.as_float(table)


def test_fsa_from_and_to_str_and_tensor():
    text = "0 1 5 7 [ 1 2 ] 0.5\n1 2 -1 -1 [ ] 0\n2\n"
    arcs, aux_labels, lists = _k2.fsa_from_str(text, num_aux_labels=1, num_ragged_labels=1)
    assert aux_labels.tolist() == [[7, -1]] and lists[0].tolist() == [[1, 2], []]
    assert _k2.fsa_to_str(arcs, False, [aux_labels[0]], lists) == text
    assert _k2.fsa_from_str("0 1 -1 0\n1")[1] is None
    assert str(_k2.fsa_from_tensor(_k2.fsa_to_tensor(arcs))) == str(arcs)
    vec = _k2.fsa_to_fsa_vec(arcs)
    assert vec.num_axes() == 3 and str(_k2.get_fsa_vec_element(vec, 0)) == str(arcs)
    assert vec.values().data_ptr() == arcs.values().data_ptr()
    flags = _k2.get_fsa_basic_properties(arcs)
    assert flags == _k2.get_fsa_vec_basic_properties(vec)
    assert _k2.is_arc_sorted(flags) and _k2.is_accessible(flags) and _k2.is_coaccessible(flags)
    assert _k2.fsa_properties_as_str(flags).startswith('"Valid')


def test_fix_final_labels():
    arcs = k2.linear_fsa([5, 6]).arcs
    labels = int32(-1, 7, 0)
    _k2.fix_final_labels(arcs, labels)
    assert labels.tolist() == [0, 7, -1]
    arcs.values()[1, 2] = -1
    _k2.fix_final_labels(arcs, None)
    assert arcs.values()[:, 2].tolist() == [5, 0, -1]


def test_expand_arcs():
    arcs = k2.linear_fsa([5, 6]).arcs
    lists = [k2.RaggedTensor([[1, 2], [], []]), k2.RaggedTensor([[3], [4], [5]])]
    chains, labels, arc_map = _k2.expand_arcs(arcs, lists)
    assert chains.values()[:, 2].tolist() == [5, 0, 6, 0, -1]
    assert [x.tolist() for x in labels] == [[1, 2, 0, 0, -1], [3, 0, 4, 5, -1]]
    assert arc_map.tolist() == [0, -1, 1, 2, -1]


FLOAT = (
    _k2.get_forward_scores_float,
    _k2.get_backward_scores_float,
    _k2.get_tot_scores_float,
    _k2.get_arc_post_float,
)
DOUBLE = (
    _k2.get_forward_scores_double,
    _k2.get_backward_scores_double,
    _k2.get_tot_scores_double,
    _k2.get_arc_post_double,
)


@pytest.mark.parametrize("functions", [FLOAT, DOUBLE])
@pytest.mark.parametrize("log_semiring", [True, False])
def test_scores(functions: tuple, log_semiring: bool):
    graph = k2.Fsa.from_str("0 1 1 1\n0 1 2 2\n1 2 -1 0.5\n2")
    vec = k2.create_fsa_vec([graph, k2.linear_fsa([3])])
    flags = (functions is DOUBLE, log_semiring)
    get_forward, get_backward, get_total, get_post = functions
    forward, entering = get_forward(vec.arcs, log_semiring=log_semiring)
    assert torch.equal(forward, vec.get_forward_scores(*flags))
    assert entering is None if log_semiring else entering.tolist() == [-1, 1, 2, -1, 3, 4]
    backward = get_backward(vec.arcs, log_semiring=log_semiring)
    assert torch.equal(backward, vec.get_backward_scores(*flags))
    assert torch.equal(get_total(vec.arcs, forward), vec.get_tot_scores(*flags))
    post = get_post(vec.arcs, forward, backward)
    torch.testing.assert_close(post, vec.get_arc_post(*flags))


def test_ragged_functions():
    ragged = k2.RaggedTensor([[3.0, 1.0], [], [2.0]])
    assert _k2.max_per_sublist(ragged, 0).tolist() == [3, 0, 2]
    assert _k2.argmax_per_sublist(ragged, 0).tolist() == [0, -1, 2]
    assert _k2.sum_per_sublist(ragged, 1).tolist() == [5, 1, 3]
    assert _k2.normalize_per_sublist(ragged, use_log=False).values.tolist() == [0.75, 0.25, 1]
    assert _k2.pad_ragged(ragged, "constant", -1).tolist() == [[3, 1], [-1, -1], [2, -1]]
    assert _k2.sort_sublists(ragged, need_new2old_indexes=True).tolist() == [1, 0, 2]
    words = k2.RaggedTensor([[[1], [2], [1]], [[1]]])
    distinct, repeats, first = _k2.unique_sequences(words, need_new2old_indexes=True)
    assert distinct.tolist() == [[[1], [2]], [[1]]] and repeats.tolist() == [[2, 1], [1]]
    assert first.tolist() == [0, 1, 3]
    assert _k2.remove_axis(words, 0).tolist() == [[1], [2], [1], [1]]
    assert _k2.get_layer(words.shape, 0) == k2.RaggedShape("[ [x x x] [x] ]")
