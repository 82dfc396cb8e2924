"""What the C++ kernels of alignments say when a score or a derivative is out of their reach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaRuntimeError, FsaValueError


def bad_score(name: str, utterance: int, frame: int, symbol: int, value: float) -> FsaValueError:
    """Returns the error for a score that is NaN, +inf or too large."""
    return FsaValueError(
        f"{name}: the score of utterance {utterance}, frame {frame}, symbol {symbol} is {value}; "
        f"a log-weight must be a number up to 2**26, or -inf. Look for a division by zero, an "
        f"overflow in half precision or a learning rate that made the model diverge."
    )


def differentiable_once(gradient: Tensor, *inputs: Tensor | None) -> Tensor:
    """Returns a gradient computed by a kernel, such that differentiating it again is an error.

    Without this, a second derivative would silently come out as zero.

    Args:
        gradient: what a backward method is about to return.
        inputs: what the gradient depends on.
    """
    if not torch.is_grad_enabled():
        return gradient
    result: Tensor = _DifferentiableOnce.apply(gradient, *inputs)
    return result


class _DifferentiableOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor | None) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Tensor:
        raise FsaRuntimeError(
            "the C++ kernels of alignment losses have no second derivative; compute the loss "
            "inside `with wfst_entropy._native.disabled():` to use the torch engine, which has"
        )
