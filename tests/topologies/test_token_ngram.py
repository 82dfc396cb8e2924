"""Token n-grams: the formula with dictionaries, sums over strings, and graphs of LF-MMI."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.algorithms import get_tot_scores, intersect, isomorphic, num_paths
from wfst_entropy.fsa import Fsa, FsaTypeError, FsaValueError
from wfst_entropy.topologies import (
    ctc_graph,
    ctc_topo,
    linear_fsa,
    mmi_denominator,
    mmi_numerator,
    token_ngram,
)

TRANSCRIPTS = [[1, 2, 1, 1], [2, 1], [], [1, 2, 2]]


def witten_bell(transcripts, max_token, order):
    """The smoothed probability of a token (or "end") after a history, by dictionaries."""
    counts = defaultdict(Counter)
    for transcript in transcripts:
        read = ["start"]
        for token in [*transcript, "end"]:
            for length in range(min(order, len(read) + 1)):
                counts[tuple(read[len(read) - length :])][token] += 1
            read.append(token)

    def probability(token, history):
        below = probability(token, history[1:]) if history else 1 / (max_token + 1)
        followers = counts.get(history)
        if followers is None:
            return below
        kinds, total = len(followers), sum(followers.values())
        return (followers[token] + kinds * below) / (total + kinds)

    return probability


def log_probability(transcript, probability, order):
    read, total = ["start"], 0.0
    for token in [*transcript, "end"]:
        history = tuple(read[max(len(read) - order + 1, 0) :]) if order > 1 else ()
        total += math.log(probability(token, history))
        read.append(token)
    return total


transcripts = st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=4)


@settings(max_examples=10, deadline=None)
@given(transcripts, transcripts, st.integers(1, 4), st.integers(3, 4))
def test_weights_are_witten_bell_estimates(training, test, order, max_token):
    lm = token_ngram(training, max_token, order)
    assert lm.properties.deterministic and lm.properties.connected and lm.properties.epsilon_free
    found = get_tot_scores(intersect(linear_fsa(test), lm))
    model = witten_bell(training, max_token, order)
    wanted = torch.tensor([log_probability(y, model, order) for y in test])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    # each state's arcs sum to one, and so do all strings
    sums = torch.zeros(lm.num_states).index_add(0, lm.src_states(), lm.scores.exp())
    torch.testing.assert_close(sums[:-1], torch.ones(lm.num_states - 1))
    torch.testing.assert_close(get_tot_scores(lm), torch.zeros(1), rtol=0, atol=1e-4)


def test_states_are_the_histories_that_occur():
    assert token_ngram(TRANSCRIPTS, 2, 1).num_states == 2
    assert token_ngram(TRANSCRIPTS, 2, 2).num_states == 4  # start, 1, 2 and the final state
    assert token_ngram(TRANSCRIPTS, 3, 2).num_states == 5  # after 3, nothing is known


def test_denominator_has_each_frame_labelling_once():
    lm = token_ngram(TRANSCRIPTS, 2)
    den = mmi_denominator(lm)
    frames = linear_fsa_of_all(3, 3)
    assert num_paths(intersect(frames, acceptor(den), treat_epsilons_specially=False)) == 27
    num = mmi_numerator(TRANSCRIPTS, lm)
    other = mmi_numerator(TRANSCRIPTS, lm, ctc_topo(2))
    for one, two, plain in zip(num, other, ctc_graph(TRANSCRIPTS), strict=True):
        assert isomorphic(one, two)
        assert isomorphic(one.with_scores(torch.zeros_like(one.scores)), plain)


def linear_fsa_of_all(num_frames, num_symbols):
    arcs = [(t, t + 1, c) for t in range(num_frames) for c in range(num_symbols)]
    return Fsa.from_arcs([*arcs, (num_frames, num_frames + 1, -1)])


def acceptor(fsa):
    return Fsa(fsa.shape, fsa.arcs, fsa.scores)


def test_a_transcript_outside_a_sparse_model_has_no_numerator():
    lm = Fsa.from_str("0 1 1 0\n1 2 -1 0\n2")
    num = mmi_numerator([[1], [1, 1]], lm)
    assert num[0].num_arcs > 0 and num[1].num_arcs == 0


def test_wrong_arguments_are_named():
    with pytest.raises(FsaValueError, match="there are no transcripts"):
        token_ngram([], 2)
    with pytest.raises(FsaValueError, match="utterance 1 has the token 3, above max_token = 2"):
        token_ngram([[1], [3]], 2)
    with pytest.raises(FsaValueError, match="order: must be an integer"):
        token_ngram([[1]], 2, 0)
    with pytest.raises(FsaValueError, match="max_token: must be an integer"):
        token_ngram([[]], 0)
    with pytest.raises(FsaValueError, match="more than 2\\*\\*28 arcs"):
        token_ngram([[1, 2, 3]], 2**27)
    with pytest.raises(FsaTypeError, match="symbols"):
        token_ngram([1, 2], 2)
    lm = token_ngram([[1]], 1)
    with pytest.raises(FsaValueError, match="is an epsilon"):
        mmi_denominator(Fsa.from_str("0 1 0 0\n1 2 -1 0\n2"))
    with pytest.raises(FsaValueError, match="has aux_labels"):
        mmi_numerator([[1]], ctc_graph([[1]])[0])
    with pytest.raises(FsaValueError, match="must be one Fsa"):
        mmi_denominator(Fsa.from_fsas([lm, lm]))
    with pytest.raises(FsaValueError, match="accepts no tokens"):
        mmi_denominator(linear_fsa([]))
