"""k2's module `k2.ragged`."""

from __future__ import annotations

from typing import Any

import torch

from wfst_entropy.compat.k2.index_ops import index, index_and_sum
from wfst_entropy.compat.k2.ragged_shape import (
    RaggedShape,
    core_shape,
    create_ragged_shape2,
    k2_shape,
    random_ragged_shape,
    regular_ragged_shape,
)
from wfst_entropy.compat.k2.ragged_tensor import RaggedTensor, core_ragged, k2_ragged

__all__ = [
    "RaggedShape",
    "RaggedTensor",
    "cat",
    "core_ragged",
    "core_shape",
    "create_ragged_shape2",
    "create_ragged_tensor",
    "index",
    "index_and_sum",
    "k2_ragged",
    "k2_shape",
    "random_ragged_shape",
    "regular_ragged_shape",
]

cat = RaggedTensor.cat


def create_ragged_tensor(
    data: Any = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **named: Any,
) -> RaggedTensor:
    """A `RaggedTensor` of nested lists, of a text (`s`) or of an ordinary tensor (`tensor`).

    Example:
      >>> create_ragged_tensor("[[1 2] []]").tolist()
      [[1, 2], []]
    """
    return RaggedTensor(data, dtype, device, **named)
