"""Back-off weights that make the probabilities of every history sum to one."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from wfst_entropy.lang.ngram_model import Floats, NgramModel

# What is left of one after sums over many words is rounding below this.
_ROUNDING = 1e-12


class HistoryMasses(NamedTuple):
    """Of each n-gram as a history: what its words with n-grams of their own have.

    Attributes:
      explicit: float64, the sum of their probabilities after the history.
      shorter: float64, the sum of their probabilities after the history without its oldest word.
      log_shorter: float64, one entry for each n-gram of the order above: the log of what it adds to
        `shorter`.
    """

    explicit: Floats
    shorter: Floats
    log_shorter: Floats


def history_masses(model: NgramModel, order: int) -> HistoryMasses:
    """What n-grams of an order take from the histories of `order - 1` words that they have.

    Args:
      model: the model.
      order: at least 2.
    """
    table, histories = model.tables[order - 1], model.num_ngrams[order - 2]
    log_shorter = model.log_probs(model.ngram_ids(order)[:, 1:])
    explicit, shorter = (
        np.bincount(table.context, np.exp(values), minlength=histories).astype(np.float64)
        for values in (table.log_prob, log_shorter)
    )
    return HistoryMasses(explicit, shorter, log_shorter)


def renormalized(model: NgramModel) -> NgramModel:
    r"""The model with the back-off weights that its probabilities ask for.

    .. math:: b(h) = \frac{1 - \sum_{w: h w} p(h w)}{1 - \sum_{w: h w} P(w \mid h')}

    over the words w after which h has an n-gram; 1 where there are none, and 0 where they have the
    whole probability.

    Args:
      model: its single words must sum to one.

    Example:
      >>> from wfst_entropy.lang.ngram_model import NgramTable
      >>> zeros = np.zeros(3, dtype=np.int64)
      >>> words = NgramTable(zeros, np.arange(3), np.log([1e-99, 0.5, 0.5]), np.zeros(3))
      >>> pairs = NgramTable(zeros[:1], np.array([2]), np.log([0.8]), np.zeros(1))
      >>> model = renormalized(NgramModel(["<s>", "</s>", "a"], [words, pairs]))
      >>> np.exp(model.tables[0].backoff).round(6).tolist()
      [0.4, 1.0, 1.0]
    """
    tables = list(model.tables)
    for order in range(2, model.order + 1):
        # Shorter histories have their new weights already: longer ones are made of them.
        current = NgramModel(model.words, tables)
        masses = history_masses(current, order)
        left, left_shorter = 1 - masses.explicit, 1 - masses.shorter
        with np.errstate(divide="ignore", invalid="ignore"):
            backoff = np.log(left) - np.log(left_shorter)
        backoff[left < _ROUNDING] = -np.inf
        backoff[left_shorter < _ROUNDING] = 0
        backoff[np.bincount(tables[order - 1].context, minlength=len(backoff)) == 0] = 0
        tables[order - 2] = dataclasses.replace(tables[order - 2], backoff=backoff)
    tables[-1] = dataclasses.replace(tables[-1], backoff=np.zeros(len(tables[-1])))
    return NgramModel(model.words, tables)


def check_ngram_model(model: NgramModel, tolerance: float = 1e-3) -> list[str]:
    """Tells what is odd about a model: histories whose probabilities do not sum to one, no `<unk>`.

    Args:
      model: the model.
      tolerance: how far from one a sum may be; files with few decimals are off by as much.

    Returns:
      A sentence for each finding; none for a good model.

    Example:
      >>> from wfst_entropy.lang.ngram_model import NgramTable
      >>> zeros = np.zeros(3, dtype=np.int64)
      >>> table = NgramTable(zeros, np.arange(3), np.log([1e-99, 0.5, 0.4]), np.zeros(3))
      >>> for finding in check_ngram_model(NgramModel(["<s>", "</s>", "a"], [table])):
      ...     print(finding)
      there is no <unk>: sentences with other words have no probability
      the probabilities of all words sum to 0.9000, not to one
    """
    findings = []
    if model.unknown is None:
        findings.append("there is no <unk>: sentences with other words have no probability")
    total = float(np.exp(model.tables[0].log_prob).sum())
    if abs(total - 1) > tolerance:
        findings.append(f"the probabilities of all words sum to {total:.4f}, not to one")
    for order in range(2, model.order + 1):
        masses = history_masses(model, order)
        backoff = np.exp(model.tables[order - 2].backoff)
        sums = masses.explicit + backoff * (1 - masses.shorter)
        used = np.bincount(model.tables[order - 1].context, minlength=len(sums)) > 0
        off = np.abs(np.where(used, sums - 1, 0))
        if (off > tolerance).any():
            worst = int(off.argmax())
            history = " ".join(model.words[i] for i in model.ngram_ids(order - 1)[worst])
            findings.append(
                f"after {int((off > tolerance).sum())} of {int(used.sum())} histories of "
                f"{order - 1} word(s) the probabilities do not sum to one; farthest off is "
                f"{history!r}: {sums[worst]:.4f}"
            )
    return findings
