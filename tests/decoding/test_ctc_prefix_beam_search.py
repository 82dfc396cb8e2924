"""Prefix beam search against sums over all alignments, and what may not change its result."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_ngram import BIGRAM, ngram_score

from wfst_entropy.decoding import (
    OnlineCtcPrefixBeamSearch,
    ctc_prefix_beam_search,
    forced_align,
)
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa
from wfst_entropy.lang import ContextGraph
from wfst_entropy.topologies import token_ngram

EXHAUSTIVE = {"beam_size": 4000, "nbest": 4000, "search_beam": math.inf}


def log_probs_of(num_utts, num_frames, num_symbols, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num_utts, num_frames, num_symbols, generator=generator, dtype=dtype)
    return (2 * noise).log_softmax(-1)


def collapse(path, blank):
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def summed(log_probs, blank=0):
    """{tokens: probability}, alignment by alignment."""
    num_frames, num_symbols = log_probs.shape
    totals = {}
    for path in itertools.product(range(num_symbols), repeat=num_frames):
        score = sum(float(log_probs[t, c]) for t, c in enumerate(path))
        tokens = collapse(path, blank)
        totals[tokens] = totals.get(tokens, 0.0) + math.exp(score)
    return totals


@pytest.mark.parametrize(
    ("num_frames", "num_symbols", "blank", "dtype"),
    [(1, 3, 0, torch.float64), (5, 3, 1, torch.float64), (4, 4, 0, torch.float32)],
)
def test_without_pruning_every_alignment_is_summed(num_frames, num_symbols, blank, dtype):
    log_probs = log_probs_of(1, num_frames, num_symbols, dtype=dtype)
    expected = summed(log_probs[0], blank)
    (result,) = ctc_prefix_beam_search(
        log_probs, torch.tensor([num_frames]), blank=blank, **EXHAUSTIVE
    )
    found = {tuple(h.tokens): math.exp(h.am_score) for h in result.hypotheses}
    assert len(found) == len(result.hypotheses), "a sequence is there twice"
    assert found == pytest.approx(expected, rel=1e-6)
    scores = [h.score for h in result.hypotheses]
    assert scores == sorted(scores, reverse=True)
    assert sum(h.posterior for h in result.hypotheses) == pytest.approx(1.0)
    entropy = -sum(p * math.log(p) for p in expected.values())
    assert result.entropy == pytest.approx(entropy, rel=1e-6)
    assert not result.partial


def test_a_language_model_boosts_and_length_add_their_scores():
    log_probs = log_probs_of(1, 5, 3, seed=2)
    graph = ContextGraph(0.5).build([[1, 2], [2, 2, 1]], [None, 0.75])
    (result,) = ctc_prefix_beam_search(
        log_probs,
        torch.tensor([5]),
        lm=BIGRAM,
        ngram_lm_scale=0.5,
        context_graph=graph,
        length_bonus=0.25,
        **EXHAUSTIVE,
    )
    expected = summed(log_probs[0])
    assert {tuple(h.tokens) for h in result.hypotheses} == expected.keys()
    for hypothesis in result.hypotheses:
        text = "".join(map(str, hypothesis.tokens))
        overlapping = sum(text.startswith("221", i) for i in range(len(text)))
        boosts = 1.0 * text.count("12") + 2.25 * overlapping
        assert hypothesis.am_score == pytest.approx(math.log(expected[tuple(hypothesis.tokens)]))
        assert hypothesis.lm_score == pytest.approx(ngram_score(hypothesis.tokens))
        assert hypothesis.context_score == pytest.approx(boosts, abs=1e-12)
        total = hypothesis.am_score + 0.5 * hypothesis.lm_score + boosts + 0.25 * len(text)
        assert hypothesis.score == pytest.approx(total)
    scores = [h.score for h in result.hypotheses]
    assert scores == sorted(scores, reverse=True)


def plain_search(log_probs, beam_size, search_beam, extra):
    """Hannun's algorithm with dictionaries: {prefix: (blank, token)}; probabilities, not logs."""
    beam = {(): (1.0, 0.0)}
    for row in log_probs.exp().tolist():
        new = {}

        def add(prefix, blank, token, new=new):
            old = new.get(prefix, (0.0, 0.0))
            new[prefix] = (old[0] + blank, old[1] + token)

        for prefix, (blank, token) in beam.items():
            add(prefix, (blank + token) * row[0], 0.0)
            if prefix:
                add(prefix, 0.0, token * row[prefix[-1]])
            for symbol in range(1, len(row)):
                again = bool(prefix) and prefix[-1] == symbol
                add((*prefix, symbol), 0.0, (blank if again else blank + token) * row[symbol])
        ranked = sorted(
            new, key=lambda p: math.log(max(sum(new[p]), 1e-300)) + extra(p), reverse=True
        )
        best = math.log(sum(new[ranked[0]])) + extra(ranked[0])
        beam = {
            p: new[p]
            for p in ranked[:beam_size]
            if math.log(max(sum(new[p]), 1e-300)) + extra(p) >= best - search_beam
        }
    return beam


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([1.0, 4.0, 100.0]), st.booleans())
def test_with_pruning_it_keeps_what_the_plain_algorithm_keeps(seed, beam_size, beam, biased):
    log_probs = log_probs_of(1, 12, 4, seed=seed)
    graph = ContextGraph(1.5).build([[1, 2], [2, 3, 1]] if biased else [])

    def extra(prefix):
        total, state = 0.0, 0
        for token in prefix:
            score, state = graph.forward_one_step(state, token)
            total += score
        return total

    expected = plain_search(log_probs[0], beam_size, beam, extra)
    (result,) = ctc_prefix_beam_search(
        log_probs,
        torch.tensor([12]),
        beam_size=beam_size,
        nbest=beam_size,
        search_beam=beam,
        context_graph=graph,
    )
    found = {tuple(h.tokens): math.exp(h.am_score) for h in result.hypotheses}
    assert found == pytest.approx({prefix: sum(mass) for prefix, mass in expected.items()})


def rows(results):
    return [(r.hypotheses, r.entropy, r.num_frames, r.partial) for r in results]


OPTIONS = {
    "beam_size": 5,
    "lm": token_ngram([[1, 2], [2, 2, 3]], max_token=5),
    "ngram_lm_scale": 0.3,
    "context_graph": ContextGraph(0.4).build([[1, 2], [3]]),
}


def test_neither_batch_nor_padding_nor_threads_change_a_bit():
    log_probs = log_probs_of(6, 30, 6, seed=3, dtype=torch.float32)
    lengths = torch.tensor([30, 0, 17, 30, 1, 29])
    together = ctc_prefix_beam_search(log_probs, lengths, nbest=5, **OPTIONS)
    for utt, length in enumerate(lengths.tolist()):
        alone = ctc_prefix_beam_search(
            log_probs[utt : utt + 1, :length], lengths[utt : utt + 1], nbest=5, **OPTIONS
        )
        assert rows(alone) == rows(together[utt : utt + 1])
    poisoned = log_probs.clone()
    poisoned[2, 17:] = math.nan
    strided = poisoned.repeat_interleave(2, 2)[:, :, ::2]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = ctc_prefix_beam_search(strided, lengths, nbest=5, **OPTIONS)
    finally:
        torch.set_num_threads(threads)
    assert rows(again) == rows(together)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.booleans())
def test_any_chunking_gives_the_same(sizes, look):
    log_probs = log_probs_of(2, sum(sizes), 6, seed=4)
    lengths = torch.full((2,), sum(sizes))
    whole = ctc_prefix_beam_search(log_probs, lengths, nbest=5, **OPTIONS)
    search = OnlineCtcPrefixBeamSearch(6, **OPTIONS)
    streams = [search.new_stream(), search.new_stream()]
    for chunk in log_probs.split(sizes, dim=1):
        search.advance(streams, chunk, torch.full((2,), chunk.shape[1]))
        if look:
            search.result(streams[0], final=False)
    assert rows([search.result(s, nbest=5) for s in streams]) == rows(whole)


def test_a_long_utterance_forgets_what_died():
    """More frames than fit before prefixes and spans are cleared away, in one piece or in many."""
    log_probs = log_probs_of(1, 9000, 4, seed=5, dtype=torch.float32)
    whole = ctc_prefix_beam_search(log_probs, torch.tensor([9000]), beam_size=12, nbest=12)
    assert len(whole[0].hypotheses[0].tokens) > 3000
    search = OnlineCtcPrefixBeamSearch(4, beam_size=12)
    stream = search.new_stream()
    for chunk in log_probs.split(1777, dim=1):
        search.advance([stream], chunk, torch.tensor([chunk.shape[1]]))
    assert rows([search.result(stream, nbest=12)]) == rows(whole)
    for hypothesis in whole[0].hypotheses:
        starts, ends = hypothesis.start_frames, hypothesis.end_frames
        assert len(starts) == len(ends) == len(hypothesis.tokens)
        assert all(s < e for s, e in zip(starts, ends, strict=True))
        assert all(e <= s for e, s in zip(ends, starts[1:]))


def best_times(log_probs, tokens):
    length = torch.tensor([log_probs.shape[1]])
    target = torch.tensor([tokens], dtype=torch.int64)
    alignment = forced_align(log_probs, target, length, torch.tensor([len(tokens)]))[0]
    return [s.start_frame for s in alignment.spans], [s.end_frame for s in alignment.spans]


def test_times_are_those_of_the_best_alignment():
    log_probs = log_probs_of(3, 10, 4, seed=6)
    results = ctc_prefix_beam_search(
        log_probs, torch.full((3,), 10), beam_size=1000, search_beam=math.inf, nbest=6
    )
    for utt, result in enumerate(results):
        for hypothesis in result.hypotheses:
            one = log_probs[utt : utt + 1]
            starts, ends = best_times(one, hypothesis.tokens)
            assert (hypothesis.start_frames, hypothesis.end_frames) == (starts, ends)
            means = [
                float(one[0, s:e, c].mean())
                for c, s, e in zip(hypothesis.tokens, starts, ends, strict=True)
            ]
            assert hypothesis.log_probs == pytest.approx(means, rel=1e-5)


def test_scores_are_minus_the_ctc_loss():
    log_probs = log_probs_of(2, 7, 4, seed=7)
    lengths = torch.tensor([7, 7])
    results = ctc_prefix_beam_search(
        log_probs, lengths, beam_size=20_000, search_beam=math.inf, nbest=3
    )
    for utt, result in enumerate(results):
        for found in result.hypotheses:
            sizes = torch.tensor([7]), torch.tensor([len(found.tokens)])
            loss = torch.nn.functional.ctc_loss(
                log_probs[utt, :, None], torch.tensor([found.tokens]), *sizes, reduction="sum"
            )
            assert found.am_score == pytest.approx(-float(loss), rel=1e-12)


def test_a_beam_of_one_still_sums_and_fewer_tokens_extend():
    log_probs = log_probs_of(1, 10, 6, seed=8)
    lengths = torch.tensor([10])
    narrow = ctc_prefix_beam_search(log_probs, lengths, beam_size=1)[0]
    assert len(narrow.hypotheses) == 1
    assert narrow.entropy == 0.0
    one = ctc_prefix_beam_search(log_probs, lengths, beam_size_token=1, **EXHAUSTIVE)[0]
    tops = set((log_probs[0, :, 1:].argmax(-1) + 1).tolist())
    assert {token for h in one.hypotheses for token in h.tokens} == tops != set(range(1, 6))
    free = ctc_prefix_beam_search(log_probs, lengths, beam_size_token=5, nbest=3)[0]
    assert free == ctc_prefix_beam_search(log_probs, lengths, nbest=3)[0]


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_without_frames_it_is_the_empty_sequence(shape):
    results = ctc_prefix_beam_search(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64))
    assert len(results) == shape[0]
    for result in results:
        (hypothesis,) = result.hypotheses
        assert (hypothesis.tokens, hypothesis.score, hypothesis.posterior) == ([], 0.0, 1.0)
        assert (result.entropy, result.num_frames, result.partial) == (0.0, 0, False)


def test_where_no_path_goes_on_the_result_is_partial():
    log_probs = log_probs_of(1, 6, 3)
    log_probs[0, 4] = -math.inf
    cut = ctc_prefix_beam_search(log_probs, torch.tensor([6]), nbest=9)[0]
    before = ctc_prefix_beam_search(log_probs, torch.tensor([4]), nbest=9)[0]
    assert (cut.partial, before.partial) == (True, False)
    assert (cut.hypotheses, cut.num_frames) == (before.hypotheses, 4)

    endless = Fsa.from_str("0 1 1 -0.5\n1 2 1 -0.5\n2 3 1 -0.5\n3 4 -1 0\n4")
    wanted = torch.tensor([[[0.1, 0.9]]]).log()
    result = ctc_prefix_beam_search(wanted, torch.tensor([1]), lm=endless)[0]
    assert result.partial
    assert result.hypotheses[0].tokens == [1]
    assert result.hypotheses[0].lm_score == -0.5


def test_impossible_symbols_are_no_problem():
    log_probs = torch.tensor([[[0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]).log()
    result = ctc_prefix_beam_search(log_probs, torch.tensor([3]), **EXHAUSTIVE)[0]
    found = {tuple(h.tokens): round(math.exp(h.am_score), 6) for h in result.hypotheses}
    assert found == {(1, 2): 0.5, (2,): 0.5}
    assert result.entropy == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, r"beam_size: must be an integer in 1\.\.16777216, got 0"),
        ({"nbest": 0}, "nbest: must be an integer"),
        ({"beam_size_token": 0}, "beam_size_token: must be an integer"),
        ({"blank": 3}, r"blank: must lie in 0\.\.2, got 3"),
        ({"search_beam": -1.0}, r"search_beam: must lie in 0\.\.inf, got -1\.0"),
        ({"search_beam": math.nan}, r"search_beam: must lie in 0\.\.inf, got nan"),
        ({"ngram_lm_scale": math.inf}, r"ngram_lm_scale: must lie in 0\.\."),
        ({"length_bonus": -math.inf}, "length_bonus: must lie in -6"),
        ({"lm": "G.pt"}, "lm: needs one FSA with states, a token n-gram, got str"),
        ({"lm": Fsa.from_fsas([BIGRAM, BIGRAM])}, "lm: needs one FSA with states"),
        ({"lm": BIGRAM, "backoff_label": 7}, r"arc 1 from state 0 to 2 has label 3, but the model"),
        ({"lm": BIGRAM, "blank": 1}, "has label 1, but the model has tokens"),
        ({"lm": Fsa.from_str("0 1 1 0\n0 0 1 0\n1 2 -1 0\n2")}, "has another arc of that state"),
        ({"lm": Fsa.from_str("0 1 0 0\n1 0 0 0\n1 2 -1 0\n2")}, "its back-off arcs form a cycle"),
        ({"lm": Fsa.from_str("0 1 1 inf\n1 2 -1 0\n2")}, "arc 0 .* whose score is NaN or more"),
    ],
)
def test_errors_of_options(options, message):
    with pytest.raises(DecodingError, match=message):
        ctc_prefix_beam_search(torch.zeros(1, 2, 3), torch.tensor([2]), **options)


def test_errors_of_scores_and_streams():
    log_probs, lengths = torch.zeros(2, 4, 3), torch.tensor([4, 4])
    with pytest.raises(DecodingError, match="length of utterance 1 is 5, but log_probs has 4"):
        ctc_prefix_beam_search(log_probs, torch.tensor([4, 5]))
    with pytest.raises(DecodingError, match=r"needs \(N, T, C\), got \(4, 3\)"):
        ctc_prefix_beam_search(log_probs[0], torch.tensor([4]))
    with pytest.raises(DecodingError, match="floating-point and lengths integer"):
        ctc_prefix_beam_search(log_probs, torch.tensor([4.0, 4.0]))
    for bad in (math.nan, math.inf, 1e8):
        wrong = log_probs.clone()
        wrong[1, 2, 0] = bad
        with pytest.raises(
            DecodingError, match=r"utterance 1 has NaN or more than 2\*\*26 at frame 2"
        ):
            ctc_prefix_beam_search(wrong, lengths)
    search, other = OnlineCtcPrefixBeamSearch(3), OnlineCtcPrefixBeamSearch(3)
    stream = search.new_stream()
    with pytest.raises(DecodingError, match="needs 2 different ones"):
        search.advance([stream, stream], log_probs, lengths)
    with pytest.raises(DecodingError, match="one is of another search"):
        search.advance([stream, other.new_stream()], log_probs, lengths)
    with pytest.raises(DecodingError, match="one is of another search"):
        other.result(stream)
    with pytest.raises(DecodingError, match=r"must be \(N, T, 3\)"):
        search.advance([stream], torch.zeros(1, 4, 5), lengths[:1])
    assert stream.num_frames == 0
