"""Entropies of order alpha against the list of all paths, their order in alpha, and the limits."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.algorithms import num_paths, path_entropy, renyi_entropy, tsallis_entropy
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaValueError

INF = float("inf")
ORDERS = [0, 0.3, 1, 1.5, 2, 7, INF]


def renyi_by_the_list(weights, alpha):
    log_p = weights.log_softmax(0)
    if alpha == 1:
        return -(log_p.exp() * log_p).sum()
    if alpha == INF:
        return -log_p.max()
    return (alpha * log_p).logsumexp(0) / (1 - alpha)


@pytest.mark.parametrize("seed", range(8))
def test_values_and_gradients_are_those_of_the_path_list(seed, random_acyclic, path_table):
    fsa = random_acyclic(400 + seed)
    table = path_table(fsa)
    scores = fsa.scores.clone().requires_grad_()
    for alpha in ORDERS:
        value = renyi_entropy(fsa.with_scores(scores), alpha)
        if not len(table):
            assert value.item() == 0
            assert not torch.autograd.grad(value, scores)[0].any()
            continue
        expected = renyi_by_the_list(table @ scores, alpha)
        assert value.item() == pytest.approx(expected.item(), abs=1e-12)
        if alpha > 0 and len(table) > 1:
            torch.testing.assert_close(
                torch.autograd.grad(value, scores), torch.autograd.grad(expected, scores)
            )
        if alpha == INF:
            continue
        value = tsallis_entropy(fsa.with_scores(scores), alpha)
        p = (table @ scores).softmax(0)
        expected = -(p * p.log()).sum() if alpha == 1 else (1 - (p**alpha).sum()) / (alpha - 1)
        assert value.item() == pytest.approx(expected.item(), abs=1e-12)
        if alpha > 0:
            torch.testing.assert_close(
                torch.autograd.grad(value, scores), torch.autograd.grad(expected, scores),
                rtol=1e-7, atol=1e-10,
            )  # fmt: skip


def test_it_falls_with_alpha_between_hartley_and_the_best_path(ctc_lattice):
    generator = torch.Generator().manual_seed(5)
    log_probs = torch.randn(40, 6, generator=generator).log_softmax(-1)
    fsa = ctc_lattice(log_probs, [1, 2, 3, 3, 5])
    values = [renyi_entropy(fsa, alpha).item() for alpha in ORDERS]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(num_paths(fsa).log().item(), rel=1e-6)
    assert values[2] == path_entropy(fsa).item()


@pytest.mark.parametrize("function", [renyi_entropy, tsallis_entropy])
def test_orders_near_one_join_smoothly(function, ctc_lattice):
    generator = torch.Generator().manual_seed(6)
    log_probs = torch.randn(60, 6, generator=generator, dtype=torch.float64).log_softmax(-1)
    fsa = ctc_lattice(log_probs, [1, 2, 3, 3, 5])
    at_one = path_entropy(fsa).item()
    outside = [function(fsa, 1 + e).item() for e in (-1.01e-5, 1.01e-5)]
    inside = [function(fsa, 1 + e).item() for e in (-0.99e-5, 0.99e-5)]
    for a, b in zip(inside, outside):
        assert abs(a - at_one) > 1e-6  # the order matters here
        assert (a - at_one) * 1.01 / 0.99 == pytest.approx(b - at_one, rel=1e-2)


def test_one_path_and_none():
    one = Fsa.from_arcs([[0, 1, 1], [1, 2, 2], [2, 3, -1]], torch.tensor([-0.3, 1.7, -250.1]))
    none = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]], torch.tensor([-INF, 0.0]))
    vector = Fsa.from_fsas([one, none, Fsa.from_arcs([])]).requires_grad_()
    for alpha in (*ORDERS, 1 + 1e-7):
        for function in (renyi_entropy, tsallis_entropy):
            if function is tsallis_entropy and alpha == INF:
                continue
            value = function(vector, alpha)
            assert value.tolist() == [0, 0, 0]
            assert not torch.autograd.grad(value.sum(), vector.scores)[0].any()


def test_second_derivatives(random_acyclic):
    fsa = random_acyclic(3)
    scores = fsa.scores.clone().requires_grad_()
    for alpha in (0.5, 2.0):
        for function in (renyi_entropy, tsallis_entropy):
            of = lambda s, f=function, a=alpha: f(fsa.with_scores(s), a)  # noqa: E731
            assert torch.autograd.gradcheck(of, scores)
            assert torch.autograd.gradgradcheck(of, scores, fast_mode=True)


def test_a_loop_converges_for_large_orders_only():
    p = 0.5
    scores = torch.tensor([p, 1 - p], dtype=torch.float64).log()
    fsa = Fsa.from_arcs([[0, 0, 1], [0, 1, -1]], scores)
    for alpha in (0.25, 2.0):
        total = (1 - p) ** alpha / (1 - p**alpha)
        assert renyi_entropy(fsa, alpha).item() == pytest.approx(math.log(total) / (1 - alpha))
    with pytest.raises(CyclicFsaError, match="states 0 -> 0"):
        renyi_entropy(fsa, 0)


def test_bad_orders_are_named():
    fsa = Fsa.from_arcs([[0, 1, -1]])
    for bad in (-1, float("nan")):
        with pytest.raises(FsaValueError, match="alpha: the order must be >= 0, got"):
            renyi_entropy(fsa, bad)
    with pytest.raises(FsaValueError, match="alpha: must be finite for the Tsallis entropy"):
        tsallis_entropy(fsa, INF)
    many = [[s, s + 1, label] for s in range(200) for label in (1, 2)]
    fsa = Fsa.from_arcs([*many, [200, 201, -1]])
    with pytest.raises(FsaValueError, match="Tsallis entropy of FSA 0 overflows; use renyi"):
        tsallis_entropy(fsa, 0)
