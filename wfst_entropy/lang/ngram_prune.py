"""N-grams left out of a model that hardly change it: entropy pruning."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from wfst_entropy.fsa import FsaValueError
from wfst_entropy.lang.backoff_weights import history_masses, renormalized
from wfst_entropy.lang.ngram_model import Floats, NgramModel, NgramTable

_LOG = logging.getLogger(__name__)


def pruning_costs(model: NgramModel, order: int) -> Floats:
    r"""How much the model would lose by each n-gram of an order: relative entropy, nats per word.

    .. math:: D = -P(h) \Bigl[ p(h w) \bigl(\log P(w \mid h') + \log b'(h) - \log p(h w)\bigr)
       + \bigl(\log b'(h) - \log b(h)\bigr) \bigl(1 - \sum_{v: h v} p(h v)\bigr) \Bigr]

    is the divergence of the model without :math:`h w` from the one with it, where :math:`b'(h)` is
    the back-off weight that then makes the sum one.  :math:`P(h)` is the model's own probability of
    the history; a sentence begins as often as one ends.

    Args:
      model: a model whose probabilities sum to one.
      order: at least 2.

    Returns:
      float64, one entry for each n-gram.

    Source: Stolcke 1998, "Entropy-based pruning of backoff language models", eqs. 5 and 6.

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> model = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> [model.words[i] for i in model.ngram_ids(2)[pruning_costs(model, 2).argmax()]]
      ['<s>', 'a']
    """
    table = model.tables[order - 1]
    masses = history_masses(model, order)
    left = np.maximum(1 - masses.explicit, 0)[table.context]
    left_shorter = np.maximum(1 - masses.shorter, 0)[table.context]
    prob, log_shorter = np.exp(table.log_prob), masses.log_shorter
    with np.errstate(divide="ignore", invalid="ignore"):
        new_backoff = np.log(left + prob) - np.log(left_shorter + np.exp(log_shorter))
        change = new_backoff - (np.log(left) - np.log(left_shorter))
        # 0 log 0 is 0.
        other_words = np.where(left > 0, left * change, 0)
        same_word = np.where(prob > 0, prob * (log_shorter + new_backoff - table.log_prob), 0)
        log_history = _history_log_probs(model, order)[table.context]
        cost = -np.exp(log_history) * (same_word + other_words)
    # Without any other way to the word, the divergence has no bound.
    return np.where(np.isnan(cost), np.inf, cost)


def prune_ngram_model(model: NgramModel, threshold: float) -> NgramModel:
    r"""Leaves out the n-grams, longest first, by which the perplexity would rise the least.

    An n-gram goes if :math:`\exp(D) - 1`, the relative rise of perplexity by `pruning_costs`, is
    below the threshold and no longer n-gram that stays begins with it.  Single words stay.
    Back-off weights are computed anew.

    Args:
      model: a model whose probabilities sum to one; see `check_ngram_model`.
      threshold: 1e-8 takes little, 1e-6 much.

    Raises:
      FsaValueError: the threshold is negative or not a number.

    Source: Stolcke 1998, "Entropy-based pruning of backoff language models".

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> model = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> prune_ngram_model(model, 0.05).num_ngrams
      [6, 3]
    """
    if not threshold >= 0:
        raise FsaValueError(f"threshold: must be a number from 0 on, got {threshold}")
    tables = list(model.tables)
    for order in range(model.order, 1, -1):
        stays = np.expm1(pruning_costs(model, order)) >= threshold
        if order < len(tables):
            stays[tables[order].context] = True
            place = np.cumsum(stays) - 1
            longer = tables[order]
            tables[order] = dataclasses.replace(longer, context=place[longer.context])
        tables[order - 1] = model.tables[order - 1].select(stays)
        if not len(tables[order - 1]) and order == len(tables):
            tables.pop()
    pruned = renormalized(NgramModel(model.words, tables))
    _LOG.info("pruned at %g: %s to %s", threshold, model.num_ngrams, pruned.num_ngrams)
    return pruned


def _history_log_probs(model: NgramModel, order: int) -> Floats:
    """The log-probability of each history of `order - 1` words."""
    first: NgramTable = model.tables[0]
    log_prob = first.log_prob.copy()
    log_prob[model.bos] = first.log_prob[model.eos]
    for table in model.tables[1 : order - 1]:
        log_prob = log_prob[table.context] + table.log_prob
    return log_prob
