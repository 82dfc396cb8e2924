"""Divergence and cross entropy against the list of all paths, and where a model has none."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.algorithms import path_cross_entropy, path_entropy, path_kl
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

INF = float("inf")
S = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]], dtype=torch.float64)
T = torch.tensor([[0.2, 0.7, 0.1], [0.3, 0.5, 0.2], [0.5, 0.25, 0.25]], dtype=torch.float64)


def by_the_list(table, student, teacher, kind):
    s, t = table @ student, table @ teacher
    if kind == "raw":
        return (t.exp() * (t - s)).sum(), -(t.exp() * s).sum()
    p = t.softmax(0)
    return (p * (t.log_softmax(0) - s.log_softmax(0))).sum(), -(p * s.log_softmax(0)).sum()


@pytest.mark.parametrize("kind", ["conditional", "raw"])
@pytest.mark.parametrize("seed", range(8))
def test_values_and_gradients_are_those_of_the_path_list(seed, kind, random_acyclic, path_table):
    fsa = random_acyclic(300 + seed)
    table = path_table(fsa)
    student = fsa.scores.clone().requires_grad_()
    teacher = (fsa.scores.flip(0) * 0.6 + 0.2).requires_grad_()
    for reverse in (False, True):
        first, second = (student, teacher) if reverse else (teacher, student)
        ours = fsa.with_scores(student)
        got = [f(ours, teacher, reverse=reverse, kind=kind) for f in (path_kl, path_cross_entropy)]
        if not len(table):
            assert [g.item() for g in got] == [0, 0]
            continue
        for value, expected in zip(got, by_the_list(table, second, first, kind)):
            assert value.item() == pytest.approx(expected.item(), abs=1e-12)
            torch.testing.assert_close(
                torch.autograd.grad(value.sum(), (student, teacher), retain_graph=True),
                torch.autograd.grad(expected, (student, teacher), retain_graph=True),
            )


def test_exact_ctc_vectors(ctc_lattice):
    for targets, raw, forth, back in (
        ([1], 0.3263658523, 0.3433333120, 0.3428081489),
        ([1, 2], 0.1454542279, 0.1660440772, 0.2171080635),
    ):
        student, teacher = ctc_lattice(S.log(), targets), ctc_lattice(T.log(), targets).scores
        assert path_kl(student, teacher, kind="raw").item() == pytest.approx(raw, abs=1e-9)
        assert path_kl(student, teacher).item() == pytest.approx(forth, abs=1e-9)
        assert path_kl(student, teacher, reverse=True).item() == pytest.approx(back, abs=1e-9)


def test_float32_on_a_long_lattice(ctc_lattice):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 200, 20, generator=generator, dtype=torch.float64)
    student, teacher = (ctc_lattice(x.log_softmax(-1), list(range(1, 16))) for x in logits)
    exact = path_kl(student, teacher.scores).item()
    single = student.with_scores(student.scores.float())
    got = path_kl(single, teacher.scores.float())
    assert got.dtype == torch.float32 and exact > 20
    assert got.item() == pytest.approx(exact, abs=1e-4)
    cross = path_cross_entropy(single, teacher.scores.float()).item()
    assert cross == pytest.approx(exact + path_entropy(teacher).item(), abs=1e-4)


def test_models_without_paths():
    arcs = [[0, 1, 1], [0, 1, 2], [1, 2, -1]]
    some, none, other = [-1.0, -INF, 0.0], [-INF, -INF, 0.0], [-INF, -1.0, 0.0]
    # student, teacher, KL(teacher || student), cross entropy
    cases = [
        (some, none, 0, 0),
        (none, some, INF, INF),
        (none, none, 0, 0),
        (other, some, INF, INF),
        (some, some, 0, 0),
    ]
    for kind in ("conditional", "raw"):
        for student, teacher, kl, cross in cases:
            fsa = Fsa.from_arcs(arcs, torch.tensor(student)).requires_grad_()
            teacher = torch.tensor(teacher, requires_grad=True)
            for function, expected in ((path_kl, kl), (path_cross_entropy, cross)):
                value = function(fsa, teacher, kind=kind)
                for gradient in torch.autograd.grad(
                    value, (fsa.scores, teacher), allow_unused=True, materialize_grads=True
                ):
                    assert not gradient.isnan().any()
                    if kind == "conditional" or expected == INF:
                        assert gradient.tolist() == [0, 0, 0]
                if kind == "raw" and student is some and teacher.tolist() == some:
                    expected = 0 if function is path_kl else math.exp(-1)
                assert value.item() == pytest.approx(expected)


def test_twice_differentiable(random_acyclic):
    fsa = random_acyclic(3)
    student = fsa.scores.clone().requires_grad_()
    teacher = (fsa.scores * 0.5 - 0.1).requires_grad_()
    for function in (path_kl, path_cross_entropy):
        both = lambda s, t, f=function: f(fsa.with_scores(s), t)  # noqa: E731
        assert torch.autograd.gradcheck(both, (student, teacher))
        assert torch.autograd.gradgradcheck(both, (student, teacher), fast_mode=True)


def test_bad_arguments_are_named():
    fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]])
    with pytest.raises(FsaTypeError, match=r"teacher_scores: must be a tensor \(2,\).* got list"):
        path_kl(fsa, [0.0, 0.0])
    with pytest.raises(FsaValueError, match=r"teacher_scores: .* shape \(2,\).* got .*\(3,\)"):
        path_cross_entropy(fsa, torch.zeros(3))
    with pytest.raises(FsaValueError, match='kind: must be "conditional" or "raw"'):
        path_kl(fsa, torch.zeros(2), kind="mean")
    with pytest.raises(FsaValueError, match=r"arc 1 .* has the score nan"):
        path_kl(fsa, torch.tensor([0.0, float("nan")]))
    with pytest.raises(FsaValueError, match="FSA 0 overflows, its log Z is 1000"):
        path_kl(fsa, torch.tensor([1000.0, 0.0]), kind="raw")
    for divergence in (path_kl, path_cross_entropy):  # within float64, but not within float32
        with pytest.raises(FsaValueError, match="FSA 0 overflows, its log Z is 100"):
            divergence(
                fsa.with_scores(torch.tensor([-1.0, 0.0])), torch.tensor([100.0, 0.0]), kind="raw"
            )
