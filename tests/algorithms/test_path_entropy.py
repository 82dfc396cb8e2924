"""The entropy of the paths against their list, against closed forms and in float32."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.algorithms import get_arc_post, get_tot_scores, path_entropy
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    ConditionalKLSemiring,
    LogEntropySemiring,
    LogReverseKLSemiring,
)

S = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]], dtype=torch.float64)
T = torch.tensor([[0.2, 0.7, 0.1], [0.3, 0.5, 0.2], [0.5, 0.25, 0.25]], dtype=torch.float64)


def path_table(fsa, paths):
    table = torch.zeros(len(paths), fsa.num_arcs, dtype=torch.float64)
    for row, path in enumerate(paths):
        table[row, path] = 1
    return table


@pytest.mark.parametrize("seed", range(60, 72))
def test_values_and_gradients_are_those_of_the_path_list(seed, random_acyclic, paths_between):
    fsa = random_acyclic(seed)
    paths = paths_between(fsa, 0, fsa.num_states - 1)
    if not paths:
        assert path_entropy(fsa).item() == path_entropy(fsa, "raw").item() == 0
        return
    table = path_table(fsa, paths)
    scores = fsa.scores.clone().requires_grad_()
    w = table @ scores
    oracle = {
        "conditional": -(w.softmax(0) * w.log_softmax(0)).sum(),
        "raw": -(w.exp() * w).sum(),
    }
    for kind, expected in oracle.items():
        ours = fsa.scores.clone().requires_grad_()
        got = path_entropy(fsa.with_scores(ours), kind)
        assert got.item() == pytest.approx(expected.item(), abs=1e-12)
        torch.testing.assert_close(
            torch.autograd.grad(got, ours), torch.autograd.grad(expected, scores, retain_graph=True)
        )
    # The paper's two slots are the same raw entropy.
    log_entropy = get_tot_scores(fsa, LogEntropySemiring())[1]
    assert log_entropy.exp().item() == pytest.approx(oracle["raw"].item())
    (paper,) = torch.autograd.grad(
        get_tot_scores(fsa, LogEntropySemiring(), scores=scores)[1].exp().sum(), scores
    )
    torch.testing.assert_close(
        paper, torch.autograd.grad(oracle["raw"], scores, retain_graph=True)[0]
    )


@pytest.mark.parametrize("seed", range(80, 88))
def test_divergences_are_those_of_the_path_list(seed, random_acyclic, paths_between):
    fsa = random_acyclic(seed)
    paths = paths_between(fsa, 0, fsa.num_states - 1)
    student = fsa.scores.clone().requires_grad_()
    teacher = (fsa.scores.flip(0) * 0.6 - 0.3).requires_grad_()
    raw = get_tot_scores(fsa, LogReverseKLSemiring(), scores=(student, teacher))
    conditional = get_tot_scores(fsa, ConditionalKLSemiring(), scores=(student, teacher))[2]
    if not paths:
        assert conditional.item() == 0 and all(slot.item() == -math.inf for slot in raw)
        return
    table = path_table(fsa, paths)
    s, t = table @ student, table @ teacher
    assert raw[0].item() == pytest.approx(s.logsumexp(0).item())
    assert raw[1].item() == pytest.approx(t.logsumexp(0).item())
    pairs = [
        (raw[3].exp() - raw[2].exp(), (t.exp() * (t - s)).sum()),
        (conditional, (t.softmax(0) * (t.log_softmax(0) - s.log_softmax(0))).sum()),
    ]
    for got, expected in pairs:
        assert got.item() == pytest.approx(expected.item(), abs=1e-12)
        for ours, theirs in zip(
            torch.autograd.grad(got.sum(), (student, teacher), retain_graph=True),
            torch.autograd.grad(expected, (student, teacher), retain_graph=True),
        ):
            torch.testing.assert_close(ours, theirs)


# targets: number of paths, Z_S, H_u, H_c, Z_T, KL_u(T||S), KL_c(T||S), KL_c(S||T)
VECTORS = {
    (1,): (6, 0.316, 0.8428635671, 1.5152767041, 0.4575, 0.3263658523, 0.3433333120, 0.3428081489),
    (1, 2): (5, 0.186, 0.6001350712, 1.5445240354, 0.27, 0.1454542279, 0.1660440772, 0.2171080635),
    (1, 1): (1, 0.012, 0.0530741836, 0.0, None, None, None, None),
}


@pytest.mark.parametrize("targets", VECTORS)
def test_exact_ctc_vectors(targets, ctc_lattice, paths_between):
    count, z, raw, conditional, z_teacher, kl_raw, kl, kl_back = VECTORS[targets]
    student, teacher = ctc_lattice(S.log(), list(targets)), ctc_lattice(T.log(), list(targets))
    assert len(paths_between(student, 0, student.num_states - 1)) == count
    assert get_tot_scores(student).exp().item() == pytest.approx(z, abs=1e-12)
    assert path_entropy(student, "raw").item() == pytest.approx(raw, abs=1e-9)
    assert path_entropy(student).item() == pytest.approx(conditional, abs=1e-9)
    paper = get_tot_scores(student, LogEntropySemiring())
    assert paper[1].exp().item() == pytest.approx(raw, abs=1e-9)
    if z_teacher is None:
        assert path_entropy(student).item() == 0
        return
    scores = (student.scores, teacher.scores)
    four = get_tot_scores(student, LogReverseKLSemiring(), scores=scores)
    assert four[1].exp().item() == pytest.approx(z_teacher, abs=1e-12)
    assert (four[3].exp() - four[2].exp()).item() == pytest.approx(kl_raw, abs=1e-9)
    forth = get_tot_scores(student, ConditionalKLSemiring(), scores=scores)[2]
    back = get_tot_scores(student, ConditionalKLSemiring(), scores=scores[::-1])[2]
    assert forth.item() == pytest.approx(kl, abs=1e-9)
    assert back.item() == pytest.approx(kl_back, abs=1e-9)


def test_exact_transducer_vector():
    # T = 2, U = 1; states (t, u) = 2t + u, the last blank leads to the final state.
    blank, label = {(0, 0): 0.6, (0, 1): 0.7, (1, 0): 0.5, (1, 1): 0.8}, {0: 0.4, 1: 0.5}
    arcs = [[0, 2, 0], [0, 1, 1], [1, 3, 0], [2, 3, 1], [3, 4, -1]]
    p = [blank[0, 0], label[0], blank[0, 1], label[1], blank[1, 1]]
    fsa = Fsa.from_arcs(arcs, torch.tensor(p, dtype=torch.float64).log())
    assert get_tot_scores(fsa).item() == pytest.approx(math.log(0.464), abs=1e-12)
    assert path_entropy(fsa, "raw").item() == pytest.approx(0.6776363922, abs=1e-9)
    assert path_entropy(fsa).item() == pytest.approx(0.6925525324, abs=1e-9)


def test_gradient_is_the_closed_form(ctc_lattice):
    generator = torch.Generator().manual_seed(1)
    log_probs = torch.randn(7, 4, generator=generator, dtype=torch.float64).log_softmax(-1)
    fsa = ctc_lattice(log_probs, [1, 1, 3]).requires_grad_()
    (gradient,) = torch.autograd.grad(path_entropy(fsa), fsa.scores)
    log_gamma, surplus = get_arc_post(fsa, ConditionalEntropySemiring())
    closed = log_gamma.exp() * (surplus - log_gamma.masked_fill(log_gamma.isinf(), 0.0))
    torch.testing.assert_close(gradient, closed, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradgradcheck(
        lambda s: path_entropy(fsa.with_scores(s)), fsa.scores, fast_mode=True
    )


def test_invariance_to_scale_and_positive_scores(random_acyclic):
    fsa = random_acyclic(3)
    final = fsa.labels == -1
    shifted = fsa.with_scores(fsa.scores + 40 * final)  # every path gains e^40
    assert path_entropy(fsa).item() > 0.1
    assert path_entropy(shifted).item() == pytest.approx(path_entropy(fsa).item(), abs=1e-12)
    w = get_tot_scores(shifted)
    assert path_entropy(shifted, "raw").item() == pytest.approx(
        (w.exp() * (path_entropy(fsa) - w)).item()
    )


def test_one_path_has_entropy_and_gradient_exactly_zero():
    scores = torch.tensor([-0.3, 1.7, -250.0], requires_grad=True)
    fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, 2], [2, 3, -1]], scores)
    entropy = path_entropy(fsa)
    (gradient,) = torch.autograd.grad(entropy.sum(), scores)
    assert entropy.item() == 0 and gradient.tolist() == [0, 0, 0]


def test_float32_on_a_long_lattice(ctc_lattice):
    generator = torch.Generator().manual_seed(2)
    log_probs = torch.randn(300, 30, generator=generator, dtype=torch.float64).log_softmax(-1)
    exact = ctc_lattice(log_probs, list(range(1, 21))).requires_grad_()
    single = exact.with_scores(exact.scores.detach().float()).requires_grad_()
    assert get_tot_scores(exact).item() < -700
    h64, h32 = path_entropy(exact), path_entropy(single)
    assert h32.dtype == torch.float32 and h64.item() > 50
    assert h32.item() == pytest.approx(h64.item(), abs=1e-4)
    (g64,) = torch.autograd.grad(h64, exact.scores)
    (g32,) = torch.autograd.grad(h32, single.scores)
    assert (g64 - g32.double()).abs().max() < 1e-4
    # The recursion kept in float32 throughout, and what the paper's two slots make of it.
    kept = get_tot_scores(single, ConditionalEntropySemiring())[1]
    assert kept.item() == pytest.approx(h64.item(), abs=2e-2)
    log_z, log_raw = get_tot_scores(single, LogEntropySemiring())
    by_subtraction = (log_raw - log_z).exp() + log_z
    assert (kept - h64).abs() < (by_subtraction - h64).abs()


def test_raw_entropy_underflows_quietly():
    scores = torch.tensor([-900.0, -900.0, -1.0], dtype=torch.float64, requires_grad=True)
    fsa = Fsa.from_arcs([[0, 1, 1], [0, 1, 2], [1, 2, -1]], scores)
    raw = path_entropy(fsa, "raw")
    assert raw.item() == 0 and torch.autograd.grad(raw, scores)[0].tolist() == [0, 0, 0]
    assert path_entropy(fsa).item() == pytest.approx(math.log(2))


def test_raw_entropy_overflows_loudly():
    fsa = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]], torch.tensor([50.0, 60.0]))
    assert path_entropy(fsa).item() == 0
    with pytest.raises(FsaValueError, match=r"entropy of utterance 0 overflows, its log Z is 110"):
        path_entropy(fsa, "raw")
    assert path_entropy(fsa.to(torch.float64), "raw").item() < -1e40


def test_unknown_kind():
    with pytest.raises(FsaValueError, match='kind: must be "conditional" or "raw", got \'mean\''):
        path_entropy(Fsa.from_arcs([[0, 1, -1]]), "mean")
