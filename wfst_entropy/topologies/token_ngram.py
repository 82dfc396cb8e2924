"""A small n-gram model of token sequences as a graph: what a denominator needs of language."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.connect import connect
from wfst_entropy.fsa import Fsa, FsaValueError, RaggedTensor
from wfst_entropy.topologies.linear import Sequences, append_final, as_ragged_labels

_MAX_ARCS = 2**28


def token_ngram(symbols: Sequences, max_token: int, order: int = 2) -> Fsa:
    r"""Estimates an n-gram model of token sequences, smoothed, and gives it as an acceptor.

    Interpolated Witten-Bell estimates: with :math:`c(h w)` how often the token w (or the end)
    followed the history h, :math:`c(h) = \sum_w c(h w)`, and :math:`n(h)` how many different ones
    followed it,

    .. math:: P(w \mid h) = \frac{c(h w) + n(h)\, P(w \mid h')}{c(h) + n(h)},

    where :math:`h'` is h without its oldest token; below the empty history all tokens and the end
    are equally likely. So every token sequence has a probability, and they sum to one.

    States are the histories that occur (the longest known end of what has been read); each has an
    arc for each token and one into the final state. There are no epsilons, which frame scores would
    take for blanks; a bigram of V tokens has at most V + 2 states and (V + 2)(V + 1) arcs.

    Args:
      symbols: the transcripts, labels `[utt][position]`, lists or a ragged tensor; at least 1 each.
      max_token: the largest token, V; a vocabulary of C symbols with blank has C - 1.
      order: the length of the n-grams; 2 looks one token back.

    Returns:
      One FSA `[state][arc]`, float32 scores in nats.

    Raises:
      FsaTypeError: symbols that are not integers.
      FsaValueError: no transcripts, a symbol outside 1..max_token, a `max_token` or order below 1,
        or more than 2**28 arcs.

    Source: Witten and Bell 1991, "The zero-frequency problem"; in this form Chen and Goodman 1998,
    "An empirical study of smoothing techniques for language modeling".

    Example:
      >>> lm = token_ngram([[1, 2], [1]], max_token=2)
      >>> lm.num_states, lm.num_arcs
      (4, 9)
      >>> lm.scores[:3].exp()     # after the start: 1 twice out of two, and smoothing
      tensor([0.7917, 0.0833, 0.1250])
    """
    for name, value in (("max_token", max_token), ("order", order)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FsaValueError(f"{name}: must be an integer of at least 1, got {value!r}.")
    labels = as_ragged_labels(symbols, "symbols", 1, "cpu")
    if labels.dim0 == 0:
        raise FsaValueError("symbols: there are no transcripts to estimate a model from.")
    for i in (labels.values > max_token).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"symbols: utterance {int(labels.shape.row_ids(1)[i])} has the token "
            f"{int(labels.values[i])}, above max_token = {max_token}."
        )
    # No history is longer than the longest transcript with its start.
    longest = int(labels.shape.row_splits(1).diff().max())
    levels = _levels(labels, max_token, min(order, longest + 2))
    # The start's history is the first of length 1, which makes it state 0.
    by_state = levels[1:] + levels[:1]
    final = sum(level.parent.numel() for level in levels)
    dst = torch.cat([level.next for level in by_state])
    dst = torch.cat([dst, torch.full((final, 1), final)], 1).flatten()
    src = torch.arange(final).repeat_interleave(max_token + 1)
    label = torch.cat([torch.arange(1, max_token + 1), torch.tensor([-1])]).repeat(final)
    scores = torch.cat([level.probs for level in by_state]).log().flatten()
    arcs = torch.stack([src, dst, label], 1)
    return connect(Fsa.from_arcs(arcs, scores.to(torch.float32), final + 1))


class _Level(NamedTuple):
    """The histories of one length, numbered."""

    number: Tensor  # of the history at each position of the transcripts, -1 where it is shorter
    parent: Tensor  # the number of each history without its oldest token, among those one shorter
    probs: Tensor  # (histories, max_token + 1) of the tokens 1, 2, ... and the end
    next: Tensor  # (histories, max_token) the state that each token leads to


def _levels(labels: RaggedTensor, max_token: int, order: int) -> list[_Level]:
    """The histories of 0 to order - 1 tokens; those with the start come first in their level."""
    sequence = append_final(labels)
    utterance = sequence.shape.row_ids(1)
    rows = torch.arange(sequence.numel())
    position = rows - sequence.shape.row_splits(1)[utterance]
    event = torch.where(sequence.values < 0, max_token, sequence.values - 1)
    numbers, parents = [torch.zeros_like(rows)], [torch.zeros(1, dtype=torch.int64)]
    for length in range(1, order):
        before = sequence.values[(rows - length).clamp(min=0)]
        oldest = torch.where(position == length - 1, 0, before)  # 0 is the start
        known = position >= length - 1
        keys = (numbers[-1] * (max_token + 1) + oldest)[known]
        unique, number = torch.unique(keys, return_inverse=True)
        _check_size(unique.numel(), max_token, length)
        numbers.append(torch.full_like(rows, -1).masked_scatter(known, number))
        parents.append(unique // (max_token + 1))
    sizes = [parent.numel() for parent in parents]
    begins = [sum(sizes[1:]), *(sum(sizes[1:k]) for k in range(1, order))]
    levels: list[_Level] = []
    for k, (number, parent) in enumerate(zip(numbers, parents)):
        below = levels[-1].probs[parent] if levels else torch.full((), 1 / (max_token + 1))
        known = number >= 0
        counts = torch.zeros(sizes[k], max_token + 1, dtype=torch.float64)
        ones = torch.ones(int(known.sum()), dtype=torch.float64)
        counts.index_put_((number[known], event[known]), ones, accumulate=True)
        kinds = (counts > 0).sum(1, keepdim=True)
        probs = (counts + kinds * below) / (counts.sum(1, keepdim=True) + kinds)
        state = levels[-1].next[parent] if levels else torch.full((1, max_token), begins[0])
        if k + 1 < order:
            # The history after a token is the one at the next position, one longer.
            inner = (known & (event < max_token)).nonzero().flatten()
            state[number[inner], event[inner]] = begins[k + 1] + numbers[k + 1][inner + 1]
        levels.append(_Level(number, parent, probs, state))
    return levels


def _check_size(num_histories: int, max_token: int, length: int) -> None:
    if num_histories * (max_token + 1) > _MAX_ARCS:
        raise FsaValueError(
            f"order: {num_histories} histories of {length} tokens with {max_token + 1} arcs each "
            f"are more than 2**28 arcs; take a smaller order."
        )
