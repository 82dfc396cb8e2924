"""Confusion networks: which words may stand in each place of a transcript."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.edit_counts import checked_references
from wfst_entropy.decoding.one_best import get_aux_labels, one_best_decoding
from wfst_entropy.decoding.word_arcs import WordArcs, word_arcs
from wfst_entropy.fsa import Fsa, RaggedTensor


class ConfusionSet(NamedTuple):
    """The words of one place, the most probable first.

    Attributes:
      words: 0 is none.
      probs: they sum to 1.
    """

    words: list[int]
    probs: list[float]

    def prob(self, word: int) -> float:
        """The probability of a word, 0 if it is not here."""
        return self.probs[self.words.index(word)] if word in self.words else 0.0

    @property
    def entropy(self) -> float:
        r""":math:`-\sum_w p(w) \log p(w)`, nats."""
        return max(0.0, -math.fsum(p * math.log(p) for p in self.probs if p > 0))


class ConfusionNetwork(NamedTuple):
    """The places of one utterance; all sets are empty where the lattice has no path.

    Attributes:
      reference: the words that the paths were aligned with.
      words: the set of each of them.
      gaps: the sets before, between and after them, one more; mostly none.
    """

    reference: list[int]
    words: list[ConfusionSet]
    gaps: list[ConfusionSet]


def confusion_network(
    lattice: Fsa, refs: Sequence[Sequence[int]] | RaggedTensor | None = None
) -> list[ConfusionNetwork]:
    r"""Which words stand in each place of a transcript, over all paths of a lattice.

    Every path, with its probability :math:`e^{w(\pi)} / Z`, is aligned with the transcript by edit
    distance, and each place gathers the words that were put there.  As in the source, the alignment
    is that of expected distances, state by state, rather than of each path for itself; the
    probabilities of a place sum to 1 either way.

    Args:
      lattice: an acyclic FSA or vector with words as `aux_labels`, a tensor or ragged.
      refs: the transcripts, `[utt][word]`; by default the words of the best paths.

    Returns:
      One network for each utterance.

    Raises:
      DecodingError: the lattice has no words.
      FsaTypeError, FsaValueError, CyclicFsaError, FsaRuntimeError: as `lattice_oracle`; a score
        that is NaN or +inf.

    Source: Xu, Povey, Mangu and Zhu 2011, "Minimum Bayes risk decoding and system combination based
    on a recursion for edit distance", section 4.

    >>> lattice = Fsa.from_str("0 1 5 7 -0.5\n0 1 6 8 -1.5\n1 2 -1 -1 0\n2")
    >>> (network,) = confusion_network(lattice)
    >>> network.words[0].words, [round(p, 4) for p in network.words[0].probs]
    ([7, 8], [0.7311, 0.2689])
    """
    single = word_arcs(lattice).top_sorted()
    if refs is None:
        refs = get_aux_labels(one_best_decoding(lattice.detach()))
    return _networks(single, checked_references(single.fsa, refs))


def mbr_decoding(lattice: Fsa, max_rounds: int = 10) -> list[ConfusionNetwork]:
    """The words with the least expected number of errors, and their confusion networks.

    Begins with the best path; in each round every place takes its most probable word (or none),
    until nothing changes.

    Args:
      lattice: as for `confusion_network`, whose errors it has.
      max_rounds: after so many rounds the search ends anyway.

    Returns:
      For each utterance the network of its words, its `reference`.

    Source: as `confusion_network`, section 3.
    """
    single = word_arcs(lattice).top_sorted()
    refs = get_aux_labels(one_best_decoding(lattice.detach()))
    networks = _networks(single, checked_references(single.fsa, refs))
    for _ in range(max_rounds):
        better = [_most_probable(network) for network in networks]
        if better == refs:
            break
        refs = better
        networks = _networks(single, checked_references(single.fsa, refs))
    return networks


def _most_probable(network: ConfusionNetwork) -> list[int]:
    places = [network.gaps[0]]
    for word, gap in zip(network.words, network.gaps[1:]):
        places += [word, gap]
    return [place.words[0] for place in places if place.words and place.words[0] > 0]


def _networks(single: WordArcs, references: RaggedTensor) -> list[ConfusionNetwork]:
    result = _surgery.run(
        "confusion_network",
        single.fsa,
        scores=True,
        aux_labels=[single.words],
        parameters=(references.shape.row_splits(1).data_ptr(), references.values.data_ptr()),
    )
    splits, words, probs = (part.tolist() for part in result.maps)
    sets = [_normalised(words[a:b], probs[a:b]) for a, b in pairwise(splits)]
    networks, first = [], 0
    for reference in references.tolist():
        places = sets[first : first + 2 * len(reference) + 1]
        first += len(places)
        networks.append(ConfusionNetwork(reference, places[1::2], places[0::2]))
    return networks


def _normalised(words: list[int], probs: list[float]) -> ConfusionSet:
    """Without what rounding has added or lost along long lattices."""
    total = math.fsum(probs)
    return ConfusionSet(words, [p / total for p in probs])
