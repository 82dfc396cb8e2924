"""The C++ engine against the torch engine: values, gradients, their derivatives, and limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_machine

from wfst_entropy import _native
from wfst_entropy.algorithms import (
    get_arc_post,
    get_tot_scores,
    path_entropy,
    path_kl,
    shortest_distance,
)
from wfst_entropy.algorithms._native_distances import has_kernel
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    ConditionalExpectationSemiring,
    ConditionalKLSemiring,
    LogSemiring,
    TropicalSemiring,
)

pytestmark = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())

INF = float("inf")
SEMIRINGS = [
    LogSemiring(),
    TropicalSemiring(),
    ConditionalEntropySemiring(),
    ConditionalExpectationSemiring(),
    ConditionalKLSemiring(),
]
every = pytest.mark.parametrize("semiring", SEMIRINGS, ids=repr)


def machines(seed: int, count: int = 6) -> Fsa:
    """Cyclic and acyclic ones, with arcs of score -inf, empty ones and ones without a path."""
    rng = np.random.default_rng(seed)
    fsas = []
    for i in range(count):
        states, arcs = int(rng.integers(2, 9)), int(rng.integers(1, 24))
        fsa = random_machine(rng, num_states=states, num_arcs=arcs, cyclic=i % 3 > 0)
        scores = fsa.scores - 0.3
        scores[torch.tensor(rng.random(arcs) < 0.1)] = -INF
        fsas.append(fsa.with_scores(scores))
    fsas.insert(2, Fsa.from_arcs([], torch.zeros(0, dtype=torch.float64)))
    return Fsa.from_fsas(fsas)


def inputs_for(semiring, fsa: Fsa, dtype=torch.float64) -> tuple[torch.Tensor, ...]:
    other = {ConditionalExpectationSemiring: torch.sin, ConditionalKLSemiring: lambda x: 1.1 * x}
    inputs = [fsa.scores]
    if type(semiring) in other:
        inputs.append(other[type(semiring)](fsa.scores.nan_to_num(neginf=0.0)))
        if isinstance(semiring, ConditionalKLSemiring):
            inputs[1] = inputs[1].masked_fill(fsa.scores.isinf(), -INF)
            inputs[1][::7] = -INF  # the teacher does not know every arc, and the student neither
            inputs[0] = inputs[0].clone()
            inputs[0][3::17] = -INF
    return tuple(x.detach().to(dtype).clone().requires_grad_() for x in inputs)


def slots(value):
    return value if isinstance(value, tuple) else (value,)


def both_engines(compute, inputs, weigh):
    """The values of all slots, and the gradients of their weighted sum over finite ones."""
    results = []
    for torch_only in (False, True):
        if torch_only:
            with _native.disabled():
                values = slots(compute(*inputs))
        else:
            values = slots(compute(*inputs))
        total = sum((weigh[i] * v)[v.isfinite()].sum() for i, v in enumerate(values))
        grads = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
        results.append((values, grads))
    return results


@every
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_distances_and_any_gradient_of_theirs(semiring, reverse, seed):
    fsa = machines(seed)
    inputs = inputs_for(semiring, fsa)
    assert has_kernel(semiring, semiring.convert(inputs if len(inputs) > 1 else inputs[0]))
    generator = torch.Generator().manual_seed(seed)
    weigh = torch.randn(3, fsa.num_states, generator=generator, dtype=torch.float64)

    def compute(*scores):
        scores = scores if len(scores) > 1 else scores[0]
        return shortest_distance(fsa, semiring, reverse=reverse, scores=scores)

    (ours, our_grads), (theirs, their_grads) = both_engines(compute, inputs, weigh)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)
    for x, y in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8)


@every
@pytest.mark.parametrize("seed", range(5, 7))
def test_totals_and_posteriors(semiring, seed):
    fsa = machines(seed)
    inputs = inputs_for(semiring, fsa)
    scores = inputs if len(inputs) > 1 else inputs[0]
    weigh = torch.tensor([1.0, -0.7, 2.0], dtype=torch.float64)
    functions = [get_tot_scores, *([get_arc_post] if semiring.has_divide else [])]
    for function in functions:
        compute = lambda *_, f=function: f(fsa, semiring, scores=scores)  # noqa: E731
        (ours, our_grads), (theirs, their_grads) = both_engines(compute, inputs, weigh)
        for x, y in zip((*ours, *our_grads), (*theirs, *their_grads), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8)


@every
def test_gradients_are_right_and_have_derivatives(semiring):
    rng = np.random.default_rng(3)
    fsa = random_machine(rng, num_states=5, num_arcs=11)
    assert not fsa.properties.acyclic
    inputs = inputs_for(semiring, fsa.with_scores(fsa.scores - 0.3))

    def function(*scores):
        value = get_tot_scores(fsa, semiring, scores=scores if len(scores) > 1 else scores[0])
        return tuple(slot[slot.isfinite()] for slot in slots(value))

    finite = [x.detach().clamp(min=-30).requires_grad_() for x in inputs]
    assert function(*finite)[0].numel() == 1
    assert torch.autograd.gradcheck(function, finite)
    if not isinstance(semiring, TropicalSemiring):
        assert torch.autograd.gradgradcheck(function, finite, fast_mode=True)


@every
def test_float32_is_as_good_as_its_numbers(semiring):
    fsa = machines(13)
    inputs = inputs_for(semiring, fsa, torch.float32)
    exact = [x.detach().double() for x in inputs]
    single = get_tot_scores(fsa, semiring, scores=inputs if len(inputs) > 1 else inputs[0])
    double = get_tot_scores(fsa, semiring, scores=tuple(exact) if len(exact) > 1 else exact[0])
    for x, y in zip(slots(single), slots(double), strict=True):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, y.float(), rtol=0, atol=0)
    total = sum(slot[slot.isfinite()].sum() for slot in slots(single))
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(total, inputs))


def test_one_path_is_exact():
    arcs = [[s, s + 1, 1 if s < 29 else -1] for s in range(30)]
    scores = torch.linspace(-400, 30, 30, dtype=torch.float64, requires_grad=True)
    fsa = Fsa.from_arcs(arcs, scores)
    value = path_entropy(fsa)
    assert value.item() == 0 and torch.autograd.grad(value, scores)[0].tolist() == [0] * 30
    teacher = scores.detach().flip(0).requires_grad_()
    value = path_kl(fsa, teacher)
    assert value.item() == 0
    assert not any(g.any() for g in torch.autograd.grad(value, (scores, teacher)))


def test_a_large_sparse_component():
    # Words of three letters from a hub and back: too large for torch, and sparse.
    arcs, words = [], 700
    for word in range(words):
        first = 1 + 2 * word
        arcs += [[0, first, 1], [first, first + 1, 2], [first + 1, 0, 3]]
    final = 1 + 2 * words
    arcs = sorted([*arcs, [0, final, -1]], key=lambda arc: arc[0])
    scores = torch.full((len(arcs),), -0.1, dtype=torch.float64)
    table = torch.tensor(arcs, dtype=torch.int32)
    scores[table[:, 0] == 0] = -torch.tensor(float(words)).double().log() - 0.2
    scores[table[:, 1] == final] = 0
    fsa = Fsa.from_arcs(table, scores).requires_grad_()
    loop = np.exp(-0.4)
    total = get_tot_scores(fsa)
    assert total.item() == pytest.approx(-np.log(1 - loop))
    (gradient,) = torch.autograd.grad(total, fsa.scores)
    torch.testing.assert_close(
        gradient[table[:, 0] > 0], torch.full((2 * words,), loop / (1 - loop) / words).double()
    )
    assert get_tot_scores(fsa, TropicalSemiring()).item() == 0
    heavier = fsa.with_scores(fsa.scores.detach() + 0.2)
    with pytest.raises(CyclicFsaError, match=r"FSA 0 has the cycle of states .* -> .* \(labels"):
        get_tot_scores(heavier)


def test_structure_is_kept_and_new_scores_are_read():
    fsa = machines(17)
    first = get_tot_scores(fsa)
    order = fsa.properties.remember("native order", lambda: pytest.fail("was not remembered"))
    moved = fsa.with_scores(fsa.scores - 1)
    assert moved.properties.remember("native order", lambda: None) is order
    assert not torch.equal(get_tot_scores(moved), first)


def test_arcs_overwritten_after_their_check_do_not_reach_the_kernel():
    for bad in (-5, 2**30):
        fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]])
        fsa.arcs[0, 1] = bad
        with pytest.raises(FsaValueError, match=r"make a new Fsa instead of writing to fsa\.arcs"):
            get_tot_scores(fsa)


def test_a_cycle_that_rounding_cannot_tell_from_divergence():
    scores = torch.tensor([-1e-17, 0.0], dtype=torch.float64, requires_grad=True)
    fsa = Fsa.from_arcs([[0, 0, 1], [0, 1, -1]], scores)
    total = get_tot_scores(fsa)
    assert total.item() == pytest.approx(17 * np.log(10))
    with pytest.raises(FsaValueError, match=r"cycle through state 0 .* so near to divergence"):
        total.backward()
    with pytest.raises(FsaValueError, match=r"cycle through state 0 .* so near to divergence"):
        path_entropy(fsa)
