"""Symbols that are neither words nor sounds, and what each of them is for."""

from __future__ import annotations

BLANK = "<blk>"
EPSILON = "<eps>"
# What token 0 may be called; with phones, icefall calls it as words do.
ZERO_TOKENS = (BLANK, EPSILON, "<blank>")
UNKNOWN_TOKEN = "<unk>"
UNKNOWN_WORD = "<UNK>"
# Where a sentence begins and ends, in language models.
BOS, EOS = "<s>", "</s>"
# Lets the back-off arcs of a language model through the lexicon.
BACKOFF = "#0"
# Stands before every word that is written in characters or pieces, as in sentencepiece.
WORD_START = "▁"

WORD_SPECIALS = (EPSILON, UNKNOWN_WORD, BACKOFF, BOS, EOS)
# Cannot be a word of a lexicon: they have other uses in graphs and language models.
RESERVED_WORDS = frozenset({EPSILON, BLANK, BACKOFF, BOS, EOS})
# Cannot be a token of a pronunciation: nothing is heard there.
RESERVED_TOKENS = frozenset(
    {BLANK, "<blank>", EPSILON, BOS, EOS, "<sos>", "<eos>", "<sos/eos>", "<pad>"}
)


def is_disambiguation(symbol: str) -> bool:
    """Whether a symbol is one of `#0`, `#1`...

    >>> is_disambiguation("#12"), is_disambiguation("#"), is_disambiguation("A")
    (True, False, False)
    """
    return symbol.startswith("#") and symbol[1:].isdecimal() and symbol.isascii()
