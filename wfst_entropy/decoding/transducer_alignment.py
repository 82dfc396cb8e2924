"""Forced alignment by a transducer: when each token of a known text is emitted, and how surely."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms.path_entropy import path_entropy
from wfst_entropy.algorithms.shortest_distance import get_arc_post
from wfst_entropy.decoding.alignment import TokenSpan, best_paths, target_lists
from wfst_entropy.fsa import Fsa
from wfst_entropy.topologies import rnnt_graph, rnnt_lattice


class TransducerAlignment(NamedTuple):
    """The best alignment of one utterance, and what all its alignments say.

    Attributes:
      valid: whether there is any alignment; without one the rest is empty, score -inf, entropy 0.
      score: log-weight of the best path, nats.
      spans: one entry per token, as `word_spans` takes them: the frame that emits it, the
        log-probability of the token there, and the entropy of its frame over all alignments, nats.
      posteriors: of each token, the probability that its frame is this one.
      expected_frames: of each token, the mean of its frame over all alignments.
      entropy: of the alignment, given the text, nats.
    """

    valid: bool
    score: float
    spans: list[TokenSpan]
    posteriors: list[float]
    expected_frames: list[float]
    entropy: float


def transducer_forced_align(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    *,
    rnnt_type: str = "regular",
    fused_log_softmax: bool = True,
) -> list[TransducerAlignment]:
    r"""Aligns known texts with the output of a joiner: the best path of each whole lattice.

    With :math:`\lambda_{t,u}` the posterior of the arc that emits token u in frame t, the frame of
    a token has the mean :math:`\sum_t t \lambda_{t,u}` and the entropy :math:`-\sum_t
    \lambda_{t,u} \log \lambda_{t,u}`.  Blank is 0.  Of equally good paths one is taken, the same
    in every batch.

    Args:
      logits: `(N, T, U + 1, C)` float; see `rnnt_lattice`.
      targets: integer, padded `(N, U)` or concatenated `(sum U,)`.
      logit_lengths: `(N,)` integer, frames of each utterance.
      target_lengths: `(N,)` integer, tokens of each utterance; 0 aligns with blanks alone.
      rnnt_type: `"regular"`, `"modified"` or `"constrained"`; see `rnnt_graph`.
      fused_log_softmax: whether to normalise the logits.

    Returns:
      One alignment per utterance. Where there is none (no frames, fewer frames than tokens where
      each emits one at most, or no mass on any path) its `valid` is False.

    Raises:
      DecodingError: targets and lengths do not fit each other.
      FsaError: a score that is read is NaN or above 2**26, a token or a length is out of range.

    Source: the best path instead of the sum in Graves 2012, "Sequence transduction with recurrent
    neural networks", Figure 1.

    Example:
      >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
      >>> one, two = torch.tensor([1]), torch.tensor([2])
      >>> (alignment,) = transducer_forced_align(logits, one[None], two, one)
      >>> alignment.spans[0].start_frame, [round(p, 4) for p in alignment.posteriors]
      (1, [0.5172])
    """
    texts = target_lists(targets, target_lengths, "transducer_forced_align")
    graph = rnnt_graph(texts, logit_lengths.to("cpu"), rnnt_type).to(logits.device)
    lattice = rnnt_lattice(graph, logits.detach(), fused_log_softmax=fused_log_softmax)
    paths, totals = best_paths(lattice)
    tokens = _TokenFrames(lattice)
    entropies = path_entropy(lattice).tolist()
    alignments = []
    for utt, (path, total) in enumerate(zip(paths, totals, strict=True)):
        if total == -math.inf:
            alignments.append(TransducerAlignment(False, total, [], [], [], 0.0))
            continue
        alignments.append(tokens.alignment(utt, path, total, max(entropies[utt], 0.0)))
    return alignments


class _TokenFrames:
    """The frames of all tokens of all utterances of a lattice, over its paths."""

    def __init__(self, lattice: Fsa) -> None:
        posterior = get_arc_post(lattice).double().exp()
        self.labels, self.frames = lattice.labels.cpu(), lattice.frame_idx.cpu()
        self.positions, self.scores = lattice.label_idx.cpu(), lattice.scores.double().cpu()
        self.utterance, self.posterior = lattice.arc_to_fsa().cpu(), posterior.cpu()
        emits = self.labels > 0
        self.width = int(self.positions[emits].max()) + 1 if bool(emits.any()) else 0
        place = (self.utterance * self.width + self.positions)[emits].long()
        # An arc for each frame of a token: no frame is there twice.
        share, sizes = self.posterior[emits], lattice.num_fsas * self.width
        self.entropies = torch.zeros(sizes, dtype=torch.float64)
        self.entropies.index_add_(0, place, -torch.special.xlogy(share, share))
        self.means = torch.zeros(sizes, dtype=torch.float64)
        self.means.index_add_(0, place, share * self.frames[emits])

    def alignment(
        self, utt: int, path: list[int], score: float, entropy: float
    ) -> TransducerAlignment:
        arcs = torch.tensor(path, dtype=torch.int64)
        arcs = arcs[self.labels[arcs] > 0]
        own = slice(utt * self.width, utt * self.width + len(arcs))
        frames = self.frames[arcs].tolist()
        rows = zip(
            self.labels[arcs].tolist(),
            frames,
            self.scores[arcs].tolist(),
            self.entropies[own].clamp(min=0).tolist(),
            strict=True,
        )
        spans = [TokenSpan(token, t, t + 1, log_prob, h) for token, t, log_prob, h in rows]
        posteriors, means = self.posterior[arcs].tolist(), self.means[own].tolist()
        return TransducerAlignment(True, score, spans, posteriors, means, entropy)
