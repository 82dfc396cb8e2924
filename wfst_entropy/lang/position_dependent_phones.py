"""Kaldi's position-dependent phones: a lexicon whose tokens know where in a word they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.position_markers import expected_markers
from wfst_entropy.lang.symbols import is_disambiguation


def add_position_markers(lexicon: Lexicon, keep: Iterable[str] = ()) -> Lexicon:
    """Marks each token with its place in the word, as Kaldi's position-dependent phones are.

    A pronunciation of one token gets `_S`; of several, the first `_B`, the last `_E`, those between
    `_I`. Disambiguation symbols stay as they are.

    Args:
      lexicon: without markers.
      keep: tokens that stay as they are, such as silence and noise.

    Returns:
      The marked lexicon, with the same words and probabilities.

    Example:
      >>> from wfst_entropy.lang import Lexicon
      >>> lexicon = Lexicon([("A", ["AH"]), ("CAT", ["K", "AE", "T"]), ("!SIL", ["SIL"])])
      >>> for word, tokens in add_position_markers(lexicon, keep=["SIL"]):
      ...     print(word, *tokens)
      A AH_S
      CAT K_B AE_I T_E
      !SIL SIL
    """
    kept = set(keep)

    def marked(tokens: Sequence[str]) -> list[str]:
        size = len(tokens) - (len(tokens) > 0 and is_disambiguation(tokens[-1]))
        markers = [*expected_markers(size), *[""] * (len(tokens) - size)]
        return [t if t in kept else t + mark for t, mark in zip(tokens, markers)]

    return lexicon.with_pronunciations(marked(tokens) for _, tokens in lexicon)
