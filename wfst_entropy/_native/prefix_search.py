"""The kernels of CTC prefix beam search: checks, and what goes to C++ and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.eager import eager


class ContextTables(NamedTuple):
    """An Aho-Corasick automaton; see `ContextGraph`. Arcs of a state are ordered by token."""

    splits: Tensor  # int64 (num_states + 1,), into tokens and children
    tokens: Tensor  # int32
    children: Tensor  # int32
    fail: Tensor  # int32 (num_states,), 0 for state 0, elsewhere a state nearer to 0
    credit: Tensor  # float64 (num_states,), at least 0 and at least that of the fail state
    output: Tensor  # float64 (num_states,)


class NgramTables(NamedTuple):
    """A deterministic n-gram over tokens. Arcs of a state are ordered by token; start is 0."""

    splits: Tensor  # int64 (num_states + 1,), into tokens, next and scores
    tokens: Tensor  # int32
    next: Tensor  # int32
    scores: Tensor  # float64, nats
    backoff: Tensor  # int32 (num_states,), the failure arc's state or -1; without a cycle
    backoff_scores: Tensor  # float64 (num_states,)
    final_scores: Tensor  # float64 (num_states,), -inf where no sentence may end
    largest: float  # an upper bound of what one token scores, back-off included


class PrefixSearch:
    """What a search knows; it owns copies.

    Args:
        num_symbols: C, blank included.
        blank: in 0..C-1.
        beam_size: at least 1, prefixes kept.
        tokens_per_frame: 0 for all.
        search_beam: nats, at least 0.
        lm_scale: at least 0.
        length_bonus: nats per token.
        lm: valid tables.
        context: valid tables.
    """

    @eager
    def __init__(
        self,
        num_symbols: int,
        blank: int,
        *,
        beam_size: int,
        tokens_per_frame: int,
        search_beam: float,
        lm_scale: float,
        length_bonus: float,
        lm: NgramTables | None,
        context: ContextTables | None,
    ) -> None:
        if not 0 <= blank < num_symbols <= 2**31 - 1:
            raise ValueError(f"blank: must lie in 0..{num_symbols - 1}, got {blank}")
        if not 1 <= beam_size <= 2**24:
            raise ValueError(f"beam_size: must lie in 1..2**24, got {beam_size}")
        self.num_symbols = num_symbols
        self.native = kernel("PrefixSearch").make(
            num_symbols, blank, beam_size, tokens_per_frame, search_beam, lm_scale, length_bonus
        )
        if lm is not None:
            sizes, kept = checked_ngram(lm)
            self.native.set_lm(*sizes, *(x.data_ptr() for x in kept), lm.largest)
        if context is not None:
            sizes, kept = checked_context(context)
            self.native.set_boosts(*sizes, *(x.data_ptr() for x in kept), largest_boost(context))

    def new_stream(self) -> Any:
        """The state of an utterance of which nothing is known yet."""
        return kernel("PrefixStream").make(self.native)

    @eager
    def advance(self, streams: Sequence[Any], scores: Tensor, lengths: Tensor) -> None:
        """Reads frames; streams are independent of each other.

        Args:
            streams: n different ones of this search.
            scores: (n, T, C) float32 or float64 on the CPU, without NaN and +inf in the frames
                that are read; the last axis is dense.
            lengths: (n,) int64, in 0..T.

        Raises:
            RuntimeError: more than 32-bit numbers can count.
        """
        n, num_frames = len(streams), scores.shape[1]
        if scores.shape != (n, num_frames, self.num_symbols) or scores.stride(2) != 1:
            raise ValueError(f"scores: needs ({n}, T, {self.num_symbols}), dense in the last axis")
        lengths = check(lengths, "lengths", torch.int64, (n,))
        if n and not 0 <= int(lengths.min()) <= int(lengths.max()) <= num_frames:
            raise ValueError(f"lengths: must lie in 0..{num_frames}")
        if len({id(stream) for stream in streams}) != n:
            raise ValueError("streams: one of them is given twice")
        kernel("prefix_search_advance", scores.dtype)(
            self.native,
            list(streams),
            scores.data_ptr(),
            scores.stride(0),
            scores.stride(1),
            lengths.data_ptr(),
            torch.get_num_threads(),
        )

    def hypotheses(self, stream: Any, final: bool) -> tuple[list[tuple[Any, ...]], bool]:
        """All prefixes in the beam, the best first, and whether one may end here.

        Each is tokens, start frames, end frames, mean log-probs (arrays), then the scores: total,
        model, n-gram, phrases.
        """
        found: tuple[list[tuple[Any, ...]], bool] = kernel("prefix_search_hypotheses")(
            self.native, stream, final
        )
        return found


def checked_ngram(lm: NgramTables) -> tuple[tuple[int, int], list[Tensor]]:
    """The numbers of states and arcs, and the tensors that C++ copies; keep them until it has."""
    states, arcs = lm.backoff.numel(), lm.tokens.numel()
    _check_rows(lm.splits, lm.next, lm.backoff, -1)
    kept = [
        check(lm.splits, "splits", torch.int64, (states + 1,)),
        check(lm.tokens, "tokens", torch.int32, (arcs,)),
        check(lm.next, "next", torch.int32, (arcs,)),
        check(lm.scores, "scores", torch.float64, (arcs,)),
        check(lm.backoff, "backoff", torch.int32, (states,)),
        check(lm.backoff_scores, "backoff_scores", torch.float64, (states,)),
        check(lm.final_scores, "final_scores", torch.float64, (states,)),
    ]
    return (states, arcs), kept


def checked_context(context: ContextTables) -> tuple[tuple[int, int], list[Tensor]]:
    """As `checked_ngram`."""
    states, arcs = context.fail.numel(), context.tokens.numel()
    _check_rows(context.splits, context.children, context.fail, 0)
    kept = [
        check(context.splits, "splits", torch.int64, (states + 1,)),
        check(context.tokens, "tokens", torch.int32, (arcs,)),
        check(context.children, "children", torch.int32, (arcs,)),
        check(context.fail, "fail", torch.int32, (states,)),
        check(context.credit, "credit", torch.float64, (states,)),
        check(context.output, "output", torch.float64, (states,)),
    ]
    return (states, arcs), kept


def largest_boost(context: ContextTables) -> float:
    """An upper bound of what one token gains, zero at the least."""
    source = torch.arange(context.fail.numel()).repeat_interleave(context.splits.diff())
    gains = (context.credit + context.output)[context.children.long()] - context.credit[source]
    return max(0.0, float(gains.max())) if gains.numel() else 0.0


def _check_rows(splits: Tensor, targets: Tensor, jumps: Tensor, none: int) -> None:
    """States stay inside the tables, and following `jumps` ends at `none`."""
    states = jumps.numel()
    if states < 1 or int(splits[0]) != 0 or int(splits[-1]) != targets.numel():
        raise ValueError("splits: must lead from 0 to the number of arcs")
    if bool((splits.diff() < 0).any()):
        raise ValueError("splits: must not fall")
    low = min(none, 0)
    for values, least in ((targets, 0), (jumps, low)):
        if values.numel() and not least <= int(values.min()) <= int(values.max()) < states:
            raise ValueError(f"states: must lie in {least}..{states - 1}")
    if has_cycle(jumps, none):
        raise ValueError("jumps: form a cycle")


def has_cycle(jumps: Tensor, end: int) -> bool:
    """Tells whether following `jumps` from some state never comes to `end`.

    Args:
        jumps: integer (num_states,), the next state of each; `end` may be -1 or a state.
        end: where chains finish.
    """
    states = jumps.numel()
    far = torch.cat([jumps.long(), jumps.new_full((1,), -1).long()])  # -1 indexes the last: itself
    if end >= 0:
        far[end] = -1
    for _ in range(states.bit_length()):  # doubles the length of the jumps
        far = far[far]
    return bool((far >= 0).any())
