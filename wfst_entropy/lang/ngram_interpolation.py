"""Several language models made one by a weighted sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wfst_entropy.fsa import FsaValueError
from wfst_entropy.lang.backoff_weights import renormalized
from wfst_entropy.lang.ngram_model import UNKNOWN, Floats, Ids, NgramModel, NgramTable
from wfst_entropy.lang.perplexity import score_words
from wfst_entropy.lang.symbols import BOS, EOS
from wfst_entropy.lang.text_corpus import TextSource, read_sentences


def interpolate_ngram_models(models: Sequence[NgramModel], weights: Sequence[float]) -> NgramModel:
    r"""One model for several: :math:`p(h w) = \sum_m \lambda_m P_m(w \mid h)`.

    It has the n-grams of all models; what follows by backing off is close to the sum, not equal to
    it.  A word that a model has not has the probability 0 there.

    Args:
      models: one or more, of any orders.
      weights: :math:`\lambda`, one for each, positive; divided by their sum.

    Raises:
      FsaValueError: no model, or weights that do not fit.

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> a = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> b = estimate_ngram_model(["d"], 1, discount_fallback="fixed")
      >>> both = interpolate_ngram_models([a, b], [0.9, 0.1])
      >>> both.words
      ['<unk>', '<s>', '</s>', 'a', 'b', 'c', 'd']
    """
    shares = _shares(models, weights)
    words = _all_words(models)
    number = {word: i for i, word in enumerate(words)}
    to_all = [np.array([number[_name(word)] for word in model.words]) for model in models]
    from_all = [_inverse(given, len(words)) for given in to_all]
    tables: list[NgramTable] = []
    places: list[Ids] = []  # of each model's n-grams of the order before, among all
    for order in range(1, max(model.order for model in models) + 1):
        keys = []
        for m, model in enumerate(models):
            if order > model.order:
                keys.append(np.zeros(0, dtype=np.int64))
                continue
            table = model.tables[order - 1]
            context = places[m][table.context] if order > 1 else table.context
            keys.append(context * len(words) + to_all[m][table.word])
        known, place = np.unique(np.concatenate(keys), return_inverse=True)
        places = np.split(place, np.cumsum([len(k) for k in keys])[:-1])
        zeros = np.zeros(len(known))
        tables.append(NgramTable(known // len(words), known % len(words), zeros, zeros))
        ids = NgramModel(words, tables).ngram_ids(order)
        tables[-1] = NgramTable(
            tables[-1].context, tables[-1].word, _mixed(models, shares, from_all, ids), zeros
        )
    return renormalized(NgramModel(words, tables))


def tune_interpolation_weights(
    models: Sequence[NgramModel], text: TextSource, iterations: int = 50
) -> list[float]:
    r"""The weights with which the sum of the models predicts a held-out text best.

    Expectation maximisation: :math:`\lambda_m \leftarrow \frac{1}{n} \sum_i \lambda_m P_m(w_i)
    / \sum_k \lambda_k P_k(w_i)`, over the words that a model has.

    Args:
      models: one or more.
      text: not what the models were estimated from; see `read_sentences`.
      iterations: how often; each makes the text more likely.

    Returns:
      The weights, which sum to one.

    Raises:
      FsaValueError: no model, or no sentence in the text.

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> a = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> b = estimate_ngram_model(["d e", "a e"], 2, discount_fallback="fixed")
      >>> weights = tune_interpolation_weights([a, b], ["a b", "a e", "a c"])
      >>> weights[0] > weights[1]
      True
    """
    shares = _shares(models, [1.0] * len(models))
    sentences = list(read_sentences(text))
    scores = [score_words(model, sentences) for model in models]
    probs = np.stack([np.where(s.is_oov, 0, np.exp(s.log_probs)) for s in scores])
    probs = probs[:, probs.any(axis=0)]
    for _ in range(iterations):
        joint = shares[:, None] * probs
        shares = (joint / joint.sum(axis=0)).mean(axis=1)
    return [float(share) for share in shares]


def _shares(models: Sequence[NgramModel], weights: Sequence[float]) -> Floats:
    if not models:
        raise FsaValueError("models: needed at least one")
    if len(weights) != len(models) or not all(0 < w < np.inf for w in weights):
        raise FsaValueError(
            f"weights: needed {len(models)} positive numbers, one for each model, got "
            f"{list(weights)}"
        )
    return np.array(weights, dtype=np.float64) / sum(weights)


def _name(word: str) -> str:
    return UNKNOWN[0] if word in UNKNOWN else word


def _all_words(models: Sequence[NgramModel]) -> list[str]:
    words = {_name(word) for model in models for word in model.words}
    first = [word for word in (UNKNOWN[0], BOS, EOS) if word in words]
    return [*first, *sorted(words.difference(first))]


def _inverse(numbers: Ids, size: int) -> Ids:
    inverse = np.full(size, -1)
    inverse[numbers] = np.arange(len(numbers))
    return inverse


def _mixed(models: Sequence[NgramModel], shares: Floats, from_all: list[Ids], ids: Ids) -> Floats:
    """The log of the weighted sum of what the models say about n-grams."""
    total = np.zeros(len(ids))
    for model, share, given in zip(models, shares, from_all):
        total += share * np.exp(model.log_probs(given[ids]))
    with np.errstate(divide="ignore"):
        return np.log(total)
