"""What must hold of anything that comes out of an operation."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from wfst_entropy.fsa import Fsa, FsaError, RaggedTensor


def examine(result: Any) -> None:
    """Graphs must keep the invariants, print, and be differentiable; lists are looked into."""
    if isinstance(result, Fsa):
        again = Fsa(result.shape, result.arcs, result.scores, **dict(result.attributes))
        again[0].to_str() if again.num_axes == 3 and again.num_fsas else again.num_arcs
        differentiate(result.scores)
    elif isinstance(result, RaggedTensor):
        RaggedTensor(result.shape, result.values)
        assert result.tolist() is not None
    elif isinstance(result, (tuple, list)):
        for part in result:
            examine(part)
    elif isinstance(result, torch.Tensor):
        differentiate(result)


def differentiate(result: torch.Tensor) -> None:
    """A gradient may be refused, by name: a sum over cycles that float64 cannot tell."""
    if not result.requires_grad:
        return
    with contextlib.suppress(FsaError):
        result.sum().backward(retain_graph=True)
