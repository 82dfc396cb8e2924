"""k2's `get_best_matching_stats`: scores of words whose left context matches best."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged_tensor import RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


def get_best_matching_stats(
    tokens: RaggedTensor,
    scores: Tensor,
    counts: Tensor,
    eos: int,
    min_token: int,
    max_token: int,
    max_order: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and variance of the scores of "key" words that match each word in its left context.

    A word matches another as far as the words before both agree (through the begins of sentences,
    which stand one after the other, the first after an `eos`).  Of each word, the longest match
    with any other word is taken that has a key among the words that match so far.

    Args:
      tokens: `[sentence][token]`, or `[collection][sentence][token]`, where words match within
        their own collection only.
      scores: `(num_tokens,)`, what is known of the keys.
      counts: int32 `(num_tokens,)`, 1 for keys and 0 for queries.
      eos: the symbol at the end of sentences.
      min_token, max_token: the smallest and the largest token.
      max_order: the largest order to give.

    Returns:
      Mean and variance, float32, and the number of the keys that matched, int32; where not even the
      word itself occurs among the keys, mean and variance are those of all keys, and the number is
      0; with no keys at all, all are 0.  Then the order of the match, int32: the number of words
      that agree, at most `max_order`, and `max_order` where the match reaches the begin of the
      sentence.

    Raises:
      FsaTypeError: the tokens are not int32.
      FsaValueError: sizes, tokens, `eos` or `max_order` (from 2 on) do not fit.

    Example:
      >>> tokens = RaggedTensor([[5, 1, 6], [5, 2, 6], [5, 1, 6]])
      >>> scores = torch.tensor([1.0, 2, 3, 4, 5, 6, 0, 0, 0])
      >>> counts = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=torch.int32)
      >>> mean, _, number, order = get_best_matching_stats(tokens, scores, counts, 6, 1, 6, 3)
      >>> mean[-3:].tolist(), number[-3:].tolist(), order[-3:].tolist()
      ([2.5, 2.0, 3.0], [2, 1, 1], [3, 3, 3])
    """
    _check(tokens, scores, counts, eos, min_token, max_token, max_order)
    if tokens.num_axes == 3:
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for i in range(tokens.dim0):
            sentences = tokens[i]
            assert isinstance(sentences, RaggedTensor)
            begin = sum(part[0].numel() for part in parts)
            within = slice(begin, begin + sentences.numel())
            parts.append(_of_collection(sentences, scores[within], counts[within], eos, max_order))
        if parts:
            mean, var, number, order = (torch.cat(part) for part in zip(*parts))
            return mean, var, number, order
        tokens = tokens.remove_axis(0)
    return _of_collection(tokens, scores, counts, eos, max_order)


def _of_collection(
    tokens: RaggedTensor, scores: Tensor, counts: Tensor, eos: int, max_order: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # Reversed, so that what is before a word follows it; the last symbol occurs once, so that no
    # two suffixes are the same.
    once = torch.iinfo(torch.int64).max
    text = torch.cat([tokens.values.to(torch.int64).flip(0), torch.tensor([eos, once])])
    is_key = torch.cat([counts.flip(0), counts.new_zeros(2)]).to(torch.float64)
    known = torch.cat([scores.flip(0), scores.new_zeros(2)]).to(torch.float64) * (is_key > 0)
    length, sums = _longest_shared_prefixes(text, torch.stack([is_key, known, known**2], dim=1))
    length, sums = length[:-2].flip(0), sums[:-2].flip(0)
    number, total, squares = sums.unbind(1)
    mean = total / number.clamp(min=1)
    var = torch.where(number > 1, (squares / number.clamp(min=1) - mean**2).clamp(min=0), 0)
    begins = tokens.shape.row_splits(1).to(torch.int64)[tokens.shape.row_ids(1).to(torch.int64)]
    from_begin = torch.arange(tokens.numel()) - begins + 1
    order = torch.where((length > 0) & (from_begin <= length), max_order, length)
    return (
        mean.to(torch.float32),
        var.to(torch.float32),
        torch.where(length > 0, number, 0).to(torch.int32),
        order.clamp(max=max_order).to(torch.int32),
    )


def _longest_shared_prefixes(text: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """For each suffix, its longest prefix that another suffix shares, and a key among them.

    In a sorted list of suffixes (a suffix array), those that share a prefix are neighbours.

    Args:
      text: int64 `(n,)`, the last symbol unlike all others.
      weights: `(n, m)`, the first column positive at keys and zero elsewhere.

    Returns:
      The length of that prefix, int64, and the sums of the weights of all suffixes that share it.
    """
    size = text.numel()
    ranks = _ranks_of_substrings(text)
    place = ranks[-1]  # of each suffix in the sorted list
    suffix = torch.argsort(place)
    weights = weights[suffix]
    here = torch.arange(size)
    is_key = weights[:, 0] > 0
    # A key needs any neighbour, another word the nearest key on either side.
    before = torch.where(is_key, here, -1).cummax(0)[0]
    after = torch.where(is_key, here, size).flip(0).cummin(0)[0].flip(0)
    before, after = torch.where(is_key, here - 1, before), torch.where(is_key, here + 1, after)
    length = torch.maximum(*(_num_shared(ranks, suffix, here, other) for other in (before, after)))

    first, last = here, here  # of the neighbours that share as much
    with_next = _num_shared(ranks, suffix, here, here + 1)
    lowest = [with_next]  # [k][i]: the least of with_next from i to i + 2**k - 1
    while 2 ** len(lowest) < size:
        lowest.append(torch.minimum(lowest[-1], _shifted(lowest[-1], 2 ** (len(lowest) - 1))))
    for k in reversed(range(len(lowest))):
        begin = (first - 2**k).clamp(min=0)
        first = torch.where((first >= 2**k) & (lowest[k][begin] >= length), begin, first)
        end = (last + 2**k).clamp(max=size - 1)
        last = torch.where((last + 2**k < size) & (lowest[k][last] >= length), end, last)
    total = torch.cat([weights.new_zeros(1, weights.shape[1]), weights.cumsum(0)])
    return length[place], (total[last + 1] - total[first])[place]


def _ranks_of_substrings(text: Tensor) -> list[Tensor]:
    """Numbers in sorted order of the substrings of length 1, 2, 4, ... from each position on.

    Those that reach beyond the end are cut there; of the last list, all are different.
    """
    ranks = [torch.unique(text, return_inverse=True)[1]]
    while 2 ** (len(ranks) - 1) < text.numel():
        tail = _shifted(ranks[-1] + 1, 2 ** (len(ranks) - 1))
        pair = ranks[-1] * (text.numel() + 1) + tail
        ranks.append(torch.unique(pair, return_inverse=True)[1])
    return ranks


def _shifted(values: Tensor, by: int) -> Tensor:
    return torch.cat([values[by:], values.new_zeros(min(by, values.numel()))])


def _num_shared(ranks: list[Tensor], suffix: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """How many symbols suffixes `a` and `b` of the sorted list share; 0 where `b` is outside it."""
    inside = (b >= 0) & (b < suffix.numel())
    a, b = suffix[a], suffix[b.clamp(0, suffix.numel() - 1)]
    length = torch.zeros_like(a)
    for k in reversed(range(len(ranks))):
        # Different suffixes differ before either ends, so this stays inside the text.
        length = length + (inside & (ranks[k][a + length] == ranks[k][b + length])) * 2**k
    return length


def _check(
    tokens: RaggedTensor,
    scores: Tensor,
    counts: Tensor,
    eos: int,
    min_token: int,
    max_token: int,
    max_order: int,
) -> None:
    if tokens.dtype != torch.int32:
        raise FsaTypeError(f"tokens: must be int32, got {tokens.dtype}.")
    size = tokens.numel()
    if tokens.num_axes not in (2, 3) or scores.shape != (size,) or counts.shape != (size,):
        raise FsaValueError(
            f"tokens: must have 2 or 3 axes, got {tokens.num_axes}; scores and counts must have "
            f"one number per token, {size}, got {tuple(scores.shape)} and {tuple(counts.shape)}."
        )
    if not min_token <= eos <= max_token or max_order < 2:
        raise FsaValueError(
            f"needs min_token <= eos <= max_token, got {min_token}, {eos}, {max_token}, and "
            f"max_order >= 2, got {max_order}."
        )
    if size and not min_token <= int(tokens.values.min()) <= int(tokens.values.max()) <= max_token:
        raise FsaValueError(
            f"tokens: must be from min_token {min_token} to max_token {max_token}, got from "
            f"{int(tokens.values.min())} to {int(tokens.values.max())}."
        )
