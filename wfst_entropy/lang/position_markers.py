"""Tokens that know where in a word they stand: `_B` begin, `_I` inside, `_E` end, `_S` single."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from wfst_entropy.lang.symbols import is_disambiguation

MARKED = ("_B", "_I", "_E", "_S")


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
