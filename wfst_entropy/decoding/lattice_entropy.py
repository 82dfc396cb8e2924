"""How uncertain a lattice is: of its alignments, of its words, and where along time."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.algorithms import determinize, path_entropy, remove_epsilon, shortest_distance
from wfst_entropy.decoding.frame_posteriors import frames_of_arcs
from wfst_entropy.decoding.word_arcs import word_arcs
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.semirings import LogSemiring

logger = logging.getLogger(__name__)

_LOG = LogSemiring()


class LatticeEntropy(NamedTuple):
    """Entropies of each utterance in nats, float64 `(num_utterances,)`; 0 without a path.

    Attributes:
      paths: H(A), of all paths: words and where each lies.
      words: H(W), of the word sequence alone; NaN where it is out of reach.
      alignments: H(A | W) = H(A) - H(W), of the path once the words are known.
    """

    paths: Tensor
    words: Tensor
    alignments: Tensor


def lattice_entropy(
    lattice: Fsa, *, max_states: int = 200_000, max_arcs: int = 2_000_000
) -> LatticeEntropy:
    r"""Splits the entropy of a lattice's paths into that of the words and that of their alignment.

    With :math:`p(\pi) = e^{w(\pi)} / Z` and :math:`P(w) = \sum_{\pi: y(\pi) = w} p(\pi)`, the chain
    rule says :math:`H(A) = H(W) + H(A \mid W)`.  For H(W) the words' acceptor gets one path for
    each sequence: epsilons are removed and it is determinised in the log semiring, so exactly.

    Args:
      lattice: an acyclic FSA or vector with words as `aux_labels`, a tensor or ragged.
      max_states, max_arcs: limits of that acceptor, for each utterance; beyond them `words` and
        `alignments` are NaN, with a warning in the log.  Prune a lattice that is too wide (`prune`,
        `prune_on_arc_post`).

    Raises:
      DecodingError: the lattice has no words.
      CyclicFsaError, FsaValueError: as `path_entropy`.

    >>> lattice = Fsa.from_str("0 1 5 7 0\n0 1 6 7 0\n0 1 4 8 0\n0 1 3 8 0\n1 2 -1 -1 0\n2")
    >>> h = lattice_entropy(lattice)                # ln 4 = ln 2 + ln 2
    >>> [round(float(x), 4) for x in h]
    [1.3863, 0.6931, 0.6931]
    """
    acceptor = word_arcs(lattice).acceptor().to(torch.float64)
    paths = path_entropy(acceptor)
    of_words = []
    for i in range(len(acceptor)):
        try:
            free = remove_epsilon(acceptor[i], _LOG, max_states=max_states, max_arcs=max_arcs)
            unique = determinize(free, _LOG, max_states=max_states, max_arcs=max_arcs)
            of_words.append(path_entropy(unique))
        except FsaRuntimeError as error:
            logger.warning("utterance %d: no entropy of its words: %s", i, error)
            of_words.append(paths.new_full((1,), torch.nan))
    words = torch.cat(of_words) if of_words else paths.clone()
    return LatticeEntropy(paths, words, (paths - words).clamp(min=0))


def local_entropy(lattice: Fsa) -> Tensor:
    r"""What each frame adds to the entropy of a lattice's paths.

    .. math:: h_t = -\sum_{a \in \text{frame } t} \gamma(a) \log p(a \mid \mathrm{src}(a))

    with the arc posteriors :math:`\gamma` and the probability to go on with an arc from its state;
    by the chain rule the frames of an utterance sum up to `path_entropy`.  Unlike `frame_entropy`
    it takes arcs that consume no frame, too: they count to the frame that follows.

    Args:
      lattice: an acyclic FSA or vector with the integer attribute `frame_idx`.

    Returns:
      Float64 nats, `(num_utterances, frames)`; the frame after the last one, with the arcs into the
      final state, has its column, too.  Without gradient.

    Raises:
      DecodingError: there is no `frame_idx`; CyclicFsaError, FsaValueError: as `path_entropy`.

    >>> lattice = Fsa.from_str("0 1 5 0\n0 1 6 0\n1 2 -1 0\n2", acceptor=True)
    >>> local_entropy(lattice.set_attribute_("frame_idx", torch.tensor([0, 0, 1])))
    tensor([[0.6931, 0.0000]], dtype=torch.float64)
    """
    plain = lattice.detach()
    scores = plain.scores.double()
    backward = shortest_distance(plain, _LOG, reverse=True, scores=scores)
    forward = shortest_distance(plain, _LOG, scores=scores)
    src, dst, fsa = plain.src_states(), plain.dst_states(), plain.arc_to_fsa()
    log_prob = scores + backward[dst] - backward[src]
    log_post = forward[src] + scores + backward[dst] - backward[plain.start_states()[fsa]]
    used = log_post > -torch.inf  # an arc on no path has no mass, and its logarithms are no numbers
    frames = frames_of_arcs(plain)[used]
    parts = -(log_post.exp() * log_prob)[used]
    num_frames = int(frames.max()) + 1 if frames.numel() else 0
    flat = scores.new_zeros(plain.num_fsas * num_frames)
    flat.index_add_(0, fsa[used] * num_frames + frames, parts)
    return flat.clamp(min=0).view(plain.num_fsas, num_frames)
