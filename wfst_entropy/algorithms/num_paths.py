"""How many successful paths a graph has."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.algorithms.path_entropy import in_double
from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.semirings import CountingSemiring


def num_paths(fsas: Fsa) -> Tensor:
    """The number of successful paths of each FSA; arcs of score -inf are on none.

    Args:
        fsas: one FSA or a vector; without cycles on successful paths.

    Returns:
        float64 (num_fsas,), exact up to 2^53, +inf above 1.8e308. No gradient. (The logarithm of
        any number of paths: ``renyi_entropy(fsas, 0)``.)

    Raises:
        CyclicFsaError: naming a cycle, which can be repeated without end.
        FsaValueError: a score is NaN or +inf.

    >>> num_paths(Fsa.from_str("0 1 1 -1\\n0 1 2 -2\\n1 2 -1 0\\n2"))
    tensor([2.], dtype=torch.float64)
    """
    scores = in_double(fsas.scores.detach())
    counts: Tensor = get_tot_scores(fsas, CountingSemiring(), scores=scores)
    return counts
