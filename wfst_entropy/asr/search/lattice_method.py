"""What the methods share that take one path of a lattice of a decoding graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.asr.search.lattice_source import LatticeSource
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup
from wfst_entropy.fsa import Fsa


class LatticeMethod:
    """A decoding method that searches a graph for lattices, and takes one path of each.

    Subclasses say in `best` which one it is.

    Args:
      setup: with the graph.
    """

    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = {"hlg_scale": 0.5}
    # from a tenth of the graph's scores to twice
    grid: ClassVar[Sequence[Scales]] = tuple(
        {"hlg_scale": scale} for scale in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
    )

    def __init__(self, setup: SearchSetup) -> None:
        self.scales: Scales = setup.scales_of(self.default_scales)
        self.source = LatticeSource(setup, self.scales["hlg_scale"])

    def lattices(self, log_probs: Tensor, lengths: Tensor) -> Fsa:
        """The lattices of a batch, `[utt][state][arc]`."""
        return self.source.lattices(log_probs, lengths)

    def best(self, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """One path of each lattice, a linear FSA; `refs` are for oracles only."""
        raise NotImplementedError

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        lattices = self.lattices(log_probs, lengths)
        return self.source.hypotheses(lattices, self.best(lattices, refs))

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one lattice for all, found with `scales`."""
        lattices = self.source.lattices(log_probs, lengths)
        rescaled = (self.source.rescaled(lattices, scales) for scales in grid)
        return [self.source.spelled(self.best(each, [])) for each in rescaled]
