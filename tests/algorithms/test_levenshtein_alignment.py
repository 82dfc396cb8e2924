"""Alignments of two sequences: k2's scores, the true distance, and both sequences in full."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from wfst_entropy import (
    Fsa,
    FsaError,
    TropicalSemiring,
    get_tot_scores,
    levenshtein_alignment,
    levenshtein_graph,
)

CASES = json.loads((Path(__file__).parents[1] / "golden" / "k2" / "levenshtein.json").read_text())


def distance(hyp, ref):
    row = list(range(len(ref) + 1))
    for i, token in enumerate(hyp, 1):
        new = [i]
        for j, wanted in enumerate(ref, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (token != wanted)))
        row = new
    return row[-1]


def best(alignment):
    return get_tot_scores(alignment, TropicalSemiring())


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['ref']}-{c['hyp']}")
def test_k2_scores(case):
    refs, hyps = levenshtein_graph([case["ref"]]), levenshtein_graph([case["hyp"]])
    alignment = levenshtein_alignment(refs, hyps, torch.zeros(1, dtype=torch.int32))
    torch.testing.assert_close(best(alignment), torch.tensor(case["score"]), rtol=2e-4, atol=2e-4)


def test_both_sequences_and_the_distance():
    rng = random.Random(0)
    refs = [[rng.randint(1, 4) for _ in range(rng.randint(0, 8))] for _ in range(20)]
    hyps = [[rng.randint(1, 4) for _ in range(rng.randint(0, 8))] for _ in range(60)]
    numbers = [rng.randrange(20) for _ in hyps]
    alignments = levenshtein_alignment(
        levenshtein_graph(refs), levenshtein_graph(hyps), torch.tensor(numbers)
    )
    for alignment, hyp, number in zip(alignments, hyps, numbers):
        ref = refs[number]
        sides = alignment.ref_labels.tolist(), alignment.hyp_labels.tolist()
        assert [[t for t in side if t > 0] for side in sides] == [ref, hyp]
        matched = [x if x == y else 0 for x, y in zip(*sides)]
        assert alignment.labels.tolist() == matched
        errors = matched.count(0)
        assert errors == distance(hyp, ref)
        torch.testing.assert_close(best(alignment), torch.tensor([-float(errors)]))


def test_k2_examples():
    refs = levenshtein_graph([[1, 2, 3, 4, 5]])
    hyps = levenshtein_graph([[1, 2, 3, 3, 5], [1, 2, 4, 5], [1, 2, 3, 4, 5, 6]])
    x = levenshtein_alignment(refs, hyps, torch.zeros(3, dtype=torch.int32), sorted_match_ref=True)
    assert [a.labels.tolist() for a in x] == [
        [1, 2, 3, 0, 5, -1],
        [1, 2, 0, 4, 5, -1],
        [1, 2, 3, 4, 5, 0, -1],
    ]
    assert x[2].ref_labels.tolist() == [1, 2, 3, 4, 5, 0, -1]
    assert x[1].hyp_labels.tolist() == [1, 2, 0, 4, 5, -1]


def test_a_score_below_the_substitutions_only_breaks_ties():
    for score in (-0.5001, -0.6, -0.7):
        graphs = levenshtein_graph([[1, 2, 3]], score), levenshtein_graph([[2, 3, 4]], score)
        alignment = levenshtein_alignment(*graphs, torch.tensor([0]))
        torch.testing.assert_close(best(alignment), torch.tensor([-2.0]))


def test_messages():
    graph = levenshtein_graph([[1, 2]])
    number = torch.tensor([0])
    with pytest.raises(FsaError, match="refs must be an Fsa, got list"):
        levenshtein_alignment([[1, 2]], graph, number)
    plain = Fsa.from_fsas([Fsa.from_arcs([[0, 1, -1]])])
    with pytest.raises(
        FsaError, match=r"hyps must be made by levenshtein_graph.*got arcs with nei"
    ):
        levenshtein_alignment(graph, plain, number)
    with pytest.raises(FsaError, match="entry 0 is 1, but a_fsas has 1 FSAs"):
        levenshtein_alignment(graph, graph, torch.tensor([1]))
    with pytest.raises(FsaError, match="outgrows max_states=3"):
        levenshtein_alignment(graph, graph, number, max_states=3)
