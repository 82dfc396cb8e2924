"""How often each n-gram occurs in a text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wfst_entropy.lang.ngram_model import Ids
from wfst_entropy.lang.text_corpus import TextCorpus


@dataclass(frozen=True)
class CountTable:
    """The n-grams of one order that occur, ordered by context and word.

    Attributes:
      context: int64 `(n,)`, the number of the first words among the n-grams one shorter.
      word: int64 `(n,)`, the last word.
      suffix: int64 `(n,)`, the number of the last words among the n-grams one shorter.
      count: int64 `(n,)`, how often it occurs.
    """

    context: Ids
    word: Ids
    suffix: Ids
    count: Ids

    def __len__(self) -> int:
        return len(self.word)


def count_ngrams(
    corpus: TextCorpus, order: int, num_words: int, bos: int, eos: int
) -> list[CountTable]:
    """Counts the n-grams of all orders up to `order` within sentences between `<s>` and `</s>`.

    Args:
      corpus: the sentences.
      order: the length of the longest n-grams; orders that no sentence is long enough for are left
        out.
      num_words: the size of the vocabulary; the table of single words has all of them.
      bos: the number of `<s>`.
      eos: the number of `</s>`.

    Example:
      >>> corpus = TextCorpus(np.array([2, 2, 3]), np.array([0, 2, 3]))  # "a a", "b"
      >>> words, pairs = count_ngrams(corpus, 2, 4, bos=0, eos=1)
      >>> words.count.tolist()
      [2, 2, 2, 1]
      >>> list(zip(pairs.context.tolist(), pairs.word.tolist(), pairs.count.tolist()))
      [(0, 2, 1), (0, 3, 1), (2, 1, 1), (2, 2, 1), (3, 1, 1)]
    """
    sequence, begins = corpus.with_limits(bos, eos)
    zeros = np.zeros(num_words, dtype=np.int64)
    count = np.bincount(sequence, minlength=num_words)
    tables = [CountTable(zeros, np.arange(num_words), zeros, count)]
    number = sequence  # of the n-gram that ends at each position, -1 before it can
    for _ in range(1, order):
        history = np.concatenate([[-1], number[:-1]])
        history[begins] = -1
        at = np.flatnonzero(history >= 0)
        keys, first, inverse, count = np.unique(
            history[at] * num_words + sequence[at],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        if not len(keys):
            break
        table = CountTable(keys // num_words, keys % num_words, number[at[first]], count)
        tables.append(table)
        number = np.full(len(sequence), -1)
        number[at] = inverse
    return tables
