"""N-grams left out of a model that hardly change it: entropy pruning."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from wfst_entropy.fsa import FsaValueError
from wfst_entropy.lang.backoff_weights import history_masses, renormalized
from wfst_entropy.lang.ngram_model import Floats, Ids, NgramModel

_LOG = logging.getLogger(__name__)


def pruning_costs(model: NgramModel, order: int, history_model: NgramModel | None = None) -> Floats:
    r"""How much the model would lose by each n-gram of an order: relative entropy, nats per word.

    .. math:: D = -P(h) \Bigl[ p(h w) \bigl(\log P(w \mid h') + \log b'(h) - \log p(h w)\bigr)
       + \bigl(\log b'(h) - \log b(h)\bigr) \bigl(1 - \sum_{v: h v} p(h v)\bigr) \Bigr]

    is the divergence of the model without :math:`h w` from the one with it, where :math:`b'(h)` is
    the back-off weight that then makes the sum one.  :math:`P(h)` is the probability of the
    history; a sentence begins as often as one ends.

    Args:
      model: a model whose probabilities sum to one.
      order: at least 2.
      history_model: what gives :math:`P(h)`; by default the model itself.

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
        log_history = _history_log_probs(model, order, history_model or model)[table.context]
        cost = -np.exp(log_history) * (same_word + other_words)
    # Without any other way to the word, the divergence has no bound.
    return np.where(np.isnan(cost), np.inf, cost)


def prune_ngram_model(
    model: NgramModel, threshold: float, *, history_model: NgramModel | None = None
) -> NgramModel:
    r"""Leaves out the n-grams, longest first, by which the perplexity would rise the least.

    An n-gram goes if :math:`\exp(D) - 1`, the relative rise of perplexity by `pruning_costs`, is
    below the threshold and no longer n-gram that stays begins with it.  Single words stay.
    Back-off weights are computed anew.

    The lower orders of a Kneser-Ney model say how many contexts a word has, not how often it comes,
    and are poor probabilities of histories.  A `history_model` with `smoothing="absolute"`, of the
    same text, gives a smaller model for the same perplexity.

    Args:
      model: a model whose probabilities sum to one; see `check_ngram_model`.
      threshold: 1e-8 takes little, 1e-6 much.
      history_model: what gives the probabilities of histories; by default the model itself.

    Raises:
      FsaValueError: the threshold is negative or not a number, or `history_model` has not the
        words.

    Source: Stolcke 1998, "Entropy-based pruning of backoff language models"; Chelba et al. 2010,
    "Study on interaction between entropy pruning and Kneser-Ney smoothing".

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
        stays = np.expm1(pruning_costs(model, order, history_model)) >= threshold
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


def _history_log_probs(model: NgramModel, order: int, source: NgramModel) -> Floats:
    """The log-probability of each history of `order - 1` words of a model by another one."""
    ids = _words_in(source, model.words)[model.ngram_ids(order - 1)]
    first = source.tables[0].log_prob
    log_prob = np.where(ids[:, 0] == source.bos, first[source.eos], first[ids[:, 0]])
    for length in range(2, order):
        log_prob = log_prob + source.log_probs(ids[:, :length])
    return log_prob


def _words_in(source: NgramModel, words: list[str]) -> Ids:
    other = -1 if source.unknown is None else source.unknown
    ids = np.array([source.word_ids.get(word, other) for word in words])
    if (ids < 0).any():
        word = words[int((ids < 0).argmax())]
        raise FsaValueError(
            f"history_model: has neither the word {word!r} nor <unk>; estimate it from the same "
            "text with the same vocabulary as the model"
        )
    return ids
