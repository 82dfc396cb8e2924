"""What a lattice says of each utterance: words and tokens with times, confidences and entropies."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms import get_arc_post, get_tot_scores, path_entropy
from wfst_entropy.decoding.confusion_network import ConfusionNetwork, confusion_network
from wfst_entropy.decoding.frame_posteriors import (
    Emissions,
    emissions,
    emitting_arcs,
    frames_of_arcs,
)
from wfst_entropy.decoding.lattice_entropy import local_entropy
from wfst_entropy.decoding.nbest import Nbest
from wfst_entropy.decoding.one_best import get_aux_labels, one_best_decoding
from wfst_entropy.decoding.words_of_tokens import Pronunciations, TokenRange, ranges_of_words
from wfst_entropy.fsa import Fsa, FsaValueError, RaggedShape


class TokenHypothesis(NamedTuple):
    """One token of the best path.

    Attributes:
      token: its number.
      start_frame: the first frame that emits it.
      end_frame: one beyond the last.
      score: mean over its frames of what the frame scores for it, nats; with `lm_scores` in the
        lattice, without the graph's part.
      confidence: mean over its frames of its posterior there (see `frame_posteriors`).
      entropy: mean over its frames of the entropy of the label that the frame emits, nats.
    """

    token: int
    start_frame: int
    end_frame: int
    score: float
    confidence: float
    entropy: float


class WordHypothesis(NamedTuple):
    """One word of the best path.

    Attributes:
      word: its number.
      start_frame, end_frame: the first frame of its first token, and one beyond the last frame of
        its last one; None where tokens and pronunciations do not tell.
      start, end: the same in seconds; None without `frame_shift`.
      confidence: the probability that this word stands in this place, over all paths of the
        lattice (see `confusion_network`).
      word_entropy: entropy of the word in this place, nats.
      alignment_entropy: what its frames add to the entropy of the paths (see `local_entropy`),
        nats; None without frames.
    """

    word: int
    start_frame: int | None
    end_frame: int | None
    start: float | None
    end: float | None
    confidence: float
    word_entropy: float
    alignment_entropy: float | None


class BestPathResult(NamedTuple):
    """The best path of one utterance; without a path there are no words and no tokens.

    Attributes:
      valid: whether there is a path.
      partial: whether it ended before a final state of the graph (the attribute `partial`).
      words: its words.
      tokens: its tokens.
      score: its weight, nats; -inf without a path.
      confidence: the posterior probability of its words, over all paths that tell them; 0 without a
        path.
      entropy: of all paths of the lattice, nats.
    """

    valid: bool
    partial: bool
    words: list[WordHypothesis]
    tokens: list[TokenHypothesis]
    score: float
    confidence: float
    entropy: float


def best_path_results(
    lattice: Fsa,
    pronunciations: Pronunciations | None = None,
    *,
    frame_shift: float | None = None,
    silence: Collection[int] = (),
) -> list[BestPathResult]:
    """The best path of each lattice, with times, confidences and entropies.

    A token begins where the integer attribute `tokens` says so (such as the inner labels of an
    HLG); without it, where the label changes, which is right unless a topology lets a token follow
    itself without a blank.  Words get the frames of their tokens, which `pronunciations` tell: the
    labels of words are not where words are spoken (see `ranges_of_words`).

    Args:
      lattice: an acyclic FSA or vector with words as `aux_labels` and the attribute `frame_idx`;
        labels are what frames emit, 0 being blank.
      pronunciations: for each word its token sequences; without them words have no times.
      frame_shift: seconds from one frame of the lattice to the next: that of the features times the
        subsampling of the model.
      silence: tokens that may stand between words.

    Returns:
      One result for each utterance, also where its lattice is empty.

    Raises:
      DecodingError: the lattice lacks an attribute.
      CyclicFsaError, FsaValueError: as `get_arc_post`; or `frame_shift` is not a positive number.

    >>> lattice = Fsa.from_str("0 1 5 7 -1\\n1 2 0 0 -1\\n2 3 -1 -1 0\\n3")
    >>> _ = lattice.set_attribute_("frame_idx", torch.tensor([0, 1, 2]))
    >>> (result,) = best_path_results(lattice, {7: [(5,)]}, frame_shift=0.25)
    >>> word = result.words[0]
    >>> word.word, word.start, word.end, word.confidence, result.entropy
    (7, 0.0, 0.25, 1.0, 0.0)
    """
    if frame_shift is not None and not 0 < frame_shift < math.inf:
        raise FsaValueError(
            f"frame_shift: must be a positive number of seconds, got {frame_shift}."
        )
    plain = lattice.detach().to("cpu").to(torch.float64)
    if plain.num_axes == 2:
        plain = Fsa.from_fsas([plain])
    view = _LatticeView.of(plain)
    best = one_best_decoding(plain)
    words = get_aux_labels(best)
    networks = confusion_network(plain, words)
    confidences = _confidences(plain, best)
    entropies = path_entropy(plain).tolist()
    results = []
    for i in range(len(plain)):
        path = best[i]
        if path.num_states == 0:
            results.append(BestPathResult(False, False, [], [], -math.inf, 0.0, 0.0))
            continue
        tokens = _tokens(path, i, view)
        ranges = None
        if pronunciations is not None:
            spelled = [token.token for token in tokens]
            ranges = ranges_of_words(words[i], spelled, pronunciations, silence)
        local = view.local[i].cumsum(0).tolist()
        told = _words(words[i], networks[i], ranges, tokens, [0.0, *local], frame_shift)
        ends = path.attributes.get("partial")
        partial = isinstance(ends, Tensor) and bool(ends[-1])
        score = float(path.scores.sum())
        results.append(
            BestPathResult(True, partial, told, tokens, score, confidences[i], entropies[i])
        )
    return results


class _LatticeView(NamedTuple):
    """What all paths of the lattices say of each frame."""

    emissions: Emissions
    label_entropy: Tensor  # (num_utterances, num_frames)
    local: Tensor  # likewise

    @classmethod
    def of(cls, lattice: Fsa) -> _LatticeView:
        found = emissions(lattice, emitting_arcs(lattice), get_arc_post(lattice).exp())
        return cls(found, found.entropy(lattice.num_fsas), local_entropy(lattice))


def _confidences(lattice: Fsa, best: Fsa) -> list[float]:
    """The posterior probability of the words of each best path."""
    each = Nbest(best, RaggedShape.from_sizes(torch.ones(len(best), dtype=torch.int64)))
    share = each.sequence_scores(lattice).values - get_tot_scores(lattice)
    return share.exp().nan_to_num(0.0).clamp(max=1).tolist()


def _tokens(path: Fsa, utterance: int, view: _LatticeView) -> list[TokenHypothesis]:
    """The runs of labels on one path."""
    arcs = emitting_arcs(Fsa.from_fsas([path])).nonzero().flatten()
    frames, labels = frames_of_arcs(path)[arcs], path.labels[arcs].long()
    acoustic = path.scores
    if isinstance(graph := path.attributes.get("lm_scores"), Tensor):
        acoustic = acoustic - graph
    cells = utterance * view.emissions.num_frames + frames
    posterior = view.emissions.prob(cells, labels)
    spoken = (labels > 0).tolist()
    begins = _begins(path, arcs, labels)
    found = []
    for first in (i for i in range(len(spoken)) if begins[i]):
        last = first + 1
        while last < len(spoken) and labels[last] == labels[first] and not begins[last]:
            last += 1
        found.append(
            TokenHypothesis(
                token=int(labels[first]),
                start_frame=int(frames[first]),
                end_frame=int(frames[last - 1]) + 1,
                score=float(acoustic[arcs[first:last]].mean()),
                confidence=float(posterior[first:last].mean()),
                entropy=float(view.label_entropy[utterance, frames[first:last]].mean()),
            )
        )
    return found


def _begins(path: Fsa, arcs: Tensor, labels: Tensor) -> list[bool]:
    """Whether a token begins at each of the arcs that consume a frame."""
    changed = torch.ones_like(labels, dtype=torch.bool)
    changed[1:] = labels[1:] != labels[:-1]
    inner = path.attributes.get("tokens")
    if isinstance(inner, Tensor) and inner.dim() == 1:
        changed |= inner[arcs] > 0
    return (changed & (labels > 0)).tolist()


def _words(
    words: list[int],
    network: ConfusionNetwork,
    ranges: list[TokenRange] | None,
    tokens: list[TokenHypothesis],
    local: list[float],
    frame_shift: float | None,
) -> list[WordHypothesis]:
    """The words of one path; `local` are the sums of local entropies before each frame."""
    found = []
    for i, (word, place) in enumerate(zip(words, network.words)):
        first = last = start = end = entropy = None
        if ranges is not None and ranges[i].start < ranges[i].end:
            first = tokens[ranges[i].start].start_frame
            last = tokens[ranges[i].end - 1].end_frame
            entropy = max(0.0, local[last] - local[first])
            if frame_shift is not None:
                start, end = first * frame_shift, last * frame_shift
        found.append(
            WordHypothesis(word, first, last, start, end, place.prob(word), place.entropy, entropy)
        )
    return found
