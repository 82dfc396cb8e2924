"""Gives the scores of an FSA, which have their values already, a place in the autograd graph.

k2's C++ code computes arcs with their scores; these functions say afterwards where the scores came
from.  The memory stays that of `fsa.arcs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wfst_entropy.compat.k2.index_ops import index_and_sum, index_select
from wfst_entropy.compat.k2.ragged import RaggedTensor

if TYPE_CHECKING:
    from wfst_entropy.compat.k2.fsa import Fsa


class _Adopt(torch.autograd.Function):
    """Returns the tensor in `holder`, which so becomes a function of `source`."""

    @staticmethod
    def forward(ctx: Any, holder: list[Tensor], source: Tensor) -> Tensor:
        return holder[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad


def phantom_set_scores_to(fsa: Fsa, scores_value: Tensor) -> None:
    """Makes `fsa.scores` a differentiable copy of `scores_value`, which has the same numbers.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> scores = torch.tensor([0.5], requires_grad=True)
      >>> fsa = k2.Fsa.from_str("0 1 -1 0.5\\n1")
      >>> phantom_set_scores_to(fsa, scores)
      >>> fsa.scores.sum().backward()
      >>> scores.grad
      tensor([1.])
    """
    _Adopt.apply([fsa.scores], scores_value.to(torch.float32))


def phantom_index_select_scores(fsa: Fsa, scores_value: Tensor, arc_map: Tensor) -> None:
    """As `phantom_set_scores_to` with `scores_value[arc_map]`, 0 where the map is -1."""
    phantom_set_scores_to(fsa, index_select(scores_value, arc_map))


def phantom_index_and_sum_scores(fsa: Fsa, scores_value: Tensor, arc_map: RaggedTensor) -> None:
    """As `phantom_set_scores_to` with the sum of `scores_value` over each list of `arc_map`."""
    phantom_set_scores_to(fsa, index_and_sum(scores_value, arc_map))
