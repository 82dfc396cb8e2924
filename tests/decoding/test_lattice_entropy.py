"""Posteriors and entropies of lattices against the list of all paths, and laws that they obey."""

from __future__ import annotations

import math
import random

import pytest
import torch
from small_lattices import (
    SEEDS,
    BackOffModel,
    all_paths,
    ragged_words,
    score_of,
    small_lattices,
    words_on,
)
from torch.autograd import gradcheck

from wfst_entropy import (
    Fsa,
    frame_posteriors,
    lattice_entropy,
    local_entropy,
    path_entropy,
    prune,
    rescore_with_whole_lattice,
)
from wfst_entropy.algorithms.frame_entropy import frame_entropy
from wfst_entropy.fsa import FsaValueError


@SEEDS
def test_posteriors_of_every_frame_sum_to_one(seeds):
    lengths = (5, 3)
    for seed in seeds:
        lattice = small_lattices(seed, lengths, modified=seed % 2 == 1)
        model = BackOffModel(random.Random(seed)).fsa()
        for one in (lattice, rescore_with_whole_lattice(lattice, model)):
            posterior = frame_posteriors(one, 4)
            assert posterior.shape == (2, 5, 4)
            for row, length in zip(posterior, lengths):
                torch.testing.assert_close(row[:length].sum(1), torch.ones(length).double())
                assert not bool(row[length:].any())


@SEEDS
def test_local_entropies_sum_up_to_that_of_the_paths(seeds):
    for seed in seeds:
        lattice = small_lattices(seed, (5, 3))
        local = local_entropy(lattice)
        torch.testing.assert_close(local.sum(1), path_entropy(lattice))
        torch.testing.assert_close(local, frame_entropy(lattice).local)


def test_posteriors_against_all_paths_and_their_gradients():
    lattice = small_lattices(2, (3,))[0]
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for path in all_paths(lattice):
        for frame, arc in enumerate(path[:-1]):
            expected[frame, lattice.labels[arc]] += math.exp(score_of(lattice, path))
    torch.testing.assert_close(frame_posteriors(lattice, 4)[0], expected / expected[0].sum())
    scores = lattice.scores.detach().clone().requires_grad_()
    assert gradcheck(lambda x: frame_posteriors(lattice.with_scores(x), 4), (scores,), atol=1e-4)


@pytest.mark.parametrize("ragged", [False, True])
def test_words_and_alignments_against_all_paths(ragged):
    for seed in range(2):
        lattice = small_lattices(seed, (4, 3))
        if ragged:
            lattice = ragged_words(lattice, random.Random(seed))
        found = lattice_entropy(lattice)
        for i, one in enumerate(lattice):
            masses, mass = {}, 0.0
            for path in all_paths(one):
                weight = math.exp(score_of(one, path))
                mass += weight
                masses[words_on(one, path)] = masses.get(words_on(one, path), 0.0) + weight
            words = -sum(m / mass * math.log(m / mass) for m in masses.values())
            assert float(found.words[i]) == pytest.approx(words)
            assert float(found.paths[i]) == pytest.approx(float(path_entropy(one)))
            assert float(found.alignments[i]) == pytest.approx(float(path_entropy(one)) - words)


def test_empty_lattices_and_limits(caplog):
    lattice = small_lattices(1, (4, 3))
    batch = Fsa.from_fsas([prune(lattice[0], state_threshold=0), lattice[0]])
    found = lattice_entropy(batch)
    assert [float(x[0]) for x in found] == [0.0, 0.0, 0.0]
    assert not bool(frame_posteriors(batch, 4)[0].any())
    assert not bool(local_entropy(batch)[0].any())
    limited = lattice_entropy(lattice, max_states=3)
    assert bool(limited.words.isnan().all() and limited.alignments.isnan().all())
    torch.testing.assert_close(limited.paths, path_entropy(lattice))
    assert "utterance 0: no entropy of its words: " in caplog.text
    assert frame_posteriors(batch[[0]], 4).shape == (1, 0, 4)


def test_errors():
    with pytest.raises(FsaValueError, match="above the largest label 3, got 2"):
        frame_posteriors(small_lattices(1, (4,)), 2)
