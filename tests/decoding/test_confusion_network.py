"""Confusion networks: what they must be on simple lattices, and laws on others."""

from __future__ import annotations

import random

import pytest
from small_lattices import SEEDS, ragged_words, small_lattices

from wfst_entropy import (
    Fsa,
    confusion_network,
    expected_edit_counts,
    get_aux_labels,
    lattice_entropy,
    mbr_decoding,
    one_best_decoding,
    prune,
)

# Two places, each with its own choice; the second may be empty.
SAUSAGE = """
0 1 1 7 -0.1
0 1 2 8 -1.2
1 2 3 5 -0.5
1 2 4 0 -0.9
1 2 5 6 -2.5
2 3 -1 -1 0
3
"""


def test_independent_places():
    lattice = Fsa.from_str(SAUSAGE)
    (network,) = confusion_network(lattice)
    assert network.reference == [7, 5]
    for place, words in zip(network.words, ([7, 8], [5, 0, 6])):
        assert place.words == words
        scores = lattice.scores[:2] if len(words) == 2 else lattice.scores[2:5]
        assert place.probs == pytest.approx(scores.softmax(0).tolist())
    assert [gap.words for gap in network.gaps] == [[0]] * 3
    # they are independent, so their entropies are those of the word sequence
    total = sum(place.entropy for place in network.words)
    assert total == pytest.approx(float(lattice_entropy(lattice).words), rel=1e-5)
    assert network.words[0].prob(99) == 0.0


def test_a_word_more_stands_in_a_gap():
    lattice = Fsa.from_str("0 1 1 7 0\n1 2 2 9 -1\n1 2 3 0 0\n2 3 1 8 0\n3 4 -1 -1 0\n4")
    (network,) = confusion_network(lattice)
    assert network.reference == [7, 8]
    assert network.gaps[1].words == [0, 9]
    assert [place.prob(word) for place, word in zip(network.words, (7, 8))] == [1.0, 1.0]


@SEEDS
def test_the_words_of_every_place_sum_to_one(seeds):
    ratios = []
    for seed in seeds:
        lattice = small_lattices(seed, (4, 3))
        if seed % 2:
            lattice = ragged_words(lattice, random.Random(seed))
        refs = get_aux_labels(one_best_decoding(lattice))
        exact = expected_edit_counts(lattice, refs, "aux_labels").errors.tolist()
        for network, ref, errors in zip(confusion_network(lattice, refs), refs, exact):
            assert network.reference == ref
            assert len(network.words) == len(ref) == len(network.gaps) - 1
            for place in (*network.words, *network.gaps):
                assert sum(place.probs) == pytest.approx(1)
                assert len(set(place.words)) == len(place.words)
                assert place.probs == sorted(place.probs, reverse=True)
                assert place.entropy >= 0
            wrong = sum(1 - place.prob(word) for place, word in zip(network.words, ref))
            ratios.append((wrong + sum(1 - gap.prob(0) for gap in network.gaps)) / errors)
    # Not a law, as the alignments are not those of each path; but they are hardly worse.
    assert 0.95 < sum(ratios) / len(ratios) < 1.02
    assert max(ratios) < 1.1


def test_minimum_bayes_risk_expects_no_more_errors():
    fewer = 0
    for seed in range(6):
        lattice = small_lattices(seed, (5, 4))
        best = get_aux_labels(one_best_decoding(lattice))
        found = [network.reference for network in mbr_decoding(lattice)]
        before, after = (
            expected_edit_counts(lattice, refs, "aux_labels").errors for refs in (best, found)
        )
        assert bool((after <= before + 0.05).all())
        fewer += int((after < before - 1e-3).sum())
    assert fewer > 0


def test_empty_lattices():
    lattice = small_lattices(1, (4, 3))
    batch = Fsa.from_fsas([prune(lattice[0], state_threshold=0), lattice[0]])
    for networks in (confusion_network(batch), mbr_decoding(batch)):
        assert networks[0].reference == networks[0].words == []
        assert networks[0].gaps[0].words == []
        assert networks[1].words
    (told,) = confusion_network(batch[[0]], [[3]])
    assert told.words[0].words == []
    assert told.words[0].entropy == 0
