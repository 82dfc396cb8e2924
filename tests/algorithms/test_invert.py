"""Inversion and projection: labels, lists, symbols, and labels that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, pair_weights, random_machine

from wfst_entropy import Fsa, FsaError, RaggedTensor, SymbolTable, invert, project

TEXT = "0 1 1 7 0.5\n0 2 0 8 1\n1 2 3 0 2\n2 3 -1 -1 0\n3"


def test_labels_and_symbols_change_places():
    fst = Fsa.from_str(TEXT, num_aux_labels=1).set_attribute_("labels_sym", "in")
    fst.set_attribute_("aux_labels_sym", "out")
    inverted = invert(fst)
    assert inverted.labels.tolist() == [7, 8, 0, -1]
    assert inverted.aux_labels.tolist() == [1, 0, 3, -1]
    assert (inverted.labels_sym, inverted.aux_labels_sym) == ("out", "in")
    assert invert(inverted).to_str() == fst.to_str()
    one_sided = Fsa.from_str(TEXT, num_aux_labels=1)
    one_sided.set_attribute_("aux_labels_sym", SymbolTable.from_str("<eps> 0\na 7\n"))
    assert "aux_labels_sym" not in invert(one_sided).attributes


def test_twice_is_nothing_and_lists_are_read_in_order():
    rng = np.random.default_rng(0)
    for i in range(50):
        fst = random_machine(rng, cyclic=i % 2 == 0, transducer=True)
        if i % 3 == 0:
            lists = [rng.integers(0, 3, rng.integers(4)).tolist() for _ in range(fst.num_arcs)]
            fst.set_attribute_("aux_labels", RaggedTensor.from_lists(lists, dtype=torch.int32))
        pairs = pair_weights(fst, 3, num_labels=2)
        swapped = {(y, x): weight for (x, y), weight in pairs.items()}
        assert_same_weights(pair_weights(invert(fst), 3, num_labels=2), swapped)
        assert_same_weights(pair_weights(invert(invert(fst)), 3, num_labels=2), pairs)


def test_an_output_label_on_a_final_arc_gets_an_arc_of_its_own():
    fst = Fsa.from_str("0 1 -1 5 0.5\n1", num_aux_labels=1)
    assert pair_weights(invert(fst), 2) == {((5,), ()): 0.5}
    assert project(fst, "output").labels.tolist() == [5, -1]


def test_projection_of_both_sides():
    fst = Fsa.from_str(TEXT, num_aux_labels=1).set_attribute_("tag", torch.arange(4))
    for side, labels in (("input", [1, 0, 3, -1]), ("output", [7, 8, 0, -1])):
        acceptor, arc_map = project(fst, side, ret_arc_map=True)
        assert acceptor.labels.tolist() == labels and list(acceptor.attributes) == ["tag"]
        assert arc_map.tolist() == [0, 1, 2, 3]
    acceptor = project(fst)
    assert project(acceptor, "output").to_str() == acceptor.to_str()


def test_what_cannot_be_inverted():
    fst = Fsa.from_str(TEXT, num_aux_labels=1)
    with pytest.raises(FsaError, match="no aux_labels, so it is an acceptor"):
        invert(project(fst))
    with pytest.raises(FsaError, match="project_type: must be 'input' or 'output', got 'both'"):
        project(fst, "both")
    for bad in ([7, -2, 0, -1], [7, 2**31, 0, -1]):
        with pytest.raises(FsaError, match=f"arc 1 has {bad[1]}, which cannot be a label"):
            invert(fst.clone().set_attribute_("aux_labels", torch.tensor(bad)))
    with pytest.raises(FsaError, match="aux_labels: must be integers"):
        invert(fst.clone().set_attribute_("aux_labels", torch.zeros(4)))
