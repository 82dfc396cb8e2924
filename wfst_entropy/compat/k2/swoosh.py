"""Zipformer's activations `swoosh_l` and `swoosh_r`, with a derivative kept in 8 bits.

    swoosh(x) = log(1 + exp(x - shift)) - 0.08 x - offset

with shift 4 and offset 0.035 for `swoosh_l`, shift 1 and offset 0.313261687 for `swoosh_r`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wfst_entropy.fsa.errors import FsaValueError

_SLOPE = 0.08
# The derivative plus the slope is from 0 to 1; a margin keeps rounding up inside a byte.
_STEP = 1.005 / 255.0
_SWOOSH_L = (4.0, 0.035)
_SWOOSH_R = (1.0, 0.313261687)


def swoosh_l(x: Tensor, dropout_prob: float = 0.0) -> Tensor:
    """`log(1 + exp(x - 4)) - 0.08 x - 0.035`, with dropout if `x` requires gradients.

    For the gradient one byte per element is kept: the derivative, rounded at random so that its
    expectation is exact.

    Args:
      x: any shape and floating-point dtype.
      dropout_prob: each result is 0 with this probability, and the others are divided by
        `1 - dropout_prob`; without effect where `x` does not require gradients.

    Returns:
      float32, of the shape of `x`.

    Raises:
      FsaValueError: `dropout_prob` is not from 0 to below 1.

    Example:
      >>> [round(y, 4) for y in swoosh_l(torch.tensor([0.0, 4.0])).tolist()]
      [-0.0169, 0.3381]
    """
    return _swoosh(x, dropout_prob, *_SWOOSH_L)


def swoosh_r(x: Tensor, dropout_prob: float = 0.0) -> Tensor:
    """`log(1 + exp(x - 1)) - 0.08 x - 0.313261687`, with dropout; see `swoosh_l`.

    Example:
      >>> abs(float(swoosh_r(torch.zeros(1)))) < 1e-6
      True
    """
    return _swoosh(x, dropout_prob, *_SWOOSH_R)


def swoosh_l_forward(x: Tensor) -> Tensor:
    """`swoosh_l` without gradients and dropout, float32."""
    return _value(x, *_SWOOSH_L)


def swoosh_r_forward(x: Tensor) -> Tensor:
    """`swoosh_r` without gradients and dropout, float32."""
    return _value(x, *_SWOOSH_R)


def swoosh_l_forward_and_deriv(x: Tensor) -> tuple[Tensor, Tensor]:
    """`swoosh_l` and its derivative `0.92 - 1 / (1 + exp(x - 4))`, float32."""
    return _value(x, *_SWOOSH_L), _derivative(x, _SWOOSH_L[0])


def swoosh_r_forward_and_deriv(x: Tensor) -> tuple[Tensor, Tensor]:
    """`swoosh_r` and its derivative `0.92 - 1 / (1 + exp(x - 1))`, float32."""
    return _value(x, *_SWOOSH_R), _derivative(x, _SWOOSH_R[0])


def _swoosh(x: Tensor, dropout_prob: float, shift: float, offset: float) -> Tensor:
    if not 0 <= dropout_prob < 1:
        raise FsaValueError(f"dropout_prob: must be from 0 to below 1, got {dropout_prob}.")
    if not (x.requires_grad and torch.is_grad_enabled()):
        return _value(x, shift, offset)
    y: Tensor = _Swoosh.apply(x, dropout_prob, shift, offset)
    return y


@torch.no_grad()
def _value(x: Tensor, shift: float, offset: float) -> Tensor:
    x = x.to(torch.float32)
    return torch.logaddexp(x.new_zeros(()), x - shift) - _SLOPE * x - offset


@torch.no_grad()
def _derivative(x: Tensor, shift: float) -> Tensor:
    return (x.to(torch.float32) - shift).sigmoid() - _SLOPE


class _Swoosh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropout_prob: float, shift: float, offset: float) -> Tensor:
        y = _value(x, shift, offset)
        derivative = _derivative(x, shift)
        if dropout_prob:
            dropped = torch.rand_like(y) < dropout_prob
            y = (y / (1 - dropout_prob)).masked_fill_(dropped, 0)
            derivative.masked_fill_(dropped, 0)
        steps = (derivative + _SLOPE) / _STEP
        ctx.save_for_backward((steps + torch.rand_like(steps)).to(torch.uint8))
        ctx.kept = 1 - dropout_prob
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (steps,) = ctx.saved_tensors
        return grad * (steps * _STEP - _SLOPE) / ctx.kept, None, None, None
