"""Expectations, variances and covariances against the list of all paths."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.algorithms import (
    expected_counts,
    get_arc_post,
    path_entropy,
    score_covariance,
    score_variance,
)
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

INF = float("inf")


@pytest.mark.parametrize("seed", range(10))
def test_values_and_gradients_are_those_of_the_path_list(seed, random_acyclic, path_table):
    fsa = random_acyclic(500 + seed)
    table = path_table(fsa)
    inputs = [fsa.scores.clone(), fsa.scores.sin() * 3, fsa.scores.cos() - 5]
    scores, x, y = (v.requires_grad_() for v in inputs)
    ours = fsa.with_scores(scores)
    got = [
        expected_counts(ours, x),
        score_covariance(ours, x, y),
        score_covariance(ours, x),
        score_variance(ours),
    ]
    if not len(table):
        assert [g.item() for g in got] == [0] * 4
        return
    p = (table @ scores).softmax(0)

    def covariance(a, b):
        a, b = table @ a, table @ b
        return (p * (a - (p * a).sum()) * (b - (p * b).sum())).sum()

    expected = [
        (p * (table @ x)).sum(), covariance(x, y), covariance(x, scores),
        covariance(scores, scores),
    ]  # fmt: skip
    for value, wanted in zip(got, expected):
        assert value.item() == pytest.approx(wanted.item(), abs=1e-12)
        options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
        torch.testing.assert_close(
            torch.autograd.grad(value.sum(), (scores, x, y), **options),
            torch.autograd.grad(wanted, (scores, x, y), **options),
        )


def test_counts_of_one_arc_are_its_posterior(ctc_lattice):
    log_probs = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fsa = ctc_lattice(log_probs.log_softmax(-1), [1, 3])
    gamma = get_arc_post(fsa).exp()
    for arc in (0, 5, 11):
        one = torch.zeros(fsa.num_arcs, dtype=torch.float64)
        one[arc] = 1
        assert expected_counts(fsa, one).item() == pytest.approx(gamma[arc].item(), abs=1e-12)
    length = torch.ones(fsa.num_arcs, dtype=torch.float64)
    assert expected_counts(fsa, length).item() == pytest.approx(10)  # frames and the final arc
    assert score_covariance(fsa, length, length).item() == pytest.approx(0, abs=1e-12)


def test_variance_is_the_slope_of_the_entropy_in_the_temperature(ctc_lattice):
    log_probs = torch.randn(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    fsa = ctc_lattice(log_probs.log_softmax(-1), [1, 2, 2, 4])
    temperature = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(
        path_entropy(fsa.with_scores(fsa.scores / temperature)), temperature
    )
    assert score_variance(fsa).item() == pytest.approx(slope.item())
    single = fsa.with_scores((fsa.scores - 100).float())  # 3100 nats further down
    assert score_variance(single).item() == pytest.approx(slope.item(), rel=1e-4)


def test_a_geometric_number_of_passes():
    p = 0.75
    scores = torch.tensor([p, 1 - p], dtype=torch.float64).log()
    fsa = Fsa.from_arcs([[0, 0, 1], [0, 1, -1]], scores)
    passes = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert expected_counts(fsa, passes).item() == pytest.approx(p / (1 - p))
    assert score_covariance(fsa, passes, passes).item() == pytest.approx(p / (1 - p) ** 2)


def test_blocked_arcs_and_no_paths():
    arcs = [[0, 1, 1], [0, 1, 2], [1, 2, -1]]
    blocked = Fsa.from_arcs(arcs, torch.tensor([-1.0, -INF, -2.0]))
    none = Fsa.from_arcs(arcs, torch.tensor([-INF, -INF, -2.0]))
    vector = Fsa.from_fsas([blocked, none, Fsa.from_arcs([])]).requires_grad_()
    values = torch.arange(6.0) + 1
    assert expected_counts(vector, values).tolist() == [4, 0, 0]
    for value in (score_variance(vector), score_covariance(vector, values, values)):
        assert value.tolist() == [0, 0, 0]
        assert torch.autograd.grad(value.sum(), vector.scores)[0].tolist() == [0] * 6


def test_second_derivatives(random_acyclic):
    fsa = random_acyclic(3)
    scores, x = fsa.scores.clone().requires_grad_(), fsa.scores.sin().requires_grad_()
    for of in (
        lambda s, x: expected_counts(fsa.with_scores(s), x),
        lambda s, x: score_covariance(fsa.with_scores(s), x),
    ):
        assert torch.autograd.gradcheck(of, (scores, x))
        assert torch.autograd.gradgradcheck(of, (scores, x), fast_mode=True)


def test_bad_values_are_named():
    fsa = Fsa.from_fsas([Fsa.from_arcs([[0, 1, -1]]), Fsa.from_arcs([[0, 1, 7], [1, 2, -1]])])
    with pytest.raises(FsaTypeError, match=r"values: must be a tensor \(3,\), .* got list"):
        expected_counts(fsa, [1.0, 2.0, 3.0])
    with pytest.raises(FsaValueError, match=r"other: must be floating point of shape \(3,\)"):
        score_covariance(fsa, torch.zeros(3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(FsaValueError, match=r"values: arc 1 \(FSA 1, state 0 to 1, label 7\).*inf"):
        expected_counts(fsa, torch.tensor([0.0, -INF, 0.0]))
