"""Scores that C++ computes from others, with the gradient that C++ tells with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def linearised(
    scores: Tensor, values: Tensor, splits: Tensor, columns: Tensor, coefficients: Tensor
) -> Tensor:
    """Gives `values`, with the Jacobian d(values)/d(scores) for autograd, once differentiable.

    Args:
      scores: what the values were computed from, float `(num_old,)`.
      values: float64 `(num_new,)`; returned in the dtype and on the device of `scores`.
      splits: int64 `(num_new + 1,)`; row `i` of the Jacobian is `columns[splits[i]:splits[i + 1]]`
        with `coefficients` likewise.  It may be left out (`splits` of one element) where `scores`
        require no gradient.
      columns: int64, numbers of scores.
      coefficients: float64.
    """
    if not scores.requires_grad:
        return values.to(scores)
    result: Tensor = _Linearised.apply(scores, values, splits, columns, coefficients)
    return result


class _Linearised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        values: Tensor,
        splits: Tensor,
        columns: Tensor,
        coefficients: Tensor,
    ) -> Tensor:
        rows = torch.repeat_interleave(splits[1:] - splits[:-1])
        ctx.save_for_backward(rows, columns, coefficients)
        ctx.num_scores = scores.numel()
        return values.to(scores)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        rows, columns, coefficients = (t.to(grad.device) for t in ctx.saved_tensors)
        sent = grad.to(torch.float64).index_select(0, rows) * coefficients
        total = sent.new_zeros(ctx.num_scores).index_add(0, columns, sent)
        return total.to(grad.dtype), None, None, None, None
