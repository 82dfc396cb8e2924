"""Lattices of the graph's language model, rescored with a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.algorithms import arc_sort
from wfst_entropy.asr.search.lattice_source import LatticeSource, load_graph
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup
from wfst_entropy.decoding import (
    one_best_decoding,
    rescore_with_n_best_list,
    rescore_with_whole_lattice,
    scaled_lattice,
)
from wfst_entropy.fsa import Fsa

_DEFAULTS = {"hlg_scale": 0.5, "ngram_lm_scale": 0.5}
# Scales to try for the language model that rescores.
_LM_SCALES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)


def load_grammar(setup: SearchSetup) -> Fsa:
    """G of `rescoring_order`, from the lang directory.

    Raises:
      OptionError: it is missing.
    """
    name = f"G_{setup.options.rescoring_order}_gram.pt"
    return arc_sort(load_graph(setup.lang.path / name, 1))


class NbestRescoring:
    """`nbest-rescoring`: of drawn paths, the best by frames and the larger language model.

    Args:
      setup: with the graph, the language model, `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "nbest-rescoring"
    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = _DEFAULTS
    grid: ClassVar[Sequence[Scales]] = tuple({"ngram_lm_scale": scale} for scale in _LM_SCALES)

    def __init__(self, setup: SearchSetup) -> None:
        self.scales: Scales = setup.scales_of(self.default_scales)
        self.source = LatticeSource(setup, self.scales["hlg_scale"])
        self.grammar = load_grammar(setup)

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        lattices = self.source.lattices(log_probs, lengths)
        (paths,) = self._paths(lattices, [self.scales])
        return self.source.hypotheses(lattices, paths)

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one list for all."""
        lattices = self.source.lattices(log_probs, lengths)
        return [self.source.spelled(paths) for paths in self._paths(lattices, grid)]

    def _paths(self, lattices: Fsa, grid: Sequence[Scales]) -> list[Fsa]:
        found = rescore_with_n_best_list(
            lattices,
            self.grammar,
            self.source.options.num_paths,
            [scales["ngram_lm_scale"] for scales in grid],
            self.source.options.nbest_scale,
        )
        return list(found.values())


class WholeLatticeRescoring:
    """`whole-lattice-rescoring`: the best path of the lattice under the larger language model.

    Args:
      setup: with the graph and the language model.
    """

    name: ClassVar[str] = "whole-lattice-rescoring"
    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = _DEFAULTS
    grid: ClassVar[Sequence[Scales]] = tuple({"ngram_lm_scale": scale} for scale in _LM_SCALES)

    def __init__(self, setup: SearchSetup) -> None:
        self.scales: Scales = setup.scales_of(self.default_scales)
        self.source = LatticeSource(setup, self.scales["hlg_scale"])
        self.grammar = load_grammar(setup)

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        lattices = self.source.lattices(log_probs, lengths)
        rescored = scaled_lattice(
            rescore_with_whole_lattice(lattices, self.grammar),
            lm_scale=self.scales["ngram_lm_scale"],
        )
        return self.source.hypotheses(rescored, one_best_decoding(rescored))

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one rescored lattice for all."""
        lattices = self.source.lattices(log_probs, lengths)
        scales = [each["ngram_lm_scale"] for each in grid]
        found = rescore_with_whole_lattice(lattices, self.grammar, scales)
        return [self.source.spelled(paths) for paths in found.values()]
