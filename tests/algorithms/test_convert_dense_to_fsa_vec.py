"""Frame scores as graphs: intersecting with them is intersecting with the scores."""

from __future__ import annotations

import torch

from wfst_entropy.algorithms import convert_dense_to_fsa_vec, get_tot_scores, intersect_dense
from wfst_entropy.fsa import DenseFsaVec, Fsa


def test_chains():
    scores = torch.randn(2, 4, 3, dtype=torch.float64).requires_grad_()
    dense = DenseFsaVec(scores, torch.tensor([[1, 1, 2], [0, 0, 0], [0, 0, 4]]))
    fsas = convert_dense_to_fsa_vec(dense)
    assert [fsas[i].num_states for i in range(3)] == [4, 2, 6]
    assert [fsas[i].num_arcs for i in range(3)] == [7, 1, 13]
    assert fsas[1].arcs.tolist() == [[0, 1, -1]]
    assert fsas[0].labels.tolist() == [0, 1, 2, 0, 1, 2, -1]
    assert torch.equal(fsas[0].scores[:-1].view(2, 3), scores[1, 1:3]) and fsas[0].scores[-1] == 0
    (grad,) = torch.autograd.grad(fsas.scores.sum(), scores)
    assert torch.equal(grad[:, :, 0], torch.tensor([[1.0, 1, 1, 1], [0, 1, 1, 0]]).double())


def test_the_total_is_that_of_every_symbol_in_every_frame():
    scores = torch.randn(2, 4, 3)
    dense = DenseFsaVec.from_lengths(scores, torch.tensor([4, 2]))
    totals = get_tot_scores(convert_dense_to_fsa_vec(dense))
    every = Fsa.from_str("0 0 0 0\n0 0 1 0\n0 0 2 0\n0 1 -1 0\n1")
    torch.testing.assert_close(totals, get_tot_scores(intersect_dense(every, dense)))
    torch.testing.assert_close(totals[1], scores[1, :2].logsumexp(1).sum())


def test_nothing():
    none = DenseFsaVec.from_lengths(torch.zeros(0, 3, 4), torch.zeros(0, dtype=torch.int64))
    assert convert_dense_to_fsa_vec(none).num_fsas == 0
