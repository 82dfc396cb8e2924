"""Entropy pruning: what the formula says is what a model loses, and little is lost."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from zipf import zipf_text

from wfst_entropy import (
    NgramModel,
    check_ngram_model,
    estimate_ngram_model,
    perplexity,
    prune_ngram_model,
    pruning_costs,
)
from wfst_entropy.fsa import FsaValueError
from wfst_entropy.lang.backoff_weights import renormalized


@pytest.fixture(scope="module")
def model() -> NgramModel:
    text = zipf_text(300, 12, seed=7)
    return estimate_ngram_model(text, 3, min_counts=(1, 2, 2), discount_fallback="absolute")


def without(model: NgramModel, order: int, number: int) -> NgramModel:
    """The model without one n-gram that none begins with."""
    stays = np.arange(model.num_ngrams[order - 1]) != number
    tables = list(model.tables)
    tables[order - 1] = tables[order - 1].select(stays)
    if order < model.order:
        assert number not in tables[order].context
        place = np.cumsum(stays) - 1
        tables[order] = dataclasses.replace(tables[order], context=place[tables[order].context])
    return renormalized(NgramModel(model.words, tables))


def divergence(p: NgramModel, q: NgramModel, history: np.ndarray) -> float:
    """The relative entropy of two models after a history, by enumeration."""
    words = np.array([i for i in range(len(p.words)) if i != p.bos])
    ids = np.concatenate([np.tile(history, (len(words), 1)), words[:, None]], axis=1)
    a, b = p.log_probs(ids), q.log_probs(ids)
    return float((np.exp(a) * (a - b)).sum())


@pytest.mark.parametrize("order", [2, 3])
def test_the_cost_is_the_divergence_of_the_model_without_an_ngram(model, order):
    costs = pruning_costs(model, order)
    ids = model.ngram_ids(order)
    begun = set(model.tables[order].context.tolist()) if order < model.order else set()
    tested = 0
    for number in range(0, len(ids), 3):
        history = ids[number, :-1]
        if number in begun:
            continue
        first = model.tables[0].log_prob[history[0]]
        if history[0] == model.bos:
            first = model.tables[0].log_prob[model.eos]
        log_history = first + sum(
            model.log_probs(history[None, : k + 1])[0] for k in range(1, len(history))
        )
        told = np.exp(log_history) * divergence(model, without(model, order, number), history)
        assert costs[number] == pytest.approx(told, rel=1e-6, abs=1e-12)
        assert costs[number] >= 0
        tested += 1
    assert tested > 10


def test_histories_may_have_the_probabilities_of_another_model(model):
    text = zipf_text(300, 12, seed=7)
    other = estimate_ngram_model(text, 2, smoothing="absolute", discount_fallback="absolute")
    ratio = pruning_costs(model, 3, other) / pruning_costs(model, 3)
    histories = model.ngram_ids(3)[:, :2]
    told = [
        sum(m.log_probs(m.ids([[model.words[i] for i in h[: k + 1]]]))[0] for k in range(2))
        - sum(model.log_probs(h[None, : k + 1])[0] for k in range(2))
        for m in (other,)
        for h in histories
        if h[0] != model.bos
    ]
    np.testing.assert_allclose(ratio[histories[:, 0] != model.bos], np.exp(told), rtol=1e-6)
    stranger = NgramModel(
        ["<s>", "</s>"], [model.tables[0].select(np.arange(model.num_ngrams[0]) < 2)]
    )
    with pytest.raises(FsaValueError, match="history_model: has neither the word '<unk>'"):
        prune_ngram_model(model, 1e-3, history_model=stranger)


def test_pruned_models_sum_to_one_and_get_worse_by_degrees(model):
    text = zipf_text(300, 12, seed=7)
    last, sizes = perplexity(model, text).perplexity, model.num_ngrams
    for threshold in [0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1]:
        pruned = prune_ngram_model(model, threshold)
        assert check_ngram_model(pruned, tolerance=1e-9) == []
        now = perplexity(pruned, text).perplexity
        assert now >= last * (1 - 1e-6)
        assert all(a <= b for a, b in itertools.zip_longest(pruned.num_ngrams, sizes, fillvalue=0))
        last, sizes = now, pruned.num_ngrams
    assert pruned.order == 1, "a threshold of one takes all but single words"


def test_a_longer_ngram_keeps_what_it_begins_with(model):
    pruned = prune_ngram_model(model, 3e-4)
    assert 0 < len(pruned.tables[2]) < len(model.tables[2])
    kept = {tuple(ids) for ids in pruned.ngram_ids(2).tolist()}
    assert {tuple(ids[:2]) for ids in pruned.ngram_ids(3).tolist()} <= kept


def test_probabilities_that_stay_do_not_change(model):
    pruned = prune_ngram_model(model, 3e-4)
    ids = pruned.ngram_ids(3)
    np.testing.assert_allclose(pruned.tables[2].log_prob, model.log_probs(ids), rtol=1e-12)


def test_threshold_is_checked(model):
    for threshold in (-1e-8, float("nan")):
        with pytest.raises(FsaValueError, match="threshold: must be a number from 0 on"):
            prune_ngram_model(model, threshold)
