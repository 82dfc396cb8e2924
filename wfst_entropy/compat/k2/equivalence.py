"""k2's test whether two FSAs accept the same."""

from __future__ import annotations

import wfst_entropy.algorithms as algorithms
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.semirings import LogSemiring, TropicalSemiring


def is_rand_equivalent(
    a: Fsa,
    b: Fsa,
    log_semiring: bool,
    beam: float = float("inf"),
    treat_epsilons_specially: bool = True,
    delta: float = 1e-6,
    npath: int = 100,
) -> bool:
    """Whether random strings of either FSA have the same weight in both.

    Args:
      a: one FSA or a vector, acyclic.
      b: as many.
      log_semiring: how the weights of paths with one string are added.
      beam: strings further behind the total are not tried.
      treat_epsilons_specially: whether 0 is epsilon.
      delta: how far weights may differ.
      npath: how many strings to try.
    """
    semiring = LogSemiring() if log_semiring else TropicalSemiring()
    return algorithms.is_rand_equivalent(
        a.bare(),
        b.bare(),
        semiring,
        beam=beam,
        treat_epsilons_specially=treat_epsilons_specially,
        delta=delta,
        npath=npath,
    )
