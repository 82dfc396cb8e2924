"""Planted frame scores: what is planted, and that seeds decide the noise."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy import DenseFsaVec, ctc_graph, ctc_greedy_search, intersect_dense, planted_scores
from wfst_entropy.fsa import FsaValueError


@settings(max_examples=20)
@given(st.lists(st.integers(1, 5), max_size=6), st.integers(1, 3))
def test_without_noise_greedy_search_hears_the_tokens(tokens, frames):
    scores = planted_scores(tokens, 6, frames_per_token=frames, noise=0.0)
    assert scores.shape == (1 + len(tokens) * (frames + 1), 6)
    torch.testing.assert_close(scores.logsumexp(1), torch.zeros(scores.shape[0]))
    heard = ctc_greedy_search(scores[None], torch.tensor([scores.shape[0]]))[0]
    assert list(heard.tokens) == tokens


def test_the_planted_frame_stands_out_by_its_strength():
    scores = planted_scores([2], 4, strength=3.0, noise=0.0)
    assert scores[1, 2] - scores[1, 1] == pytest.approx(3.0)
    assert float(scores[1, 2]) == pytest.approx(3.0 - math.log(math.exp(3.0) + 3))


def test_the_seed_decides_the_noise():
    first, again, other = (planted_scores([1, 2], 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_graph_of_the_sentence_accepts_it():
    scores = planted_scores([1, 1, 2], 3)
    lattice = intersect_dense(
        ctc_graph([[1, 1, 2]]), DenseFsaVec.from_lengths(scores[None], torch.tensor([len(scores)]))
    )
    assert lattice.num_arcs > 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 0], 3), {}, "tokens: position 1 is 0, .* blank"),
        (([3], 3), {}, "tokens: position 0 is 3, which is not one of 1 to 2"),
        (([], 1), {}, "vocab_size: must be at least 2"),
        (([1], 3), {"frames_per_token": 0}, "frames_per_token: must be at least 1"),
        (([1], 3), {"noise": float("nan")}, "noise: must be at least 0 and finite"),
        (([1], 3), {"strength": -1.0}, "strength: must be at least 0"),
    ],
)
def test_what_cannot_be_planted(arguments, options, message):
    with pytest.raises(FsaValueError, match=message):
        planted_scores(*arguments, **options)
