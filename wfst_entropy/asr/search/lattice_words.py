"""What methods read off lattices: words with times, confidences and entropies, lists of paths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from wfst_entropy.asr.search.method import Hypothesis, Scales, SearchSetup, WordFrames
from wfst_entropy.asr.word_pieces import words_of_tokens
from wfst_entropy.decoding import (
    Nbest,
    confusion_network,
    get_aux_labels,
    lattice_entropy,
    ranges_of_words,
    scaled_lattice,
)
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError


class LatticeWords:
    """Reads lattices whose labels are tokens, and whose `aux_labels` are words.

    Args:
      setup: with the lang directory of the words.
      scale_name: what the scale of the graph's scores is called.
      scale: with which the lattices were found.
      repeats: whether equal tokens in frames that follow each other are one token, as in CTC.
    """

    def __init__(self, setup: SearchSetup, scale_name: str, scale: float, repeats: bool) -> None:
        self.options, self.tokenizer = setup.options, setup.tokenizer
        self.scale_name, self.scale, self.repeats = scale_name, scale, repeats
        self.words = setup.lang.words
        self.pronunciations = setup.lang.pronunciation_ids

    def rescaled(self, lattices: Fsa, scales: Scales) -> Fsa:
        """The lattices as if the graph had been scaled otherwise, but for what was pruned."""
        return scaled_lattice(lattices, lm_scale=scales[self.scale_name] / self.scale)

    def nbest(self, lattices: Fsa) -> Nbest:
        """Drawn paths of each lattice, the best of those with the same words."""
        return Nbest.from_lattice(lattices, self.options.num_paths, self.options.nbest_scale)

    def spelled(self, paths: Fsa) -> list[list[str]]:
        """The words of each linear FSA."""
        return [[self.words[word] for word in path] for path in get_aux_labels(paths)]

    @torch.inference_mode()
    def hypotheses(self, lattices: Fsa, paths: Fsa) -> list[Hypothesis]:
        """The words of one path of each lattice, with times, confidences and entropies.

        Args:
          lattices: one for each utterance.
          paths: linear FSAs, one for each utterance.
        """
        words = get_aux_labels(paths)
        entropies = lattice_entropy(lattices)
        found = []
        for row, (ids, confidences) in enumerate(zip(words, _confidences(lattices, words))):
            of_words = float(entropies.words[row])
            found.append(
                Hypothesis(
                    words=[self.words[word] for word in ids],
                    times=self._times(ids, paths[row], confidences),
                    entropy=float(entropies.paths[row]),
                    word_entropy=None if math.isnan(of_words) else of_words,
                    problem=_problem(paths[row]),
                )
            )
        return found

    def partial_hypotheses(self, paths: Fsa) -> list[Hypothesis]:
        """The words of linear FSAs with times, where there are no lattices yet."""
        found = []
        for row, ids in enumerate(get_aux_labels(paths)):
            times = self._times(ids, paths[row], [None] * len(ids))
            found.append(Hypothesis([self.words[word] for word in ids], times))
        return found

    def _times(
        self, ids: list[int], path: Fsa, confidences: Sequence[float | None]
    ) -> list[WordFrames]:
        """Where the words of a path lie; nothing where its tokens do not tell."""
        tokens, frames, _ = self.tokens_of_path(path)
        ranges = ranges_of_words(ids, tokens, self.pronunciations)
        times = []
        for word, confidence, (start, end) in zip(ids, confidences, ranges or (), strict=False):
            pieces = [self.tokenizer.symbols[token] for token in tokens[start:end]]
            # marks between words belong to none of them
            spoken = [i for i, number in enumerate(words_of_tokens(pieces)) if number is not None]
            if not spoken:
                return []
            first, last = (frames[start + i] for i in (spoken[0], spoken[-1]))
            times.append(WordFrames(self.words[word], first, last, confidence))
        return times

    def tokens_of_path(self, path: Fsa) -> tuple[list[int], list[int], int]:
        """The tokens along a path, repetitions and blanks removed.

        Returns:
          The tokens, the first frame of each, and the frame after the last one that is no blank.
        """
        emits = (path.labels >= 0) & (path.labels < self.tokenizer.vocab_size)
        labels, frames = path.labels[emits].tolist(), path.frame_idx[emits].tolist()
        spoken = [i for i, token in enumerate(labels) if token != 0]
        starts = [i for i in spoken if i == 0 or labels[i] != labels[i - 1]]
        end = frames[spoken[-1]] + 1 if spoken else 0
        return [labels[i] for i in starts], [frames[i] for i in starts], end


def _confidences(lattices: Fsa, words: list[list[int]]) -> list[Sequence[float | None]]:
    """Of each word; None in utterances so long that the tables for them are too large."""
    try:
        networks = confusion_network(lattices, words)
    except FsaRuntimeError:
        if len(words) == 1:
            return [[None] * len(words[0])]
        rows = range(len(words))
        return [found for row in rows for found in _confidences(lattices[row], [words[row]])]
    return [
        [place.prob(word) for place, word in zip(network.words, ids, strict=True)]
        for network, ids in zip(networks, words, strict=True)
    ]


def _problem(path: Fsa) -> str:
    if path.num_states == 0:
        return "the search found no path; widen its beams, or allow more active states"
    if bool(path.partial.any()):
        return "no path of the beam ended where a sentence may end; this is the best of the others"
    return ""
