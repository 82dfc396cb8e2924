"""Random graphs and frame scores for searches, and what the exact totals are."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from wfst_entropy.algorithms import compose
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.topologies import ctc_topo


def random_graph(
    rng: np.random.Generator,
    *,
    num_states: int = 6,
    num_arcs: int = 16,
    labels: tuple[int, int] = (0, 4),
    epsilon: int | None = None,
    epsilon_rate: float = 0.3,
) -> Fsa:
    """A graph with cycles, `aux_labels` and float64 scores.

    Labels are those of the range, or `epsilon`, on arcs to higher states only: no cycle of them.
    """
    final = num_states - 1
    arcs = [(int(rng.integers(final)), final, -1)]
    for _ in range(num_arcs):
        src, dst = int(rng.integers(final)), int(rng.integers(final))
        label = int(rng.integers(*labels))
        if epsilon is not None and src < dst and rng.random() < epsilon_rate:
            label = epsilon
        arcs.append((src, dst, label))
    arcs.sort(key=lambda arc: arc[0])
    aux_labels = [-1 if arc[2] == -1 else int(rng.integers(0, 9)) for arc in arcs]
    return Fsa.from_arcs(
        arcs,
        torch.from_numpy(rng.normal(size=len(arcs))),
        num_states,
        aux_labels=torch.tensor(aux_labels, dtype=torch.int32),
    )


def random_dense(
    rng: np.random.Generator, lengths: tuple[int, ...] = (5, 3, 0, 4), num_symbols: int = 4
) -> DenseFsaVec:
    scores = torch.from_numpy(rng.normal(size=(len(lengths), max(lengths), num_symbols)) * 2)
    return DenseFsaVec.from_lengths(scores, torch.tensor(lengths))


def with_gradients(fsa: Fsa, dense: DenseFsaVec) -> tuple[Fsa, DenseFsaVec]:
    return (
        fsa.with_scores(fsa.scores.detach().clone().requires_grad_()),
        dense.with_scores(dense.scores.detach().clone().requires_grad_()),
    )


def exact_totals(fsa: Fsa, dense: DenseFsaVec, epsilon: int | None = None) -> Tensor:
    """The log-sum of all alignments by products of matrices; arcs with `epsilon` take no frame."""
    size = fsa.num_states
    src, dst, label = (x.long() for x in fsa.arcs.unbind(1))
    weight = fsa.scores.double().exp()

    def matrix(chosen: Tensor, factor: Tensor | float = 1.0) -> Tensor:
        values = (weight * factor)[chosen]
        flat = torch.zeros(size * size, dtype=torch.float64)
        return flat.index_add(0, (src * size + dst)[chosen], values).view(size, size)

    silent = label == (-2 if epsilon is None else epsilon)
    closure = torch.linalg.inv(torch.eye(size, dtype=torch.float64) - matrix(silent))
    emits = ~silent & (label >= 0)
    totals = []
    for i in range(dense.num_seqs):
        row = torch.zeros(size, dtype=torch.float64)
        row[0] = 1
        row = row @ closure
        for frame in dense[i].double():
            read = torch.where(emits, frame[label.where(emits, torch.zeros_like(label))].exp(), 0.0)
            row = row @ matrix(emits, read) @ closure
        total = (row @ matrix(label == -1))[-1]
        # log 0 has no gradient, not even one of 0
        totals.append(total.log() if total > 0 else torch.tensor(-math.inf, dtype=torch.float64))
    return torch.stack(totals)


def composed(lg: Fsa, num_symbols: int, modified: bool) -> Fsa:
    """The CTC topology composed with the graph; arcs that take no frame are labelled C."""
    topo = ctc_topo(num_symbols - 1, modified)
    arcs = topo.arcs.clone()
    arcs[:, 2] = torch.where(arcs[:, 2] >= 0, arcs[:, 2] + 1, -1)  # 0 is free for no frame
    topo = Fsa(topo.shape, arcs, topo.scores.double(), aux_labels=topo.aux_labels)
    hlg = compose(topo, lg)
    labels = hlg.labels
    new = torch.where(labels == 0, num_symbols, torch.where(labels > 0, labels - 1, labels))
    arcs = torch.cat([hlg.arcs[:, :2], new[:, None]], dim=1)
    return Fsa(hlg.shape, arcs, hlg.scores, aux_labels=hlg.aux_labels)


def label_sequences(path: Fsa) -> tuple[list[list[int]], list[float]]:
    """The labels along each linear FSA, and its score."""
    labels, scores = [], []
    for i in range(path.num_fsas):
        labels.append(path[i].labels.tolist())
        scores.append(float(path[i].scores.detach().sum()) if path[i].num_arcs else -math.inf)
    return labels, scores


def assert_same_fsa(a: Fsa, b: Fsa) -> None:
    """Bit for bit, with all attributes."""
    assert a.shape.row_splits(1).tolist() == b.shape.row_splits(1).tolist()
    assert a.shape.row_splits(2).tolist() == b.shape.row_splits(2).tolist()
    assert torch.equal(a.arcs, b.arcs)
    assert torch.equal(a.scores, b.scores)
    assert a.attributes.keys() == b.attributes.keys()
    for name in a.attributes:
        assert torch.equal(a.attributes[name], b.attributes[name]), name
