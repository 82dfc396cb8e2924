"""A Conformer encoder (Gulati et al. 2020, arXiv 2005.08100) with rotary positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfst_entropy.asr.models.channel_dropout import ChannelDropout
from wfst_entropy.asr.models.masking import chunk_mask, frame_mask
from wfst_entropy.asr.options import OptionError


class RotaryPositions(nn.Module):
    """Rotates pairs of channels by an angle that grows with the frame (arXiv 2104.09864, Eq. 34).

    The product of a query and a key then depends on the distance of their frames only.

    Args:
      head_dim: Channels of one head, an even number.

    >>> RotaryPositions(4)(torch.zeros(1, 2, 7, 4)).shape
    torch.Size([1, 2, 7, 4])
    """

    frequencies: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2) / head_dim
        self.register_buffer("frequencies", 10000.0**-exponents, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate queries or keys ``(N, H, T, head_dim)``."""
        frames = torch.arange(x.size(2), device=x.device, dtype=torch.float32)
        angles = frames.unsqueeze(1) * self.frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class SelfAttention(nn.Module):
    """Multi-headed self-attention over frames.

    Written out rather than through ``scaled_dot_product_attention``, whose masked CPU kernel is 3.5
    times slower in bfloat16 at the lengths of a subsampled utterance.

    Args:
      dim: ``D``, channels.
      num_heads: ``H``; ``D`` must be a multiple of ``2 H``.

    >>> allowed = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    >>> SelfAttention(8, 2)(torch.zeros(1, 5, 8), allowed).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % (2 * num_heads):
            raise OptionError(
                "encoder_dim: a conformer needs a multiple of 2 * num_heads = "
                f"{2 * num_heads}, got {dim}"
            )
        self.num_heads = num_heads
        self.in_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        self.positions = RotaryPositions(dim // num_heads)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to ``(N, T, D)``; ``allowed`` broadcasts to ``(N, H, T, T)``."""
        n, t, d = x.shape
        heads = self.in_proj(x).view(n, t, 3, self.num_heads, d // self.num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        query = self.positions(query) * (d // self.num_heads) ** -0.5
        scores = query @ self.positions(key).transpose(-1, -2)
        # A finite floor: rows of padding may have nothing to attend to.
        scores = scores.float().masked_fill(~allowed, -1e4)
        output = scores.softmax(dim=-1).to(value.dtype) @ value
        return self.out_proj(output.transpose(1, 2).reshape(n, t, d))


class ConvolutionModule(nn.Module):
    """Pointwise convolution with a gate, depthwise convolution, norm, SiLU, pointwise convolution.

    Args:
      dim: ``D``, channels.
      kernel_size: Taps of the depthwise convolution, an odd number.
      causal: Pad on the left only.

    >>> ConvolutionModule(8, 3)(torch.zeros(1, 5, 8), torch.ones(1, 5, 1)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, dim: int, kernel_size: int, causal: bool = False) -> None:
        super().__init__()
        side = (kernel_size - 1) // 2
        self.padding = (kernel_size - 1, 0) if causal else (side, side)
        self.pointwise_in = nn.Linear(dim, 2 * dim)
        # A 2-D convolution of width one: on a CPU much faster than the 1-D form.
        self.depthwise = nn.Conv2d(dim, dim, (kernel_size, 1), groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.pointwise_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to ``(N, T, D)``; ``mask`` ``(N, T, 1)`` is 0 at padding."""
        x = F.glu(self.pointwise_in(x), dim=-1) * mask
        x = F.pad(x.transpose(1, 2), self.padding).unsqueeze(-1)
        x = self.depthwise(x).squeeze(-1).transpose(1, 2)
        return self.pointwise_out(F.silu(self.norm(x)))


class ConformerLayer(nn.Module):
    """Half a feed-forward step, attention, convolution, half a feed-forward step, norm.

    Args:
      dim: ``D``, channels.
      num_heads: Attention heads.
      kernel_size: Taps of the depthwise convolution.
      causal: Convolve over the past only.
      dropout: Probability that a channel of an utterance is dropped, after each part.

    >>> layer = ConformerLayer(8, 2, 3)
    >>> layer(torch.zeros(1, 5, 8), torch.ones(1, 5, 1), torch.ones(1, 1, 5, 5) > 0).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self, dim: int, num_heads: int, kernel_size: int, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.feed_forward1 = _feed_forward(dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, num_heads)
        self.convolution_norm = nn.LayerNorm(dim)
        self.convolution = ConvolutionModule(dim, kernel_size, causal)
        self.feed_forward2 = _feed_forward(dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, allowed: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to ``(N, T, D)``; the masks are those of the parts."""
        x = x + 0.5 * self.dropout(self.feed_forward1(x))
        x = x + self.dropout(self.attention(self.attention_norm(x), allowed))
        x = x + self.dropout(self.convolution(self.convolution_norm(x), mask))
        x = x + 0.5 * self.dropout(self.feed_forward2(x))
        return self.norm(x)


class ConformerEncoder(nn.Module):
    """Layers of :class:`ConformerLayer`; the causal form attends in chunks.

    Args:
      dim: ``D``, channels.
      num_layers: How many layers.
      num_heads: Attention heads.
      causal: Convolve over the past and attend within chunks, see :func:`chunk_mask`.
      chunk_size: Frames of a chunk, after subsampling.
      left_context_frames: Frames before its chunk that a frame attends to, -1 for all.
      dropout: Probability that a channel of an utterance is dropped.
      kernel_size: Taps of the depthwise convolutions.

    >>> ConformerEncoder(8, 1, num_heads=2)(torch.zeros(2, 5, 8), torch.tensor([5, 2])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        num_heads: int,
        causal: bool = False,
        chunk_size: int = 16,
        left_context_frames: int = 64,
        dropout: float = 0.0,
        kernel_size: int = 15,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.chunk_size = chunk_size
        self.left_context_frames = left_context_frames
        self.layers = nn.ModuleList(
            ConformerLayer(dim, num_heads, kernel_size, causal, dropout) for _ in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real, into ``(N, T, D)``."""
        num_frames = x.size(1)
        real = frame_mask(lengths, num_frames)
        allowed = real[:, None, None, :]
        if self.causal:
            allowed = allowed & chunk_mask(
                num_frames, self.chunk_size, self.left_context_frames, x.device
            )
        mask = real.unsqueeze(-1).to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask, allowed)
        return x


def _feed_forward(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim)
    )
