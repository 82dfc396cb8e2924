"""N-best lists against the list of all paths: distinct word sequences, each with its best path."""

from __future__ import annotations

import math
import random

import pytest
import torch
from small_lattices import all_paths, ragged_words, score_of, small_lattices, words_on

from wfst_entropy import Fsa, Nbest, prune
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import FsaValueError, RaggedShape


def sequences(lattice):
    """For each word sequence the scores of its paths."""
    found = {}
    for path in all_paths(lattice):
        found.setdefault(words_on(lattice, path), []).append(score_of(lattice, path))
    return found


def lists(nbest):
    """For each utterance the word sequences and scores, in order."""
    words, scores = nbest.words().tolist(), nbest.total_scores().tolist()
    splits = nbest.shape.row_splits(1).tolist()
    return [list(zip(map(tuple, words[a:b]), row)) for a, b, row in zip(splits, splits[1:], scores)]


@pytest.mark.parametrize("ragged", [False, True])
def test_exact_lists_are_the_best_sequences_each_once(ragged):
    for seed in range(5):
        lattice = small_lattices(seed, (4, 3))
        if ragged:
            lattice = ragged_words(lattice, random.Random(seed))
        nbest = Nbest.from_lattice_exact(lattice, 8)
        for one, found in zip(lattice, lists(nbest)):
            best = {words: max(scores) for words, scores in sequences(one).items()}
            expected = sorted(best.values(), reverse=True)[:8]
            assert [score for _, score in found] == pytest.approx(expected)
            assert len({words for words, _ in found}) == len(found)
            for words, score in found:
                assert score == pytest.approx(best[words])


def test_drawn_paths_are_in_the_lattice_and_differ_in_words():
    for seed in range(5):
        lattice = small_lattices(seed, (4, 3))
        nbest = Nbest.from_lattice(lattice, 50, generator=torch.Generator().manual_seed(seed))
        for one, found in zip(lattice, lists(nbest)):
            known = sequences(one)
            assert len(found) > 3
            assert len({words for words, _ in found}) == len(found)
            assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
            for words, score in found:
                assert min(abs(score - x) for x in known[words]) < 1e-9


def test_a_smaller_scale_gives_more_sequences():
    lattice = small_lattices(3, (6,))
    sizes = [Nbest.from_lattice(lattice, 100, scale).fsa.num_fsas for scale in (2.0, 0.5, 0.1)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_intersection_gives_the_best_path_and_the_sum_over_all():
    lattice = small_lattices(4, (4, 3))
    nbest = Nbest.from_lattice(lattice, 20)
    best, total = nbest.intersect(lattice), nbest.sequence_scores(lattice)
    for one, found, sums in zip(lattice, lists(best), total.tolist()):
        known = sequences(one)
        for (words, score), log_sum in zip(found, sums):
            assert score == pytest.approx(max(known[words]))
            assert log_sum == pytest.approx(math.log(sum(map(math.exp, known[words]))))
    # the same words in another lattice, or none of them
    other = Fsa.from_fsas([lattice[1], lattice[1]])
    scores = nbest.intersect(other).total_scores().tolist()[0]
    known = sequences(lattice[1])
    for words, score in zip(nbest.words().tolist(), scores):
        assert score == pytest.approx(max(known.get(tuple(words), [-math.inf])))
    assert -math.inf in scores


def test_parts_sum_up_and_follow_gradients():
    lattice = small_lattices(5, (4, 3)).requires_grad_()
    nbest = Nbest.from_lattice_exact(lattice, 4)
    am, lm, all_scores = nbest.am_scores(), nbest.lm_scores(), nbest.total_scores()
    torch.testing.assert_close(am.values + lm.values, all_scores.values)
    all_scores.values[0].backward()
    assert lattice.scores.grad.sum() == nbest.fsa[0].num_arcs


def test_paths_that_are_forbidden_are_not_drawn():
    lattice = Fsa.from_str("0 1 5 7 -1\n0 1 6 8 -2\n1 2 -1 -1 0\n2")
    lattice = lattice.with_scores(torch.tensor([-torch.inf, -2.0, 0.0]))
    for scale in (1.0, 0.0):
        assert lists(Nbest.from_lattice(lattice, 10, scale)) == [[((8,), -2.0)]]


def test_top_k_and_best_with_an_empty_utterance():
    lattice = small_lattices(6, (4, 3))
    nothing = prune(lattice[0], state_threshold=0)
    with_gap = Fsa.from_fsas([lattice[0], nothing, lattice[1]])
    nbest = Nbest.from_lattice_exact(with_gap, 5)
    assert nbest.shape.row_splits(1).diff().tolist() == [5, 0, 5]
    assert nbest.top_k(2).shape.row_splits(1).diff().tolist() == [2, 0, 2]
    assert lists(nbest.top_k(2))[2] == lists(nbest)[2][:2]
    best = nbest.best()
    assert [fsa.num_states > 0 for fsa in best] == [True, False, True]
    worst = nbest.best(-nbest.total_scores().values)
    assert score_of(worst[2], list(range(worst[2].num_arcs))) == lists(nbest)[2][-1][1]


def test_errors():
    lattice = small_lattices(7, (3,))
    with pytest.raises(FsaValueError, match="one path for each"):
        Nbest(lattice, RaggedShape(torch.tensor([0, 2])))
    with pytest.raises(FsaValueError, match="k: must be at least 1, got 0"):
        Nbest.from_lattice_exact(lattice, 2).top_k(0)
    without = Fsa(lattice.shape, lattice.arcs, lattice.scores)
    with pytest.raises(DecodingError, match="aux_labels"):
        Nbest.from_lattice_exact(without, 2)
    with pytest.raises(DecodingError, match="aux_labels"):
        Nbest.from_lattice(without, 2)
    with pytest.raises(DecodingError, match="lm_scores"):
        nbest = Nbest.from_lattice_exact(lattice, 2)
        Nbest(Fsa(nbest.fsa.shape, nbest.fsa.arcs, nbest.fsa.scores), nbest.shape).lm_scores()
    for scale in (math.nan, math.inf, None):
        with pytest.raises(FsaValueError, match="nbest_scale: must be a finite number, got"):
            Nbest.from_lattice(lattice, 2, scale)
    with pytest.raises(FsaValueError, match=r"one for each of 2 paths, got the shape \(3,\)"):
        Nbest.from_lattice_exact(lattice, 2).best(torch.zeros(3))
    with pytest.raises(DecodingError, match="one FSA for each of the 1 utterances"):
        Nbest.from_lattice_exact(lattice, 2).intersect(Fsa.from_fsas([lattice, lattice]))
