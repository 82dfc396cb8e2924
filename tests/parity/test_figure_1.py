"""What Figure 1 of the entropy-semiring paper counts (arXiv 2312.10087), counted by running it.

The figure draws the full grid of a transducer with three labels and four frames, from corner to
corner. Here that is a lattice of five frames whose last one allows the final blank only, free of
charge. Nothing is multiplied where a path cannot go, nor by one.
"""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.losses import rnnt_grid_alignment, rnnt_semiring
from wfst_entropy.semirings import CountingSemiring, Semiring

NUM_LABELS, NUM_FRAMES = 3, 4


def full_grid():
    torch.manual_seed(0)
    shape = (1, NUM_FRAMES + 1, NUM_LABELS + 1)
    blank, label = torch.rand(2, *shape, dtype=torch.float64).log()
    blank[:, -1] = -math.inf
    blank[:, -1, -1] = 0.0
    return blank, label[:, :, :-1], [NUM_FRAMES + 1], [NUM_LABELS]


class OperationsOfEntropySemiring(Semiring):
    """<p, p log p>, counting the operations on numbers that its users wait for."""

    zero_element, one_element = (0.0, 0.0), (1.0, 0.0)

    def __init__(self):
        self.multiplications = self.additions = self.transitions = 0

    def plus(self, a, b):
        merged = int(((a[0] != 0) & (b[0] != 0)).sum())
        self.additions += 2 * merged
        return a[0] + b[0], a[1] + b[1]

    def times(self, a, b):
        extended = int(((a[0] != 0) & (b[0] != 0) & (b[0] != 1)).sum())
        self.transitions += extended
        self.multiplications += 3 * extended
        self.additions += extended
        return a[0] * b[0], a[0] * b[1] + a[1] * b[0]

    def convert(self, log_weights):
        p = log_weights.exp()
        return p, p * log_weights.masked_fill(p == 0, 0.0)


class Number(float):
    """A number that counts what is done to it."""

    multiplications = additions = 0

    def __mul__(self, other):
        Number.multiplications += 1
        return Number(float(self) * float(other))

    def __add__(self, other):
        Number.additions += 1
        return Number(float(self) + float(other))


def test_alignments_and_transitions():
    grid = full_grid()
    assert rnnt_semiring(*grid, semiring=CountingSemiring()).item() == 35
    counting = OperationsOfEntropySemiring()
    rnnt_semiring(*grid, semiring=counting)
    assert counting.transitions == 31


def test_operations_of_the_entropy_semiring_and_of_the_naive_sum(monkeypatch):
    grid = full_grid()
    counting = OperationsOfEntropySemiring()
    probability, negative_entropy = rnnt_semiring(*grid, semiring=counting)
    assert (counting.multiplications, counting.additions) == (93, 55)

    # path by path, each from scratch: a product over its transitions, then p log p
    monkeypatch.setattr(Number, "multiplications", 0)
    monkeypatch.setattr(Number, "additions", 0)
    terms = []
    for path in arcs_of_all_paths(*grid[:2]):
        p = Number(1.0)
        for arc in path:
            p = p * arc
        terms.append(p * math.log(p))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    assert (Number.multiplications, Number.additions) == (280, 34)
    assert len(terms) == 35

    assert total == pytest.approx(negative_entropy.item(), rel=1e-12)
    ours = rnnt_grid_alignment(*grid, kind="raw")
    assert ours.entropy.item() == pytest.approx(-total, rel=1e-12)
    assert ours.nll.item() == pytest.approx(-math.log(probability), rel=1e-12)


def arcs_of_all_paths(blank, label, t=0, u=0):
    """The probabilities of the arcs of every path from a node of the grid to its last corner."""
    if (t, u) == (NUM_FRAMES, NUM_LABELS):
        return [[]]
    found = []
    if t < NUM_FRAMES:
        arc = math.exp(blank[0, t, u])
        found += [[arc, *rest] for rest in arcs_of_all_paths(blank, label, t + 1, u)]
    if u < NUM_LABELS:
        arc = math.exp(label[0, t, u])
        found += [[arc, *rest] for rest in arcs_of_all_paths(blank, label, t, u + 1)]
    return found


def test_with_the_final_blank_forced_the_lattice_is_smaller():
    """The usual transducer of four frames: 20 alignments, 25 arcs on any of them."""
    torch.manual_seed(0)
    blank = torch.rand(1, NUM_FRAMES, NUM_LABELS + 1, dtype=torch.float64).log().requires_grad_()
    label = torch.rand(1, NUM_FRAMES, NUM_LABELS, dtype=torch.float64).log().requires_grad_()
    grid = (blank, label, [NUM_FRAMES], [NUM_LABELS])
    assert rnnt_semiring(*grid, semiring=CountingSemiring()).item() == 20
    grads = torch.autograd.grad(rnnt_grid_alignment(*grid).nll.sum(), (blank, label))
    assert sum(int((grad != 0).sum()) for grad in grads) == 25
