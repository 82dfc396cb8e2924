"""Several models as one: the weighted sum, and the weights that fit a text best."""

from __future__ import annotations

import numpy as np
import pytest
from zipf import zipf_text

from wfst_entropy import (
    check_ngram_model,
    estimate_ngram_model,
    interpolate_ngram_models,
    perplexity,
    score_words,
    tune_interpolation_weights,
)
from wfst_entropy.fsa import FsaValueError


@pytest.fixture(scope="module")
def models():
    a = estimate_ngram_model(zipf_text(150, 20, seed=1), 3, discount_fallback="absolute")
    b = estimate_ngram_model(zipf_text(150, 25, seed=2), 2, discount_fallback="absolute")
    return a, b


def test_explicit_ngrams_are_the_weighted_sum(models):
    both = interpolate_ngram_models(models, [3, 1])
    assert check_ngram_model(both, tolerance=1e-9) == []
    assert both.order == 3
    assert set(both.words) == set(models[0].words) | set(models[1].words)
    for order, table in enumerate(both.tables, start=1):
        names = [[both.words[i] for i in ids] for ids in both.ngram_ids(order).tolist()]
        told = np.zeros(len(names))
        for model, share in zip(models, (0.75, 0.25)):
            # -1 for what a model has not, though it has <unk>
            ids = np.array([[model.word_ids.get(word, -1) for word in ngram] for ngram in names])
            told += share * np.exp(model.log_probs(ids))
        np.testing.assert_allclose(np.exp(table.log_prob), told, rtol=1e-9)
    have = [
        {tuple(m.words[i] for i in g) for g in m.ngram_ids(2).tolist()} for m in (*models, both)
    ]
    assert have[2] == have[0] | have[1]


def test_one_model_stays_as_it_is(models):
    same = interpolate_ngram_models(models[:1], [1])
    assert same.num_ngrams == models[0].num_ngrams
    text = zipf_text(50, 20, seed=3)
    assert perplexity(same, text).log_prob == pytest.approx(perplexity(models[0], text).log_prob)


def test_tuned_weights_are_the_best(models):
    text = zipf_text(60, 20, seed=4)
    weights = tune_interpolation_weights(models, text, iterations=200)
    assert sum(weights) == pytest.approx(1)

    def log_prob(share: float) -> float:
        scores = [score_words(model, text) for model in models]
        probs = [np.where(s.is_oov, 0, np.exp(s.log_probs)) for s in scores]
        mixed = share * probs[0] + (1 - share) * probs[1]
        return float(np.log(mixed[mixed > 0]).sum())

    best = max(log_prob(share) for share in np.linspace(0.01, 0.99, 99))
    assert log_prob(weights[0]) >= best - 1e-3


def test_the_sum_is_better_than_each(models):
    text = zipf_text(200, 25, seed=5)
    weights = tune_interpolation_weights(models, text)
    both = perplexity(interpolate_ngram_models(models, weights), text)
    assert both.perplexity_with_oov < min(perplexity(m, text).perplexity_with_oov for m in models)


def test_wrong_weights(models):
    for weights in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(FsaValueError, match="weights: needed 2 positive numbers"):
            interpolate_ngram_models(models, weights)
    with pytest.raises(FsaValueError, match="models: needed at least one"):
        interpolate_ngram_models([], [])
