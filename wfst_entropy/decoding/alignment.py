"""Forced alignment: when each token and word of a known text was spoken, and how surely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.frame_entropy import frame_entropy
from wfst_entropy.algorithms.intersect_dense import intersect_dense
from wfst_entropy.algorithms.shortest_distance import shortest_distance
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.semirings import TropicalSemiring
from wfst_entropy.topologies import ctc_graph


class TokenSpan(NamedTuple):
    """Where one token lies on the best path.

    Attributes:
      token: its number.
      start_frame: its first frame, counted after subsampling.
      end_frame: one beyond its last frame.
      score: mean log-probability of the token over its frames, nats.
      entropy: mean over its frames of the entropy of the alignment's state, nats; 0 is certain.
    """

    token: int
    start_frame: int
    end_frame: int
    score: float
    entropy: float


class WordSpan(NamedTuple):
    """Where one word lies, in seconds; `score` and `entropy` as in `TokenSpan`."""

    start: float
    end: float
    score: float
    entropy: float


class ForcedAlignment(NamedTuple):
    """The best alignment of one utterance, and the entropy of all its alignments.

    Attributes:
      valid: whether there is any alignment; without one the rest is empty, and score -inf.
      score: log-weight of the best path, nats.
      symbols: symbol of each frame on the best path, blanks (0) included.
      spans: one entry per token.
      state_entropy: float64 `(T,)`, nats, entropy of the alignment's state at each frame.
      local_entropy: float64 `(T,)`, nats, what each frame adds to the path entropy; their sum is
        the conditional entropy `H_c` of the alignment.
    """

    valid: bool
    score: float
    symbols: list[int]
    spans: list[TokenSpan]
    state_entropy: Tensor
    local_entropy: Tensor


def target_lists(
    targets: Tensor, target_lengths: Tensor, caller: str = "forced_align"
) -> list[list[int]]:
    """Targets as lists, from padded (N, U) or concatenated (sum U,).

    Args:
      targets: integers.
      target_lengths: (N,).
      caller: whom the message names.

    Raises:
      DecodingError: shapes and lengths do not fit.

    >>> target_lists(torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]))
    [[1, 2], [3]]
    """
    lengths = target_lengths.tolist()
    if target_lengths.is_floating_point() or min(lengths, default=0) < 0:
        raise DecodingError(
            f"{caller}: target_lengths must be integers of at least 0, got {lengths}."
        )
    if targets.dim() == 2:
        if len(targets) != len(lengths) or max(lengths, default=0) > targets.shape[1]:
            raise DecodingError(
                f"{caller}: targets {tuple(targets.shape)} cannot hold target_lengths "
                f"{lengths}; give (N, U) with U at least the largest length."
            )
        return [row[:n] for row, n in zip(targets.tolist(), lengths)]
    if targets.dim() != 1 or len(targets) != sum(lengths):
        raise DecodingError(
            f"{caller}: concatenated targets must have sum(target_lengths) = {sum(lengths)} "
            f"entries, got shape {tuple(targets.shape)}."
        )
    return [part.tolist() for part in targets.split(lengths)]


def best_paths(lattice: Fsa) -> tuple[list[list[int]], list[float]]:
    """Arcs of the best path of each FSA, in order, and its score; no arcs and -inf without one.

    Of equally good arcs into a state the first wins.
    """
    forward = shortest_distance(lattice, TropicalSemiring())
    src, dst = lattice.src_states(), lattice.dst_states()
    reaching = forward[src] + lattice.scores
    best = torch.full_like(forward, -torch.inf).scatter_reduce_(0, dst, reaching, "amax")
    winners = (reaching == best[dst]).nonzero().squeeze(1)
    arc_into = torch.full((lattice.num_states,), lattice.num_arcs, device=lattice.device)
    arc_into.scatter_reduce_(0, dst[winners], winners, "amin")

    arc_into_state, src_of_arc, score_of_state = arc_into.tolist(), src.tolist(), forward.tolist()
    paths, scores = [], []
    for start, final in zip(lattice.start_states().tolist(), lattice.final_states().tolist()):
        scores.append(-math.inf if final < 0 else score_of_state[final])
        path, state = [], final
        while scores[-1] > -math.inf and state != start:
            path.append(arc_into_state[state])
            state = src_of_arc[path[-1]]
        paths.append(path[::-1])
    return paths, scores


def _spans(symbols: Tensor, starts: Tensor, scores: Tensor, entropy: Tensor) -> list[TokenSpan]:
    """Tokens of one best path: each begins where `starts` has it, and ends with its run."""
    spans = []
    frames = symbols.tolist()
    for start in starts.nonzero().squeeze(1).tolist():
        end = start + 1
        while end < len(frames) and frames[end] == frames[start] and not starts[end]:
            end += 1
        spans.append(
            TokenSpan(
                token=frames[start],
                start_frame=start,
                end_frame=end,
                score=float(scores[start:end].mean()),
                entropy=float(entropy[start:end].mean()),
            )
        )
    return spans


def forced_align(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor
) -> list[ForcedAlignment]:
    """Align known texts with frame scores: the best path of each CTC graph.

    The graph of each text (`ctc_graph`) is intersected with its frame scores; the tropical semiring
    gives the best path, the log semiring the posterior of every other one, and so the entropy.
    The Viterbi alignment of CTC: Graves et al. 2006, section 4. Blank is 0.

    Args:
      log_probs: `(N, T, C)` float, log-probabilities or any log-weights.
      targets: integer, padded `(N, U)` or concatenated `(sum U,)`.
      input_lengths: `(N,)` integer, frames of each utterance.
      target_lengths: `(N,)` integer, tokens of each utterance; 0 aligns with blanks alone.

    Returns:
      One alignment per utterance. Where there is none (fewer frames than labels and repeats need,
      or no mass on any path) its `valid` is False; the others are not affected.

    Raises:
      DecodingError: targets and lengths do not fit each other.
      FsaError: a score that is read is NaN or +inf, a token or a length is out of range.

    >>> log_probs = torch.tensor([[[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]]).log()
    >>> one = torch.tensor([1])
    >>> forced_align(log_probs, one[None], torch.tensor([3]), one)[0].symbols
    [1, 1, 0]
    """
    texts = target_lists(targets, target_lengths)
    graph = ctc_graph(texts)
    dense = DenseFsaVec.from_lengths(log_probs.detach(), input_lengths)
    lattice = intersect_dense(graph.to(log_probs.device), dense)
    paths, totals = best_paths(lattice)
    entropies = frame_entropy(lattice)

    states, local = entropies.states.cpu(), entropies.local.cpu()
    alignments = []
    for utt, (path, total) in enumerate(zip(paths, totals)):
        if total == -math.inf:
            empty = states.new_zeros(0)
            alignments.append(ForcedAlignment(False, total, [], [], empty, empty))
            continue
        arcs = torch.tensor(path[:-1], dtype=torch.int64)  # the last one enters the final state
        labels, emits = lattice.labels[arcs].cpu(), (lattice.aux_labels[arcs] > 0).cpu()
        state_entropy, local_entropy = states[utt, : len(arcs)], local[utt, : len(arcs)]
        spans = _spans(labels, emits, lattice.scores[arcs].cpu(), state_entropy)
        alignments.append(
            ForcedAlignment(True, total, labels.tolist(), spans, state_entropy, local_entropy)
        )
    return alignments


def word_spans(
    spans: Sequence[TokenSpan],
    word_of_token: Sequence[int | None],
    *,
    frame_shift: float,
    subsampling_factor: int = 1,
) -> list[WordSpan]:
    """Times of words from times of tokens.

    A word begins with the first frame of its first token and ends with the last frame of its last
    one: `start = start_frame * subsampling_factor * frame_shift`.

    Args:
      spans: the tokens, in order.
      word_of_token: for each token the number of its word (0, 1, 2, ... in order), or None for a
        token that belongs to no word, such as a separator.
      frame_shift: seconds between two feature frames.
      subsampling_factor: feature frames per frame of the spans.

    Returns:
      One entry per word, seconds; score and entropy are means over the frames of its tokens.

    Raises:
      DecodingError: the numbers do not fit the tokens, or are not 0, 1, 2, ... in order.

    >>> spans = [TokenSpan(7, 0, 2, -0.5, 0.0), TokenSpan(8, 3, 5, -0.25, 0.5)]
    >>> word_spans(spans, [0, 0], frame_shift=0.01, subsampling_factor=4)
    [WordSpan(start=0.0, end=0.2, score=-0.375, entropy=0.25)]
    """
    if len(word_of_token) != len(spans):
        raise DecodingError(
            f"word_spans: {len(spans)} tokens need as many entries of word_of_token, got "
            f"{len(word_of_token)}."
        )
    words: list[list[TokenSpan]] = []
    for position, (span, word) in enumerate(zip(spans, word_of_token)):
        if word is None:
            continue
        if word == len(words):
            words.append([])
        elif word != len(words) - 1:
            raise DecodingError(
                f"word_spans: word_of_token must count words 0, 1, 2, ... in order, but token "
                f"{position} has {word} after {len(words) - 1}."
            )
        words[-1].append(span)
    second = frame_shift * subsampling_factor
    result = []
    for tokens in words:
        sizes = [t.end_frame - t.start_frame for t in tokens]
        total = sum(sizes)
        result.append(
            WordSpan(
                start=tokens[0].start_frame * second,
                end=tokens[-1].end_frame * second,
                score=sum(t.score * n for t, n in zip(tokens, sizes)) / total,
                entropy=sum(t.entropy * n for t, n in zip(tokens, sizes)) / total,
            )
        )
    return result
