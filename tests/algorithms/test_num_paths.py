"""Numbers of paths and scores of the best of them, against the list of all."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.algorithms import get_tot_scores, k_best_scores, num_paths
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError
from wfst_entropy.semirings import TropicalSemiring

INF = float("inf")


@pytest.mark.parametrize("seed", range(10))
def test_against_the_list_of_all_paths(seed, random_acyclic, path_table):
    fsa = random_acyclic(600 + seed)
    table = path_table(fsa)
    assert num_paths(fsa).tolist() == [len(table)]
    scores = fsa.scores.clone().requires_grad_()
    weights = (table @ scores).sort(descending=True).values
    for k in (1, 2, 5):
        best = k_best_scores(fsa.with_scores(scores), k)
        assert best.shape == (1, k)
        count = min(k, len(table))
        torch.testing.assert_close(best[0, :count], weights[:count])
        assert best[0, count:].tolist() == [-INF] * (k - count)
        for place in range(k):
            (gradient,) = torch.autograd.grad(best[0, place], scores, retain_graph=True)
            if place < count:
                wanted = torch.autograd.grad(weights[place], scores, retain_graph=True)[0]
                torch.testing.assert_close(gradient, wanted)
            else:
                assert not gradient.any()
        assert best[:, 0].item() == get_tot_scores(fsa, TropicalSemiring()).item()


def test_vectors_blocked_arcs_and_dtypes():
    arcs = [[0, 1, 1], [0, 1, 2], [0, 1, 3], [1, 2, -1]]
    some = Fsa.from_arcs(arcs, torch.tensor([-1.0, -INF, -3.0, -2.0]))
    none = Fsa.from_arcs(arcs, torch.tensor([0.0, 0.0, 0.0, -INF]))
    vector = Fsa.from_fsas([some, Fsa.from_arcs([]), none])
    assert num_paths(vector).tolist() == [2, 0, 0] and num_paths(vector).dtype == torch.float64
    best = k_best_scores(vector, 3)
    assert best.dtype == torch.float32
    assert best.tolist() == [[-3, -5, -INF], [-INF] * 3, [-INF] * 3]


def test_more_paths_than_float64_can_count():
    arcs = [[s, s + 1, label] for s in range(1100) for label in (1, 2)]
    blocked = [[s, s + 1, 1] for s in range(1100, 1102)]
    fsa = Fsa.from_arcs([*arcs, *blocked, [1102, 1103, -1]])
    assert num_paths(fsa).tolist() == [INF]
    scores = fsa.scores.clone()
    scores[-2] = -INF
    assert num_paths(fsa.with_scores(scores)).tolist() == [0]
    assert num_paths(Fsa.from_arcs([*arcs[:100], [50, 51, -1]])).tolist() == [2**50]


def test_cycles():
    fsa = Fsa.from_arcs([[0, 0, 1], [0, 0, 2], [0, 1, -1]], torch.tensor([-1.0, -1.5, 0.0]))
    assert k_best_scores(fsa, 6).tolist() == [[0, -1, -1.5, -2, -2.5, -2.5]]
    with pytest.raises(CyclicFsaError, match="states 0 -> 0"):
        num_paths(fsa)
    with pytest.raises(CyclicFsaError, match=r"score 0\.5"):
        k_best_scores(fsa.with_scores(torch.tensor([-1.0, 0.5, 0.0])), 2)
    # Passes of score 0 are as good as none.
    assert k_best_scores(fsa.with_scores(torch.tensor([0.0, -1.0, 0.0])), 3).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_k_is_checked(bad):
    with pytest.raises(ValueError, match=f"k: must be an integer of at least 1, got {bad}"):
        k_best_scores(Fsa.from_arcs([[0, 1, -1]]), bad)
