"""Batch normalisation whose statistics know neither padding nor how a batch was split."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce by sum; the gradients of a sum's copies are summed as well."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad


class MaskedBatchNorm(nn.Module):
    r"""Batch normalisation over the real frames of the batches of all processes.

    .. math:: y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta

    In training :math:`\mu, \sigma^2` are taken over the unmasked frames, summed over processes
    where torch.distributed is initialised, so that two processes compute what one computes on the
    joint batch; in evaluation they are running averages (Ioffe & Szegedy 2015, arXiv 1502.03167).

    Args:
      dim: ``D``, channels.
      momentum: Weight of a new batch in the running averages.
      eps: Added to the variance.

    >>> norm = MaskedBatchNorm(2)
    >>> x = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]])
    >>> norm(x, torch.tensor([[[1.0], [1.0], [0.0]]]))[0, :2].round(decimals=2).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, dim: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalise ``(N, T, D)``; ``mask`` ``(N, T, 1)`` is 0 at padding. At least float32."""
        x = x if x.dtype == torch.float64 else x.float()
        if self.training:
            mean, var = self._batch_statistics(x, mask.to(x.dtype))
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * (var + self.eps).rsqrt()
        return x * scale + (self.bias - mean * scale)

    def _batch_statistics(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        masked = x * mask
        sums = torch.stack([masked.sum((0, 1)), (masked * x).sum((0, 1))])
        sums = torch.cat([sums, mask.sum().expand(2, 1)], dim=1)
        if dist.is_initialized() and dist.get_world_size() > 1:
            sums = _SumOverProcesses.apply(sums)
        count = sums[0, -1].clamp(min=1.0)
        mean = sums[0, :-1] / count
        var = (sums[1, :-1] / count - mean.square()).clamp(min=0.0)
        with torch.no_grad():
            # a batch that overflows is skipped, and must not stay in the averages either
            if bool(mean.isfinite().all() & var.isfinite().all()):
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        return mean, var
