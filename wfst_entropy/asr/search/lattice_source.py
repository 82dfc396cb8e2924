"""What the methods share that search a decoding graph: the graph, its lattices, their words."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.algorithms import path_entropy
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.greedy import hypothesis_of_tokens
from wfst_entropy.asr.search.method import Hypothesis, Scales, SearchSetup
from wfst_entropy.decoding import (
    DecodingGraph,
    Nbest,
    get_aux_labels,
    intersect_dense_pruned,
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
        self.words = setup.lang.words
        if self.options.topology == "hlg":
            graph = load_graph(setup.lang.path / "HLG.pt", 2)
            graph = graph.with_scores(graph.scores * hlg_scale)
            self.graph = DecodingGraph(graph, epsilon_label=setup.lang.vocab_size)
        else:
            graph = load_graph(setup.lang.path / "LG.pt", 3)
            graph = graph.with_scores(graph.scores * hlg_scale)
            self.graph = DecodingGraph(graph, topology=self.options.topology)

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

    def hypotheses(self, lattices: Fsa, paths: Fsa) -> list[Hypothesis]:
        """The words of one path of each lattice, with times and the entropy of the lattice.

        Args:
          lattices: one for each utterance.
          paths: linear FSAs, one for each utterance.
        """
        entropies = path_entropy(lattices).tolist()
        found = []
        for row, words in enumerate(self.spelled(paths)):
            tokens, frames = self._tokens(paths[row])
            spelled = hypothesis_of_tokens(tokens, frames, self.tokenizer)
            problem = ""
            if bool(paths[row].partial.any()):
                problem = "the beam lost all paths to the end of a sentence; this is part of one"
            found.append(Hypothesis(words, spelled.times, entropies[row], problem))
        return found

    def _tokens(self, path: Fsa) -> tuple[list[int], list[int]]:
        """The tokens along a path, repetitions and blanks removed, and their first frames."""
        emits = (path.labels >= 0) & (path.labels < self.tokenizer.vocab_size)
        labels, frames = path.labels[emits].tolist(), path.frame_idx[emits].tolist()
        starts = [i for i, t in enumerate(labels) if t != 0 and (i == 0 or t != labels[i - 1])]
        return [labels[i] for i in starts], [frames[i] for i in starts]
