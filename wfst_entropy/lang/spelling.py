"""Lexicons of words that are written in characters or word pieces."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.fsa.errors import FsaFormatError, FsaRuntimeError, FsaValueError
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.symbols import BLANK, RESERVED_TOKENS, WORD_START


def char_lexicon(
    words: Iterable[str],
    tokens: Collection[str] | None = None,
    *,
    word_start: str = WORD_START,
) -> Lexicon:
    """Each word as its characters, with a mark before the first.

    Args:
      words: each once; those that have the mark inside are left out.
      tokens: the characters that there are, the mark too; words with others are left out. By
        default any.
      word_start: the mark; empty for none.

    Example:
      >>> print(char_lexicon(["ABBA", "CAB"], tokens="▁AB").to_str(), end="")
      ABBA ▁ A B B A
    """
    allowed = None if tokens is None else set(tokens)
    mark = [word_start] if word_start else []
    entries = [(word, [*mark, *word]) for word in words if not mark or word_start not in word]
    if allowed is not None:
        entries = [(word, spelled) for word, spelled in entries if allowed.issuperset(spelled)]
    return Lexicon(entries)


def bpe_tokens(bpe_model: str | os.PathLike[str]) -> list[str]:
    """The pieces of a sentencepiece model, by id; `<blk>` is 0.

    Raises:
      FsaFormatError: the file is not such a model, or its piece 0 is not `<blk>`.
      FsaRuntimeError: sentencepiece is not installed.
    """
    model = load_bpe_model(bpe_model)
    pieces = [str(model.id_to_piece(i)) for i in range(model.get_piece_size())]
    if pieces[0] != BLANK:
        raise FsaFormatError(
            f"{bpe_model}: piece 0 must be {BLANK}, it is {pieces[0]!r}; train the model with "
            "prepare.sh --stage 5 --token-type bpe"
        )
    return pieces


def bpe_lexicon(
    words: Iterable[str], bpe_model: str | os.PathLike[str], *, num_segmentations: int = 1
) -> Lexicon:
    """Each word as the pieces that a sentencepiece model writes it with.

    Args:
      words: each once. Those with characters that the model does not know are left out.
      bpe_model: such as `data/lang_bpe_500/bpe.model`.
      num_segmentations: with more than one, a word has further entries: the other ways to write it
        in pieces, those of fewest pieces first.

    Raises:
      FsaFormatError, FsaRuntimeError: as `bpe_tokens`.
      FsaValueError: `num_segmentations` below 1.
    """
    if num_segmentations < 1:
        raise FsaValueError(f"num_segmentations: must be at least 1, got {num_segmentations}.")
    model, listed = load_bpe_model(bpe_model), list(words)
    unknown = model.unk_id()
    ids: list[list[int]] = model.encode(listed)
    pieces = bpe_tokens(bpe_model)
    known = set(pieces) - {pieces[unknown]} - RESERVED_TOKENS
    entries: list[tuple[str, Sequence[str]]] = []
    for word, numbers in zip(listed, ids):
        if unknown in numbers or not numbers:
            continue
        spelled = [pieces[i] for i in numbers]
        entries.append((word, spelled))
        if num_segmentations > 1:
            others = segmentations("".join(spelled), known, num_segmentations)
            others = [other for other in others if other != spelled]
            entries += [(word, other) for other in others[: num_segmentations - 1]]
    return Lexicon(entries)


def segmentations(text: str, pieces: Collection[str], number: int) -> list[list[str]]:
    """The ways to write a text in pieces, those of fewest pieces first, at most `number`.

    Among equally many pieces, those whose first pieces are longer come first.

    >>> segmentations("ABC", {"A", "B", "C", "AB", "BC"}, 2)
    [['AB', 'C'], ['A', 'BC']]
    """
    longest = max(map(len, pieces), default=0)
    # The best ways to write the text from each place on.
    best: list[list[list[str]]] = [[] for _ in text] + [[[]]]
    for i in range(len(text) - 1, -1, -1):
        ways = [
            [text[i:j], *rest]
            for j in range(min(len(text), i + longest), i, -1)
            if text[i:j] in pieces
            for rest in best[j]
        ]
        best[i] = sorted(ways, key=lambda way: (len(way), [-len(piece) for piece in way]))[:number]
    return best[0]


def load_bpe_model(bpe_model: str | os.PathLike[str]) -> Any:
    """The model in a file, a `sentencepiece.SentencePieceProcessor`.

    Raises:
      FsaFormatError: there is no such file, or it is something else.
      FsaRuntimeError: sentencepiece is not installed.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise FsaRuntimeError(
            f"{bpe_model}: needs sentencepiece: pip install 'wfst-entropy[recipes]'"
        ) from error
    if not Path(bpe_model).is_file():
        raise FsaFormatError(f"{bpe_model}: no such file.")
    model = sentencepiece.SentencePieceProcessor()
    try:
        model.load(str(bpe_model))
    except (OSError, RuntimeError) as error:
        raise FsaFormatError(f"{bpe_model}: is not a sentencepiece model: {error}") from error
    return model
