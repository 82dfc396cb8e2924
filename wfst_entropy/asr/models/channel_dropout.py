"""Dropout of whole channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelDropout(nn.Module):
    """Drops a channel in all frames of an utterance (Tompson et al. 2015, arXiv 1411.4280).

    Neighbouring frames are alike, so dropping single values of a channel hides little. It also
    needs ``T`` times fewer random numbers, which are costly on a CPU.

    Args:
      p: Probability that a channel is dropped; the others are scaled by ``1 / (1 - p)``.

    >>> layer = ChannelDropout(0.5).train()
    >>> sorted(set(layer(torch.ones(1, 3, 64)).flatten().tolist()))
    [0.0, 2.0]
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``(N, T, D)``; the identity in evaluation."""
        if not self.training or self.p == 0.0:
            return x
        keep = torch.rand(x.size(0), 1, x.size(2), device=x.device) >= self.p
        return x * (keep.to(x.dtype) / (1.0 - self.p))
