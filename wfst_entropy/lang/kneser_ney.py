"""N-gram models estimated from text: interpolated modified Kneser-Ney smoothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from wfst_entropy.fsa import FsaValueError
from wfst_entropy.lang.ngram_counts import CountTable, count_ngrams
from wfst_entropy.lang.ngram_model import UNKNOWN, Floats, Ids, NgramModel, NgramTable
from wfst_entropy.lang.symbols import BOS, EOS
from wfst_entropy.lang.text_corpus import TextCorpus, TextSource, encode_sentences, read_sentences
from wfst_entropy.lang.vocabulary import real_words

_LOG = logging.getLogger(__name__)
UNK = UNKNOWN[0]
_FIXED = (0.5, 1.0, 1.5)
_HIGHEST_ORDER = 5

Fallback = Literal["absolute", "fixed"]


def estimate_ngram_model(
    text: TextSource,
    order: int = 3,
    *,
    vocabulary: Iterable[str] | None = None,
    min_counts: Sequence[int] = (1,),
    smoothing: Literal["kneser-ney", "absolute"] = "kneser-ney",
    discount_fallback: Fallback | None = None,
    max_words: int = 100_000_000,
) -> NgramModel:
    r"""Estimates an n-gram model by interpolated modified Kneser-Ney smoothing.

    With a the adjusted counts (how often an n-gram occurs if it is of the highest order or begins
    with `<s>`, else how many different words precede it),

    .. math:: P(w \mid h) = \frac{a(h w) - D(a(h w))}{\sum_v a(h v)} + \gamma(h)\, P(w \mid h'),

    where h' is h without its oldest word, :math:`\gamma(h)` makes the sum over w one, and below the
    single words all words and `</s>` are equally likely.  Each order has three discounts, from how
    many n-grams :math:`n_c` have the adjusted count c: with :math:`Y = n_1 / (n_1 + 2 n_2)`,

    .. math:: D(c) = c - (c + 1)\, Y\, n_{c+1} / n_c \quad (c = 1, 2), \qquad
       D(c) = 3 - 4\, Y\, n_4 / n_3 \quad (c \ge 3).

    Args:
      text: a file with one sentence a line, plain or gzip, several (of type `Path`), or sentences
        as strings or lists.  What a word is, is up to the text: tokens give a model of tokens.
      order: the length of the longest n-grams, 1 to 5.
      vocabulary: the words; all others count as `<unk>`.  By default all words of the text.
        `<eps>`, `<blk>`, `<sos/eos>`, `#0`... in it are passed over, so that a symbol table's
        symbols can be given.
      min_counts: how often an n-gram of each order must occur to be kept; the last number stands
        for all higher orders, none may be smaller than the one before.  Words that occur less often
        count as `<unk>`.
      smoothing: `"absolute"` takes how often an n-gram occurs in all orders, which predicts less
        well, but gives histories their true probabilities; see `prune_ngram_model`.
      discount_fallback: the discounts of orders whose :math:`n_c` allow none (too little text, or
        few different symbols, as with tokens): `"absolute"` is Y for all counts (0.5 if that is not
        between 0 and 1), `"fixed"` is 0.5, 1 and 1.5.  By default this is an error.
      max_words: refuse a longer text; a word takes up to 200 bytes of memory while n-grams are
        counted.

    Returns:
      The model, with `<unk>`, `<s>`, `</s>` and the words in alphabetical order; the probabilities
      of every history sum to one.

    Raises:
      FsaValueError: no sentence in the text, more words than `max_words`, a wrong `order`,
        `min_counts` or `vocabulary`, or discounts that cannot be estimated.
      FsaFormatError: the text is wrong; see `read_sentences`.

    Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language
    modeling", eqs. 17 and 23-26; the unknown word as in Heafield et al. 2013, "Scalable modified
    Kneser-Ney language model estimation".

    Example:
      >>> model = estimate_ngram_model(["a b", "a c"], 2, discount_fallback="fixed")
      >>> model
      NgramModel(order=2, ngrams=[6, 5])
      >>> np.exp(model.log_probs(model.ids([["<s>", "a"], ["<s>", "b"]]))).round(3).tolist()
      [0.6, 0.1]
    """
    _check_order(order, min_counts, vocabulary is not None)
    if discount_fallback not in (None, "absolute", "fixed"):
        raise FsaValueError(
            f"discount_fallback: must be 'absolute' or 'fixed', got {discount_fallback!r}"
        )
    if smoothing not in ("kneser-ney", "absolute"):
        raise FsaValueError(f"smoothing: must be 'kneser-ney' or 'absolute', got {smoothing!r}")
    corpus, words = _numbered(_at_most(max_words, text), vocabulary, min_counts[0])
    bos, eos = words.index(BOS), words.index(EOS)
    _LOG.info(
        "counting %d-grams of %d words in %d sentences",
        order, len(corpus.ids), corpus.num_sentences,
    )  # fmt: skip
    counts = count_ngrams(corpus, order, len(words), bos, eos)
    tables: list[NgramTable] = []
    place = np.arange(len(words))  # of each n-gram of the order before in its table, -1: left out
    for k, table in enumerate(counts, start=1):
        adjusted = _adjusted_counts(counts, k, bos, smoothing)
        discounts = _discounts(adjusted, k, discount_fallback)
        least = min_counts[min(k, len(min_counts)) - 1]
        kept = table.count >= least if k > 1 else np.ones(len(table), dtype=bool)
        if k == 1:
            tables.append(_unigrams(adjusted, discounts, bos))
        else:
            tables[-1], new = _interpolated(tables[-1], table, adjusted, discounts, kept, place)
            tables.append(new)
        place = np.where(kept, np.cumsum(kept) - 1, -1)
    while len(tables) > 1 and not len(tables[-1]):
        tables.pop()
    model = NgramModel(words, tables)
    _LOG.info("estimated %s", model)
    return model


def _check_order(order: int, min_counts: Sequence[int], has_vocabulary: bool) -> None:
    if not 1 <= order <= _HIGHEST_ORDER:
        raise FsaValueError(f"order: must be 1 to {_HIGHEST_ORDER}, got {order}")
    if not min_counts or min(min_counts) < 1 or list(min_counts) != sorted(min_counts):
        raise FsaValueError(
            f"min_counts: must be numbers from 1 on that never fall, got {list(min_counts)}; "
            "longer n-grams need their shorter parts"
        )
    if has_vocabulary and min_counts[0] > 1:
        raise FsaValueError(
            f"min_counts: the first is {min_counts[0]}, but with a vocabulary its words are all "
            "kept; give 1, or leave the vocabulary out"
        )


def _at_most(max_words: int, text: TextSource) -> Iterator[list[str]]:
    number = 0
    for sentence in read_sentences(text):
        number += len(sentence)
        if number > max_words:
            raise FsaValueError(
                f"text: has more than max_words = {max_words} words, for which memory may not do; "
                "take a part of it, or raise max_words (--max-words)"
            )
        yield sentence


def _numbered(
    sentences: Iterable[list[str]], vocabulary: Iterable[str] | None, least: int
) -> tuple[TextCorpus, list[str]]:
    """The text as numbers of words, and the words."""
    ids = {UNK: 0, BOS: 1, EOS: 2, **dict.fromkeys(UNKNOWN, 0)}
    if vocabulary is not None:
        given = set(real_words(vocabulary))
        if not given:
            raise FsaValueError("vocabulary: has no word")
        words = [UNK, BOS, EOS, *sorted(given)]
        ids |= {word: i for i, word in enumerate(words)}
        return encode_sentences(sentences, ids, other=0), words
    ids = {UNK: 0, BOS: 1, EOS: 2}
    corpus = encode_sentences(sentences, ids)
    found = list(ids)
    count = np.bincount(corpus.ids, minlength=len(found))
    kept = [i for i in range(3, len(found)) if count[i] >= least and found[i] not in UNKNOWN]
    kept.sort(key=found.__getitem__)
    number = np.zeros(len(found), dtype=np.int64)  # what is not kept becomes <unk>
    number[[1, 2]] = [1, 2]
    number[kept] = np.arange(3, 3 + len(kept))
    words = [UNK, BOS, EOS, *(found[i] for i in kept)]
    return TextCorpus(number[corpus.ids], corpus.splits), words


def _adjusted_counts(counts: list[CountTable], order: int, bos: int, smoothing: str) -> Ids:
    table = counts[order - 1]
    if order == len(counts) or smoothing == "absolute":
        adjusted = table.count.copy()
    else:
        adjusted = np.bincount(counts[order].suffix, minlength=len(table))
        first = np.arange(len(counts[0]))
        for longer in counts[1:order]:
            first = first[longer.context]
        # Nothing can precede <s>.
        adjusted = np.where(first == bos, table.count, adjusted)
    if order == 1:
        adjusted[bos] = 0  # it is given, never predicted
    return adjusted


def _discounts(adjusted: Ids, order: int, fallback: Fallback | None) -> Floats:
    """The discounts of the counts 0, 1, 2 and more."""
    n1, n2, n3, n4 = (int((adjusted == c).sum()) for c in (1, 2, 3, 4))
    told = f"{n1}, {n2}, {n3} and {n4} {order}-grams have the (adjusted) count 1, 2, 3 and 4"
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        values = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if min(values) >= 0:
            _LOG.info("%d-grams: discounts %.3f %.3f %.3f", order, *values)
            return np.array([0.0, *values])
    if fallback is None:
        raise FsaValueError(
            f"discounts: {told}, which allows no estimate of the Kneser-Ney discounts: too little "
            "text, few different symbols, or text that was made up or repeated. Give more text, or "
            "discount_fallback='absolute' or 'fixed' (--discount-fallback)"
        )
    if fallback == "absolute":
        y = n1 / (n1 + 2 * n2) if n1 and n2 else 0.5
        values = (y, y, y)
    else:
        values = _FIXED
    _LOG.warning("%s: the %s discounts %.3f %.3f %.3f are used", told, fallback, *values)
    return np.array([0.0, *values])


def _unigrams(adjusted: Ids, discounts: Floats, bos: int) -> NgramTable:
    total = adjusted.sum()
    reduced = (adjusted - discounts[np.minimum(adjusted, 3)]) / total
    prob = reduced + (1 - reduced.sum()) / (len(adjusted) - 1)
    prob[bos] = 0
    zeros = np.zeros(len(adjusted), dtype=np.int64)
    return NgramTable(zeros, np.arange(len(adjusted)), _log(prob), np.zeros(len(adjusted)))


def _interpolated(
    shorter: NgramTable,
    counts: CountTable,
    adjusted: Ids,
    discounts: Floats,
    kept: np.ndarray,
    place: Ids,
) -> tuple[NgramTable, NgramTable]:
    """The n-grams one shorter with their back-off weights, and the n-grams of this order."""
    total = np.bincount(counts.context, weights=adjusted, minlength=len(place))
    reduced = adjusted - discounts[np.minimum(adjusted, 3)]
    used = np.bincount(counts.context[kept], weights=reduced[kept], minlength=len(place))
    # What is left over goes to the shorter histories; all of it where nothing followed.
    left = np.where(total > 0, 1 - used / np.maximum(total, 1), 1)
    context, word, suffix = (a[kept] for a in (counts.context, counts.word, counts.suffix))
    prob = reduced[kept] / total[context] + left[context] * np.exp(shorter.log_prob[place[suffix]])
    backoff = np.zeros(len(shorter))
    backoff[place[place >= 0]] = _log(left[place >= 0])
    table = NgramTable(place[context], word, _log(prob), np.zeros(len(word)))
    return NgramTable(shorter.context, shorter.word, shorter.log_prob, backoff), table


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(values)
