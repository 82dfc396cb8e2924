"""Parallel arcs become one."""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._semirings import adds_logs
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged_edits import rank_sublists
from wfst_entropy.semirings import LogSemiring, Semiring

_LOG = LogSemiring()


@overload
def arc_sum(fsa: Fsa, semiring: Semiring = _LOG, *, ret_arc_map: Literal[False] = False) -> Fsa: ...
@overload
def arc_sum(
    fsa: Fsa, semiring: Semiring = _LOG, *, ret_arc_map: Literal[True]
) -> tuple[Fsa, RaggedTensor]: ...
def arc_sum(
    fsa: Fsa, semiring: Semiring = _LOG, *, ret_arc_map: bool = False
) -> Fsa | tuple[Fsa, RaggedTensor]:
    r"""Merges arcs with the same states, label and output label, adding up their scores.

    :math:`w(s, t, x, y) = \bigoplus_i w_i(s, t, x, y)`, so every string keeps its weight in that
    semiring.  The merged arc stands where the first of them stood, and has the attributes of the
    best of them.  Gradients go to all (log semiring), or to the best (tropical).

    Args:
      fsa: an FSA or a vector of them.
      semiring: `LogSemiring()` or `TropicalSemiring()`.
      ret_arc_map: whether to return, too, the old arcs that each new one stands for: ragged int64,
        `num_new_arcs` lists.

    Raises:
      FsaTypeError, FsaValueError: not an Fsa, another semiring, a score that is NaN.

    Source: OpenFst, the map of that name.

    >>> fsa = Fsa.from_str("0 1 5 0\n0 1 6 0\n0 1 5 0\n1 2 -1 0\n2", acceptor=True)
    >>> merged, arc_map = arc_sum(fsa, ret_arc_map=True)
    >>> print(merged)
    0 1 5 0.6931472
    0 1 6 0
    1 2 -1 0
    2
    >>> arc_map
    [[0, 2], [1], [3]]
    """
    log = adds_logs(semiring, "arc_sum")
    if not isinstance(fsa, Fsa):
        raise FsaTypeError(f"fsa: must be an Fsa, got {type(fsa).__name__}.")
    wrong = torch.nonzero(torch.isnan(fsa.scores))
    if wrong.numel():
        raise FsaValueError(f"arc_sum: the score of arc {int(wrong[0])} is NaN.")
    arc_map = _parallel_arcs(fsa)
    groups = RaggedTensor(arc_map.shape, fsa.scores[arc_map.values])
    best = arc_map.values[groups.detach().argmax()]
    scores = groups.logsumexp() if log else fsa.scores[best]
    arcs = fsa.arcs[best]
    sizes = torch.bincount(fsa.src_states()[best], minlength=fsa.num_states)
    shape = RaggedShape(fsa._vector_shape().row_splits(1)).compose(RaggedShape.from_sizes(sizes))
    merged = _surgery.rebuild(fsa, _surgery.Result(shape, arcs, (best,)), best, scores)
    return (merged, arc_map) if ret_arc_map else merged


def _parallel_arcs(fsa: Fsa) -> RaggedTensor:
    """Lists of arcs that differ in scores at most, ordered by the first of each."""
    number = _pair_numbers(fsa.src_states(), fsa.dst_states())
    number = _pair_numbers(number, fsa.labels)
    outputs = fsa.attributes.get("aux_labels")
    if isinstance(outputs, RaggedTensor):
        outputs = rank_sublists(outputs)
    if isinstance(outputs, Tensor):
        number = _pair_numbers(number, outputs)
    arcs = torch.arange(fsa.num_arcs, device=fsa.device)
    first = torch.full_like(arcs, fsa.num_arcs).scatter_reduce(0, number, arcs, "amin")[number]
    order = first.argsort(stable=True)
    sizes = torch.unique_consecutive(first[order], return_counts=True)[1]
    return RaggedTensor(RaggedShape.from_sizes(sizes), order)


def _pair_numbers(first: Tensor, second: Tensor) -> Tensor:
    """A number for each pair, equal where the pairs are."""
    values, place = torch.unique(second, return_inverse=True)
    # Both factors are at most the number of arcs or states, so the product fits into an int64.
    return torch.unique(first * max(values.numel(), 1) + place, return_inverse=True)[1]
