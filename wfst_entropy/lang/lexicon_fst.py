"""The lexicon as a transducer from tokens to words: L and L_disambig."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch

from wfst_entropy.fsa import Fsa, RaggedShape, SymbolTable
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.lang.lang_finding import shown
from wfst_entropy.lang.lexicon import Lexicon
from wfst_entropy.lang.symbols import BACKOFF

# With silence an entry of one token has two arcs; arcs are counted in 32 bits.
_MAX_TOKENS = 2**30 - 8
# Source, destination, label, aux_label and score of arcs.
_Arcs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def lexicon_to_fst(
    lexicon: Lexicon,
    tokens: SymbolTable,
    words: SymbolTable,
    *,
    silence: str | None = None,
    silence_prob: float = 0.5,
    silence_disambig: str | None = None,
    self_loop: bool = False,
) -> Fsa:
    r"""Makes the transducer that reads the tokens of any words and writes the words.

    All words begin and end in one state; the word is written with its first token. An entry of
    probability p scores :math:`\log p`. With optional silence, :math:`\log q` is added where there
    is silence before the first and after every word and :math:`\log(1 - q)` where there is none,
    q = `silence_prob`.

    For L give `lexicon`; for L_disambig the result of `add_disambig_symbols`, with
    `self_loop=True` (and `silence_disambig`, the first symbol that the lexicon does not use, where
    there is silence: a word may be spoken as silence, too).

    Args:
      lexicon: its tokens and words must be in the tables.
      tokens: id 0 (`<blk>` or `<eps>`) becomes epsilon, and no pronunciation may have it.
      words: id 0 is `<eps>`, which is written where no word is.
      silence: the token that may stand before, between and after words; by default there is none.
      silence_prob: q, in (0, 1).
      silence_disambig: the disambiguation symbol after a silence.
      self_loop: whether to read `#0` and write `#0` between words: so the back-off arcs of a
        language model pass.

    Returns:
      One FSA `[state][arc]`, float32 scores in nats, with `labels` tokens and int32 `aux_labels`
      words; it is not determinised, and arcs are in the order of the entries.

    Raises:
      FsaValueError: no entries, a symbol that is not in its table or is epsilon there,
        `silence_prob` outside (0, 1), or `silence_disambig` without `silence`.

    Example:
      >>> tokens = SymbolTable.from_str("<blk> 0\nA 1\nB 2\n#0 3")
      >>> words = SymbolTable.from_str("<eps> 0\nab 1\n#0 2")
      >>> L = lexicon_to_fst(Lexicon([("ab", ["A", "B"])]), tokens, words, self_loop=True)
      >>> print(L.to_str(isymbols=tokens, osymbols=words))
      0 1 A ab 0
      0 0 #0 #0 0
      0 2 -1 -1 0
      1 0 B <eps> 0
      2
    """
    if len(lexicon) == 0:
        raise FsaValueError("lexicon: has no entries, a graph of it would accept nothing.")
    if not 0 < silence_prob < 1:
        raise FsaValueError(f"silence_prob: must be in (0, 1), got {silence_prob}.")
    if silence_disambig is not None and silence is None:
        raise FsaValueError("silence_disambig: needs silence, the token that it follows.")
    token_ids, word_ids = _Ids(tokens, "token"), _Ids(words, "word")
    loop = 0 if silence is None else 1
    first_inner = 1 if silence is None else 3 + (silence_disambig is not None)
    entries, final = _entries(lexicon, token_ids, word_ids, loop, first_inner)
    parts = [entries]
    if silence is not None:
        after = None if silence_disambig is None else token_ids.one(silence_disambig)
        parts = _with_silence(entries, token_ids.one(silence), silence_prob, after)
    if self_loop:
        backoff = (loop, loop, token_ids.one(BACKOFF), word_ids.one(BACKOFF), 0.0)
        parts.append(_arcs([backoff]))
    parts.append(_arcs([(loop, final, -1, -1, 0.0)]))
    return _fsa(parts, final + 1)


class _Ids:
    """The ids of symbols, none of which may be epsilon."""

    def __init__(self, table: SymbolTable, kind: str) -> None:
        self.kind = kind
        self.ids = dict(table)

    def one(self, symbol: str) -> int:
        """The id of a symbol."""
        number = self.ids.get(symbol, -1)
        if number > 0:
            return number
        table = f"{self.kind}s.txt"
        if number == 0:
            raise FsaValueError(
                f"lexicon: the {self.kind} {shown(symbol)} has id 0 in {table}, which is epsilon."
            )
        raise FsaValueError(
            f"lexicon: the {self.kind} {shown(symbol)} is not in the table of {self.kind}s "
            f"({len(self.ids)} symbols); a {table} for graphs is made by "
            "wfst-entropy lang prepare."
        )

    def many(self, symbols: Iterable[str]) -> np.ndarray:
        """The ids of symbols, int64."""
        listed = list(symbols)
        found = np.array([self.ids.get(symbol, -1) for symbol in listed], np.int64)
        for bad in np.flatnonzero(found <= 0)[:1]:
            self.one(listed[bad])
        return found


def _entries(
    lexicon: Lexicon, token_ids: _Ids, word_ids: _Ids, loop: int, first_inner: int
) -> tuple[_Arcs, int]:
    """The arcs from the loop state through states of each entry and back; the next free state."""
    number = len(lexicon)
    lengths = np.fromiter((len(tokens) for _, tokens in lexicon), np.int64, number)
    sizes = np.maximum(lengths, 1)  # an empty pronunciation is one arc that reads nothing
    total = int(sizes.sum())
    if total > _MAX_TOKENS:
        raise FsaValueError(f"lexicon: {total} tokens, a graph can have {_MAX_TOKENS} at most.")
    entry = np.repeat(np.arange(number), sizes)
    starts = np.cumsum(sizes) - sizes
    position = np.arange(total) - starts[entry]
    first, last = position == 0, position == sizes[entry] - 1
    # States inside entries, numbered through: an entry of n tokens has n - 1.
    inner = first_inner + (starts - np.arange(number))[entry] + position
    labels, aux, scores = np.zeros(total, np.int64), np.zeros(total, np.int64), np.zeros(total)
    labels[lengths[entry] > 0] = token_ids.many(t for _, tokens in lexicon for t in tokens)
    aux[starts] = word_ids.many(word for word, _ in lexicon)
    if lexicon.probs is not None:
        scores[starts] = np.log(np.asarray(lexicon.probs))
    source, destination = np.where(first, loop, inner - 1), np.where(last, loop, inner)
    return (source, destination, labels, aux, scores), first_inner + total - number


def _with_silence(entries: _Arcs, token: int, prob: float, after: int | None) -> list[_Arcs]:
    """Start (state 0), loop (1) and silence (2): the arcs of entries that end, once more to it."""
    source, destination, labels, aux, scores = entries
    ends = destination == 1
    yes, no = math.log(prob), math.log1p(-prob)
    go_on = (source, destination, labels, aux, scores + np.where(ends, no, 0.0))
    pause = (source[ends], np.full(int(ends.sum()), 2), labels[ends], aux[ends], scores[ends] + yes)
    rows = [(0, 1, 0, 0, no), (0, 2, 0, 0, yes)]
    if after is None:
        rows += [(2, 1, token, 0, 0.0)]
    else:
        rows += [(2, 3, token, 0, 0.0), (3, 1, after, 0, 0.0)]
    return [go_on, pause, _arcs(rows)]


def _arcs(rows: list[tuple[int, int, int, int, float]]) -> _Arcs:
    source, destination, labels, aux, scores = (np.asarray(column) for column in zip(*rows))
    return source, destination, labels, aux, scores


def _fsa(parts: list[_Arcs], num_states: int) -> Fsa:
    source, destination, labels, aux, scores = (np.concatenate(column) for column in zip(*parts))
    order = np.argsort(source, kind="stable")
    splits = np.zeros(num_states + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=num_states), out=splits[1:])
    table = np.stack([source, destination, labels], 1)[order].astype(np.int32)
    return Fsa(
        RaggedShape(torch.from_numpy(splits)),
        torch.from_numpy(table),
        torch.from_numpy(scores[order].astype(np.float32)),
        aux_labels=torch.from_numpy(aux[order].astype(np.int32)),
    )
