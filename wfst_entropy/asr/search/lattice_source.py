"""What the methods share that search a decoding graph: the graph, its lattices, their words."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.lattice_words import LatticeWords
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.decoding import DecodingGraph, intersect_dense_pruned
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


class LatticeSource(LatticeWords):
    """A decoding graph, searched for lattices of a CTC head.

    Args:
      setup: with the lang directory that has HLG.pt, or LG.pt where the topology is implied.
      hlg_scale: of the graph's scores.

    Raises:
      OptionError: the graph is missing.
    """

    def __init__(self, setup: SearchSetup, hlg_scale: float) -> None:
        if hlg_scale <= 0:
            raise OptionError(f"hlg_scale: needs more than 0, got {hlg_scale}")
        topology = setup.options.topology
        if topology == "hlg":
            graph = load_graph(setup.lang.path / "HLG.pt", 2)
            graph = graph.with_scores(graph.scores * hlg_scale)
            self.graph = DecodingGraph(graph, epsilon_label=setup.lang.vocab_size)
        else:
            graph = load_graph(setup.lang.path / "LG.pt", 3)
            graph = graph.with_scores(graph.scores * hlg_scale)
            self.graph = DecodingGraph(graph, topology=topology)
        super().__init__(setup, "hlg_scale", hlg_scale, repeats=True)

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
