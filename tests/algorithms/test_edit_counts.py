"""Expected edit counts against the Levenshtein distance of every path."""

from __future__ import annotations

import math
import random

import pytest
import torch

from wfst_entropy import Fsa, FsaError, expected_edit_counts
from wfst_entropy.fsa import RaggedTensor


def edits(hyp, ref):
    """(errors, insertions, deletions, substitutions): fewest errors, then most substitutions."""
    row = [(j, 0, j, 0) for j in range(len(ref) + 1)]
    for i, token in enumerate(hyp, 1):
        new = [(i, i, 0, 0)]
        for j, wanted in enumerate(ref, 1):
            e, n, d, s = row[j - 1]
            miss = int(token != wanted)
            options = [(e + miss, n, d, s + miss)]
            e, n, d, s = row[j]
            options.append((e + 1, n + 1, d, s))
            e, n, d, s = new[j - 1]
            options.append((e + 1, n, d + 1, s))
            new.append(min(options, key=lambda o: (o[0], -o[3])))
        row = new
    return row[-1]


def enumerated(paths, tokens, scores, ref):
    """The means over all paths, by the list of them."""
    if not paths:
        return torch.tensor([len(ref), 0, len(ref), 0.0], dtype=torch.float64)
    weights = torch.stack([scores[path].sum() for path in paths]).softmax(0)
    found = [edits([t for arc in path for t in tokens[arc] if t > 0], ref) for path in paths]
    return weights @ torch.tensor(found, dtype=torch.float64)


def random_reference(rng):
    return [rng.randint(1, 3) for _ in range(rng.randint(0, 5))]


def test_the_mean_over_all_paths(random_acyclic, paths_between):
    lattices, refs, expected = [], [], []
    rng = random.Random(0)
    for seed in range(120):
        lattice, ref = random_acyclic(seed), random_reference(rng)
        tokens = [[t] for t in lattice.labels.tolist()]
        paths = paths_between(lattice, 0, lattice.num_states - 1)
        expected.append(enumerated(paths, tokens, lattice.scores, ref))
        lattices.append(lattice)
        refs.append(ref)
    counts = expected_edit_counts(Fsa.from_fsas(lattices), refs)
    torch.testing.assert_close(torch.stack(counts, 1), torch.stack(expected))
    parts = counts.insertions + counts.deletions + counts.substitutions
    torch.testing.assert_close(parts, counts.errors)
    alone = [expected_edit_counts(lattice, [ref]) for lattice, ref in zip(lattices[:20], refs)]
    torch.testing.assert_close(torch.cat([x.errors for x in alone]), counts.errors[:20])


def confusion_network(rng, ref, slots):
    """Near the reference: places with several tokens, some of which may be left out or skipped."""
    arcs = []
    for s in range(slots):
        labels = {rng.randint(1, 6), rng.choice([0, 0, rng.randint(1, 6)])}
        labels |= {ref[s]} if s < len(ref) else set()
        arcs += [[s, s + 1, label] for label in labels]
        if s + 2 <= slots and rng.random() < 0.2:
            arcs.append([s, s + 2, rng.randint(1, 6)])
    lattice = Fsa.from_arcs([*arcs, [slots, slots + 1, -1]])
    scores = torch.tensor([rng.gauss(0, 1) for _ in range(lattice.num_arcs)], dtype=torch.float64)
    return lattice.with_scores(scores)


def test_references_longer_and_shorter_than_the_paths(paths_between):
    rng = random.Random(1)
    for _ in range(40):
        ref = [rng.randint(1, 6) for _ in range(rng.choice([0, 2, 6, 12, 24]))]
        lattice = confusion_network(rng, ref, rng.randint(1, 6))
        paths = paths_between(lattice, 0, lattice.num_states - 1)
        tokens = [[t] for t in lattice.labels.tolist()]
        counts = torch.cat(expected_edit_counts(lattice, [ref]))
        torch.testing.assert_close(counts, enumerated(paths, tokens, lattice.scores, ref))


def test_many_paths_need_few_states():
    """Some 3**30 paths; of a network whose places are told apart by their tokens all is known."""
    length = 30
    ref = list(range(1, length + 1))
    arcs = [[s, s + 1, t] for s in range(length) for t in (ref[s], 100 + s, 200 + s)]
    lattice = Fsa.from_arcs([*arcs, [length, length + 1, -1]])
    lattice = lattice.with_scores(torch.randn(lattice.num_arcs, dtype=torch.float64))
    right = lattice.scores[:-1].reshape(length, 3).softmax(1)[:, 0]
    counts = expected_edit_counts(lattice, [ref], max_states=1000)
    torch.testing.assert_close(counts.errors, (1 - right).sum().reshape(1))
    torch.testing.assert_close(counts.substitutions, counts.errors)


def test_gradients(random_acyclic):
    lattices = Fsa.from_fsas([random_acyclic(seed) for seed in range(8)])
    rng = random.Random(2)
    refs = [random_reference(rng) for _ in range(8)]
    scores = lattices.scores.clone().requires_grad_(True)

    def means(x):
        return tuple(expected_edit_counts(lattices.with_scores(x), refs))

    assert torch.autograd.gradcheck(means, [scores])


def test_tokens_elsewhere_than_in_labels(random_acyclic, paths_between):
    rng = random.Random(3)
    for seed in range(40):
        lattice, ref = random_acyclic(seed), random_reference(rng)
        paths = paths_between(lattice, 0, lattice.num_states - 1)
        one = [rng.randint(-1, 3) for _ in range(lattice.num_arcs)]
        lists = [random_reference(rng)[:2] for _ in range(lattice.num_arcs)]
        lattice.set_attribute_("aux_labels", torch.tensor(one, dtype=torch.int32))
        lattice.set_attribute_("words", RaggedTensor.from_lists(lists, torch.int32))
        for name, tokens in (("aux_labels", [[t] for t in one]), ("words", lists)):
            counts = torch.cat(expected_edit_counts(lattice, [ref], name))
            torch.testing.assert_close(counts, enumerated(paths, tokens, lattice.scores, ref))


def test_a_path_far_behind_does_not_count_and_float32_stays():
    lattice = Fsa.from_arcs([[0, 1, 1], [0, 1, 2], [1, 2, -1]], torch.tensor([0.0, -math.inf, 3e4]))
    counts = expected_edit_counts(lattice, RaggedTensor.from_lists([[1]], torch.int32))
    assert counts.errors.tolist() == [0] and counts.errors.dtype == torch.float32


def test_an_empty_lattice_recognises_nothing():
    empty = Fsa.from_arcs([[0, 1, 5]], num_states=3)
    scores = empty.scores.requires_grad_(True)
    counts = expected_edit_counts(Fsa.from_fsas([empty, Fsa.from_arcs([])]), [[5, 5], []])
    assert counts.errors.tolist() == counts.deletions.tolist() == [2, 0]
    counts.errors.sum().backward()
    assert scores.grad.tolist() == [0]


def test_messages():
    lattice = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]])
    with pytest.raises(FsaError, match="one list for each of the 1 lattices, got 2 lists"):
        expected_edit_counts(lattice, [[1], [2]])
    with pytest.raises(FsaError, match="utterance 0 has the token 0; tokens are from 1"):
        expected_edit_counts(lattice, [[1, 0]])
    with pytest.raises(FsaError, match="lattices must be an Fsa, got list"):
        expected_edit_counts([], [])
    with pytest.raises(FsaError, match="'words' is not on the arcs of the lattices; they have lab"):
        expected_edit_counts(lattice, [[1]], "words")
    cyclic = Fsa.from_arcs([[0, 0, 1], [0, 1, -1]])
    with pytest.raises(FsaError, match="a lattice has a cycle"):
        expected_edit_counts(cyclic, [[1]])
    free = Fsa.from_arcs([[s, s + 1, t] for s in range(60) for t in range(1, 9)] + [[60, 61, -1]])
    with pytest.raises(FsaError, match=r"expected_edit_counts: .*max_states=20000"):
        expected_edit_counts(free, [[1, 2, 3, 4, 5, 6, 7, 8] * 7], max_states=20000)
    with pytest.raises(FsaError, match="reference 0 has 30001 tokens, more than 30000"):
        expected_edit_counts(lattice, [[1] * 30001])
