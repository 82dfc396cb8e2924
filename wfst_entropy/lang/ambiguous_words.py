"""Which words of a lexicon cannot be told apart, where determinisation fails."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from wfst_entropy.fsa import Fsa, SymbolTable

Spoken = tuple[int, tuple[int, ...]]  # a word and its tokens


def name_ambiguous_words(l_disambig: Fsa, vocab_size: int) -> str | None:
    """Names two words that L does not tell apart, or None if it tells all apart.

    Two words with the same tokens, disambiguation symbols included; or, where there is no such
    pair, a word whose tokens begin another word's, with no disambiguation symbol at its end.

    Args:
      l_disambig: a lexicon transducer, whose words have a path of their own from a shared state
        back to a shared one.
      vocab_size: the first id of a disambiguation symbol.
    """
    spoken = list(_pronunciations(l_disambig))
    by_tokens: dict[tuple[int, ...], int] = {}
    for word, tokens in spoken:
        other = by_tokens.setdefault(tokens, word)
        if other != word:
            return (
                f"the words {_name(l_disambig, other)} and {_name(l_disambig, word)} are both "
                f"spelled {_spelling(l_disambig, tokens)}, and no disambiguation symbol tells them "
                "apart"
            )
    for word, tokens in spoken:
        for size in range(1, len(tokens)):
            other = by_tokens.get(tokens[:size], word)
            if other != word and tokens[size - 1] < vocab_size:
                return (
                    f"the word {_name(l_disambig, other)}, "
                    f"{_spelling(l_disambig, tokens[:size])}, begins "
                    f"{_name(l_disambig, word)}, {_spelling(l_disambig, tokens)}, and no "
                    "disambiguation symbol marks its end"
                )
    return None


def _pronunciations(lexicon: Fsa) -> Iterator[Spoken]:
    """The tokens of each arc that writes a word and of those behind it, up to a shared state."""
    assert lexicon.attributes.get("aux_labels") is not None
    destination, label = lexicon.arcs[:, 1].tolist(), lexicon.labels.tolist()
    words = lexicon.aux_labels.tolist()
    first = lexicon.shape.row_splits(1).tolist()
    entering = torch.bincount(lexicon.arcs[:, 1].long(), minlength=lexicon.num_states).tolist()
    for arc, word in enumerate(words):
        if word <= 0:
            continue
        tokens, at = [label[arc]], destination[arc]
        # Only states that no path reaches could go round in a circle.
        while entering[at] == 1 and first[at] < first[at + 1] and len(tokens) < len(first):
            tokens.append(label[first[at]])
            at = destination[first[at]]
        yield word, tuple(token for token in tokens if token > 0)


def _name(lexicon: Fsa, word: int) -> str:
    return _symbol(lexicon.attributes.get("aux_labels_sym"), word)


def _spelling(lexicon: Fsa, tokens: tuple[int, ...]) -> str:
    table = lexicon.attributes.get("labels_sym")
    return " ".join(_symbol(table, token) for token in tokens)


def _symbol(table: SymbolTable | None, number: int) -> str:
    return str(table[number]) if table is not None and number in table else str(number)
