"""A time-delay network: dilated convolutions over time with residual connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfst_entropy.asr.models.batch_norm import MaskedBatchNorm
from wfst_entropy.asr.models.channel_dropout import ChannelDropout
from wfst_entropy.asr.models.encoder import Encoder
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

    def forward_chunk(self, x: Tensor, mask: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the next frames; ``before`` ``(N, 2 dilation, D)`` are the last inputs."""
        frames = torch.cat([before, x * mask], dim=1)
        y = self.conv(frames.transpose(1, 2)).transpose(1, 2)
        return x + F.relu(self.norm(y, mask)), frames[:, x.size(1) :]


class TdnnEncoder(Encoder):
    """Layers of :class:`TdnnLayer` with dilations 1, 2, 4, 1, 2, 4, ... and a last norm.

    Args:
      dim: ``D``, channels.
      num_layers: How many layers.
      causal: No look-ahead at all.
      dropout: Probability that a channel of an utterance is dropped.

    >>> import torch
    >>> TdnnEncoder(8, 3)(torch.zeros(2, 5, 8), torch.tensor([5, 2]))[0].shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self, dim: int, num_layers: int, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, causal)
        self.layers = nn.ModuleList(
            TdnnLayer(dim, _DILATIONS[i % len(_DILATIONS)], causal, dropout)
            for i in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real, into ``(N, T, D)``."""
        mask = frame_mask(lengths, x.size(1)).unsqueeze(-1).to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x), lengths

    def forward_chunk(
        self, x: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode the next frames; the states are the last inputs of each layer."""
        mask = frame_mask(lengths, x.size(1)).unsqueeze(-1).to(x.dtype)
        after = []
        for layer, before in zip(cast(Iterable[TdnnLayer], self.layers), states):
            x, last = layer.forward_chunk(x, mask, before)
            after.append(last)
        return self.norm(x), lengths, after

    def _initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        sizes = [layer.padding[0] for layer in cast(Iterable[TdnnLayer], self.layers)]
        return [
            torch.zeros(batch_size, size, self.output_dim, dtype=self.dtype, device=device)
            for size in sizes
        ]
