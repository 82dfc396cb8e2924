"""The longest path to each state of a graph: its topological order, level by level."""

from __future__ import annotations

import torch
from torch import Tensor


def longest_path_levels(source: Tensor, destination: Tensor, num_states: int) -> Tensor:
    """The length of the longest path to each state (Kahn's algorithm, one round per level).

    Args:
      source: int64 `(num_arcs,)`, in any order.
      destination: int64 `(num_arcs,)`.
      num_states: states are numbered from 0.

    Returns:
      int64 `(num_states,)`: the number of arcs of the longest path that leads there, and -1 for
      states on a cycle or behind one, to which paths of any length lead.

    Example:
      >>> longest_path_levels(torch.tensor([0, 0, 2]), torch.tensor([1, 2, 1]), 3)
      tensor([0, 2, 1])
    """
    if bool((source[1:] < source[:-1]).any()):
        order = source.argsort(stable=True)
        source, destination = source[order], destination[order]
    waiting = torch.bincount(destination, minlength=num_states)
    fanout = torch.bincount(source, minlength=num_states)
    begin = fanout.cumsum(0) - fanout
    level = torch.full((num_states,), -1, dtype=torch.int64, device=source.device)
    ready = (waiting == 0).nonzero().squeeze(1)
    depth = 0
    while ready.numel():
        level[ready] = depth
        counts = fanout[ready]
        shift = torch.repeat_interleave(begin[ready] - counts.cumsum(0) + counts, counts)
        reached = destination[shift + torch.arange(shift.numel(), device=source.device)]
        waiting.index_add_(0, reached, torch.full_like(reached, -1))
        ready = reached[waiting[reached] == 0].unique()
        depth += 1
    return level
