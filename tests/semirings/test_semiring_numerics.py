"""Gradients, -inf, and the precision of nearly certain merges."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    ConditionalKLSemiring,
    LogEntropySemiring,
    LogReverseKLSemiring,
    LogSemiring,
    TropicalSemiring,
)
from wfst_entropy.semirings._safe_log import log1mexp

INF = float("inf")
ONE_MODEL = [LogSemiring(), TropicalSemiring(), LogEntropySemiring(), ConditionalEntropySemiring()]
TWO_MODELS = [LogReverseKLSemiring(), ConditionalKLSemiring()]
INDEX = torch.tensor([0, 0, 0, 1, 3, 3])


def slots(value):
    return value if isinstance(value, tuple) else (value,)


def weights(semiring, *models):
    return semiring.convert(models if len(models) == 2 else models[0])


def models_for(semiring, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count = 2 if semiring in TWO_MODELS else 1
    return [
        (-3 * torch.rand(6, generator=generator, dtype=torch.float64) - 0.1).requires_grad_()
        for _ in range(count)
    ]


def by_segment(semiring):
    return lambda *m: slots(semiring.segment_sum(weights(semiring, *m), INDEX, 4))


def finite_slots(function):
    """gradcheck compares differences of values, so infinite ones are left out."""
    return lambda *m: tuple(x[x.isfinite()] for x in function(*m))


@pytest.mark.parametrize("semiring", ONE_MODEL + TWO_MODELS, ids=repr)
def test_first_and_second_derivatives(semiring):
    models = models_for(semiring)
    operations = {
        "segment_sum": by_segment(semiring),
        "sum": lambda *m: slots(semiring.sum(weights(semiring, *m), 0)),
        "prod": lambda *m: slots(semiring.prod(weights(semiring, *m), 0)),
        "times": lambda *m: slots(semiring.times(*[weights(semiring, *m)] * 2)),
        "star": lambda *m: slots(semiring.star(weights(semiring, *m))),
    }
    for name, operation in operations.items():
        assert torch.autograd.gradcheck(finite_slots(operation), models), name
        if not isinstance(semiring, TropicalSemiring):  # piecewise linear: no second derivative
            assert torch.autograd.gradgradcheck(finite_slots(operation), models, fast_mode=True), (
                name
            )


def test_conditional_entropy_is_differentiable_in_its_second_slot():
    semiring = ConditionalEntropySemiring()
    mass = torch.randn(6, dtype=torch.float64, requires_grad=True)
    entropy = torch.rand(6, dtype=torch.float64, requires_grad=True)
    function = lambda m, h: tuple(  # noqa: E731
        x[torch.tensor([0, 1, 3])] for x in semiring.segment_sum((m, h), INDEX, 4)
    )
    assert torch.autograd.gradcheck(function, (mass, entropy))
    assert torch.autograd.gradgradcheck(function, (mass, entropy), fast_mode=True)


@pytest.mark.parametrize("semiring", ONE_MODEL + TWO_MODELS, ids=repr)
@pytest.mark.parametrize("pattern", ["all", "some"])
def test_no_mass_has_gradient_zero_and_never_nan(semiring, pattern):
    models = [m.detach().clone() for m in models_for(semiring)]
    gone = slice(None) if pattern == "all" else slice(0, 4)  # "some": segments 0 and 1 are empty
    for model in models:
        model[gone] = -INF
        model.requires_grad_()
    operations = [
        by_segment(semiring),
        lambda *m: slots(semiring.sum(weights(semiring, *m), 0)),
        lambda *m: slots(semiring.plus(*[weights(semiring, *m)] * 2)),
    ]
    for operation in operations:
        for value in operation(*models):
            assert not value.isnan().any()
            first = torch.autograd.grad(
                value.sum(), models, create_graph=True, allow_unused=True, materialize_grads=True
            )
            for gradient in first:
                assert torch.equal(gradient[gone], torch.zeros_like(gradient[gone]))
                assert not gradient.isnan().any()
                if gradient.requires_grad:
                    for second in torch.autograd.grad(
                        gradient.sum(), models, retain_graph=True,
                        allow_unused=True, materialize_grads=True,
                    ):  # fmt: skip
                        assert not second.isnan().any()


def test_a_term_without_mass_beside_others_changes_nothing():
    for semiring in (LogSemiring(), ConditionalEntropySemiring(), LogEntropySemiring()):
        w = torch.tensor([-1.0, -INF, -2.0], dtype=torch.float64, requires_grad=True)
        total = slots(semiring.sum(semiring.convert(w), 0))[-1]
        (gradient,) = torch.autograd.grad(total, w)
        short = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
        other = slots(semiring.sum(semiring.convert(short), 0))[-1]
        (expected,) = torch.autograd.grad(other, short)
        assert total.item() == other.item() and gradient[1] == 0
        torch.testing.assert_close(gradient[[0, 2]], expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("gap", [5.0, 12.0, 20.0, 40.0])
@pytest.mark.parametrize("form", ["sum", "segment_sum", "plus"])
def test_a_nearly_certain_merge_keeps_its_small_numbers_in_float32(gap, form):
    def merge(semiring, value):
        if form == "sum":
            return semiring.sum(value, 0)
        if form == "plus":
            return semiring.plus(*[tuple(s[i] for s in slots(value)) for i in (0, 1)])
        index = torch.zeros(2, dtype=torch.int64)
        return tuple(s[0] for s in slots(semiring.segment_sum(value, index, 1)))

    rest = math.exp(-gap)
    mass = math.log1p(rest)
    entropy = mass + gap * rest / (1 + rest)  # -p1 ln p1 - p2 ln p2 of the odds 1 : exp(-gap)
    semiring = ConditionalEntropySemiring()
    m, h = merge(semiring, semiring.convert(torch.tensor([0.0, -gap])))
    assert m.item() == pytest.approx(mass, rel=1e-5)
    assert h.item() == pytest.approx(entropy, rel=1e-5)


def test_mixing_weights_do_not_see_the_rounding_of_large_log_masses():
    # Near -3000 float32 has steps of 2.4e-4: weights taken from the rounded total would be off by
    # as much.
    semiring = ConditionalEntropySemiring()
    gaps = torch.tensor([0.0, -0.125, -0.5])
    near = semiring.sum(semiring.convert(gaps), 0)[1]
    far = semiring.sum(semiring.convert(gaps - 3000), 0)[1]
    assert far.item() == near.item()


def test_tropical_ties_give_the_gradient_to_the_first_alternative():
    semiring = TropicalSemiring()
    w = torch.tensor([-2.0, -1.0, -1.0, -1.0], requires_grad=True)
    for total in (
        semiring.sum(w, 0),
        semiring.segment_sum(w, torch.zeros(4, dtype=torch.int64), 1)[0],
        semiring.plus(w[1], w[2]),
    ):
        (gradient,) = torch.autograd.grad(total, w)
        assert gradient.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("semiring", [LogSemiring(), TropicalSemiring()], ids=repr)
def test_nan_is_not_swallowed(semiring):
    w = torch.tensor([0.0, float("nan"), 1.0])
    assert semiring.sum(w, 0).isnan()
    assert semiring.plus(w[0], w[1]).isnan() and semiring.plus(w[1], w[0]).isnan()
    assert semiring.segment_sum(w, torch.tensor([0, 0, 1]), 2).isnan().tolist() == [True, False]


def test_log1mexp_is_precise_at_both_ends():
    x = torch.tensor([-1e-6, -1e-3, -0.5, -1.0, -10.0, -30.0])
    exact = [math.log(-math.expm1(v)) if v > -1 else math.log1p(-math.exp(v)) for v in x.tolist()]
    exact = torch.tensor(exact, dtype=torch.float64)
    torch.testing.assert_close(log1mexp(x).double(), exact, rtol=1e-6, atol=0)


def test_log_entropy_of_a_distribution():
    p = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    semiring = LogEntropySemiring()
    mass, entropy = semiring.sum(semiring.convert(p.log()), 0)
    assert mass.item() == pytest.approx(0, abs=1e-15)
    assert entropy.exp().item() == pytest.approx(-sum(x * math.log(x) for x in (0.5, 0.3, 0.2)))


def test_divergences_of_distributions():
    p, q = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)
    expected = (q * (q / p).log()).sum().item()
    raw = LogReverseKLSemiring()
    total = raw.sum(raw.convert((p.log(), q.log())), 0)
    assert (total[3].exp() - total[2].exp()).item() == pytest.approx(expected)
    conditional = ConditionalKLSemiring()
    total = conditional.sum(conditional.convert((p.log() + 2, q.log() - 1)), 0)
    assert total[2].item() == pytest.approx(expected)


def test_divergence_from_a_student_without_mass_is_infinite_with_gradient_zero():
    student = torch.tensor([0.0, -INF], requires_grad=True)
    teacher = torch.tensor([0.5, 0.5]).log().requires_grad_()
    for semiring in TWO_MODELS:
        last = semiring.sum(semiring.convert((student, teacher)), 0)[-1]
        assert last == INF
        for gradient in torch.autograd.grad(last, (student, teacher)):
            assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [0.5, float("nan")])
def test_positive_log_weights_name_the_conditional_form(bad):
    w = torch.tensor([-1.0, -INF, bad])
    with pytest.raises(ValueError, match=r"<= 0, got .* at \[2\].*ConditionalEntropySemiring"):
        LogEntropySemiring().convert(w)
    with pytest.raises(ValueError, match=r"teacher must be .* at \[2\].*ConditionalKLSemiring"):
        LogReverseKLSemiring().convert((-torch.ones(3), w))
    with pytest.raises(ValueError, match=r"student must be .* at \[2\].*ConditionalKLSemiring"):
        LogReverseKLSemiring().convert((w, -torch.ones(3)))


@pytest.mark.parametrize("semiring", TWO_MODELS, ids=repr)
def test_two_models_need_two_tensors_of_one_shape(semiring):
    with pytest.raises(TypeError, match=r"pair \(student, teacher\), got Tensor.*scores="):
        semiring.convert(torch.zeros(3))
    with pytest.raises(ValueError, match=r"same shape, got \(3,\) and \(2,\)"):
        semiring.convert((torch.zeros(3), torch.zeros(2)))
