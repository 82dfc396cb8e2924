"""The entropy-semiring paper's quantities (arXiv 2312.10087), from its semirings and from ours.

The paper reads raw entropies and divergences off totals in two and four slots; the losses compute
conditional ones and convert. Both must be the same numbers, and so must their gradients, on CTC and
on every transducer; enumeration of all alignments has the last word on small lattices.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from wfst_entropy import _native
from wfst_entropy.losses import (
    ctc_alignment,
    ctc_alignment_kl,
    ctc_semiring,
    rnnt_grid_alignment,
    rnnt_grid_alignment_kl,
    rnnt_semiring,
)
from wfst_entropy.semirings import (
    CountingSemiring,
    ExpectationSemiring,
    LogEntropySemiring,
    LogReverseKLSemiring,
    SecondOrderExpectationSemiring,
    Semiring,
)

EXACT = {"rtol": 1e-11, "atol": 1e-13}
TYPES = ("regular", "modified", "constrained")
# Two models of three frames and three symbols, the first of which is the blank.
S = [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]
T = [[0.2, 0.7, 0.1], [0.3, 0.5, 0.2], [0.5, 0.25, 0.25]]


class EntropySemiring(Semiring):
    """The paper's first semiring, <p, p log p>, as a user would write it."""

    zero_element, one_element = (0.0, 0.0), (1.0, 0.0)

    def plus(self, a, b):
        return a[0] + b[0], a[1] + b[1]

    def times(self, a, b):
        return a[0] * b[0], a[0] * b[1] + a[1] * b[0]

    def convert(self, log_weights):
        p = log_weights.exp()
        return p, p * log_weights.masked_fill(p == 0, 0.0)


class SecondMomentSemiring(Semiring):
    """<p, p l, p l^2> with l = log p: three slots, of the second order, in one class."""

    zero_element, one_element = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)

    def plus(self, a, b):
        return tuple(x + y for x, y in zip(a, b, strict=True))

    def times(self, a, b):
        return (
            a[0] * b[0],
            a[0] * b[1] + a[1] * b[0],
            a[0] * b[2] + 2 * a[1] * b[1] + a[2] * b[0],
        )

    def convert(self, log_weights):
        p, w = log_weights.exp(), log_weights.masked_fill(log_weights == -math.inf, 0.0)
        return p, p * w, p * w * w


class Lattice:
    """One model family on one batch: its recursions, and all its alignments one by one."""

    def __init__(self, kind, models, labels, frames):
        self.kind, self.models, self.labels, self.frames = kind, models, labels, frames
        counts = [len(y) for y in labels]
        padded = torch.zeros(len(labels), max(1, *counts), dtype=torch.int64)
        for n, y in enumerate(labels):
            padded[n, : len(y)] = torch.tensor(y, dtype=torch.int64)
        self.batch = (padded, frames, counts) if kind == "ctc" else (frames, counts)

    def scores(self, model):
        return (model,) if self.kind == "ctc" else model

    def total(self, semiring, pair=False):
        parts = [self.scores(m) for m in self.models]
        scores = tuple(zip(*parts, strict=True)) if pair else parts[0]
        if self.kind == "ctc":
            return ctc_semiring(*scores, *self.batch, semiring=semiring)
        return rnnt_semiring(*scores, *self.batch, semiring=semiring, rnnt_type=self.kind)

    def alignment(self, model=0):
        scores = self.scores(self.models[model])
        if self.kind == "ctc":
            return ctc_alignment(*scores, *self.batch, kind="raw")
        return rnnt_grid_alignment(*scores, *self.batch, kind="raw", rnnt_type=self.kind)

    def divergence(self):
        parts = [self.scores(m) for m in self.models]
        if self.kind == "ctc":
            return ctc_alignment_kl(*parts[0], *parts[1], *self.batch, kind="raw")
        return rnnt_grid_alignment_kl(*parts, *self.batch, kind="raw", rnnt_type=self.kind)

    def leaves(self):
        return [x for m in self.models for x in self.scores(m)]

    def log_weights(self, n):
        """Of all alignments of utterance n, under both models, by walking through them."""
        walk = self._ctc_paths if self.kind == "ctc" else self._transducer_paths
        with torch.no_grad():
            return [walk(n, m) for m in self.models]

    def _ctc_paths(self, n, model):
        found = []
        for path in itertools.product(range(model.shape[2]), repeat=self.frames[n]):
            if [c for c, _ in itertools.groupby(path) if c] == self.labels[n]:
                found.append(sum(model[n, t, c].item() for t, c in enumerate(path)))
        return found

    def _transducer_paths(self, n, planes, t=0, u=0):
        blank, label = planes
        frames, count = self.frames[n], len(self.labels[n])
        if t == frames:
            return [0.0] if u == count else []
        stay = blank[n, t, u].item()
        found = [stay + w for w in self._transducer_paths(n, planes, t + 1, u)]
        if u < count:
            move = label[n, t, u].item()
            if self.kind == "constrained":
                move += blank[n, t, u + 1].item()
            ahead = (t, u + 1) if self.kind == "regular" else (t + 1, u + 1)
            found += [move + w for w in self._transducer_paths(n, planes, *ahead)]
        return found


def random_lattice(kind, seed=0, num_symbols=3, frames=(6, 4, 2), labels=([1, 2, 1], [2, 2], [])):
    """Two models with log-probabilities."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, len(frames), max(frames), max(map(len, labels)) + 1, num_symbols)
    logits = 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    if kind == "ctc":
        models = list(logits[:, :, :, 0].log_softmax(3))
    else:
        log_probs = logits.log_softmax(4)
        models = [(m[..., 0], m[:, :, :-1, 1]) for m in log_probs]
    lattice = Lattice(kind, models, [list(y) for y in labels], list(frames))
    for leaf in lattice.leaves():
        leaf.requires_grad_()
    return lattice


def same_gradients(ours, theirs, leaves):
    """Both sums' gradients, with respect to every leaf that either depends on."""
    pairs = zip(
        *(torch.autograd.grad(x.sum(), leaves, allow_unused=True) for x in (ours, theirs)),
        strict=True,
    )
    for a, b in pairs:
        zero = torch.zeros(())
        torch.testing.assert_close(
            *torch.broadcast_tensors(zero if a is None else a, zero if b is None else b),
            check_dtype=False,
            **EXACT,
        )


@pytest.fixture(params=["native", "torch"])
def engine(request):
    """Ours with the C++ kernels and without."""
    if request.param == "torch":
        with _native.disabled():
            yield
    elif not _native.is_available():
        pytest.skip(_native.why_not())
    else:
        yield


@pytest.mark.parametrize("kind", ["ctc", *TYPES])
def test_two_slots_give_our_likelihood_and_raw_entropy(engine, kind):
    lattice = random_lattice(kind)
    ours = lattice.alignment()
    p, p_log_p = lattice.total(EntropySemiring())
    log_p, log_h = lattice.total(LogEntropySemiring())
    torch.testing.assert_close(ours.nll, -log_p, **EXACT)
    torch.testing.assert_close(ours.nll, -p.log(), **EXACT)
    torch.testing.assert_close(ours.entropy, log_h.exp(), **EXACT)
    torch.testing.assert_close(ours.entropy, -p_log_p, **EXACT)
    for n in range(len(ours.nll)):
        weights = lattice.log_weights(n)[0]
        raw = -math.fsum(math.exp(w) * w for w in weights)
        assert ours.entropy[n].item() == pytest.approx(raw, rel=1e-11)
    same_gradients(ours.entropy, log_h.exp(), lattice.leaves())
    same_gradients(lattice.alignment().entropy, -p_log_p, lattice.leaves())


@pytest.mark.parametrize("kind", ["ctc", *TYPES])
def test_four_slots_give_our_likelihoods_and_raw_divergence(engine, kind):
    lattice = random_lattice(kind)
    ours = lattice.divergence()
    log_s, log_t, log_h, log_cross = lattice.total(LogReverseKLSemiring(), pair=True)
    theirs = log_cross.exp() - log_h.exp()
    torch.testing.assert_close(ours.kl, theirs, **EXACT)
    torch.testing.assert_close(ours.nll, -log_s, **EXACT)
    torch.testing.assert_close(lattice.alignment(1).nll, -log_t, **EXACT)
    torch.testing.assert_close(lattice.alignment(1).entropy, log_h.exp(), **EXACT)
    for n in range(len(ours.nll)):
        student, teacher = lattice.log_weights(n)
        raw = math.fsum(math.exp(t) * (t - s) for s, t in zip(student, teacher, strict=True))
        assert ours.kl[n].item() == pytest.approx(raw, rel=1e-10, abs=1e-13)
    students = lattice.leaves()[: len(lattice.leaves()) // 2]
    same_gradients(ours.kl, theirs, students)


@pytest.mark.parametrize(
    ("labels", "paths", "z_s", "raw", "z_t", "divergence"),
    [
        ([1], 6, 0.316, 0.8428635671, 0.4575, 0.3263658523),
        ([1, 2], 5, 0.186, 0.6001350712, 0.27, 0.1454542279),
        ([1, 1], 1, 0.012, 0.0530741836, None, None),
    ],
)
def test_ctc_lattices_computed_by_hand(engine, labels, paths, z_s, raw, z_t, divergence):
    models = [torch.tensor([m], dtype=torch.float64).log() for m in (S, T)]
    lattice = Lattice("ctc", models, [labels], [3])
    near = {"abs": 1e-10}
    assert lattice.total(CountingSemiring()).item() == paths
    log_p, log_h = lattice.total(LogEntropySemiring())
    assert log_p.exp().item() == pytest.approx(z_s, **near)
    assert log_h.exp().item() == pytest.approx(raw, **near)
    assert lattice.alignment().entropy.item() == pytest.approx(raw, **near)
    if divergence is not None:
        slots = [float(x.exp()) for x in lattice.total(LogReverseKLSemiring(), pair=True)]
        assert slots[:2] == pytest.approx([z_s, z_t], **near)
        assert slots[3] - slots[2] == pytest.approx(divergence, **near)
        assert lattice.divergence().kl.item() == pytest.approx(divergence, **near)


def test_a_transducer_lattice_computed_by_hand(engine):
    blank = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]], dtype=torch.float64).log()
    label = torch.tensor([[[0.4], [0.5]]], dtype=torch.float64).log()
    lattice = Lattice("regular", [(blank, label)], [[1]], [2])
    assert [math.exp(w) for w in lattice.log_weights(0)[0]] == pytest.approx([0.24, 0.224])
    log_p, log_h = lattice.total(LogEntropySemiring())
    assert log_p.exp().item() == pytest.approx(0.464, abs=1e-12)
    raw = -(0.24 * math.log(0.24) + 0.224 * math.log(0.224))
    assert raw == pytest.approx(0.6776363922, abs=1e-10)
    assert log_h.exp().item() == pytest.approx(raw, abs=1e-12)
    assert lattice.alignment().entropy.item() == pytest.approx(raw, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "num_paths"),
    # six frames and the transcript 1, 2, 1; the others choose the frames of the labels
    [("ctc", math.comb(9, 6)), ("regular", math.comb(8, 3)), ("modified", math.comb(6, 3))],
)
def test_how_many_alignments_there_are(kind, num_paths):
    lattice = random_lattice(kind)
    assert lattice.total(CountingSemiring())[0].item() == num_paths
    assert len(lattice.log_weights(0)[0]) == num_paths


@pytest.mark.parametrize("kind", ["ctc", *TYPES])
def test_second_order_and_user_written_semirings(kind):
    lattice = random_lattice(kind)
    generator = torch.Generator().manual_seed(5)
    scores = [x.detach() for x in lattice.scores(lattice.models[0])]
    # what each arc adds to x and y: its log-weight, and a number of its own
    extra = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in scores]
    lattice.models = [scores[0], scores[0], extra[0]] if kind == "ctc" else [scores, scores, extra]
    p, x, y, xy = lattice.total(SecondOrderExpectationSemiring(), pair=True)
    moments = lattice.total(SecondMomentSemiring())
    lattice.models = lattice.models[:2]
    first = lattice.total(ExpectationSemiring(), pair=True)
    torch.testing.assert_close(torch.stack(first), torch.stack([p, x]), **EXACT)
    torch.testing.assert_close(torch.stack(moments[:2]), torch.stack([p, x]), **EXACT)
    lattice.models = [scores[0], extra[0]] if kind == "ctc" else [scores, extra]
    for n in range(len(p)):
        w, e = lattice.log_weights(n)
        mass = [math.exp(a) for a in w]
        sums = (
            math.fsum(mass),
            math.fsum(m * a for m, a in zip(mass, w, strict=True)),
            math.fsum(m * b for m, b in zip(mass, e, strict=True)),
            math.fsum(m * a * b for m, a, b in zip(mass, w, e, strict=True)),
        )
        found = [float(slot[n]) for slot in (p, x, y, xy)]
        assert found == pytest.approx(sums, rel=1e-10, abs=1e-13)
        second = math.fsum(m * a * a for m, a in zip(mass, w, strict=True))
        assert float(moments[2][n]) == pytest.approx(second, rel=1e-10)


@pytest.mark.parametrize("kind", ["ctc", *TYPES])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_longer_random_lattices(kind, seed):
    """Float64 precision where no one enumerates: H_u is tiny."""
    labels = [[1 + (i * 7 + j * 3) % 4 for j in range(12 - i)] for i in range(3)]
    lattice = random_lattice(kind, seed, 5, (60, 51, 40), labels)
    log_p, log_h = lattice.total(LogEntropySemiring())
    log_s, log_t, log_ht, log_cross = lattice.total(LogReverseKLSemiring(), pair=True)
    ours, ours_of_teacher = lattice.alignment(), lattice.alignment(1)
    torch.testing.assert_close(ours.nll, -log_p, **EXACT)
    torch.testing.assert_close(ours.nll, -log_s, **EXACT)
    torch.testing.assert_close(ours_of_teacher.nll, -log_t, **EXACT)
    torch.testing.assert_close(ours.entropy.log(), log_h, **EXACT)
    torch.testing.assert_close(ours_of_teacher.entropy.log(), log_ht, **EXACT)
    ours_kl = lattice.divergence().kl
    theirs = log_cross.exp() - log_ht.exp()
    torch.testing.assert_close(ours_kl, theirs, rtol=1e-11, atol=1e-11 * log_ht.exp().max().item())
