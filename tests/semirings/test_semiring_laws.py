"""Every law of every semiring, driven by the properties it declares."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wfst_entropy.semirings import (
    ConditionalCovarianceSemiring,
    ConditionalEntropySemiring,
    ConditionalExpectationSemiring,
    ConditionalKLSemiring,
    CountingSemiring,
    ExpectationSemiring,
    KBestTropicalSemiring,
    LogEntropySemiring,
    LogReverseKLSemiring,
    LogSemiring,
    ProductSemiring,
    RealSemiring,
    SecondOrderExpectationSemiring,
    Semiring,
    TropicalSemiring,
    map_slots,
)

INF = float("inf")
quick = settings(max_examples=5, deadline=None)


class MatrixSemiring(Semiring):
    """2 x 2 real matrices: the smallest semiring whose times does not commute."""

    zero_element, one_element = (0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0)
    commutative = False

    def plus(self, a, b):
        return map_slots(torch.add, a, b)

    def times(self, a, b):
        return (
            a[0] * b[0] + a[1] * b[2],
            a[0] * b[1] + a[1] * b[3],
            a[2] * b[0] + a[3] * b[2],
            a[2] * b[1] + a[3] * b[3],
        )

    def convert(self, log_weights):
        p = log_weights.exp()
        return p, 1 - p, p * p, torch.ones_like(p)


finite = st.floats(-20, 5, allow_subnormal=False)
log_mass = finite | st.just(-INF)
below_one = st.floats(-20, -1e-3) | st.just(-INF)
h = st.floats(0, 50)
probability = st.just(0.0) | st.floats(1e-3, 3)
moment = st.floats(-3, 3)


def reverse_kl_element(a, b, c, d):
    # q = 0 leaves nothing to weigh: its last two slots are log 0. +inf is q > 0 where p = 0.
    return (a, b, -INF, -INF) if b == -INF else (a, b, c, INF if a == -INF else d)


def conditional_kl_element(s, t, k):
    return (s, t, 0.0 if t == -INF else INF if s == -INF else k)


def with_mass(mass, *others):
    """Without mass the other slots are 0."""
    return (mass, *[0.0 if mass == -INF else x for x in others])


def product_element(a, m, x):
    """Both without mass or neither, else the product has no quotient."""
    return (a, -INF, 0.0) if a == -INF else (a, m, x)


def descending(numbers):
    return st.tuples(numbers, numbers, numbers).map(lambda x: tuple(sorted(x, reverse=True)))


# name -> (semiring, elements, elements whose star converges)
SEMIRINGS = {
    "log": (LogSemiring(), st.tuples(log_mass), st.tuples(below_one)),
    "tropical": (TropicalSemiring(), st.tuples(log_mass), st.tuples(below_one)),
    "log_entropy": (
        LogEntropySemiring(),
        st.tuples(log_mass, log_mass),
        st.tuples(below_one, log_mass),
    ),
    "reverse_kl": (
        LogReverseKLSemiring(),
        st.builds(reverse_kl_element, log_mass, log_mass, log_mass, log_mass),
        st.builds(reverse_kl_element, below_one, below_one, log_mass, log_mass),
    ),
    "conditional_entropy": (
        ConditionalEntropySemiring(),
        st.builds(with_mass, log_mass, h),
        st.builds(with_mass, below_one, h),
    ),
    "conditional_kl": (
        ConditionalKLSemiring(),
        st.builds(conditional_kl_element, log_mass, log_mass, h),
        st.builds(conditional_kl_element, below_one, below_one, h),
    ),
    "real": (RealSemiring(), st.tuples(probability), st.tuples(st.floats(-0.99, 0.99))),
    "counting": (CountingSemiring(), st.tuples(st.integers(0, 9).map(float)), st.just((0.0,))),
    "expectation": (
        ExpectationSemiring(),
        st.tuples(probability, moment),
        st.tuples(st.floats(0, 0.99), moment),
    ),
    "second_order": (
        SecondOrderExpectationSemiring(),
        st.tuples(probability, moment, moment, moment),
        st.tuples(st.floats(0, 0.9), moment, moment, moment),
    ),
    "conditional_expectation": (
        ConditionalExpectationSemiring(),
        st.builds(with_mass, log_mass, moment),
        st.builds(with_mass, below_one, moment),
    ),
    "conditional_covariance": (
        ConditionalCovarianceSemiring(),
        st.builds(with_mass, log_mass, moment, moment, moment),
        st.builds(with_mass, below_one, moment, moment, moment),
    ),
    "one_best": (KBestTropicalSemiring(1), st.tuples(log_mass), st.tuples(below_one)),
    "three_best": (KBestTropicalSemiring(3), descending(log_mass), descending(below_one)),
    "product": (
        ProductSemiring(LogSemiring(), ConditionalEntropySemiring()),
        st.builds(product_element, log_mass, finite, h),
        st.builds(product_element, below_one, st.floats(-20, -1e-3), h),
    ),
    "product_without_division": (
        ProductSemiring(RealSemiring(), LogEntropySemiring()),
        st.tuples(probability, log_mass, log_mass),
        st.tuples(st.floats(0, 0.99), below_one, log_mass),
    ),
    "matrix": (MatrixSemiring(), st.tuples(*[st.floats(-2, 2)] * 4), None),
}
every = pytest.mark.parametrize("name", SEMIRINGS)


def inputs(name: str, weights: Tensor):
    """What the semiring converts, made of some log-weights."""
    if name == "counting":
        return torch.full_like(weights, -INF)
    others = {
        "reverse_kl": [weights * 1.3 - 0.1],
        "conditional_kl": [weights * 1.3 - 0.1],
        "expectation": [weights.sin()],
        "conditional_expectation": [weights.sin()],
        "second_order": [weights.sin(), weights.cos()],
        "conditional_covariance": [weights.sin(), weights.cos()],
    }.get(name, [])
    return (weights, *others) if others else weights


def stack(elements: list[tuple[float, ...]]):
    slots = tuple(torch.tensor(column, dtype=torch.float64) for column in zip(*elements))
    return slots if len(slots) > 1 else slots[0]


def slots(value) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def same(a, b, atol: float = 1e-9) -> bool:
    assert len(slots(a)) == len(slots(b))
    for x, y in zip(slots(a), slots(b)):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=atol)
    return True


def draw(data, name: str, size: int, strategy: int = 1):
    return stack(data.draw(st.lists(SEMIRINGS[name][strategy], min_size=size, max_size=size)))


@every
@quick
@given(data=st.data())
def test_plus_is_a_commutative_monoid(name, data):
    semiring = SEMIRINGS[name][0]
    a, b, c = (draw(data, name, 3) for _ in range(3))
    assert same(semiring.plus(a, b), semiring.plus(b, a))
    assert same(semiring.plus(semiring.plus(a, b), c), semiring.plus(a, semiring.plus(b, c)))
    assert same(semiring.plus(a, semiring.zero((3,), torch.float64)), a)


@every
@quick
@given(data=st.data())
def test_times_is_a_monoid_that_zero_annihilates(name, data):
    semiring = SEMIRINGS[name][0]
    a, b, c = (draw(data, name, 3) for _ in range(3))
    one, zero = semiring.one((3,), torch.float64), semiring.zero((3,), torch.float64)
    assert same(semiring.times(semiring.times(a, b), c), semiring.times(a, semiring.times(b, c)))
    assert same(semiring.times(a, one), a) and same(semiring.times(one, a), a)
    assert same(semiring.times(a, zero), zero) and same(semiring.times(zero, a), zero)


@every
@quick
@given(data=st.data())
def test_times_distributes_over_plus(name, data):
    semiring = SEMIRINGS[name][0]
    a, b, c = (draw(data, name, 3) for _ in range(3))
    plus, times = semiring.plus, semiring.times
    assert same(times(a, plus(b, c)), plus(times(a, b), times(a, c)), 1e-8)
    assert same(times(plus(b, c), a), plus(times(b, a), times(c, a)), 1e-8)


@every
@quick
@given(data=st.data())
def test_declared_properties_hold(name, data):
    semiring = SEMIRINGS[name][0]
    a, b = draw(data, name, 1), draw(data, name, 1)
    if semiring.commutative:
        assert same(semiring.times(a, b), semiring.times(b, a))
    if semiring.idempotent:
        assert same(semiring.plus(a, a), a)
    if semiring.path:
        total = semiring.plus(a, b)
        assert torch.equal(total, a) or torch.equal(total, b)
    assert len(slots(a)) == semiring.num_slots


@every
def test_properties_that_are_not_declared_do_not_hold(name):
    semiring = SEMIRINGS[name][0]
    one = semiring.one((1,), torch.float64)
    if not semiring.idempotent:
        doubled = semiring.plus(one, one)
        assert any(not torch.equal(x, y) for x, y in zip(slots(doubled), slots(one)))
        assert not semiring.path
    if not semiring.commutative:
        x = semiring.convert(torch.tensor([-0.3], dtype=torch.float64))
        y = semiring.convert(torch.tensor([-1.7], dtype=torch.float64))
        xy, yx = semiring.times(x, y), semiring.times(y, x)
        assert any(not torch.equal(p, q) for p, q in zip(slots(xy), slots(yx)))
    for flag, call in (
        (semiring.has_star, lambda: semiring.star(one)),
        (semiring.has_divide, lambda: semiring.divide(one, one)),
    ):
        if not flag:
            with pytest.raises(NotImplementedError, match=type(semiring).__name__):
                call()


@pytest.mark.parametrize("name", [n for n, (s, *_) in SEMIRINGS.items() if s.has_star])
@quick
@given(data=st.data())
def test_star_is_the_closure(name, data):
    semiring = SEMIRINGS[name][0]
    a = draw(data, name, 3, strategy=2)
    star, one = semiring.star(a), semiring.one((3,), torch.float64)
    assert same(star, semiring.plus(one, semiring.times(a, star)), 1e-7)
    assert same(star, semiring.plus(one, semiring.times(star, a)), 1e-7)


@pytest.mark.parametrize("name", [n for n, (s, *_) in SEMIRINGS.items() if s.has_star])
def test_star_is_the_limit_of_its_series_and_has_zero_gradient_at_zero(name):
    semiring = SEMIRINGS[name][0]
    a = semiring.convert(inputs(name, torch.tensor([-0.7, -2.0], dtype=torch.float64)))
    total = power = semiring.one((2,), torch.float64)
    for _ in range(80):
        power = semiring.times(power, a)
        total = semiring.plus(total, power)
    assert same(semiring.star(a), total)
    zero = map_slots(lambda s: s.requires_grad_(), semiring.zero((1,), torch.float64))
    star = semiring.star(zero)
    assert same(star, semiring.one((1,), torch.float64))
    for slot in (s for s in slots(star) if s.requires_grad):
        for gradient in torch.autograd.grad(
            slot.sum(), slots(zero), allow_unused=True, retain_graph=True, materialize_grads=True
        ):
            assert not gradient.isnan().any()


@pytest.mark.parametrize("name", [n for n, (s, *_) in SEMIRINGS.items() if s.has_star])
def test_star_that_diverges_is_an_error(name):
    semiring = SEMIRINGS[name][0]
    value = semiring.one((2,), torch.float64)
    value = map_slots(lambda slot: slot + 0.5, value)
    with pytest.raises(ValueError, match=r"\.star needs .*, got (0.5|1.5) at \[0\]"):
        semiring.star(value)


@pytest.mark.parametrize("name", [n for n, (s, *_) in SEMIRINGS.items() if s.has_divide])
@quick
@given(data=st.data())
def test_divide_undoes_times(name, data):
    semiring = SEMIRINGS[name][0]
    a, b = draw(data, name, 3), draw(data, name, 3)
    zero = semiring.zero((3,), torch.float64)
    no_divisor = slots(b)[0] == slots(zero)[0]
    expected = map_slots(lambda x, z: torch.where(no_divisor, z, x), a, zero)
    assert same(semiring.divide(semiring.times(a, b), b), expected)


@every
@quick
@given(data=st.data())
def test_segment_sum_is_repeated_plus(name, data):
    semiring = SEMIRINGS[name][0]
    sizes = data.draw(st.lists(st.integers(0, 6), min_size=0, max_size=5))
    index = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes, dtype=torch.long))
    value = draw(data, name, sum(sizes)) if sum(sizes) else semiring.zero((0,), torch.float64)
    got = semiring.segment_sum(value, index, len(sizes))
    assert same(got, Semiring.segment_sum(semiring, value, index, len(sizes)))
    item = 0
    for segment, size in enumerate(sizes):
        total = semiring.zero((), torch.float64)
        for _ in range(size):
            total = semiring.plus(total, map_slots(lambda v, i=item: v[i], value))
            item += 1
        assert same(map_slots(lambda v, s=segment: v[s], got), total)


@every
@quick
@given(data=st.data())
def test_segment_sum_keeps_trailing_dimensions(name, data):
    semiring = SEMIRINGS[name][0]
    flat = draw(data, name, 10)
    index = torch.tensor([0, 0, 0, 2, 2])
    both = semiring.segment_sum(map_slots(lambda v: v.view(5, 2), flat), index, 3)
    for column in range(2):
        alone = semiring.segment_sum(map_slots(lambda v, c=column: v[c::2], flat), index, 3)
        assert same(map_slots(lambda v, c=column: v[:, c], both), alone)


@every
@quick
@given(data=st.data())
def test_sum_and_prod_are_repeated_plus_and_times(name, data):
    semiring = SEMIRINGS[name][0]
    size = data.draw(st.integers(1, 5))
    value = map_slots(lambda v: v.view(2, size), draw(data, name, 2 * size))
    total, product = semiring.zero((2,), torch.float64), semiring.one((2,), torch.float64)
    for i in range(size):
        column = map_slots(lambda v, i=i: v[:, i], value)
        total, product = semiring.plus(total, column), semiring.times(product, column)
    for dim in (1, -1):
        assert same(semiring.sum(value, dim), total)
        assert same(semiring.prod(value, dim), product, 1e-8)
    assert same(Semiring.sum(semiring, value, 1), total)
    assert same(Semiring.prod(semiring, value, 1), product, 1e-8)


@every
def test_empty_dimensions_give_the_identities(name):
    semiring = SEMIRINGS[name][0]
    nothing = semiring.zero((3, 0), torch.float32)
    assert same(semiring.sum(nothing, 1), semiring.zero((3,), torch.float32))
    assert same(semiring.prod(nothing, 1), semiring.one((3,), torch.float32))
    index = torch.zeros(0, dtype=torch.int64)
    none = semiring.segment_sum(semiring.zero((0,), torch.float32), index, 2)
    assert same(none, semiring.zero((2,), torch.float32))


def test_default_segment_sum_refuses_an_index_out_of_order():
    with pytest.raises(ValueError, match="index must be in ascending order"):
        Semiring.segment_sum(RealSemiring(), torch.ones(3), torch.tensor([0, 1, 0]), 2)
