"""States in another order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_machine

from wfst_entropy import Fsa, FsaError, equal, isomorphic, state_sort


def permutation(rng, fsa):
    """Of the inner states."""
    inner = 1 + rng.permutation(fsa.num_states - 2)
    return torch.tensor([0, *inner.tolist(), fsa.num_states - 1])


def test_the_same_graph_and_back_again():
    rng = np.random.default_rng(0)
    for _ in range(30):
        fsa = random_machine(rng, transducer=True)
        order = permutation(rng, fsa)
        new, arc_map = state_sort(fsa, order, ret_arc_map=True)
        Fsa(new.shape, new.arcs, new.scores)  # which checks the invariants
        assert isomorphic(new, fsa)
        assert torch.equal(new.src_states(), order[fsa.src_states()[arc_map]])
        assert torch.equal(new.dst_states(), order[fsa.dst_states()[arc_map]])
        assert torch.equal(new.aux_labels, fsa.aux_labels[arc_map])
        assert equal(state_sort(new, order.argsort()), fsa, delta=0)


def test_vectors_gradients_and_types():
    rng = np.random.default_rng(1)
    empty = Fsa.from_arcs([], torch.empty(0, dtype=torch.float64), 0)
    fsas = [random_machine(rng), empty, random_machine(rng)]
    orders = [permutation(rng, fsas[0]), torch.empty(0).long(), permutation(rng, fsas[2])]
    vector = Fsa.from_fsas(fsas).requires_grad_()
    shifted = torch.cat([orders[0], orders[2] + fsas[0].num_states]).to(torch.int32)
    new, arc_map = state_sort(vector, shifted, ret_arc_map=True)
    for one, fsa, order in zip(new, fsas, orders, strict=True):
        assert equal(one, state_sort(fsa, order), delta=0)
    weights = torch.randn(new.num_arcs, dtype=torch.float64)
    (new.scores * weights).sum().backward()
    assert torch.equal(vector.scores.grad[arc_map], weights)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1, 2], "one number for each of 4 states"),
        ([0, 1, 4, 3], "state 2 becomes 4; needed is a number below 4"),
        ([0, 1, 1, 3], "state 1 becomes 1; needed is a number that no other state gets"),
        ([1, 0, 2, 3], "state 0 becomes 1; needed is its old number"),
        ([0.0, 1.0, 2.0, 3.0], "must be a tensor of integers, got torch.float32"),
    ],
)
def test_errors(order, message):
    fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, 1], [2, 3, -1]])
    with pytest.raises(FsaError, match=message):
        state_sort(fsa, torch.tensor(order))


def test_states_stay_in_their_fsa():
    fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]])
    with pytest.raises(FsaError, match="the number of a state of the same FSA"):
        state_sort(Fsa.from_fsas([fsa, fsa]), torch.tensor([0, 4, 2, 3, 1, 5]))
