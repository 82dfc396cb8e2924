"""The best path of the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.asr.search.lattice_source import LatticeSource
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup
from wfst_entropy.decoding import one_best_decoding

# Scales to try for a graph, from a tenth to twice its scores.
HLG_GRID = tuple(
    {"hlg_scale": scale} for scale in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
)


class OneBest:
    """`1best`: the words of the best path through the graph.

    Args:
      setup: with the graph.
    """

    name: ClassVar[str] = "1best"
    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = {"hlg_scale": 0.5}
    grid: ClassVar[Sequence[Scales]] = HLG_GRID

    def __init__(self, setup: SearchSetup) -> None:
        self.scales: Scales = setup.scales_of(self.default_scales)
        self.source = LatticeSource(setup, self.scales["hlg_scale"])

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        lattices = self.source.lattices(log_probs, lengths)
        return self.source.hypotheses(lattices, one_best_decoding(lattices))

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one lattice for all, found with `scales`."""
        lattices = self.source.lattices(log_probs, lengths)
        return [
            self.source.spelled(one_best_decoding(self.source.rescaled(lattices, scales)))
            for scales in grid
        ]
