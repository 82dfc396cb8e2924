"""A bigram over the tokens 1 and 2, and what it gives."""

from __future__ import annotations

from wfst_entropy.fsa import Fsa

# States: 0 before the first token, 1 after token 1, 2 the unigram. Token 2 is only in the unigram;
# a sentence cannot end in state 1 but by back-off.
BIGRAM = Fsa.from_str(
    """
    0 1 1 -0.5
    0 2 3 -0.25
    1 1 1 -1.5
    1 2 3 0.125
    2 1 1 -1.0
    2 2 2 -2.0
    2 3 -1 -0.75
    3
    """
)


def ngram_score(tokens):
    """What BIGRAM gives with failure semantics, by the book."""
    state, total = 0, 0.0
    arcs = {(0, 1): (1, -0.5), (1, 1): (1, -1.5), (2, 1): (1, -1.0), (2, 2): (2, -2.0)}
    back = {0: (2, -0.25), 1: (2, 0.125)}
    for token in tokens:
        while (state, token) not in arcs:
            state, score = back[state]
            total += score
        state, score = arcs[state, token]
        total += score
    while state != 2:
        state, score = back[state]
        total += score
    return total - 0.75
