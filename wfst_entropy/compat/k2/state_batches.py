"""What k2's recursions work with: destinations, entering arcs, and states in batches.

Nothing in this package needs them, which has recursions of its own; they are here for code that
reads them from an Fsa.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged import RaggedTensor, k2_ragged
from wfst_entropy.compat.k2.ragged_arc import RaggedArc
from wfst_entropy.fsa import RaggedShape
from wfst_entropy.fsa import RaggedTensor as CoreRagged
from wfst_entropy.fsa.ragged_shape import sizes_to_splits


def dest_states(arcs: RaggedArc) -> Tensor:
    """The destination of each arc, counted over all FSAs, int32 `(num_arcs,)`."""
    shape = arcs.vector_shape()
    first = shape.row_splits(1)[shape.row_ids(1)[shape.row_ids(2)]]
    return (first + arcs.values()[:, 1]).to(torch.int32)


def incoming_arcs(arcs: RaggedArc) -> RaggedTensor:
    """The arcs entering each state, int32 `[fsa][state][arc]`, in ascending order."""
    shape, dst = arcs.vector_shape(), dest_states(arcs)
    order = torch.argsort(dst, stable=True)
    counts = torch.bincount(dst, minlength=shape.tot_size(1))
    entering = RaggedShape(shape.row_splits(1), sizes_to_splits(counts))
    return k2_ragged(CoreRagged(entering, order.to(torch.int32)))


def leaving_arcs(arcs: RaggedArc) -> RaggedTensor:
    """The arcs leaving each state, int32 `[fsa][state][arc]`."""
    numbers = torch.arange(arcs.num_elements(), dtype=torch.int32, device=arcs.device)
    return k2_ragged(CoreRagged(arcs.vector_shape(), numbers))


def state_batches(arcs: RaggedArc) -> RaggedTensor:
    """States in batches `[batch][fsa][state]`, int32: no arc leads from a batch into itself.

    A batch of an FSA is a run of states; the next one begins at the first state that an arc from
    it, or from a later state, enters.  The FSAs must be top-sorted, else a state may stand in a
    batch with its successor.
    """
    shape, dst = arcs.vector_shape(), dest_states(arcs)
    num_states = shape.tot_size(1)
    ends = shape.row_splits(1)[1:][shape.row_ids(1)]
    nearest = ends.scatter_reduce(0, shape.row_ids(2), dst.to(torch.int64), "amin")
    # The smallest destination of an arc from a state or any later one; FSAs are apart, for the
    # states of one come before those of the next.
    next_begin = nearest.flip(0).cummin(0).values.flip(0).tolist()
    splits = shape.row_splits(1).tolist()
    per_fsa = []
    for begin, end in pairwise(splits):
        begins = [begin] if begin < end else []
        while begins and begins[-1] < end:
            begins.append(max(next_begin[begins[-1]], begins[-1] + 1))
        per_fsa.append(begins)
    num_batches = max([0, *(len(begins) - 1 for begins in per_fsa)])
    rows = [
        (begins[i], begins[i + 1]) if i + 1 < len(begins) else (0, 0)
        for i in range(num_batches)
        for begins in per_fsa
    ]
    states = torch.tensor([s for b, e in rows for s in range(b, e)], dtype=torch.int32)
    assert states.numel() == num_states
    outer = torch.arange(num_batches + 1) * len(per_fsa)
    sizes = torch.tensor([e - b for b, e in rows], dtype=torch.int64)
    batches = CoreRagged(RaggedShape(outer, sizes_to_splits(sizes)), states)
    return k2_ragged(batches.to(arcs.device))


def arc_batches(batches: RaggedTensor, arcs_of_states: RaggedTensor) -> RaggedTensor:
    """The arcs of the states of each batch, int32 `[batch][fsa][state][arc]`."""
    per_state = arcs_of_states.remove_axis(0)
    chosen, _ = per_state.index(batches.values, axis=0, need_value_indexes=False)
    return RaggedTensor(batches.shape.compose(chosen.shape), chosen.values)


def arc_cdf(arcs: RaggedArc, arc_post: Tensor) -> Tensor:
    """For each arc, the share of its state's posterior on the arcs before it, from 0 below 1."""
    shape = arcs.vector_shape()
    state = shape.row_ids(2)
    mass = arc_post.exp()
    total = mass.new_zeros(shape.tot_size(1)).index_add(0, state, mass)
    share = torch.where(total[state] > 0, mass / total[state], torch.zeros_like(mass))
    before = share.cumsum(0) - share
    first = shape.row_splits(2)[state]
    return (before - before[first]).clamp(min=0)


def entering_arcs(arcs: RaggedArc, forward: Tensor, scores: Tensor) -> Tensor:
    """The arc by which the best path enters each state, int32; -1 where none does.

    Args:
      arcs: the arcs.
      forward: tropical forward scores `(num_states,)`.
      scores: of the arcs, in the dtype of `forward`.
    """
    shape, dst = arcs.vector_shape(), dest_states(arcs).to(torch.int64)
    reached = forward[shape.row_ids(2)] + scores
    best = (reached == forward[dst]) & (reached > -torch.inf)
    numbers = torch.arange(arcs.num_elements(), device=arcs.device)
    none = torch.full((shape.tot_size(1),), -1, dtype=torch.int64, device=arcs.device)
    # The first of equally good arcs.
    found = none.scatter_reduce(0, dst[best], numbers[best], "amin", include_self=False)
    return found.to(torch.int32)
