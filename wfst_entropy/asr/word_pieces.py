"""Which pieces of a vocabulary make up which word."""

from __future__ import annotations

from collections.abc import Sequence

# Pieces that stand between words, or begin one (sentencepiece).
_WORD_BEGIN = "\u2581"
_SEPARATORS = (_WORD_BEGIN, "|")


def words_of_tokens(pieces: Sequence[str]) -> list[int | None]:
    """For each piece of a vocabulary the number of its word, None for a separator.

    A word begins at a piece with sentencepiece's mark and after a separator (the mark alone, or a
    vertical bar). Special pieces in angle brackets belong to no word.

    >>> words_of_tokens(["\u2581THE", "RE", "\u2581", "I", "<unk>", "S", "|", "A"])
    [0, 0, None, 1, None, 1, None, 2]
    """
    numbers: list[int | None] = []
    word, begins = -1, True
    for piece in pieces:
        if piece in _SEPARATORS:
            numbers.append(None)
            begins = True
            continue
        if piece.startswith("<") and piece.endswith(">"):
            numbers.append(None)
            continue
        if begins or piece.startswith(_WORD_BEGIN):
            word += 1
        begins = False
        numbers.append(word)
    return numbers


def spell_words(pieces: Sequence[str], word_of_token: Sequence[int | None]) -> list[str]:
    """The words that pieces spell.

    >>> spell_words(["\u2581THE", "RE", "|", "I", "S"], [0, 0, None, 1, 1])
    ['THERE', 'IS']
    """
    words: list[str] = []
    for piece, word in zip(pieces, word_of_token, strict=True):
        if word is None:
            continue
        if word == len(words):
            words.append("")
        words[word] += piece.removeprefix(_WORD_BEGIN)
    return words
