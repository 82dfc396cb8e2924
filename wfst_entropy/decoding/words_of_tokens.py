"""Which tokens spell which word, where a lexicon tells how words are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

Pronunciations = Mapping[int, Iterable[Sequence[int]]]


class TokenRange(NamedTuple):
    """Tokens `start` to `end - 1` of a sequence; none where they are equal."""

    start: int
    end: int


def ranges_of_words(
    words: Sequence[int],
    tokens: Sequence[int],
    pronunciations: Pronunciations,
    silence: Collection[int] = (),
) -> list[TokenRange] | None:
    """Finds the tokens that spell each word of a sequence.

    The place of a word's label on a path does not tell: determinisation and weight pushing move it.
    But the tokens are those of the words' pronunciations, one after the other, with silence between
    them.  A path that ended early may stop amid its last word, or have begun another one.

    Args:
      words: the words of a path.
      tokens: its tokens, blanks and repeats gone.
      pronunciations: for each word its token sequences.
      silence: tokens that may stand between words and belong to none.

    Returns:
      The tokens of each word; None if they cannot be parsed so.  Of several ways, the first word
      takes the first of its pronunciations that allows one, then the second, and so on.

    >>> ranges_of_words([7, 8], [1, 2, 9, 2], {7: [(1,), (1, 2)], 8: [(2,)]}, silence={9})
    [TokenRange(start=0, end=2), TokenRange(start=3, end=4)]
    """
    spellings = [[tuple(spelling) for spelling in pronunciations.get(word, ())] for word in words]
    for cut in (False, True):
        found = _parse(spellings, tuple(tokens), silence, cut)
        if found is not None:
            return found
    return None


def _parse(
    spellings: list[list[tuple[int, ...]]],
    tokens: tuple[int, ...],
    silence: Collection[int],
    cut: bool,
) -> list[TokenRange] | None:
    """Depth first, without going twice to one word at one token.

    Args:
      cut: whether the last word may lack its end, and tokens may follow it.
    """
    found: list[TokenRange] = []
    # What is left to try at each word: the places where it may lie.
    open_places = [iter(_places(spellings, 0, 0, tokens, silence, cut))]
    seen = {(0, 0)}
    while open_places:
        if len(found) == len(spellings):
            rest = tokens[found[-1].end if found else 0 :]
            if cut or all(token in silence for token in rest):
                return found
            place = None
        else:
            place = next(open_places[-1], None)
        if place is None:
            open_places.pop()
            if found:
                found.pop()
        elif (len(found) + 1, place.end) not in seen:
            seen.add((len(found) + 1, place.end))
            found.append(place)
            following = _places(spellings, len(found), place.end, tokens, silence, cut)
            open_places.append(iter(following))
    return None


def _places(
    spellings: list[list[tuple[int, ...]]],
    word: int,
    begin: int,
    tokens: tuple[int, ...],
    silence: Collection[int],
    cut: bool,
) -> list[TokenRange]:
    """Where a word may lie if those before it end at `begin`."""
    if word == len(spellings):
        return []
    places = []
    while True:
        for spelling in spellings[word]:
            end = begin + len(spelling)
            if tokens[begin:end] == spelling:
                places.append(TokenRange(begin, end))
            elif (
                cut
                and word == len(spellings) - 1
                and tokens[begin:] == spelling[: len(tokens) - begin]
            ):
                places.append(TokenRange(begin, len(tokens)))
        if begin == len(tokens) or tokens[begin] not in silence:
            return places
        begin += 1
