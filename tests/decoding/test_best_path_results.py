"""Words and tokens of best paths: times against forced alignment, confidences against all paths."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from small_lattices import (
    LEXICON,
    NUM_TOKENS,
    SEEDS,
    BackOffModel,
    all_paths,
    lexicon_fst,
    random_log_probs,
    score_of,
    small_hlg,
    small_lattices,
    words_on,
)

from wfst_entropy import (
    DecodingGraph,
    DenseFsaVec,
    Fsa,
    best_path_results,
    compose,
    connect,
    forced_align,
    frame_posteriors,
    intersect_dense,
    intersect_dense_pruned,
    local_entropy,
    path_entropy,
    prune,
)
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.decoding.words_of_tokens import ranges_of_words
from wfst_entropy.fsa import FsaValueError


@SEEDS
def test_times_are_those_of_forced_alignment(seeds):
    lengths = (6, 4)
    for seed in seeds:
        modified = seed % 2 == 1
        log_probs = random_log_probs(seed, lengths, spread=(0.5, 2.0, 5.0)[seed % 3])
        graph = small_hlg(random.Random(seed), modified)
        dense = DenseFsaVec.from_lengths(log_probs, torch.tensor(lengths))
        check_times(intersect_dense(graph, dense), log_probs, lengths, modified)


def check_times(lattice, log_probs, lengths, modified):
    for i, result in enumerate(best_path_results(lattice, LEXICON, frame_shift=0.5)):
        spelled = [token.token for token in result.tokens]
        assert spelled in [
            list(itertools.chain(*way))
            for way in itertools.product(*(LEXICON[word.word] for word in result.words))
        ]
        if modified and any(a == b for a, b in itertools.pairwise(spelled)):
            continue  # forced alignment has the standard topology
        (aligned,) = forced_align(
            log_probs[i : i + 1],
            torch.tensor([spelled]),
            torch.tensor([lengths[i]]),
            torch.tensor([len(spelled)]),
        )
        for token, span in zip(result.tokens, aligned.spans, strict=True):
            assert abs(token.start_frame - span.start_frame) <= 1
            assert abs(token.end_frame - span.end_frame) <= 1
            assert token.score == pytest.approx(span.score)
        ranges = ranges_of_words([w.word for w in result.words], spelled, LEXICON)
        for word, (first, end) in zip(result.words, ranges, strict=True):
            assert abs(word.start_frame - aligned.spans[first].start_frame) <= 1
            assert abs(word.end_frame - aligned.spans[end - 1].end_frame) <= 1
            assert (word.start, word.end) == (word.start_frame * 0.5, word.end_frame * 0.5)


def test_confidences_and_entropies_over_all_paths():
    lattice = small_lattices(3, (4, 3))
    for one, result in zip(lattice, best_path_results(lattice, LEXICON)):
        mass, of_words, of_label = 0.0, {}, {}
        for path in all_paths(one):
            weight = math.exp(score_of(one, path))
            mass += weight
            key = words_on(one, path)
            of_words[key] = of_words.get(key, 0.0) + weight
            for frame, arc in enumerate(path[:-1]):
                cell = (frame, int(one.labels[arc]))
                of_label[cell] = of_label.get(cell, 0.0) + weight
        told = tuple(word.word for word in result.words)
        assert result.confidence == pytest.approx(of_words[told] / mass)
        assert result.entropy == pytest.approx(float(path_entropy(one)))
        for token in result.tokens:
            frames = range(token.start_frame, token.end_frame)
            probs = [of_label[frame, token.token] / mass for frame in frames]
            assert token.confidence == pytest.approx(sum(probs) / len(probs))
            entropy = [
                -sum(p / mass * math.log(p / mass) for (t, _), p in of_label.items() if t == frame)
                for frame in frames
            ]
            assert token.entropy == pytest.approx(sum(entropy) / len(entropy))


def test_entropies_of_words_are_parts_of_the_whole():
    for result in best_path_results(small_lattices(8, (6, 5)), LEXICON):
        parts = [word.alignment_entropy for word in result.words]
        assert all(part >= 0 for part in parts)
        assert 0 < sum(parts) <= result.entropy + 1e-9
        assert all(0 <= word.confidence <= 1 for word in result.words)


def test_arcs_without_a_frame_are_no_tokens():
    rows = "0 1 1 7 -1\n1 2 9 0 -5\n2 3 1 0 -1\n3 4 0 0 -1\n4 5 1 8 -1\n5 6 -1 -1 0\n6"
    lattice = Fsa.from_str(rows)
    lattice.set_attribute_("frame_idx", torch.tensor([0, 1, 1, 2, 3, 4]))
    (result,) = best_path_results(lattice, {7: [(1,)], 8: [(1,)]}, frame_shift=1.0)
    assert [(t.token, t.start_frame, t.end_frame) for t in result.tokens] == [(1, 0, 2), (1, 3, 4)]
    assert [(w.word, w.start, w.end) for w in result.words] == [(7, 0.0, 2.0), (8, 3.0, 4.0)]
    assert result.tokens[0].score == -1.0
    # with the attribute `tokens` one may follow itself
    lattice.set_attribute_("tokens", torch.tensor([1, 0, 1, 0, 1, -1]))
    (again,) = best_path_results(lattice)
    assert [t.start_frame for t in again.tokens] == [0, 1, 3]


def test_empty_and_partial_lattices():
    lattice = small_lattices(4, (4, 3))
    nothing = prune(lattice[0], state_threshold=0)
    batch = Fsa.from_fsas([lattice[0], nothing, lattice[1]])
    results = best_path_results(batch, LEXICON)
    assert [result.valid for result in results] == [True, False, True]
    assert results[1] == (False, False, [], [], -math.inf, 0.0, 0.0)
    alone = best_path_results(lattice, LEXICON)
    assert [results[0], results[2]] == alone
    assert best_path_results(batch[[1]])[0].words == []
    cut = Fsa.from_str("0 1 1 7 -1\n1 2 -1 -1 0\n2")
    cut.set_attribute_("frame_idx", torch.tensor([0, 1]))
    cut.set_attribute_("partial", torch.tensor([False, True]))
    (result,) = best_path_results(cut, {7: [(1, 2, 3)]})
    assert result.partial
    assert (result.words[0].start_frame, result.words[0].end_frame) == (0, 1)


def test_an_utterance_without_frames_has_a_path_and_no_tokens():
    lattice = Fsa.from_str("0 1 -1 -1 -2\n1").set_attribute_("frame_idx", torch.tensor([0]))
    assert best_path_results(lattice, {}) == [(True, False, [], [], -2.0, 1.0, 0.0)]


@pytest.mark.parametrize("topology", ["standard", "modified"])
def test_pruned_search_with_an_implied_topology_and_back_off_arcs(topology):
    lengths = (6, 4)
    for seed in range(3):
        model = BackOffModel(random.Random(seed))
        composed = connect(compose(lexicon_fst(), model.fsa(acceptor=True)))
        composed.set_attribute_("tokens", composed.labels.clone())
        graph = DecodingGraph(composed, topology=topology)
        log_probs = random_log_probs(seed, lengths)
        dense = DenseFsaVec.from_lengths(log_probs, torch.tensor(lengths))
        lattice = intersect_dense_pruned(graph, dense, search_beam=50, output_beam=50)
        sums = frame_posteriors(lattice, NUM_TOKENS).sum(2)
        torch.testing.assert_close(sums.sum(1), torch.tensor([6.0, 4.0]).double())
        torch.testing.assert_close(local_entropy(lattice).sum(1), path_entropy(lattice))
        for result in best_path_results(lattice, LEXICON):
            assert result.words and all(word.start_frame is not None for word in result.words)
        check_times(lattice, log_probs, lengths, topology == "modified")


def test_without_pronunciations_there_are_no_times():
    (result,) = best_path_results(small_lattices(5, (4,)), frame_shift=0.1)
    assert result.words
    assert all(word.start_frame is None and word.start is None for word in result.words)
    (unknown,) = best_path_results(small_lattices(5, (4,)), {})
    assert all(word.start_frame is None for word in unknown.words)


def test_errors():
    lattice = small_lattices(1, (3,))
    without = Fsa(lattice.shape, lattice.arcs, lattice.scores, aux_labels=lattice.aux_labels)
    with pytest.raises(DecodingError, match=r"needs the integer attribute frame_idx.*aux_labels"):
        best_path_results(without)
    without.set_attribute_("frame_idx", torch.zeros(lattice.num_arcs, dtype=torch.int64))
    without.frame_idx[2] = 7
    with pytest.raises(DecodingError, match=r"arc \d+ .* is in frame"):
        best_path_results(without)
    without.frame_idx[2] = -3
    with pytest.raises(DecodingError, match="arc 2 has the frame_idx -3"):
        best_path_results(without)
    with pytest.raises(FsaValueError, match=r"frame_shift: must be a positive number.*got nan"):
        best_path_results(lattice, frame_shift=math.nan)


def brute_force(words, tokens, pronunciations, silence):
    """Whether the tokens can be parsed."""
    if not words:
        return all(token in silence for token in tokens)
    if tokens and tokens[0] in silence and brute_force(words, tokens[1:], pronunciations, silence):
        return True
    return any(
        tuple(tokens[: len(way)]) == way
        and brute_force(words[1:], tokens[len(way) :], pronunciations, silence)
        for way in pronunciations[words[0]]
    )


@SEEDS
def test_tokens_are_parsed_where_they_can_be(seeds):
    parsed = 0
    for seed in range(20 * len(seeds)):
        rng = random.Random(seed + seeds[0])
        ways = {
            word: [
                tuple(rng.randint(1, 2) for _ in range(rng.randint(1, 3)))
                for _ in range(rng.randint(1, 2))
            ]
            for word in range(3)
        }
        words = [rng.randrange(3) for _ in range(rng.randint(0, 4))]
        tokens = []
        for word in words:
            tokens += [9] * rng.randint(0, 1)
            tokens += rng.choice(ways[word])
        if tokens and rng.random() < 0.5:
            tokens[rng.randrange(len(tokens))] = 1
        parsed += check_parse(words, tokens, ways)
    assert 10 * len(seeds) < parsed < 20 * len(seeds)


def check_parse(words, tokens, ways):
    found = ranges_of_words(words, tokens, ways, {9})
    if not brute_force(words, tokens, ways, {9}):
        # at best the last word is cut, or tokens follow it
        for word, (start, end) in zip(words[:-1], found or []):
            assert tuple(tokens[start:end]) in ways[word]
        return False
    last = 0
    for word, (start, end) in zip(words, found, strict=True):
        assert all(token == 9 for token in tokens[last:start])
        assert tuple(tokens[start:end]) in ways[word]
        last = end
    assert all(token == 9 for token in tokens[last:])
    return True


def test_long_ambiguous_sequences_do_not_take_for_ever():
    # 2 ** 200 ways to try, were they all tried
    assert ranges_of_words([1] * 200 + [2, 1], [1] * 300, {1: [(1,), (1, 1)], 2: [(2,)]}) is None
    found = ranges_of_words([1] * 200, [1] * 300, {1: [(1, 1), (1,)]})
    assert found[-1] == (299, 300)
