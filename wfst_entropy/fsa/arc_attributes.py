"""What happens to one attribute of an Fsa when its arcs are selected, stacked, moved or copied.

Tensors and ragged tensors have one entry per arc; any other object belongs to the whole FSA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.ragged import RaggedTensor


def aux_name(i: int) -> str:
    """The name of extra label `i`: aux_labels, aux_labels2, aux_labels3, ... as in k2."""
    return "aux_labels" if i == 0 else f"aux_labels{i + 1}"


def select(value: Any, arc_map: Tensor) -> Any:
    """The entries of the arcs `arc_map`; differentiable."""
    if isinstance(value, Tensor):
        return value[arc_map]
    return value.index(arc_map) if isinstance(value, RaggedTensor) else value


def cat(values: Sequence[Any]) -> Any:
    """The attribute of stacked FSAs; values that belong to whole FSAs are known to be the same."""
    if isinstance(values[0], Tensor):
        return torch.cat(list(values))
    return RaggedTensor.cat(values) if isinstance(values[0], RaggedTensor) else values[0]


def to(value: Any, device: torch.device | str) -> Any:
    """The attribute on `device`."""
    return value.to(device) if isinstance(value, (Tensor, RaggedTensor)) else value


def detach(value: Any) -> Any:
    """The attribute without autograd, sharing memory."""
    if isinstance(value, RaggedTensor):
        return RaggedTensor(value.shape, value.values.detach())
    return value.detach() if isinstance(value, Tensor) else value


def clone(value: Any) -> Any:
    """A copy of a per-arc attribute; another object is passed on."""
    if isinstance(value, RaggedTensor):
        return RaggedTensor(value.shape, value.values.clone())
    return value.clone() if isinstance(value, Tensor) else value


def same(a: Any, b: Any) -> bool:
    """Whether two values that belong to whole FSAs agree: one object, or equal plain values.

    Equality of arbitrary objects (tuples of tensors, arrays) need not be a truth value, so only
    numbers and strings are compared by value.
    """
    plain = (str, bytes, int, float, type(None))
    return a is b or (isinstance(a, plain) and isinstance(b, plain) and a == b)
