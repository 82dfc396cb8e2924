"""Lattices of the graph's language model, rescored with a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.algorithms import arc_sort
from wfst_entropy.asr.search.lattice_method import LatticeMethod
from wfst_entropy.asr.search.lattice_source import load_graph
from wfst_entropy.asr.search.method import Scales, SearchSetup
from wfst_entropy.decoding import (
    one_best_decoding,
    rescore_with_n_best_list,
    rescore_with_whole_lattice,
    scaled_lattice,
)
from wfst_entropy.fsa import Fsa


class _Rescoring(LatticeMethod):
    """What both methods share: the larger language model, G of `rescoring_order`, and its scales.

    Subclasses say in `paths` what they find with several scales.
    """

    default_scales: ClassVar[Scales] = {"hlg_scale": 0.5, "ngram_lm_scale": 0.5}
    grid: ClassVar[Sequence[Scales]] = tuple(
        {"ngram_lm_scale": scale}
        for scale in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
    )

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        name = f"G_{setup.options.rescoring_order}_gram.pt"
        self.grammar = arc_sort(load_graph(setup.lang.path / name, 1))

    def paths(self, lattices: Fsa, lm_scales: list[float]) -> dict[str, Fsa]:
        """The path of each lattice that each scale of the language model finds."""
        raise NotImplementedError

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; the lattices are rescored once for all."""
        lattices = self.source.lattices(log_probs, lengths)
        found = self.paths(lattices, [scales["ngram_lm_scale"] for scales in grid])
        return [self.source.spelled(paths) for paths in found.values()]


class NbestRescoring(_Rescoring):
    """`nbest-rescoring`: of drawn paths, the best by frames and the larger language model.

    Args:
      setup: with the graph, the language model, `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "nbest-rescoring"

    def best(self, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """See `LatticeMethod.best`."""
        (paths,) = self.paths(lattices, [self.scales["ngram_lm_scale"]]).values()
        return paths

    def paths(self, lattices: Fsa, lm_scales: list[float]) -> dict[str, Fsa]:
        """One list for all scales."""
        options = self.source.options
        return rescore_with_n_best_list(
            lattices, self.grammar, options.num_paths, lm_scales, options.nbest_scale
        )


class WholeLatticeRescoring(_Rescoring):
    """`whole-lattice-rescoring`: the best path of the lattice under the larger language model.

    Args:
      setup: with the graph and the language model.
    """

    name: ClassVar[str] = "whole-lattice-rescoring"

    def lattices(self, log_probs: Tensor, lengths: Tensor) -> Fsa:
        """See `LatticeMethod.lattices`; rescored."""
        rescored = rescore_with_whole_lattice(super().lattices(log_probs, lengths), self.grammar)
        return scaled_lattice(rescored, lm_scale=self.scales["ngram_lm_scale"])

    def best(self, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """See `LatticeMethod.best`."""
        return one_best_decoding(lattices)

    def paths(self, lattices: Fsa, lm_scales: list[float]) -> dict[str, Fsa]:
        """The best path of one rescored lattice under each scale."""
        return rescore_with_whole_lattice(lattices, self.grammar, lm_scales)
