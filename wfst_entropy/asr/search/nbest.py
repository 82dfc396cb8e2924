"""Lists of paths drawn from the lattice: the likeliest words, and the best that could be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from wfst_entropy.asr.search.lattice_method import LatticeMethod
from wfst_entropy.asr.search.method import Scales
from wfst_entropy.fsa import Fsa
from wfst_entropy.metrics.wer import Recognition, error_stats


class NbestSearch(LatticeMethod):
    """`nbest`: of the word sequences on `num_paths` drawn paths, the one with the largest weight.

    The weight is the sum over all paths of the lattice that tell these words, so that it may find
    others than `1best`, which looks at single paths.

    Args:
      setup: with the graph, `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "nbest"

    def best(self, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """See `LatticeMethod.best`."""
        nbest = self.source.nbest(lattices)
        return nbest.best(nbest.sequence_scores(lattices).values)


class NbestOracle(LatticeMethod):
    """`nbest-oracle`: of the drawn paths, the one with the fewest errors.

    A bound for what rescoring the list can reach, not a result.

    Args:
      setup: with the graph, `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "nbest-oracle"
    grid: ClassVar[Sequence[Scales]] = ()  # nothing is tuned by an oracle

    def best(self, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """See `LatticeMethod.best`."""
        nbest = self.source.nbest(lattices)
        owners = nbest.shape.row_ids(1).tolist()
        errors = [
            error_stats([Recognition("", refs[utterance], words)]).num_errors
            for utterance, words in zip(owners, self.source.spelled(nbest.fsa), strict=True)
        ]
        return nbest.best(-torch.tensor(errors, dtype=torch.float32))
