"""Which states paths can go through."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, RaggedShape


def reachable(
    states: Sequence[int],
    source: Tensor,
    destination: Tensor,
    num_states: int,
    max_arcs: int | None = None,
) -> Tensor:
    """Which states can be reached from `states` over arcs `source -> destination`.

    Args:
      states: where to begin.
      source: int64 `(num_arcs,)`.
      destination: int64 `(num_arcs,)`.
      num_states: states are 0 to `num_states - 1`.
      max_arcs: the largest number of arcs on the way; None for any.

    Returns:
      bool `(num_states,)`; `states` themselves are True.

    >>> reachable([0], torch.tensor([0, 2]), torch.tensor([1, 1]), 3).tolist()
    [True, True, False]
    """
    order = torch.argsort(source, stable=True)
    leaving = RaggedShape.from_sizes(torch.bincount(source, minlength=num_states))
    destination = destination[order]
    seen = torch.zeros(num_states, dtype=torch.bool, device=source.device)
    frontier = torch.tensor(states, dtype=torch.int64, device=source.device)
    steps = 0
    while frontier.numel():
        seen[frontier] = True
        if steps == max_arcs:
            break
        steps += 1
        frontier = torch.unique(destination[leaving.index(frontier)[1]])
        frontier = frontier[~seen[frontier]]
    return seen


def useful_states(fsa: Fsa) -> Tensor:
    """Which states of one FSA are on a path from the start to the final state.

    >>> useful_states(Fsa.from_str("0 1 5 0\\n0 2 6 0\\n1 3 -1 0\\n3")).tolist()
    [True, True, False, True]
    """
    if not fsa.num_states:
        return torch.zeros(0, dtype=torch.bool, device=fsa.device)
    source, destination = fsa.src_states(), fsa.dst_states()
    forward = reachable([0], source, destination, fsa.num_states)
    return forward & reachable([fsa.num_states - 1], destination, source, fsa.num_states)
