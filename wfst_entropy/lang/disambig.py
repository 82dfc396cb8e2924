"""Symbols that make all pronunciations different, so that a lexicon can be determinised."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.lexicon_check import Pronunciation
from wfst_entropy.lang.symbols import is_disambiguation


def add_disambig_symbols(lexicon: Lexicon) -> tuple[Lexicon, int]:
    """Ends with `#1`, `#2`, ... what would sound like another entry, or like its beginning.

    A pronunciation gets a symbol if several entries have it, if it begins a longer one, or if it is
    empty; entries that have the same pronunciation get different symbols, in their order. Then no
    pronunciation begins another, and token sequences determine word sequences.

    Args:
      lexicon: without such symbols.

    Returns:
      The lexicon with the symbols, and the largest number used, 0 if there was no need. (`#0` has
      another use: see `lexicon_to_fst`.)

    Raises:
      FsaValueError: the lexicon has disambiguation symbols already.

    Source: Mohri, Pereira and Riley 2002, "Weighted finite-state transducers in speech
    recognition"; Kaldi's and icefall's function of this name.

    Example:
      >>> lexicon = Lexicon([("RED", "RED"), ("READ", "RED"), ("RE", "RE"), ("SO", "SO")])
      >>> longer, number = add_disambig_symbols(lexicon)
      >>> print(longer.to_str(), number)
      RED R E D #1
      READ R E D #2
      RE R E #1
      SO S O
       2
    """
    _refuse_symbols(lexicon)
    count = Counter(tokens for _, tokens in lexicon)
    begins = _beginnings(sorted(count))
    used: Counter[Pronunciation] = Counter()
    result = []
    for _, tokens in lexicon:
        if count[tokens] > 1 or tokens in begins:
            used[tokens] += 1
            tokens = (*tokens, f"#{used[tokens]}")
        result.append(tokens)
    return lexicon.with_pronunciations(result), max(used.values(), default=0)


def _refuse_symbols(lexicon: Lexicon) -> None:
    for token in filter(is_disambiguation, lexicon.tokens):
        word = next(word for word, tokens in lexicon if token in tokens)
        raise FsaValueError(
            f"lexicon: {word!r} has the disambiguation symbol {token!r} already; start from "
            "lexicon.txt, not from lexicon_disambig.txt."
        )


def _beginnings(pronunciations: list[Pronunciation]) -> set[Pronunciation]:
    """Those of different, sorted pronunciations that begin others: these follow right after."""
    found = {a for a, b in pairwise(pronunciations) if b[: len(a)] == a}
    return found | {()}
