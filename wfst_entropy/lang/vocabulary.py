"""Which words a language model, a word table and a text have in common."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import numpy as np

from wfst_entropy.fsa import FsaValueError, SymbolTable
from wfst_entropy.lang.arpa import read_arpa
from wfst_entropy.lang.ngram_model import UNKNOWN, NgramModel
from wfst_entropy.lang.symbols import RESERVED_TOKENS, RESERVED_WORDS, is_disambiguation
from wfst_entropy.lang.text_corpus import TextSource, read_sentences

# Symbols of word and token tables that never stand in a text.
_NO_WORDS = {*RESERVED_WORDS, *RESERVED_TOKENS, *UNKNOWN}
_SHOWN = 10


def real_words(symbols: Iterable[str]) -> list[str]:
    """The symbols without epsilon, blank, `<s>`, `</s>`, `<unk>` and `#0`, `#1`...

    >>> real_words(["<eps>", "cow", "<UNK>", "#0", "<s>"])
    ['cow']
    """
    return [s for s in symbols if s not in _NO_WORDS and not is_disambiguation(s)]


@dataclass(frozen=True)
class VocabularyOverlap:
    """The words of a language model and of a word table.

    Attributes:
      num_common: words in both.
      only_lm: those that only the model has, the most probable first; no graph can put them out.
      only_words: those that only the table has; they are `<unk>` to the model.
      lost_probability: of `only_lm` together, as single words.
    """

    num_common: int
    only_lm: list[str]
    only_words: list[str]
    lost_probability: float

    def __str__(self) -> str:
        return (
            f"{self.num_common} words in common\n"
            f"{len(self.only_lm)} only in the language model, with probability "
            f"{self.lost_probability:.4f} {_examples(self.only_lm)}\n"
            f"{len(self.only_words)} only in the word table {_examples(self.only_words)}"
        )


def compare_vocabularies(
    lm: NgramModel | str | os.PathLike[str],
    words: SymbolTable | str | os.PathLike[str],
    *,
    min_share: float = 0.1,
) -> VocabularyOverlap:
    """Compares the words of a language model with a word table; special symbols do not count.

    Args:
      lm: a model, or an ARPA file.
      words: a table, or a file such as `words.txt`.
      min_share: how much of the smaller vocabulary must be in the other.

    Raises:
      FsaValueError: less is; the message names both and says whether upper or lower case would
        help.
      FsaFormatError: a file is wrong.

    Example:
      >>> from wfst_entropy.lang.kneser_ney import estimate_ngram_model
      >>> lm = estimate_ngram_model(["the cow"], 1, discount_fallback="fixed")
      >>> print(compare_vocabularies(lm, SymbolTable.from_str("<eps> 0\\nthe 1\\nbull 2")))
      1 words in common
      1 only in the language model, with probability 0.2917 (cow)
      1 only in the word table (bull)
    """
    model = lm if isinstance(lm, NgramModel) else read_arpa(lm)
    table = words if isinstance(words, SymbolTable) else SymbolTable.from_file(words)
    lm_name = "the language model" if isinstance(lm, NgramModel) else str(lm)
    words_name = "the word table" if isinstance(words, SymbolTable) else str(words)
    in_lm, in_table = real_words(model.words), real_words(table.symbols)
    common = require_common_words(in_lm, in_table, lm_name, words_name, min_share)
    probability = np.exp(model.tables[0].log_prob)
    only_lm = [word for word in in_lm if word not in common]
    only_lm.sort(key=lambda word: -probability[model.word_ids[word]])
    return VocabularyOverlap(
        num_common=len(common),
        only_lm=only_lm,
        only_words=[word for word in in_table if word not in common],
        lost_probability=float(sum(probability[model.word_ids[word]] for word in only_lm)),
    )


def require_common_words(
    in_lm: list[str], in_table: list[str], lm_name: str, words_name: str, min_share: float = 0.1
) -> set[str]:
    """The words that two vocabularies have in common, if that is enough of the smaller one.

    Raises:
      FsaValueError: see `compare_vocabularies`.

    >>> require_common_words(["cow"], ["COW"], "3gram.arpa", "words.txt")
    Traceback (most recent call last):
    wfst_entropy.fsa.errors.FsaValueError: 3gram.arpa and words.txt have hardly a word in common: 0
    of 1 (cow) and 1 (COW). In upper case 1 words of 3gram.arpa would be in words.txt: make the
    language model from upper-case text, or the lexicon the other way
    """
    common = set(in_lm).intersection(in_table)
    if len(common) < min_share * min(len(in_lm), len(in_table)) or not common:
        raise FsaValueError(
            f"{lm_name} and {words_name} have hardly a word in common: {len(common)} of "
            f"{len(in_lm)} {_examples(in_lm)} and {len(in_table)} {_examples(in_table)}. "
            + _advice(in_lm, in_table, lm_name, words_name)
        )
    return common


def count_oov_words(text: TextSource, vocabulary: Container[str]) -> Counter[str]:
    """How often each word of a text occurs that is not in a vocabulary.

    Args:
      text: a file, several, or sentences; see `read_sentences`.
      vocabulary: a `SymbolTable`, `model.word_ids`, a set...

    Example:
      >>> count_oov_words(["the bull and the cow", "a bull"], {"the", "and", "cow"}).most_common()
      [('bull', 2), ('a', 1)]
    """
    return Counter(
        word for sentence in read_sentences(text) for word in sentence if word not in vocabulary
    )


def _examples(words: list[str]) -> str:
    shown = [*words[:_SHOWN], *(["..."] if len(words) > _SHOWN else [])]
    return f"({' '.join(shown)})" if words else ""


def _advice(in_lm: list[str], in_table: list[str], lm_name: str, words_name: str) -> str:
    table = set(in_table)
    cases: list[tuple[str, Callable[[str], str]]] = [("upper", str.upper), ("lower", str.lower)]
    for case, change in cases:
        found = sum(change(word) in table for word in in_lm)
        if found and found >= 0.5 * min(len(in_lm), len(in_table)):
            return (
                f"In {case} case {found} words of {lm_name} would be in {words_name}: make the "
                f"language model from {case}-case text, or the lexicon the other way"
            )
    return "They must be made of the same units: words with words, or tokens with tokens"
