"""A recurrent encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wfst_entropy.asr.models.channel_dropout import ChannelDropout


def reverse_frames(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the frames of each utterance within its length; padding stays where it is.

    Args:
      x: ``(N, T, D)``.
      lengths: ``(N,)``.

    Returns:
      ``(N, T, D)``.

    >>> x = torch.tensor([[1, 2, 3], [4, 5, 0]]).unsqueeze(-1)
    >>> reverse_frames(x, torch.tensor([3, 2])).squeeze(-1).tolist()
    [[3, 2, 1], [5, 4, 0]]
    """
    frames = torch.arange(x.size(1), device=x.device)
    backwards = lengths.unsqueeze(1) - 1 - frames
    index = torch.where(backwards >= 0, backwards, frames)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))


class LstmLayer(nn.Module):
    """``x + dropout(lstm(norm(x)))``, with a second LSTM over the reversed frames unless causal.

    The backward direction is an ordinary LSTM over frames reversed within each utterance. That
    never reads padding, and keeps the fast kernel which packed sequences do not have.

    Args:
      dim: ``D``, channels; each direction of a bidirectional layer makes half of them.
      causal: Forward direction only.
      dropout: Probability that a channel of an utterance is dropped.

    >>> LstmLayer(8)(torch.zeros(1, 5, 8), torch.tensor([5])).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, causal: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.forward_lstm = nn.LSTM(dim, dim if causal else dim // 2, batch_first=True)
        self.backward_lstm = None if causal else nn.LSTM(dim, dim - dim // 2, batch_first=True)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to ``(N, T, D)``."""
        normed = self.norm(x)
        y = self.forward_lstm(normed)[0]
        if self.backward_lstm is not None:
            backward = self.backward_lstm(reverse_frames(normed, lengths))[0]
            y = torch.cat([y, reverse_frames(backward, lengths)], dim=-1)
        return x + self.dropout(y)


class LstmEncoder(nn.Module):
    """Layers of :class:`LstmLayer` and a last norm.

    Args:
      dim: ``D``, channels.
      num_layers: How many layers.
      causal: Forward direction only.
      dropout: Probability that a channel of an utterance is dropped.

    >>> LstmEncoder(8, 2)(torch.zeros(2, 5, 8), torch.tensor([5, 2])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self, dim: int, num_layers: int, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LstmLayer(dim, causal, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real, into ``(N, T, D)``."""
        for layer in self.layers:
            x = layer(x, lengths)
        return self.norm(x)
