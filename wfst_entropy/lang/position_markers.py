"""Tokens that know where in a word they stand: `_B` begin, `_I` inside, `_E` end, `_S` single."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from wfst_entropy.lang.symbols import is_disambiguation

if TYPE_CHECKING:
    from wfst_entropy.lang.lexicon import Lexicon

MARKED = ("_B", "_I", "_E", "_S")


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


def expected_markers(size: int) -> list[str]:
    """The markers of a pronunciation of `size` tokens.

    >>> expected_markers(1), expected_markers(4)
    (['_S'], ['_B', '_I', '_I', '_E'])
    """
    if size < 2:
        return ["_S"] * size
    return ["_B", *["_I"] * (size - 2), "_E"]


def marker(token: str) -> str:
    """The marker at the end of a token; empty where there is none.

    >>> marker("AH0_B"), marker("SIL"), marker("_B")
    ('_B', '', '')
    """
    return token[-2:] if len(token) > 2 and token.endswith(MARKED) else ""


def is_position_dependent(entries: Iterable[tuple[str, Sequence[str]]]) -> bool:
    """Whether more than half of the kinds of tokens carry a marker.

    >>> is_position_dependent([("A", ["AH_S"]), ("!SIL", ["SIL"]), ("I", ["AY_S"])])
    True
    """
    kinds = set(chain.from_iterable(tokens for _, tokens in entries))
    spoken = [token for token in kinds if not is_disambiguation(token)]
    return 2 * sum(marker(token) != "" for token in spoken) > len(spoken)
