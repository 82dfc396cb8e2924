"""Removal of arcs with small posteriors."""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms.shortest_distance import get_arc_post
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


@overload
def prune_on_arc_post(
    fsas: Fsa, threshold_prob: float, *, ret_arc_map: Literal[False] = False
) -> Fsa: ...
@overload
def prune_on_arc_post(
    fsas: Fsa, threshold_prob: float, *, ret_arc_map: Literal[True]
) -> tuple[Fsa, Tensor]: ...
def prune_on_arc_post(
    fsas: Fsa, threshold_prob: float, *, ret_arc_map: bool = False
) -> Fsa | tuple[Fsa, Tensor]:
    """Removes the arcs whose posterior in the log semiring is below a probability.

    The posterior of an arc is the share of the paths over it in the total of its FSA.  What is then
    on no successful path goes too (k2 leaves it): where every path has an arc below the threshold,
    the empty FSA remains.

    Args:
      fsas: an FSA or a vector of them.
      threshold_prob: a probability above 0 and below 1.
      ret_arc_map: whether to return, too, the number of the old arc of each new one: int64
        `(num_new_arcs,)`.

    Raises:
      CyclicFsaError: the weights of cycles do not converge; the message names one.
      FsaTypeError, FsaValueError: not an Fsa, a threshold outside (0, 1), a score that is NaN or
        +inf.

    Source: k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 5 0.5\\n0 1 6 3\\n0 1 7 1\\n1 2 -1 0\\n2", acceptor=True)
    >>> prune_on_arc_post(fsa, 0.1).labels.tolist()
    [6, 7, -1]
    """
    if not isinstance(fsas, Fsa):
        raise FsaTypeError(f"prune_on_arc_post: needs an Fsa, got {type(fsas).__name__}.")
    if not isinstance(threshold_prob, (int, float)) or not 0 < threshold_prob < 1:
        raise FsaValueError(
            f"threshold_prob: must be a probability above 0 and below 1, got {threshold_prob!r}."
        )
    with torch.no_grad():
        scores = fsas.scores.to(torch.float64)
        below = get_arc_post(fsas, scores=scores) < math.log(threshold_prob)
        # Arcs without weight are on no path, and pruning with an endless beam removes just those.
        masked = fsas.with_scores(scores.masked_fill(below, -math.inf))
    result = _surgery.run("prune", masked, scores=True, parameters=(math.inf, -1))
    (arc_map,) = result.maps
    new = _surgery.rebuild(fsas, result, arc_map)
    return (new, arc_map.to(fsas.device)) if ret_arc_map else new
