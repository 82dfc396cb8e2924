"""Files of phrases to boost: a phrase per line, with its own boost where it has one."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from wfst_entropy.fsa import SymbolTable
from wfst_entropy.fsa.errors import FsaError, FsaFormatError
from wfst_entropy.lang.context_graph import ContextGraph
from wfst_entropy.lang.text_corpus import read_fields

# Ways to write one phrase that are taken, where words have several pronunciations.
_MAX_SPELLINGS = 16


class ContextPhrase(NamedTuple):
    """A line of a context file; `boost` is nats per token, None where the line has none."""

    text: str
    boost: float | None
    line: int


def read_context_file(filename: str | os.PathLike[str]) -> list[ContextPhrase]:
    """Reads lines `words of a phrase` or `words of a phrase :boost` in UTF-8.

    Blank lines are skipped.

    Args:
      filename: icefall's `--context-file`.

    Raises:
      FsaFormatError: with file and line: what `read_fields` refuses (not UTF-8, a byte order mark,
        CRLF...), a boost that is no finite number, or one without a phrase.
      OSError: the file cannot be read.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "hotwords.txt"
      >>> _ = path.write_text("NEW YORK\\n\\nMOUNT RUSHMORE :2.5\\n")
      >>> for phrase in read_context_file(path):
      ...     print(phrase)
      ContextPhrase(text='NEW YORK', boost=None, line=1)
      ContextPhrase(text='MOUNT RUSHMORE', boost=2.5, line=3)
    """
    path = Path(filename)
    rows = read_fields(path)
    return [_parse(fields, number, f"{path}: line {number}") for number, fields in rows]


def _parse(fields: list[str], number: int, where: str) -> ContextPhrase:
    if not fields[-1].startswith(":"):
        return ContextPhrase(" ".join(fields), None, number)
    try:
        boost = float(fields[-1][1:])
    except ValueError:
        boost = math.nan
    if not math.isfinite(boost):
        raise FsaFormatError(f"{where}: {fields[-1]!r}: needed a number after the colon, like :1.5")
    if len(fields) == 1:
        raise FsaFormatError(f"{where}: has a boost and no phrase; needed `phrase :boost`")
    return ContextPhrase(" ".join(fields[:-1]), boost, number)


def context_graph_from_file(
    filename: str | os.PathLike[str],
    spell: Callable[[str], Sequence[Sequence[int]]],
    context_score: float = 1.0,
) -> ContextGraph:
    """The automaton of the phrases in a file.

    Args:
      filename: see `read_context_file`.
      spell: gives the token sequences of a phrase, such as what `spell_by_lexicon` or
        `spell_by_words` return, or `lambda text: [tokenizer.encode(text)]`.
      context_score: nats per token, for lines without a boost.

    Raises:
      FsaFormatError: with file and line, also where `spell` raises.
      FsaValueError: `context_score` is beyond 2**26.
    """
    spelled: list[Sequence[int]] = []
    boosts: list[float | None] = []
    for phrase in read_context_file(filename):
        try:
            spellings = spell(phrase.text)
            if any(not tokens for tokens in spellings) or not spellings:
                raise FsaFormatError(f"{phrase.text!r} has no tokens")
        except FsaError as error:
            raise FsaFormatError(f"{filename}: line {phrase.line}: {error}") from error
        spelled += spellings
        boosts += [phrase.boost] * len(spellings)
    return ContextGraph(context_score).build(spelled, boosts)


def spell_by_words(words: SymbolTable) -> Callable[[str], list[list[int]]]:
    """Phrases as sequences of word ids, to bias graphs and lattices over words.

    Raises:
      FsaFormatError: by the function, where a word is not in the table.

    Example:
      >>> spell_by_words(SymbolTable([("<eps>", 0), ("NEW", 1), ("YORK", 2)]))("NEW YORK")
      [[1, 2]]
    """

    def spell(text: str) -> list[list[int]]:
        for word in text.split():
            if word not in words:
                raise FsaFormatError(
                    f"the word {word!r} is not in words.txt; a word-level search cannot find it"
                )
        return [[words[word] for word in text.split()]]

    return spell


def spell_by_lexicon(
    lexicon: Iterable[tuple[str, Sequence[str]]], tokens: SymbolTable
) -> Callable[[str], list[list[int]]]:
    """Phrases as token ids by a lexicon; with all pronunciations, 16 combinations at most.

    Args:
      lexicon: pairs of a word and its tokens, as `LangDir.lexicon`.
      tokens: their ids.

    Raises:
      FsaFormatError: by the function, where a word is not in the lexicon.

    Example:
      >>> tokens = SymbolTable.from_str("<blk> 0\\nAH 1\\nEY 2\\nB 3")
      >>> spell = spell_by_lexicon([("A", ["AH"]), ("A", ["EY"]), ("BE", ["B"])], tokens)
      >>> spell("A BE")
      [[1, 3], [2, 3]]
    """
    entries: dict[str, list[list[int]]] = {}
    for word, pieces in lexicon:
        entries.setdefault(word, []).append([tokens[piece] for piece in pieces])

    def spell(text: str) -> list[list[int]]:
        for word in text.split():
            if word not in entries:
                raise FsaFormatError(f"the word {word!r} is not in the lexicon; add it there")
        ways = itertools.product(*(entries[word] for word in text.split()))
        return [
            list(itertools.chain.from_iterable(way))
            for way in itertools.islice(ways, _MAX_SPELLINGS)
        ]

    return spell
