"""Words of models, tables and texts compared."""

from __future__ import annotations

import pytest

from wfst_entropy import (
    SymbolTable,
    compare_vocabularies,
    count_oov_words,
    estimate_ngram_model,
    write_arpa,
)
from wfst_entropy.fsa import FsaValueError


@pytest.fixture
def lm(tmp_path):
    model = estimate_ngram_model(["the cow eats", "the cow", "grass"], 1, discount_fallback="fixed")
    write_arpa(model, tmp_path / "lm.arpa")
    return tmp_path / "lm.arpa"


def table(folder, words):
    symbols = ["<eps>", *words, "<UNK>", "#0", "<s>", "</s>"]
    path = folder / "words.txt"
    SymbolTable((word, i) for i, word in enumerate(symbols)).to_file(path)
    return path


def test_what_is_in_one_only(lm, tmp_path):
    overlap = compare_vocabularies(lm, table(tmp_path, ["cow", "eats", "bull"]))
    assert overlap.num_common == 2
    assert overlap.only_lm == ["the", "grass"], "the more probable first"
    assert overlap.only_words == ["bull"]
    # a(the) = 2, a(cow) = 2, a(eats) = a(grass) = 1, a(</s>) = 3: D = 1/2, 1, 3/2, V = 6.
    uniform = (0.5 * 2 + 1 * 2 + 1.5) / 9 / 6
    assert overlap.lost_probability == pytest.approx(1 / 9 + 0.5 / 9 + 2 * uniform, rel=1e-5)
    assert "2 only in the language model" in str(overlap)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["THE", "COW", "EATS"], "In upper case 3 words of .*lm.arpa would be in .*words.txt"),
        (["▁th", "e", "▁cow"], "words with words, or tokens with tokens"),
    ],
)
def test_nothing_in_common_names_both_files(lm, tmp_path, words, hint):
    with pytest.raises(FsaValueError) as error:
        compare_vocabularies(lm, table(tmp_path, words))
    error.match(r"lm.arpa and .*words.txt have hardly a word in common: 0 of 4 \(")
    error.match(hint)


def test_lower_case_is_told_too(tmp_path):
    model = estimate_ngram_model(["THE COW"], 1, discount_fallback="fixed")
    with pytest.raises(FsaValueError, match="In lower case 2 words of the language model"):
        compare_vocabularies(model, SymbolTable.from_str("<eps> 0\nthe 1\ncow 2"))


def test_oov_words_are_counted():
    words = SymbolTable.from_str("<eps> 0\nthe 1")
    assert count_oov_words(["the cow", "a cow"], words) == {"cow": 2, "a": 1}
