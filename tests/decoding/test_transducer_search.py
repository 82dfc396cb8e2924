"""Modified beam search against sums over all alignments, and what may not change its result."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_ngram import BIGRAM, ngram_score
from toy_transducer import TableTransducer, frames_of, log_prob_table

from wfst_entropy.decoding import ModifiedBeamSearch, greedy_search, modified_beam_search
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa
from wfst_entropy.lang import ContextGraph
from wfst_entropy.topologies import token_ngram

EXHAUSTIVE = {"beam_size": 4000, "search_beam": math.inf}


class Alignments:
    """All ways through some frames, at most one label each, one by one."""

    def __init__(self, model, frames, adjust=lambda scores: scores):
        self.total, self.best = {}, {}
        for path in itertools.product(range(model.num_symbols), repeat=len(frames)):
            tokens, places, score = (), [], 0.0
            for t, symbol in enumerate(path):
                score += float(adjust(log_prob_table(model, frames[t], tokens))[symbol])
                if symbol:
                    tokens, places = (*tokens, symbol), [*places, t]
            self.total[tokens] = self.total.get(tokens, 0.0) + math.exp(score)
            if score > self.best.get(tokens, (-math.inf, []))[0]:
                self.best[tokens] = (score, places)


@pytest.mark.parametrize(("context_size", "num_frames"), [(1, 4), (2, 3), (None, 4)])
def test_without_pruning_every_alignment_is_summed(context_size, num_frames):
    model = TableTransducer(3, context_size)
    frames = frames_of(1, num_frames, 3, seed=2)
    expected = Alignments(model, frames[0])
    (found,) = modified_beam_search(
        model, frames, torch.tensor([num_frames]), nbest=4000, **EXHAUSTIVE
    )
    scores = {tuple(h.tokens): math.exp(h.score) for h in found.hypotheses}
    assert len(scores) == len(found.hypotheses), "a sequence is there twice"
    assert scores == pytest.approx(expected.total, rel=1e-5)
    assert sum(scores.values()) == pytest.approx(1.0, rel=1e-5)
    assert tuple(found.hypotheses[0].tokens) == max(expected.total, key=expected.total.get)
    for h in found.hypotheses:
        assert h.frames == expected.best[tuple(h.tokens)][1]
        for u, (token, frame) in enumerate(zip(h.tokens, h.frames, strict=True)):
            before = tuple(h.tokens[:u])
            assert h.log_probs[u] == float(log_prob_table(model, frames[0, frame], before)[token])
        assert h.posterior == pytest.approx(scores[tuple(h.tokens)], rel=1e-5)
    entropy = -sum(p * math.log(p) for p in expected.total.values())
    assert found.entropy == pytest.approx(entropy, rel=1e-5)
    assert (found.num_frames, found.partial) == (num_frames, False)


def test_ngrams_boosts_and_length_add_their_scores():
    model, frames = TableTransducer(3), frames_of(1, 4, 3, seed=3)
    expected = Alignments(model, frames[0])
    (found,) = modified_beam_search(
        model,
        frames,
        torch.tensor([4]),
        nbest=4000,
        lm=token_ngram([[1, 2], [2, 2, 1]], max_token=2),
        ngram_lm_scale=0.5,
        lodr_lm=BIGRAM,
        lodr_scale=-0.25,
        context_graph=ContextGraph(0.5).build([[1, 2], [2, 2, 1]], [None, 0.75]),
        length_bonus=0.25,
        **EXHAUSTIVE,
    )
    assert {tuple(h.tokens) for h in found.hypotheses} == expected.total.keys()
    lm_alone = modified_beam_search(
        model,
        frames,
        torch.tensor([4]),
        nbest=4000,
        lm=token_ngram([[1, 2], [2, 2, 1]], max_token=2),
        **EXHAUSTIVE,
    )[0]
    by_lm = {tuple(h.tokens): h.lm_score for h in lm_alone.hypotheses}
    for h in found.hypotheses:
        text = "".join(map(str, h.tokens))
        overlapping = sum(text.startswith("221", i) for i in range(len(text)))
        boosts = 1.0 * text.count("12") + 2.25 * overlapping
        by_both = 0.5 * by_lm[tuple(h.tokens)] - 0.25 * ngram_score(h.tokens)
        assert h.lm_score == pytest.approx(by_both)
        assert h.context_score == pytest.approx(boosts, abs=1e-12)
        total = math.log(expected.total[tuple(h.tokens)]) + by_both + boosts + 0.25 * len(text)
        assert h.score == pytest.approx(total, rel=1e-5, abs=1e-5)
    scores = [h.score for h in found.hypotheses]
    assert scores == sorted(scores, reverse=True)


def test_what_the_ngram_gives_is_its_own_score():
    model, frames = TableTransducer(3), frames_of(1, 3, 3)
    (found,) = modified_beam_search(
        model, frames, torch.tensor([3]), lm=BIGRAM, nbest=99, **EXHAUSTIVE
    )
    assert len(found.hypotheses) == 15
    for h in found.hypotheses:
        assert h.lm_score == pytest.approx(ngram_score(h.tokens))


def test_blank_penalty_and_temperature_are_normalised_again():
    model, frames = TableTransducer(3), frames_of(1, 3, 3)

    def adjust(scores):
        scores = scores.clone()
        scores[0] -= 1.5
        return (scores / 0.5).log_softmax(0)

    expected = Alignments(model, frames[0], adjust)
    options = {"blank_penalty": 1.5, "temperature": 0.5, **EXHAUSTIVE}
    (found,) = modified_beam_search(model, frames, torch.tensor([3]), nbest=99, **options)
    scores = {tuple(h.tokens): math.exp(h.score) for h in found.hypotheses}
    assert scores == pytest.approx(expected.total, rel=1e-5)


def plain_search(model, frames, beam_size, search_beam, extra):
    """The search with dictionaries of probabilities: {tokens: mass}."""
    beam = {(): 1.0}
    for frame in frames:
        new = {}
        for tokens, mass in beam.items():
            for symbol, p in enumerate(log_prob_table(model, frame, tokens).double().exp()):
                grown = (*tokens, symbol) if symbol else tokens
                new[grown] = new.get(grown, 0.0) + mass * float(p)
        scores = {tokens: math.log(mass) + extra(tokens) for tokens, mass in new.items()}
        kept = sorted(scores, key=scores.get, reverse=True)[:beam_size]
        beam = {t: new[t] for t in kept if scores[t] >= scores[kept[0]] - search_beam}
    return beam


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 999), st.integers(1, 5), st.sampled_from([0.5, 3.0, 99.0]), st.booleans())
def test_with_pruning_it_keeps_what_the_plain_algorithm_keeps(seed, beam_size, beam, biased):
    model = TableTransducer(4, None if seed % 2 else 2, sharpness=0.5, seed=seed)
    frames = frames_of(1, 8, 4, seed=seed) / 2
    graph = ContextGraph(1.5).build([[1, 2], [2, 3, 1]] if biased else [])

    def extra(tokens):
        total, state = 0.0, 0
        for token in tokens:
            score, state = graph.forward_one_step(state, token)
            total += score
        return total

    expected = plain_search(model, frames[0], beam_size, beam, extra)
    search = ModifiedBeamSearch(model, beam_size, search_beam=beam, context_graph=graph)
    states = search.advance(frames, torch.tensor([8]), [search.start()])
    (found,) = search.nbest(states, beam_size, final=False)
    masses = {tuple(h.tokens): math.exp(h.score - h.context_score) for h in found.hypotheses}
    assert masses == pytest.approx(expected, rel=1e-4)


OPTIONS = {
    "beam_size": 4,
    "lm": token_ngram([[1, 2], [2, 2, 3]], max_token=5),
    "ngram_lm_scale": 0.3,
    "context_graph": ContextGraph(0.4).build([[1, 2], [3]]),
}


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.booleans())
def test_neither_batch_nor_padding_nor_chunks_change_a_bit(sizes, all_labels):
    model = TableTransducer(6, None if all_labels else 2)
    total = sum(sizes)
    frames = frames_of(4, total, 6) / 2
    lengths = torch.tensor([total, total // 2, 0, total])
    frames[1, total // 2 :] = math.nan
    search = ModifiedBeamSearch(model, **OPTIONS)
    whole = search.nbest(search.advance(frames, lengths, [search.start()] * 4), 4)
    for row, length in enumerate(lengths.tolist()):
        one, size = frames[row : row + 1, :length], lengths[row : row + 1]
        assert modified_beam_search(model, one, size, nbest=4, **OPTIONS) == whole[row : row + 1]
    states, start = [search.start()] * 4, 0
    for size in sizes:
        chunk = (lengths - start).clamp(0, size)
        before = search.nbest(states, 4, final=False)
        following = search.advance(frames[:, start : start + size], chunk, states)
        assert search.nbest(states, 4, final=False) == before, "a state has changed"
        states, start = following, start + size
    assert search.nbest(states, 4) == whole
    assert search.results(states) == [found.hypotheses[0] for found in whole]


def test_threads_do_not_change_a_bit():
    model, frames = TableTransducer(6, 2), frames_of(5, 20, 6) / 2
    lengths, threads = torch.tensor([20, 3, 20, 17, 9]), torch.get_num_threads()
    one = modified_beam_search(model, frames, lengths, nbest=4, **OPTIONS)
    try:
        torch.set_num_threads(3)
        assert modified_beam_search(model, frames, lengths, nbest=4, **OPTIONS) == one
    finally:
        torch.set_num_threads(threads)


def test_each_frame_takes_one_call_for_all_hypotheses_of_all_streams():
    model = TableTransducer(5)
    search = ModifiedBeamSearch(model, 4)
    model.calls.update(step=0, join=0)
    search.advance(frames_of(8, 20, 5), torch.full((8,), 20), [search.start()] * 8)
    assert model.calls["join"] == 20
    assert 0 < model.calls["step"] <= 20


def test_a_beam_of_one_that_is_sure_is_greedy_and_a_wider_one_no_worse():
    model, frames = TableTransducer(5, 2), frames_of(6, 15, 5)
    lengths = torch.full((6,), 15)
    scores = []
    for beam_size in (1, 2, 8, 500):
        found = modified_beam_search(model, frames, lengths, beam_size, search_beam=math.inf)
        scores.append([each.hypotheses[0].score for each in found])
        if beam_size == 1:
            assert all(len(each.hypotheses) == 1 and each.entropy == 0.0 for each in found)
    assert all(wide >= narrow for wide, narrow in zip(scores[-1], scores[0], strict=True))
    sure = TableTransducer(5, 2, sharpness=30.0)
    greedy = [h.tokens for h in greedy_search(sure, 20 * frames, lengths)]
    beam = modified_beam_search(sure, 20 * frames, lengths, 1)
    assert [each.hypotheses[0].tokens for each in beam] == greedy


def test_equal_scores_are_ordered_by_rule():
    """Nothing tells symbols apart: stay comes first, then the smaller label."""
    model = TableTransducer(4, sharpness=0.0)
    frames = torch.zeros(1, 1, 4)
    (found,) = modified_beam_search(model, frames, torch.tensor([1]), 3, nbest=3)
    assert [h.tokens for h in found.hypotheses] == [[], [1], [2]]
    batch = modified_beam_search(model, torch.zeros(3, 6, 4), torch.full((3,), 6), 5, nbest=5)
    assert batch[0] == batch[1] == batch[2]


def test_a_long_stream_keeps_what_it_found():
    """Lists of labels of thousands of frames, shared, dropped, and found again."""
    model = TableTransducer(4, 1, sharpness=0.5)
    frames = frames_of(1, 1200, 4, seed=5) / 2
    search = ModifiedBeamSearch(model, 4)
    (state,) = states = search.advance(frames, torch.tensor([1200]), [search.start()])
    (found,) = search.nbest(states, 4)
    best = found.hypotheses[0]
    assert len(best.tokens) == len(best.frames) == len(best.log_probs) > 300
    assert best.frames == sorted(set(best.frames))
    del states, state
    assert search.results([search.start()])[0].tokens == []


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5)])
def test_no_streams_and_no_frames(shape):
    lengths = torch.zeros(shape[0], dtype=torch.int64)
    found = modified_beam_search(TableTransducer(5), torch.zeros(shape), lengths)
    assert len(found) == shape[0]
    for each in found:
        (h,) = each.hypotheses
        assert (h.tokens, h.score, h.posterior) == ([], 0.0, 1.0)
        assert (each.entropy, each.num_frames, each.partial) == (0.0, 0, False)


def test_partial_results_keep_the_credit_of_phrases_and_final_ones_do_not():
    model, frames = TableTransducer(4), torch.zeros(1, 1, 4)
    frames[0, 0, 1] = 30.0
    graph = ContextGraph(2.0).build([[1, 2, 3]])
    search = ModifiedBeamSearch(model, 2, context_graph=graph)
    states = search.advance(frames, torch.tensor([1]), [search.start()])
    (partial,) = search.results(states, final=False)
    (final,) = search.results(states)
    assert (partial.tokens, partial.context_score) == ([1], 2.0)
    assert (final.tokens, final.context_score) == ([1], 0.0)
    assert final.score == pytest.approx(partial.score - 2.0)


def test_where_nothing_goes_on_the_result_is_partial():
    class Stops(TableTransducer):
        def join(self, am, lm):
            return super().join(am, lm).masked_fill(am[:, :1] < -1e3, -math.inf)

    model, frames = Stops(4), frames_of(2, 6, 4)
    frames[0, 3] = -1e4
    frames[0, 4:] = math.nan  # not looked at any more
    cut, whole = modified_beam_search(model, frames, torch.tensor([6, 6]), 3, nbest=3)
    before = modified_beam_search(model, frames[:1, :3], torch.tensor([3]), 3, nbest=3)[0]
    assert (cut.partial, whole.partial, before.partial) == (True, False, False)
    assert (cut.hypotheses, cut.num_frames) == (before.hypotheses, 3)

    endless = Fsa.from_str("0 1 1 -0.5\n1 2 1 -0.5\n2 3 1 -0.5\n3 4 -1 0\n4")
    frames = torch.zeros(1, 1, 2)
    frames[0, 0, 1] = 30.0
    result = modified_beam_search(TableTransducer(2), frames, torch.tensor([1]), lm=endless)[0]
    assert result.partial
    assert result.hypotheses[0].lm_score == -0.5


def test_nan_names_stream_and_frame_and_states_can_still_be_used():
    frames = frames_of(3, 6, 5)
    search = ModifiedBeamSearch(TableTransducer(5))
    three = torch.full((3,), 3)
    states = search.advance(frames[:, :3], three, [search.start()] * 3)
    broken = frames[:, 3:].clone()
    broken[2, 1, 4] = math.nan
    with pytest.raises(DecodingError, match="stream 2 at frame 4"):
        search.advance(broken, three, states)
    again = search.results(search.advance(frames[:, 3:], three, states))
    whole = modified_beam_search(search.transducer, frames, torch.full((3,), 6))
    assert again == [each.hypotheses[0] for each in whole]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size: must be an integer in 1"),
        ({"search_beam": math.nan}, "search_beam: must be at least 0"),
        ({"temperature": 0.0}, "temperature: must be more than 0"),
        ({"blank_penalty": math.inf}, "blank_penalty: must lie in"),
        ({"lm": Fsa.from_str("0 0 9 0\n0 1 -1 0\n1")}, "^lm: arc 0 .* label 9, but the model has"),
        ({"lodr_lm": Fsa.from_str("0 0 9 0\n0 1 -1 0\n1")}, "^lodr_lm: arc 0 .* label 9"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(DecodingError, match=message):
        ModifiedBeamSearch(TableTransducer(5), **options)


def test_states_of_another_search_and_bad_requests_are_refused(monkeypatch):
    model = TableTransducer(5)
    search, other = ModifiedBeamSearch(model), ModifiedBeamSearch(model)
    one = torch.tensor([1])
    with pytest.raises(DecodingError, match=r"states\[0\]: is of another search"):
        search.advance(torch.zeros(1, 1, 5), one, [other.start()])
    with pytest.raises(DecodingError, match="nbest: must be at least 1"):
        search.nbest([search.start()], 0)
    join = model.join
    model.join = lambda am, lm: join(am, lm)[:, :4]
    with pytest.raises(DecodingError, match=r"join must give \(1, 5\) here"):
        search.advance(torch.zeros(1, 1, 5), one, [search.start()])
    monkeypatch.setattr("wfst_entropy.decoding._stream_batch._MOST_SCORES", 10)
    with pytest.raises(DecodingError, match="3 hypotheses of all streams with 5 symbols"):
        search.advance(torch.zeros(3, 1, 5), torch.ones(3).long(), [search.start()] * 3)
