"""Lists of paths drawn from the lattice: the likeliest words, and the best that could be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wfst_entropy.asr.search.lattice_source import LatticeSource
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup
from wfst_entropy.asr.search.one_best import HLG_GRID
from wfst_entropy.fsa import Fsa
from wfst_entropy.metrics.wer import Recognition, error_stats


class NbestSearch:
    """`nbest`: of the word sequences on `num_paths` drawn paths, the one with the largest weight.

    The weight is the sum over all paths of the lattice that tell these words, so that it may find
    others than `1best`, which looks at single paths.

    Args:
      setup: with the graph, `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "nbest"
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
        return self.source.hypotheses(lattices, self._best(lattices))

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one lattice for all, found with `scales`."""
        lattices = self.source.lattices(log_probs, lengths)
        return [
            self.source.spelled(self._best(self.source.rescaled(lattices, scales)))
            for scales in grid
        ]

    def _best(self, lattices: Fsa) -> Fsa:
        nbest = self.source.nbest(lattices)
        return nbest.best(nbest.sequence_scores(lattices).values)


class NbestOracle:
    """`nbest-oracle`: of the drawn paths, the one with the fewest errors.

    A bound for what rescoring the list can reach, not a result.

    Args:
      setup: with the graph, `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "nbest-oracle"
    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = {"hlg_scale": 0.5}
    grid: ClassVar[Sequence[Scales]] = ()

    def __init__(self, setup: SearchSetup) -> None:
        self.scales: Scales = setup.scales_of(self.default_scales)
        self.source = LatticeSource(setup, self.scales["hlg_scale"])

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        lattices = self.source.lattices(log_probs, lengths)
        nbest = self.source.nbest(lattices)
        owners = nbest.shape.row_ids(1).tolist()
        errors = [
            error_stats([Recognition("", refs[utterance], words)]).num_errors
            for utterance, words in zip(owners, self.source.spelled(nbest.fsa), strict=True)
        ]
        fewest = nbest.best(-torch.tensor(errors, dtype=torch.float32))
        return self.source.hypotheses(lattices, fewest)

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """Nothing is tuned by an oracle: there is no grid."""
        return []
