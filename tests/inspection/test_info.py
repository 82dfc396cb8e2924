"""The figures of a graph."""

from __future__ import annotations

import torch

from wfst_entropy import Fsa, RaggedTensor, ctc_topo, info


def test_the_ctc_topology_has_the_figures_of_its_definition():
    found = info(ctc_topo(3))
    assert (found.num_states, found.num_arcs, found.num_final_arcs) == (5, 20, 4)
    assert (found.num_labels, found.max_label, found.num_epsilons) == (3, 3, 4)
    # Each token is put out when its state is entered from one of the three others.
    assert (found.num_output_labels, found.num_output_epsilons) == (3, 4 + 3)
    assert (found.num_cyclic_states, found.num_cyclic_components) == (4, 1)
    assert (found.mean_out_degree, found.max_out_degree, found.max_in_degree) == (5.0, 5, 4)
    assert found.deterministic and not found.acyclic and found.connected
    assert "transducer" in str(found) and "4 states in 1" in str(found)


def test_a_vector_sums_up_its_parts_and_keeps_them():
    one = Fsa.from_str("0 1 5 0.5\n1 2 -1 -2\n2")
    two = Fsa.from_str("0 0 7 0\n0 1 -1 1\n1")
    found = info(Fsa.from_fsas([one, two]))
    assert (found.num_fsas, found.num_states, found.num_arcs) == (2, 5, 4)
    assert found.score_range == (-2.0, 1.0)
    assert [part.num_arcs for part in found.fsas] == [2, 2]
    assert [part.acyclic for part in found.fsas] == [True, False]
    assert found.fsas[0] == info(one)


def test_an_empty_graph_and_bad_scores_have_figures_too():
    empty = info(Fsa.from_str(""))
    assert (empty.num_states, empty.max_in_degree, empty.score_range) == (0, 0, None)
    assert "scores             none" in str(empty)
    fsa = Fsa.from_str("0 1 1 0\n0 1 2 0\n1 2 -1 0\n2")
    bad = info(fsa.with_scores(torch.tensor([-torch.inf, torch.nan, 1.0])))
    assert (bad.num_impossible, bad.num_invalid, bad.score_range) == (1, 1, (1.0, 1.0))
    assert "1 are -inf, 1 are NaN or +inf" in str(bad)


def test_outputs_may_be_ragged_and_memory_counts_attributes():
    fsa = Fsa.from_str("0 1 1 0\n1 2 -1 0\n2")
    before = info(fsa).num_bytes
    fsa.set_attribute_("aux_labels", RaggedTensor.from_lists([[3, 0, 4], []]))
    found = info(fsa)
    assert (found.num_output_labels, found.max_output_label) == (2, 4)
    assert found.num_bytes == before + 3 * 8 + 3 * 8  # values and row splits, 64 bits each
    assert found.attributes == ("aux_labels",)
