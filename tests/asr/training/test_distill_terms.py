"""Terms of distillation: both engines, gradients, limits, and that batches change nothing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck

import wfst_entropy._native as _native
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.distill_terms import (
    Labels,
    Lattices,
    ctc_distill_terms,
    transducer_distill_terms,
)
from wfst_entropy.losses import ctc_loss, rnnt_alignment, rnnt_arc_scores

TERMS = ("state", "seq", "fullsum")
SUBSETS = [c for size in (1, 2, 3) for c in itertools.combinations(TERMS, size)]
HEADS = ("ctc", "regular", "modified", "constrained", "windows")
LABELS = Labels(
    torch.tensor([[1, 3], [2, 0], [0, 0]]), torch.tensor([6, 4, 3]), torch.tensor([2, 1, 0])
)
BEGINS = torch.tensor([[0, 0, 0, 1, 1, 1], [0] * 6, [0] * 6])
RANGES = BEGINS[..., None] + torch.arange(2)


def options_for(terms, kind="conditional", temperature=1.0):
    return DistillOptions(
        teacher_exp_dir=Path("teacher"),
        seq_distill_kind=kind,
        distill_temperature=temperature,
        **{f"{term}_distill_loss_scale": 0.1 for term in terms},
    )


def model_of(head, seed, labels=LABELS, num_symbols=4):
    """Log-probabilities or logits of a model, float64, with a gradient."""
    shape = {"ctc": (), "windows": (2,)}.get(head, (labels.targets.shape[1] + 1,))
    generator = torch.Generator().manual_seed(seed)
    size = (len(labels.frames), int(labels.frames.max()), *shape, num_symbols)
    scores = torch.randn(*size, generator=generator, dtype=torch.float64)
    return (scores.log_softmax(-1) if head == "ctc" else scores).requires_grad_()


def terms_of(head, student, teacher, options, labels=LABELS, ranges=RANGES):
    if head == "ctc":
        return ctc_distill_terms(student, teacher, labels, options)
    ranges = ranges if head == "windows" else None
    rnnt_type = "regular" if head == "windows" else head
    return transducer_distill_terms(
        Lattices(student, teacher, ranges, rnnt_type=rnnt_type), labels, options
    )


def total(terms):
    """A sum in which no two terms or utterances weigh the same."""
    weights = torch.tensor([0.7, 1.1, 0.4], dtype=torch.float64)
    return sum((i + 1) * (weights * value).sum() for i, value in enumerate(terms.values()))


def both_engines(head, options):
    values = []
    for disabled in (False, True):
        student, teacher = model_of(head, 0), model_of(head, 1).detach()
        if disabled:
            with _native.disabled():
                terms = terms_of(head, student, teacher, options)
                (gradient,) = torch.autograd.grad(total(terms), student)
        else:
            terms = terms_of(head, student, teacher, options)
            (gradient,) = torch.autograd.grad(total(terms), student)
        values.append((terms, gradient))
    return values


def check_gradient(head, options):
    """Finite differences, for one short utterance."""
    labels = Labels(torch.tensor([[1]]), torch.tensor([3]), torch.tensor([1]))
    ranges = torch.tensor([[[0, 1], [0, 1], [0, 1]]])
    student, teacher = (model_of(head, seed, labels, 3) for seed in (0, 1))
    fixed = teacher.detach()
    assert gradcheck(
        lambda x: sum(v.sum() for v in terms_of(head, x, fixed, options, labels, ranges).values()),
        student,
    )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", ["conditional", "raw"])
def test_the_engines_agree(head, kind):
    (terms, gradient), (other_terms, other) = both_engines(head, options_for(TERMS, kind))
    assert list(terms) == ["state_kl", "seq_kl", "fullsum"]
    torch.testing.assert_close(terms, other_terms, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("terms", SUBSETS)
@pytest.mark.parametrize(
    ("kind", "temperature"), [("conditional", 1.0), ("conditional", 2.5), ("raw", 1.0)]
)
def test_the_engines_agree_on_every_combination(head, terms, kind, temperature):
    options = options_for(terms, kind, temperature)
    (ours, gradient), (others, other) = both_engines(head, options)
    torch.testing.assert_close(ours, others, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)
    check_gradient(head, options)


@pytest.mark.parametrize("head", ["ctc", "windows"])
def test_gradients_are_those_of_the_values(head):
    check_gradient(head, options_for(TERMS))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("kind", "temperature"), [("conditional", 3.0), ("raw", 1.0)])
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(head, kind, temperature):
    student = model_of(head, 0)
    options = options_for(TERMS, kind, temperature)
    terms = terms_of(head, student, student.detach().clone(), options)
    for value in terms.values():
        torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0)
    (gradient,) = torch.autograd.grad(total(terms), student)
    if kind == "conditional":  # the raw one also rewards a larger Z, wherever that is
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


@pytest.mark.parametrize("head", HEADS)
def test_conditional_divergences_are_not_negative(head):
    for seed in range(5):
        student, teacher = model_of(head, 2 * seed), model_of(head, 2 * seed + 1)
        terms = terms_of(head, student, teacher, options_for(TERMS, temperature=0.5 + seed))
        assert all(bool((value >= 0).all()) for value in terms.values())


def test_the_raw_divergence_is_the_papers():
    student, teacher = model_of("ctc", 0), model_of("ctc", 1).detach()
    raw = terms_of("ctc", student, teacher, options_for(["seq"], "raw"))["seq_kl"]
    conditional = terms_of("ctc", student, teacher, options_for(["seq"]))["seq_kl"]
    log_s, log_t = (-ctc_loss(x, *LABELS.lattice, reduction="none") for x in (student, teacher))
    torch.testing.assert_close(raw, log_t.exp() * (conditional + log_t - log_s))


@pytest.mark.parametrize("head", HEADS)
def test_a_high_temperature_compares_logits(head):
    r"""For large tau, tau^2 KL_state becomes half the variance of the logits' difference."""
    student, teacher = model_of(head, 0).detach(), model_of(head, 1).detach()
    state = terms_of(head, student, teacher, options_for(["state"], temperature=1e4))["state_kl"]
    variance = (student - teacher).var(-1, correction=0) / 2
    frame = torch.arange(6) < LABELS.frames[:, None]
    if head != "ctc":
        position = RANGES if head == "windows" else torch.arange(3).expand(3, 6, 3)
        frame = frame[..., None] & (position <= LABELS.lengths[:, None, None])
    wanted = variance.masked_fill(~frame, 0.0).flatten(1).sum(1)
    torch.testing.assert_close(state, wanted, rtol=1e-3, atol=1e-6)


def test_a_high_temperature_makes_alignments_equally_likely():
    r"""Then tau^2 KL_seq is half the variance of the difference of their scores."""
    student, teacher = model_of("ctc", 0).detach(), model_of("ctc", 1).detach()
    hot = terms_of("ctc", student, teacher, options_for(["seq"], temperature=1e4))["seq_kl"]
    difference = student - teacher
    paths = [
        sum(float(difference[1, t, 2 if begin <= t < end else 0]) for t in range(4))
        for begin in range(4)
        for end in range(begin + 1, 5)
    ]
    mean = sum(paths) / len(paths)
    variance = sum((path - mean) ** 2 for path in paths) / len(paths)
    assert float(hot[1]) == pytest.approx(variance / 2, rel=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_neither_batch_nor_padding_matter(head):
    student, teacher = model_of(head, 0), model_of(head, 1).detach()
    options = options_for(TERMS, temperature=2.0)
    together = terms_of(head, student, teacher, options)
    (gradient,) = torch.autograd.grad(total(together), student)
    padded = [x.detach().clone() for x in (student, teacher)]
    for scores in padded:  # what is beyond an utterance is not read
        for n in range(3):
            scores[n, LABELS.frames[n] :] = math.nan
            if head not in ("ctc", "windows"):
                scores[n, :, LABELS.lengths[n] + 1 :] = math.nan
    poisoned = terms_of(head, padded[0].requires_grad_(), padded[1], options)
    assert all(torch.equal(together[name], poisoned[name]) for name in together)
    (other,) = torch.autograd.grad(total(poisoned), padded[0])
    assert torch.equal(gradient, other)
    for n in range(3):
        frames, count = int(LABELS.frames[n]), int(LABELS.lengths[n])
        one = Labels(
            LABELS.targets[n : n + 1, :count], LABELS.frames[n : n + 1], torch.tensor([count])
        )
        cut = [x[n : n + 1, :frames] for x in (student, teacher)]
        if head not in ("ctc", "windows"):
            cut = [x[:, :, : count + 1] for x in cut]
        alone = terms_of(head, *cut, options, one, RANGES[n : n + 1, :frames])
        assert all(torch.equal(alone[name], together[name][n : n + 1]) for name in together)


@pytest.mark.parametrize("terms", SUBSETS)
def test_what_is_known_already_changes_nothing(terms):
    student, teacher = model_of("regular", 0), model_of("regular", 1).detach()
    plain = transducer_distill_terms(Lattices(student, teacher), LABELS, options_for(terms))
    scores = rnnt_arc_scores(student, *LABELS.lattice)
    nll = rnnt_alignment(student, *LABELS.lattice).nll
    known = transducer_distill_terms(
        Lattices(student, teacher, student_scores=scores), LABELS, options_for(terms), nll
    )
    torch.testing.assert_close(known, plain, rtol=1e-12, atol=1e-12)
    gradients = (torch.autograd.grad(total(x), student)[0] for x in (known, plain))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_a_transcript_without_alignment_has_no_full_sum_term():
    labels = Labels(torch.tensor([[1, 1]]), torch.tensor([2]), torch.tensor([2]))
    student, teacher = (model_of("ctc", seed, labels) for seed in (0, 1))
    assert terms_of("ctc", student, teacher, options_for(["fullsum"]), labels)["fullsum"] == 0
