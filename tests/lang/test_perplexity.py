"""Perplexity and scores of sentences, by hand."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from wfst_entropy import Perplexity, perplexity, read_arpa, score_words
from wfst_entropy.fsa import FsaValueError

ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-0.5\t</s>
-99\t<s>\t-0.3
-0.4\ta\t-0.2
{unknown}

\\2-grams:
-0.1\t<s> a
-0.2\ta a

\\end\\
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "lm.arpa"
    file.write_text(ARPA.format(unknown="-1.5\t<unk>"))
    return file


def test_every_part_of_the_sum(path):
    model = read_arpa(path)
    # <s> a a </s>: -0.1 - 0.2 - (0.2 + 0.5); <s> x </s>: -(0.3 + 1.5) - 0.5
    result = perplexity(model, ["a a", "x"])
    assert (result.num_sentences, result.num_words, result.num_oov) == (2, 3, 1)
    assert result.log_prob / math.log(10) == pytest.approx(-1.5)
    assert result.log_prob_ends / math.log(10) == pytest.approx(-1.2)
    assert result.log_prob_oov / math.log(10) == pytest.approx(-1.8)
    assert result.perplexity == pytest.approx(10 ** (1.5 / 4))
    assert result.bits == pytest.approx(math.log2(10) * 1.5 / 4)
    assert result.perplexity_without_ends == pytest.approx(10 ** (0.3 / 2))
    assert result.perplexity_with_oov == pytest.approx(10 ** (3.3 / 5))
    assert "2 sentences, 3 words, 1 OOVs" in str(result)


def test_scores_word_by_word(path):
    scores = score_words(read_arpa(path), ["a a", "x"])
    np.testing.assert_allclose(
        scores.log_probs / np.log(10), [-0.1, -0.2, -0.7, -1.8, -0.5], atol=1e-9
    )
    assert scores.is_oov.tolist() == [False, False, False, True, False]
    np.testing.assert_allclose(scores.sentence_log_probs() / np.log(10), [-1.0, -2.3], atol=1e-9)


def test_agrees_with_log_probs_of_ngrams(path):
    model = read_arpa(path)
    scores = score_words(model, ["a a x a", "a"]).log_probs
    padded = [["<s>", "a", "a", "<unk>", "a", "</s>"], ["<s>", "a", "</s>"]]
    told = [
        float(model.log_probs(model.ids([words[: i + 1]]))[0])
        for words in padded
        for i in range(1, len(words))
    ]
    np.testing.assert_allclose(scores, told)


def test_without_unk_unknown_words_are_impossible(path):
    path.write_text(ARPA.format(unknown="-1.5\tb"))
    result = perplexity(read_arpa(path), ["a x"])
    assert result.num_oov == 1 and result.log_prob_oov == -math.inf
    assert result.perplexity_with_oov == math.inf
    # After a word that the model has not there is nothing to back off from: </s> alone.
    assert result.log_prob / math.log(10) == pytest.approx(-0.1 - 0.5)


def test_what_is_impossible_or_beyond_floats_is_inf_and_never_nan(path):
    path.write_text(ARPA.format(unknown="-99\tb").replace("-0.5\t</s>", "-99\t</s>"))
    no_end = perplexity(read_arpa(path), ["a a"])
    assert no_end.perplexity == math.inf
    assert no_end.perplexity_without_ends == pytest.approx(10 ** (0.3 / 2))
    assert perplexity(read_arpa(path), ["b"]).perplexity_without_ends == math.inf
    assert Perplexity(1, 1, 0, -2000.0, -1.0, 0.0).perplexity == math.inf


def test_files_and_sentences_are_alike(path, tmp_path):
    (tmp_path / "a.txt").write_text("a a\n\n  \nx\n")
    with gzip.open(tmp_path / "b.gz", "wb") as file:
        file.write(b"a\ta \n a")
    model = read_arpa(path)
    files = [tmp_path / "a.txt", tmp_path / "b.gz"]
    assert perplexity(model, files) == perplexity(model, ["a a", "x", "a a", ["a"]])
    assert perplexity(model, str(files[0])) == perplexity(model, ["a a", "x"])


def test_no_sentence_is_told(path):
    with pytest.raises(FsaValueError, match="text: there is no sentence in it"):
        perplexity(read_arpa(path), ["", " "])
