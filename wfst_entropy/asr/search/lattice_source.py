"""What the methods share that search a decoding graph: the graph, its lattices, their words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import Hypothesis, Scales, SearchSetup, WordFrames
from wfst_entropy.asr.word_pieces import words_of_tokens
from wfst_entropy.decoding import (
    DecodingGraph,
    Nbest,
    confusion_network,
    get_aux_labels,
    intersect_dense_pruned,
    lattice_entropy,
    ranges_of_words,
    scaled_lattice,
)
from wfst_entropy.fsa import DenseFsaVec, Fsa, load_fsa


def load_graph(path: Path, stage: int) -> Fsa:
    """A graph that `prepare_lm.sh` makes.

    Args:
      path: such as `data/lang_char_lm/HLG.pt`.
      stage: which makes it.

    Raises:
      OptionError: there is no such file.
      FsaFormatError: the file holds something else.
    """
    if not path.is_file():
        raise OptionError(
            f"{path}: no such file; make it with prepare_lm.sh --stage {stage} --stop-stage "
            f"{stage}, or name another folder with --lang-dir"
        )
    return load_fsa(path)


class LatticeSource:
    """A decoding graph, searched for lattices.

    Args:
      setup: with the lang directory that has HLG.pt, or LG.pt where the topology is implied.
      hlg_scale: of the graph's scores.

    Raises:
      OptionError: the graph is missing.
    """

    def __init__(self, setup: SearchSetup, hlg_scale: float) -> None:
        if hlg_scale <= 0:
            raise OptionError(f"hlg_scale: needs more than 0, got {hlg_scale}")
        self.options, self.tokenizer, self.hlg_scale = setup.options, setup.tokenizer, hlg_scale
        if self.options.topology == "hlg":
            graph = load_graph(setup.lang.path / "HLG.pt", 2)
            graph = graph.with_scores(graph.scores * hlg_scale)
            self.graph = DecodingGraph(graph, epsilon_label=setup.lang.vocab_size)
        else:
            graph = load_graph(setup.lang.path / "LG.pt", 3)
            graph = graph.with_scores(graph.scores * hlg_scale)
            self.graph = DecodingGraph(graph, topology=self.options.topology)
        self.words = setup.lang.words
        self.pronunciations = setup.lang.pronunciation_ids

    @torch.inference_mode()
    def lattices(self, log_probs: Tensor, lengths: Tensor) -> Fsa:
        """One lattice for each utterance, `[utt][state][arc]`; see `intersect_dense_pruned`."""
        return intersect_dense_pruned(
            self.graph,
            DenseFsaVec.from_lengths(log_probs, lengths),
            search_beam=self.options.search_beam,
            output_beam=self.options.output_beam,
            min_active_states=self.options.min_active_states,
            max_active_states=self.options.max_active_states,
        )

    def rescaled(self, lattices: Fsa, scales: Scales) -> Fsa:
        """The lattices as if the graph had been scaled otherwise, but for what was pruned."""
        return scaled_lattice(lattices, lm_scale=scales["hlg_scale"] / self.hlg_scale)

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
        networks = confusion_network(lattices, words)
        entropies = lattice_entropy(lattices)
        found = []
        for row, (ids, network) in enumerate(zip(words, networks, strict=True)):
            confidences = [place.prob(word) for place, word in zip(network.words, ids, strict=True)]
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


def _problem(path: Fsa) -> str:
    if path.num_states == 0:
        return "the search found no path; widen its beams, or allow more active states"
    if bool(path.partial.any()):
        return "no path of the beam ended where a sentence may end; this is the best of the others"
    return ""
