"""A time-delay network: dilated convolutions over time with residual connections."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wfst_entropy.asr.models.batch_norm import MaskedBatchNorm
from wfst_entropy.asr.models.channel_dropout import ChannelDropout
from wfst_entropy.asr.models.masking import frame_mask

# Frames between the taps of successive layers, over and over.
_DILATIONS = (1, 2, 4)


class TdnnLayer(nn.Module):
    """``x + dropout(relu(norm(conv(x))))`` with a dilated convolution of three taps.

    The norm is over the real frames of the joint batch of all processes: padding does not count,
    and the gradients of two processes add up to those of one.

    Args:
      dim: ``D``, channels.
      dilation: Frames between taps.
      causal: Use the present and past frames only, instead of one tap ahead.
      dropout: Probability that a channel of an utterance is dropped.

    >>> import torch
    >>> TdnnLayer(8, dilation=2)(torch.zeros(1, 5, 8), torch.ones(1, 5, 1)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, dilation: int, causal: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.padding = (2 * dilation, 0) if causal else (dilation, dilation)
        self.conv = nn.Conv1d(dim, dim, 3, dilation=dilation)
        self.norm = MaskedBatchNorm(dim)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to ``(N, T, D)``; ``mask`` ``(N, T, 1)`` is 0 at padding."""
        y = self.conv(F.pad((x * mask).transpose(1, 2), self.padding)).transpose(1, 2)
        return x + self.dropout(F.relu(self.norm(y, mask)))


class TdnnEncoder(nn.Module):
    """Layers of :class:`TdnnLayer` with dilations 1, 2, 4, 1, 2, 4, ... and a last norm.

    Args:
      dim: ``D``, channels.
      num_layers: How many layers.
      causal: No look-ahead at all.
      dropout: Probability that a channel of an utterance is dropped.

    >>> import torch
    >>> TdnnEncoder(8, 3)(torch.zeros(2, 5, 8), torch.tensor([5, 2])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self, dim: int, num_layers: int, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TdnnLayer(dim, _DILATIONS[i % len(_DILATIONS)], causal, dropout)
            for i in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real, into ``(N, T, D)``."""
        mask = frame_mask(lengths, x.size(1)).unsqueeze(-1).to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
