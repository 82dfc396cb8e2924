"""The scores of the best paths of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.algorithms.path_entropy import in_double
from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.semirings import KBestTropicalSemiring


def k_best_scores(fsas: Fsa, k: int) -> Tensor:
    """The scores of the k best successful paths of each FSA, best first.

    Paths are counted, not strings: two paths with the same labels are two. Computed with
    ``KBestTropicalSemiring`` in float64, where the device has it, in time k log k per arc.

    Args:
        fsas: one FSA or a vector; cycles must not have a positive score.
        k: how many, at least 1.

    Returns:
        Nats, (num_fsas, k), in the dtype of ``fsas.scores``; -inf where there are fewer paths. The
        gradient of each score is 1 on the arcs of its path (n on an arc that is taken n times).

    Raises:
        ValueError: k is not a positive integer.
        FsaValueError: a score is NaN or +inf.
        CyclicFsaError: naming a cycle of positive score.

    >>> k_best_scores(Fsa.from_str("0 1 1 -1\\n0 1 2 -2\\n1 2 -1 0\\n2"), 3)
    tensor([[-1., -2., -inf]])
    """
    best = get_tot_scores(fsas, KBestTropicalSemiring(k), scores=in_double(fsas.scores))
    slots = best if isinstance(best, tuple) else (best,)
    return torch.stack(slots, 1).to(fsas.scores.dtype)
