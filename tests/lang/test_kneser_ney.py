"""The estimator against Chen and Goodman's formulas, written out in fractions."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction as F

import numpy as np
import pytest
from zipf import zipf_text

from wfst_entropy import check_ngram_model, estimate_ngram_model, perplexity, write_arpa
from wfst_entropy.fsa import FsaError, FsaFormatError, FsaValueError


class Oracle:
    """Interpolated modified Kneser-Ney in dictionaries and fractions, as the formulas say."""

    def __init__(self, text, order, vocabulary, min_counts, discounts=None):
        self.order = order
        self.vocabulary = sorted({*vocabulary, "</s>", "<unk>"})
        text = [[w if w in vocabulary else "<unk>" for w in s] for s in text]
        self.raw = Counter()
        for sentence in text:
            padded = ["<s>", *sentence, "</s>"]
            for n in range(1, order + 1):
                for i in range(len(padded) - n + 1):
                    self.raw[tuple(padded[i : i + n])] += 1
        preceded = Counter(ngram[1:] for ngram in self.raw if len(ngram) > 1)
        self.adjusted = {
            g: c if len(g) == order or g[0] == "<s>" else preceded[g] for g, c in self.raw.items()
        }
        self.kept = {
            g for g, c in self.raw.items() if c >= min_counts[min(len(g), len(min_counts)) - 1]
        }
        self.discounts = [discounts or self.estimated(n) for n in range(1, order + 1)]

    def estimated(self, n):
        n1, n2, n3, n4 = (
            sum(c == k and len(g) == n and g != ("<s>",) for g, c in self.adjusted.items())
            for k in (1, 2, 3, 4)
        )
        if 0 in (n1, n2, n3, n4):
            return None
        y = F(n1, n1 + 2 * n2)
        return [0, 1 - 2 * y * F(n2, n1), 2 - 3 * y * F(n3, n2), 3 - 4 * y * F(n4, n3)]

    def prob(self, word, history):
        n = len(history) + 1
        if n == 1:
            total = sum(c for g, c in self.adjusted.items() if len(g) == 1 and g != ("<s>",))
            shorter = F(1, len(self.vocabulary))
        else:
            total = sum(self.adjusted.get((*history, w), 0) for w in self.vocabulary)
            shorter = self.prob(word, history[1:])
        if total == 0:
            return shorter

        def discounted(w):
            g = (*history, w)
            if g not in self.kept and n > 1:
                return F(0)
            c = self.adjusted.get(g, 0)
            return F(c) - self.discounts[n - 1][min(c, 3)]

        left = 1 - sum(discounted(w) for w in self.vocabulary) / F(total)
        return discounted(word) / F(total) + left * shorter


@pytest.mark.parametrize(
    ("order", "min_counts", "vocabulary"),
    [(1, (1,), 12), (2, (1,), 12), (3, (1,), 12), (3, (1, 1, 2), 12), (3, (1, 2), 9), (4, (1,), 5)],
)
def test_is_the_formula(order, min_counts, vocabulary):
    text = zipf_text(90, 12, seed=order)
    words = [f"w{i}" for i in range(vocabulary)]
    model = estimate_ngram_model(
        text, order, vocabulary=[*words, "never"], min_counts=min_counts, discount_fallback="fixed"
    )
    # With so few words only a higher order has the counts for discounts of its own.
    oracle = Oracle(text, order, {*words, "never"}, min_counts, [0, F(1, 2), 1, F(3, 2)])
    for n in range(2, order + 1):
        estimated = oracle.estimated(n)
        if estimated is not None and min(estimated) >= 0:
            oracle.discounts[n - 1] = estimated
    histories = [(), ("<s>",), *((w,) for w in words[:4]), *itertools.product(words[:3], repeat=2)]
    if order == 4:
        histories = [("<s>", "w0"), ("w0", "w1", "w2"), ("<s>", "w1", "w0")]
    for history in histories:
        history = history[: order - 1]
        for word in ["w0", "w1", "w3", "never", "<unk>", "</s>"]:
            value = np.exp(model.log_probs(model.ids([(*history, word)])))
            assert value == pytest.approx(float(oracle.prob(word, history)), rel=1e-9)


def test_discounts_are_estimated_from_counts_of_counts():
    text = zipf_text(400, 60, seed=0)
    words = {w for s in text for w in s}
    oracle = Oracle(text, 2, words, (1,), [0, 0, 0, 0])
    oracle.discounts = [[0, F(1, 2), 1, F(3, 2)], oracle.estimated(2)]
    assert 0 < oracle.discounts[1][1] < 1 < oracle.discounts[1][2] < 2
    model = estimate_ngram_model(text, 2, discount_fallback="fixed")
    for word in ["w0", "w1", "w5", "</s>"]:
        value = np.exp(model.log_probs(model.ids([("w0", word)])))
        assert value == pytest.approx(float(oracle.prob(word, ("w0",))), rel=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("min_counts", [(1,), (2,), (1, 1, 2, 3)])
def test_every_history_sums_to_one(order, min_counts):
    text = zipf_text(200, 30, seed=order)
    model = estimate_ngram_model(text, order, min_counts=min_counts, discount_fallback="absolute")
    assert check_ngram_model(model, tolerance=1e-9) == []
    generator = np.random.default_rng(0)
    words = np.array([i for i in range(len(model.words)) if i != model.bos])
    for _ in range(20):
        history = generator.choice(words, size=order - 1)
        ids = np.concatenate([np.tile(history, (len(words), 1)), words[:, None]], axis=1)
        assert np.exp(model.log_probs(ids)).sum() == pytest.approx(1, abs=1e-9)


def test_absolute_smoothing_gives_single_words_their_frequencies():
    text = zipf_text(2000, 12, seed=6)
    model = estimate_ngram_model(text, 2, smoothing="absolute", discount_fallback="fixed")
    count = Counter(w for s in text for w in [*s, "</s>"])
    for word, number in count.items():
        value = np.exp(model.tables[0].log_prob[model.word_ids[word]])
        assert value == pytest.approx(number / count.total(), abs=0.002)
    with pytest.raises(FsaValueError, match="smoothing: must be"):
        estimate_ngram_model(text, 2, smoothing="none")


def test_a_longer_history_predicts_better():
    text, held_out = zipf_text(3000, 30, seed=1), zipf_text(300, 30, seed=2)
    models = [estimate_ngram_model(text, n, discount_fallback="absolute") for n in (1, 2)]
    one, two = (perplexity(model, held_out).perplexity for model in models)
    assert two < 0.7 * one


def test_is_independent_of_the_order_of_sentences():
    text = zipf_text(100, 20, seed=3)
    a = estimate_ngram_model(text, 3, discount_fallback="fixed")
    b = estimate_ngram_model(text[::-1], 3, discount_fallback="fixed")
    assert a.words == b.words
    for x, y in zip(a.tables, b.tables):
        assert np.array_equal(x.log_prob, y.log_prob) and np.array_equal(x.word, y.word)


def test_rare_and_foreign_words_are_unknown():
    text = ["a a a b b c", "a b d"]
    model = estimate_ngram_model(text, 2, min_counts=(2,), discount_fallback="fixed")
    assert model.words == ["<unk>", "<s>", "</s>", "a", "b"]
    model = estimate_ngram_model(
        text, 2, vocabulary=["<eps>", "<blk>", "b", "#0", "<UNK>", "e"], discount_fallback="fixed"
    )
    assert model.words == ["<unk>", "<s>", "</s>", "b", "e"]
    same = estimate_ngram_model(
        ["a <UNK>", "<unk> a"], 2, vocabulary=["a"], discount_fallback="fixed"
    )
    assert same.num_ngrams[0] == 4
    assert np.isfinite(same.log_probs(same.ids([["a", "<unk>"]]))).all()


def test_orders_longer_than_all_sentences_are_left_out():
    assert estimate_ngram_model(["a", "b"], 5, discount_fallback="fixed").order == 3


def test_too_little_text_is_told():
    with pytest.raises(FsaValueError, match=r"3, 0, 0 and 0 1-grams .*\(--discount-fallback"):
        estimate_ngram_model(["a b"], 2)
    with pytest.raises(FsaValueError, match="discount_fallback: must be 'absolute' or 'fixed'"):
        estimate_ngram_model(zipf_text(400, 60, seed=0), 1, discount_fallback="none")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ([], {}, "there is no sentence"),
        (["", "  "], {}, "there is no sentence"),
        (["a"], {"order": 0}, "order: must be 1 to 5, got 0"),
        (["a b", "c d"], {"max_words": 3}, r"more than max_words = 3 words.*--max-words"),
        (["a"], {"order": 6}, "order: must be 1 to 5, got 6"),
        (["a"], {"min_counts": (2, 1)}, r"that never fall, got \[2, 1\]"),
        (["a"], {"min_counts": ()}, "that never fall"),
        (["a"], {"vocabulary": ["<eps>"]}, "vocabulary: has no word"),
        (["a"], {"vocabulary": ["a"], "min_counts": (2,)}, "with a vocabulary"),
        (["a <s> b"], {}, "sentence 1: has <s> or </s>"),
        ([["a", 3]], {}, "sentence 1: words must be strings"),
    ],
)
def test_wrong_arguments(text, arguments, message):
    with pytest.raises(FsaError, match=message):
        estimate_ngram_model(text, **arguments)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: the file is empty"),
        (b"a b\r\nc\r\n", "line 1: has a carriage return"),
        (b"a\nb \xff\n", "line 2: is not UTF-8"),
        (b"\xef\xbb\xbfa\n", "line 1: begins with a byte order mark"),
        (b"a\nb </s>\n", "line 2: has <s> or </s>"),
        (b"a\n\0\n", "line 2: has a zero byte"),
        (b"a\n" + b"b " * 6_000_000, "line 2: is longer than"),
    ],
)
def test_wrong_text_files(tmp_path, data, message):
    path = tmp_path / "text"
    path.write_bytes(data)
    with pytest.raises(FsaFormatError) as error:
        estimate_ngram_model(path, 2, discount_fallback="fixed")
    assert str(error.value).startswith(f"{path}: {message}")


def test_kenlm_reads_what_is_written(tmp_path):
    kenlm = pytest.importorskip("kenlm")
    text = zipf_text(300, 40, seed=4)
    model = estimate_ngram_model(text, 3, min_counts=(1, 1, 2), discount_fallback="absolute")
    write_arpa(model, tmp_path / "lm.arpa")
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    held_out = [*zipf_text(50, 50, seed=5)]
    scores = [
        (log_prob, oov) for s in held_out for log_prob, _, oov in theirs.full_scores(" ".join(s))
    ]
    ours = perplexity(model, held_out)
    assert ours.num_oov == sum(oov for _, oov in scores) > 0
    known = sum(log_prob for log_prob, oov in scores if not oov) * np.log(10)
    assert ours.log_prob == pytest.approx(known, rel=1e-5)
    assert ours.log_prob_oov == pytest.approx(
        sum(log_prob for log_prob, oov in scores if oov) * np.log(10), rel=1e-5
    )
