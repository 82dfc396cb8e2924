"""The best token of each frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.asr.data.tokenizer import Tokenizer
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup, WordFrames
from wfst_entropy.asr.word_pieces import spell_words, words_of_tokens
from wfst_entropy.decoding.ctc_greedy_search import ctc_greedy_search


class GreedySearch:
    """`ctc-greedy-search`: neither lexicon nor language model, and nothing to tune.

    Args:
      setup: of which only the tokenizer is used.
    """

    name: ClassVar[str] = "ctc-greedy-search"
    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = {}
    grid: ClassVar[Sequence[Scales]] = ()

    def __init__(self, setup: SearchSetup) -> None:
        self.tokenizer = setup.tokenizer
        self.scales: Scales = {}

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        return [
            hypothesis_of_tokens(hypothesis.tokens, hypothesis.start_frames, self.tokenizer)
            for hypothesis in ctc_greedy_search(log_probs, lengths)
        ]

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; every scales finds the same."""
        words = [hypothesis.words for hypothesis in self.search(log_probs, lengths, [])]
        return [words for _ in grid]


def hypothesis_of_tokens(
    tokens: Sequence[int],
    frames: Sequence[int],
    tokenizer: Tokenizer,
    log_probs: Sequence[float] | None = None,
) -> Hypothesis:
    """The words that tokens spell.

    Args:
      tokens: in order of time.
      frames: the first frame of each.
      tokenizer: of the vocabulary.
      log_probs: of each where it was emitted, nats; a word is as probable as all of its tokens
        together. None where the search does not tell.
    """
    pieces = [tokenizer.symbols[token] for token in tokens]
    numbers = words_of_tokens(pieces)
    first: dict[int | None, int] = {}
    last: dict[int | None, int] = {}
    for word, frame in zip(numbers, frames, strict=True):
        first.setdefault(word, frame)
        last[word] = frame
    totals: dict[int | None, float] = {}
    for word, log_prob in zip(numbers, log_probs or (), strict=log_probs is not None):
        totals[word] = totals.get(word, 0.0) + log_prob
    confidences = {word: min(1.0, math.exp(total)) for word, total in totals.items()}
    names = spell_words(pieces, numbers)
    times = [
        WordFrames(word, first[i], last[i], confidences.get(i)) for i, word in enumerate(names)
    ]
    return Hypothesis(tokenizer.decode(tokens).split(), times)
