"""The beams of a transducer's modified beam search: checks, and what goes to C++ and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.eager import eager
from wfst_entropy._native.prefix_search import (
    ContextTables,
    NgramTables,
    checked_context,
    checked_ngram,
    largest_boost,
)


class ScaledNgram(NamedTuple):
    """Valid tables, their factor, and an upper bound of what one token scores times it."""

    tables: NgramTables
    scale: float
    largest: float


class Step(NamedTuple):
    """What one frame did to the hypotheses of all streams that had it.

    `bad` is the stream with a score that is NaN or above 2**26, or -1; if there is one, the beams
    are of no use any more.  The new hypothesis i is the old `rows[i]`, if this is below their
    number; above it come those with one token more, `tokens[k]` after the old `sources[k]`.
    `changed` is false where all stay at their places.
    """

    bad: int
    changed: bool
    rows: Tensor  # int64
    sources: Tensor  # int64
    tokens: Tensor  # int64


class ModifiedBeamKernel:
    """What a search knows; it owns copies.

    Args:
        num_symbols: C, blank (0) included.
        beam_size: at least 1, hypotheses kept.
        search_beam: nats, at least 0.
        length_bonus: nats per token.
        ngrams: two at most.
        context: valid tables.
    """

    @eager
    def __init__(
        self,
        num_symbols: int,
        *,
        beam_size: int,
        search_beam: float,
        length_bonus: float,
        ngrams: Sequence[ScaledNgram],
        context: ContextTables | None,
    ) -> None:
        if not 1 <= num_symbols <= 2**31 - 1:
            raise ValueError(f"num_symbols: must lie in 1..2**31 - 1, got {num_symbols}")
        if not 1 <= beam_size <= 2**24:
            raise ValueError(f"beam_size: must lie in 1..2**24, got {beam_size}")
        self.num_symbols = num_symbols
        self.native = kernel("ModifiedBeamSearch").make(
            num_symbols, beam_size, search_beam, length_bonus
        )
        for ngram in ngrams:
            sizes, kept = checked_ngram(ngram.tables)
            addresses = [x.data_ptr() for x in kept]
            self.native.add_ngram(*sizes, *addresses, ngram.scale, ngram.largest)
        if context is not None:
            sizes, kept = checked_context(context)
            self.native.set_boosts(*sizes, *(x.data_ptr() for x in kept), largest_boost(context))

    def new_beam(self) -> Any:
        """The beam of a stream of which nothing is known yet; like all, it never changes."""
        return kernel("ModifiedBeam").make()

    def begin(self, beams: Sequence[Any]) -> ModifiedBeams:
        """Copies of beams, to go on from."""
        return ModifiedBeams(self, beams)

    def hypotheses(self, beam: Any, final: bool) -> tuple[list[tuple[Any, ...]], bool]:
        """All hypotheses of a beam, the best first, and whether one may end here.

        Each is tokens, frames, log-probs (arrays), then the scores: total, n-grams (scaled),
        phrases.
        """
        found: tuple[list[tuple[Any, ...]], bool] = kernel("modified_beam_hypotheses")(
            self.native, beam, final
        )
        return found


class ModifiedBeams:
    """Beams of several streams that go on together; those with the most frames come first."""

    def __init__(self, search: ModifiedBeamKernel, beams: Sequence[Any]) -> None:
        self._num_symbols, self._count = search.num_symbols, len(beams)
        self._native = kernel("ModifiedBeams").make(search.native, list(beams))

    def num_rows(self, count: int) -> int:
        """Hypotheses of the first `count` streams."""
        return int(self._native.num_rows(self._checked(count)))

    def beam(self, stream: int) -> Any:
        """A copy of what is there now."""
        return self._native.beam(self._checked(stream + 1) - 1)

    @eager
    def step(self, count: int, scores: Tensor) -> Step:
        """Reads one frame of the first `count` streams.

        Args:
            count: from 0 to the number of streams.
            scores: (num_rows(count), C) float32 on the CPU.
        """
        shape = (self.num_rows(count), self._num_symbols)
        scores = check(scores, "scores", torch.float32, shape)
        bad, changed, *arrays = self._native.step(count, scores.data_ptr())
        return Step(bad, changed, *(torch.from_numpy(x) for x in arrays))

    def _checked(self, count: int) -> int:
        if not 0 <= count <= self._count:
            raise ValueError(f"count: must lie in 0..{self._count}, got {count}")
        return count
