"""A back-off n-gram model held in arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wfst_entropy.fsa import FsaValueError
from wfst_entropy.lang.symbols import BOS, EOS

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

# How the word that stands for all unknown ones is written.
UNKNOWN = ("<unk>", "<UNK>", "<Unk>")


@dataclass(frozen=True)
class NgramTable:
    """The n-grams of one order, ordered by context and word; all arrays have one entry for each.

    Attributes:
      context: int64, the number of the n-gram's first words among those that are one shorter;
        zeros for single words.
      word: int64, the number of its last word.
      log_prob: float64, the log-probability of the last word after the others, nats; -inf where it
        is impossible.
      backoff: float64, the log of what the model multiplies with where it has not what follows this
        n-gram, nats; zeros in the highest order.
    """

    context: Ids
    word: Ids
    log_prob: Floats
    backoff: Floats

    def __len__(self) -> int:
        return len(self.word)

    def select(self, kept: NDArray[np.bool_]) -> NgramTable:
        """Some of the n-grams, with the numbers of their contexts as before."""
        return NgramTable(
            self.context[kept], self.word[kept], self.log_prob[kept], self.backoff[kept]
        )


class NgramModel:
    r"""A back-off n-gram model of words, or of tokens: any symbols.

    .. math:: P(w \mid h) = \begin{cases} p(h w) & \text{if the model has } h w \\
       b(h)\, P(w \mid h') & \text{else,} \end{cases}

    where :math:`h'` is h without its oldest word and :math:`b(h)` is 1 where the model has not h.
    Every n-gram's first words are an n-gram of the model too, so that the tables form a tree.

    Args:
      words: the symbols; the numbers of words are positions here.
      tables: one for each order, that of single words first, which has all words in their order.

    Raises:
      FsaValueError: `<s>` or `</s>` is not a word, or the tables do not fit the words.

    Example:
      >>> words = ["<s>", "</s>", "a"]
      >>> zeros = np.zeros(3, dtype=np.int64)
      >>> unigrams = NgramTable(
      ...     zeros, np.arange(3), np.log([1e-99, 0.5, 0.5]), np.log([0.4, 1, 1]))
      >>> bigrams = NgramTable(zeros[:1], np.array([2]), np.log([0.8]), np.zeros(1))
      >>> model = NgramModel(words, [unigrams, bigrams])
      >>> model
      NgramModel(order=2, ngrams=[3, 1])
      >>> np.exp(model.log_probs(model.ids([["<s>", "a"], ["<s>", "</s>"]]))).round(6).tolist()
      [0.8, 0.2]
    """

    def __init__(self, words: Sequence[str], tables: Sequence[NgramTable]) -> None:
        self.words = list(words)
        self.tables = list(tables)
        if not self.tables or len(self.tables[0]) != len(self.words):
            raise FsaValueError(
                f"tables: the first must have one entry for each of the {len(self.words)} words"
            )
        for symbol in (BOS, EOS):
            if symbol not in self.word_ids:
                raise FsaValueError(f"words: {symbol} is missing; sentences need their two limits")

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.tables)

    @property
    def num_ngrams(self) -> list[int]:
        """How many n-grams of each order there are."""
        return [len(table) for table in self.tables]

    @cached_property
    def word_ids(self) -> dict[str, int]:
        """The numbers of the words."""
        return {word: i for i, word in enumerate(self.words)}

    @property
    def bos(self) -> int:
        """The number of `<s>`."""
        return self.word_ids[BOS]

    @property
    def eos(self) -> int:
        """The number of `</s>`."""
        return self.word_ids[EOS]

    @cached_property
    def unknown(self) -> int | None:
        """The number of `<unk>` (or `<UNK>`), if the model has it."""
        return next((self.word_ids[word] for word in UNKNOWN if word in self.word_ids), None)

    def truncated(self, max_order: int) -> NgramModel:
        """The model without the n-grams longer than `max_order`, probabilities as they are.

        Raises:
          FsaValueError: `max_order` is below 1.
        """
        if max_order < 1:
            raise FsaValueError(f"max_order: must be at least 1, got {max_order}")
        if max_order >= self.order:
            return self
        last = self.tables[max_order - 1]
        # The highest order has nothing to back off from.
        last = dataclasses.replace(last, backoff=np.zeros(len(last)))
        return NgramModel(self.words, [*self.tables[: max_order - 1], last])

    def ids(self, ngrams: Sequence[Sequence[str]]) -> Ids:
        """Numbers `(len(ngrams), n)` of n-grams of one length; unknown words become `<unk>`, or -1.

        Raises:
          FsaValueError: the n-grams differ in length.
        """
        if len({len(ngram) for ngram in ngrams}) > 1:
            raise FsaValueError("ngrams: must all have the same number of words")
        other = -1 if self.unknown is None else self.unknown
        rows = [[self.word_ids.get(word, other) for word in ngram] for ngram in ngrams]
        return np.array(rows, dtype=np.int64)

    def ngram_ids(self, order: int) -> Ids:
        """The words of all n-grams of one order: int64 `(number, order)`."""
        table = self.tables[order - 1]
        if order == 1:
            return table.word[:, None]
        return np.concatenate(
            [self.ngram_ids(order - 1)[table.context], table.word[:, None]], axis=1
        )

    def find(self, order: int, context: Ids, word: Ids) -> Ids:
        """The numbers of n-grams given by context and last word, -1 where the model has it not.

        Args:
          order: of the n-grams.
          context: int64 `(n,)`, numbers of n-grams one shorter; -1 is never found.
          word: int64 `(n,)`; -1 is never found.
        """
        if order == 1:
            return word
        keys = self._keys[order - 2]
        if not len(keys):
            return np.full(len(word), -1)
        wanted = np.where((context < 0) | (word < 0), -1, context * len(self.words) + word)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, place, -1)

    def lookup(self, ids: Ids) -> Ids:
        """The numbers of n-grams given by their words `(n, order)`, -1 where the model has it not.

        Orders above the model's are never found.
        """
        if ids.shape[1] > self.order:
            return np.full(len(ids), -1)
        number = ids[:, 0]
        for k in range(2, ids.shape[1] + 1):
            number = self.find(k, number, ids[:, k - 1])
        return number

    def log_probs(self, ids: Ids) -> Floats:
        """The log-probability of the last word after the others, backing off where needed.

        Args:
          ids: int64 `(n, length)`, as `ids` gives; of a longer history the nearest words count, and
            none beyond a word with number -1.

        Returns:
          float64 `(n,)`, nats; -inf for a last word with number -1.
        """
        last = ids[:, -1]
        log_prob = np.where(last < 0, -np.inf, self.tables[0].log_prob[last])
        for k in range(2, min(self.order, ids.shape[1]) + 1):
            history = self.lookup(ids[:, -k:-1])
            found = self.find(k, history, last)
            backed_off = log_prob + _take(self.tables[k - 2].backoff, history, 0)
            log_prob = _take(self.tables[k - 1].log_prob, found, backed_off)
        return log_prob

    @cached_property
    def _keys(self) -> list[Ids]:
        # Ascending, since the tables are ordered by context and word.
        return [table.context * len(self.words) + table.word for table in self.tables[1:]]

    def __repr__(self) -> str:
        return f"NgramModel(order={self.order}, ngrams={self.num_ngrams})"


def _take(values: Floats, number: Ids, otherwise: Floats | float) -> Floats:
    """The values with these numbers, and `otherwise` where the number is -1."""
    if not len(values):
        return np.broadcast_to(otherwise, number.shape).astype(np.float64)
    return np.where(number < 0, otherwise, values[number])
