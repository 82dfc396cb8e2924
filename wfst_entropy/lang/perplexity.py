"""How well a language model predicts a text."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wfst_entropy.lang.ngram_model import Floats, Ids, NgramModel
from wfst_entropy.lang.text_corpus import TextSource, encode_sentences, read_sentences

# Beyond, math.exp raises OverflowError.
_LARGEST = math.log(sys.float_info.max)


class WordScores(NamedTuple):
    """The log-probabilities of a text, word by word.

    Attributes:
      log_probs: float64 `(num_words + num_sentences,)`, nats: the words of each sentence, then its
        `</s>`.
      is_oov: bool, same shape: the word is not in the model, and was scored as `<unk>`; -inf where
        the model has none.
      begins: int64 `(num_sentences,)`, where each sentence begins.
    """

    log_probs: Floats
    is_oov: NDArray[np.bool_]
    begins: Ids

    def sentence_log_probs(self) -> Floats:
        """The log-probability of each sentence with its end: float64 `(num_sentences,)`, nats."""
        return np.add.reduceat(self.log_probs, self.begins)


@dataclass(frozen=True)
class Perplexity:
    """What a text costs under a model; logs in nats.

    Attributes:
      num_sentences: sentences, each of which ends in `</s>`.
      num_words: words, without `</s>`.
      num_oov: those of them that the model has not.
      log_prob_words: of the words that the model has.
      log_prob_ends: of all `</s>`.
      log_prob_oov: of the other words, as `<unk>`; -inf if the model has no `<unk>`.
    """

    num_sentences: int
    num_words: int
    num_oov: int
    log_prob_words: float
    log_prob_ends: float
    log_prob_oov: float

    @property
    def log_prob(self) -> float:
        """Of the words that the model has, and of `</s>`."""
        return self.log_prob_words + self.log_prob_ends

    @property
    def cross_entropy(self) -> float:
        """Nats per known word or `</s>`."""
        return -self.log_prob / (self.num_words - self.num_oov + self.num_sentences)

    @property
    def bits(self) -> float:
        """Bits per known word or `</s>`."""
        return self.cross_entropy / math.log(2)

    @property
    def perplexity(self) -> float:
        """The usual figure: unknown words left out, `</s>` counted."""
        return _exp(self.cross_entropy)

    @property
    def perplexity_without_ends(self) -> float:
        """Unknown words and `</s>` left out; nan if nothing else is there."""
        known = self.num_words - self.num_oov
        return _exp(-self.log_prob_words / known) if known else math.nan

    @property
    def perplexity_with_oov(self) -> float:
        """Everything counted, unknown words as `<unk>`; inf if the model has none."""
        if self.num_oov == 0:
            return self.perplexity
        total = self.log_prob + self.log_prob_oov
        return _exp(-total / (self.num_words + self.num_sentences))

    def __str__(self) -> str:
        return (
            f"{self.num_sentences} sentences, {self.num_words} words, {self.num_oov} OOVs\n"
            f"perplexity {self.perplexity:.4f} ({self.bits:.4f} bits per word, </s> counted), "
            f"without </s> {self.perplexity_without_ends:.4f}, "
            f"with OOVs {self.perplexity_with_oov:.4f}"
        )


def _exp(value: float) -> float:
    return math.exp(value) if value < _LARGEST else math.inf


def score_words(model: NgramModel, text: TextSource) -> WordScores:
    """The log-probability of every word of a text after the words before it in its sentence.

    Args:
      model: the model.
      text: a file, several, or sentences; see `read_sentences`.

    Raises:
      FsaFormatError: the text is wrong; FsaValueError: it has no sentence.

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> model = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> np.exp(score_words(model, ["a b", "a"]).sentence_log_probs()).round(4).tolist()
      [0.1365, 0.09]
    """
    # One more than the model's words: those that it has not, which have another number meanwhile.
    corpus = encode_sentences(read_sentences(text), model.word_ids, other=len(model.words))
    sequence, begins = corpus.with_limits(model.bos, model.eos)
    is_oov = sequence == len(model.words)
    sequence[is_oov] = -1 if model.unknown is None else model.unknown
    log_probs = np.where(sequence < 0, -np.inf, model.tables[0].log_prob[sequence])
    number = sequence  # of the n-gram that ends at each position
    for order in range(2, model.order + 1):
        history = np.concatenate([[-1], number[:-1]])
        history[begins] = -1
        number = model.find(order, history, sequence)
        shorter, longer = model.tables[order - 2], model.tables[order - 1]
        log_probs = log_probs + np.where(history < 0, 0, shorter.backoff[history])
        if len(longer):
            log_probs = np.where(number < 0, log_probs, longer.log_prob[number])
    predicted = np.ones(len(sequence), dtype=bool)
    predicted[begins] = False
    ends = begins - np.arange(len(begins))
    return WordScores(log_probs[predicted], is_oov[predicted], ends)


def perplexity(model: NgramModel, text: TextSource) -> Perplexity:
    r"""The perplexity :math:`\exp(-\frac{1}{n} \sum_i \log P(w_i \mid h_i))` of a text, counts too.

    Args:
      model: the model.
      text: a file, several, or sentences; see `read_sentences`.

    Raises:
      FsaFormatError: the text is wrong; FsaValueError: it has no sentence.

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> model = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> result = perplexity(model, ["a b", "a d"])
      >>> round(result.perplexity, 4), result.num_oov
      (2.0985, 1)
    """
    scores = score_words(model, text)
    is_end = np.zeros(len(scores.log_probs), dtype=bool)
    is_end[np.append(scores.begins[1:], len(is_end)) - 1] = True
    oov = scores.is_oov
    return Perplexity(
        num_sentences=len(scores.begins),
        num_words=len(oov) - len(scores.begins),
        num_oov=int(oov.sum()),
        log_prob_words=float(scores.log_probs[~oov & ~is_end].sum()),
        log_prob_ends=float(scores.log_probs[is_end].sum()),
        log_prob_oov=float(scores.log_probs[oov].sum()),
    )
