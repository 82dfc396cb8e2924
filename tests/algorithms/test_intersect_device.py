"""Batched intersection pairs the FSAs as its map says, and reads epsilon as a symbol."""

from __future__ import annotations

import pytest
import torch
from machine_pairs import alike, two_machines

from wfst_entropy import Fsa, FsaError, intersect, intersect_device


def test_each_goes_with_the_one_that_the_map_names():
    a_vec = Fsa.from_fsas([two_machines(seed)[0] for seed in range(5)])
    b_vec = Fsa.from_fsas([two_machines(seed)[1] for seed in range(8)])
    numbers = torch.tensor([4, 0, 1, 1, 3, 2, 0, 4], dtype=torch.int32)
    batch, a_map, b_map = intersect_device(a_vec, b_vec, numbers, ret_arc_maps=True)
    assert batch.num_fsas == 8 and bool((a_map >= 0).all()) and bool((b_map >= 0).all())
    assert torch.equal(batch.scores, a_vec.scores[a_map] + b_vec.scores[b_map])
    for x, number, b in zip(batch, numbers.tolist(), b_vec):
        assert alike(x, intersect(a_vec[number], b, treat_epsilons_specially=False))


@pytest.mark.parametrize("sorted_match_a", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_k2_example(shared, sorted_match_a):
    a = Fsa.from_str("0 1 0 0.1\n0 1 1 0.2\n1 2 0 0.4\n1 2 2 0.3\n2 3 -1 0.5\n3", acceptor=True)
    b = [
        Fsa.from_str("0 1 0 1\n1 1 2 2\n1 2 -1 3\n2", acceptor=True),
        Fsa.from_str("0 0 1 10\n0 1 0 20\n1 2 -1 30\n2", acceptor=True),
    ]
    leaves = [f.scores.requires_grad_(True) for f in (a, *b)]
    a_vec = Fsa.from_fsas([a] if shared else [a, a])
    numbers = torch.tensor([0, 0 if shared else 1])
    both = intersect_device(a_vec, Fsa.from_fsas(b), numbers, sorted_match_a)
    assert both[0].to_str().split("\n")[:3] == ["0 1 0 1.1", "1 2 2 2.3", "2 3 -1 3.5"]
    assert both[1].to_str().split("\n")[:3] == ["0 1 1 10.2", "1 2 0 20.4", "2 3 -1 30.5"]
    both.scores.sum().backward()
    assert [x.grad.tolist() for x in leaves] == [[1, 1, 1, 1, 2], [1, 1, 1], [1, 1, 1]]


def test_messages():
    a = two_machines(0)[0]
    vector = Fsa.from_fsas([a, a])
    one = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(FsaError, match="a_fsas must be a vector, got a single FSA"):
        intersect_device(a, vector, one)
    with pytest.raises(FsaError, match="must be a tensor of int32 or int64, got list"):
        intersect_device(vector, vector, [0, 1])
    with pytest.raises(FsaError, match="each of the 2 FSAs of b_fsas, got shape \\(3,\\)"):
        intersect_device(vector, vector, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(FsaError, match="entry 1 is 2, but a_fsas has 2 FSAs"):
        intersect_device(vector, vector, torch.tensor([0, 2]))
    unsorted = Fsa.from_fsas([Fsa.from_arcs([[0, 1, 2], [0, 1, 1], [1, 2, -1]])])
    with pytest.raises(FsaError, match="sorted_match_a promises that a_fsas is arc-sorted"):
        intersect_device(unsorted, vector, one, sorted_match_a=True)
    with pytest.raises(FsaError, match="intersect_device: the result outgrows max_states=1"):
        intersect_device(vector, vector, one, max_states=1)
