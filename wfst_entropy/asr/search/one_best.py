"""The best path of the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from wfst_entropy.asr.search.lattice_method import LatticeMethod
from wfst_entropy.decoding import one_best_decoding
from wfst_entropy.fsa import Fsa


class OneBest(LatticeMethod):
    """`1best`: the words of the best path through the graph.

    Args:
      setup: with the graph.
    """

    name: ClassVar[str] = "1best"

    def best(self, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """See `LatticeMethod.best`."""
        return one_best_decoding(lattices)
