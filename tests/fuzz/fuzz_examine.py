"""What must hold of anything that comes out of an operation."""

from __future__ import annotations

from typing import Any

import torch

from wfst_entropy.fsa import Fsa, RaggedTensor


def examine(result: Any) -> None:
    """Graphs must keep the invariants, print, and be differentiable; lists are looked into."""
    if isinstance(result, Fsa):
        again = Fsa(result.shape, result.arcs, result.scores, **dict(result.attributes))
        again[0].to_str() if again.num_axes == 3 and again.num_fsas else again.num_arcs
        if result.scores.requires_grad:
            result.scores.sum().backward(retain_graph=True)
    elif isinstance(result, RaggedTensor):
        RaggedTensor(result.shape, result.values)
        assert result.tolist() is not None
    elif isinstance(result, (tuple, list)):
        for part in result:
            examine(part)
    elif isinstance(result, torch.Tensor) and result.requires_grad:
        result.sum().backward(retain_graph=True)
