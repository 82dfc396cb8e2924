"""A Conformer encoder (Gulati et al. 2020, arXiv 2005.08100) with rotary positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfst_entropy.asr.models.channel_dropout import ChannelDropout
from wfst_entropy.asr.models.encoder import Encoder
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

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Rotate queries or keys ``(N, H, T, head_dim)`` of frames ``first, first + 1, ...``."""
        frames = torch.arange(first, first + x.size(2), device=x.device, dtype=torch.float32)
        angles = frames.unsqueeze(1) * self.frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        real, imaginary = x.chunk(2, dim=-1)
        rotated = (real * cos - imaginary * sin, real * sin + imaginary * cos)
        return torch.cat(rotated, dim=-1)


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
        query, key, value = self.in_proj(x).chunk(3, dim=-1)
        return self._attend(query, key, value, allowed)

    def forward_chunk(
        self, x: Tensor, allowed: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the next frames, which also attend to the ``L`` frames before.

        Args:
          x: ``(N, T, D)``.
          allowed: Broadcasts to ``(N, H, T, L + T)``.
          keys: ``(N, L, D)``, of the frames before.
          values: ``(N, L, D)``.

        Returns:
          ``(N, T, D)``, and keys and values of the last ``L`` frames.
        """
        query, key, value = self.in_proj(x).chunk(3, dim=-1)
        key, value = torch.cat([keys, key], dim=1), torch.cat([values, value], dim=1)
        output = self._attend(query, key, value, allowed)
        return output, key[:, x.size(1) :], value[:, x.size(1) :]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
        """The frames of the queries are the last ones of those of the keys."""
        n, t, d = query.shape
        query, key, value = (
            part.reshape(n, -1, self.num_heads, d // self.num_heads).transpose(1, 2)
            for part in (query, key, value)
        )
        query = self.positions(query, key.size(2) - t) * (d // self.num_heads) ** -0.5
        scores = query @ self.positions(key).transpose(-1, -2)
        # A finite floor: rows of padding may have nothing to attend to.
        scores = scores if scores.dtype == torch.float64 else scores.float()
        weights = scores.masked_fill(~allowed, -1e4).softmax(dim=-1).to(value.dtype)
        return self.out_proj((weights @ value).transpose(1, 2).reshape(n, t, d))


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
        return self._convolve(F.pad(x, (0, 0, *self.padding)))

    def forward_chunk(self, x: Tensor, mask: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the next frames; ``before`` ``(N, taps - 1, D)`` went into the last taps."""
        frames = torch.cat([before, F.glu(self.pointwise_in(x), dim=-1) * mask], dim=1)
        return self._convolve(frames), frames[:, x.size(1) :]

    def _convolve(self, x: Tensor) -> Tensor:
        x = self.depthwise(x.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2)
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

    def forward_chunk(
        self, x: Tensor, mask: Tensor, allowed: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """The same for the next frames; the states are keys, values and what was convolved."""
        x = x + 0.5 * self.feed_forward1(x)
        normed = self.attention_norm(x)
        attended, keys, values = self.attention.forward_chunk(normed, allowed, *states[:2])
        x = x + attended
        convolved, last = self.convolution.forward_chunk(self.convolution_norm(x), mask, states[2])
        x = x + convolved
        x = x + 0.5 * self.feed_forward2(x)
        return self.norm(x), [keys, values, last]


class ConformerEncoder(Encoder):
    """Layers of :class:`ConformerLayer`; the causal form attends in chunks.

    With several chunk sizes or left contexts, training draws one of each for every batch from
    torch's generator (dynamic chunk training, Zhang et al. 2020, arXiv 2012.05481, section 3.3);
    in evaluation the first ones are used until :meth:`set_chunk` chooses others.

    Args:
      dim: ``D``, channels.
      num_layers: How many layers.
      num_heads: Attention heads.
      causal: Convolve over the past and attend within chunks, see :func:`chunk_mask`.
      chunk_sizes: Frames of a chunk, after subsampling; -1 is the whole utterance.
      left_contexts: Frames before its chunk that a frame attends to, -1 for all.
      dropout: Probability that a channel of an utterance is dropped.
      kernel_size: Taps of the depthwise convolutions.

    >>> ConformerEncoder(8, 1, num_heads=2)(torch.zeros(2, 5, 8), torch.tensor([5, 2]))[0].shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        num_heads: int,
        causal: bool = False,
        chunk_sizes: Sequence[int] = (16,),
        left_contexts: Sequence[int] = (64,),
        dropout: float = 0.0,
        kernel_size: int = 15,
    ) -> None:
        super().__init__(dim, causal, fixed_chunk=True)
        self.chunk_sizes = tuple(chunk_sizes)
        self.left_contexts = tuple(left_contexts)
        self.kernel_size = kernel_size
        self.set_chunk(chunk_sizes[0], left_contexts[0])
        self.layers = nn.ModuleList(
            ConformerLayer(dim, num_heads, kernel_size, causal, dropout) for _ in range(num_layers)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real, into ``(N, T, D)``."""
        num_frames = x.size(1)
        real = frame_mask(lengths, num_frames)
        allowed = real[:, None, None, :]
        if self.causal:
            chunk_size, left_context = self.chunk_size, self.left_context_frames
            if self.training:
                chunk_size, left_context = _draw(self.chunk_sizes), _draw(self.left_contexts)
            if chunk_size > 0:
                allowed = allowed & chunk_mask(num_frames, chunk_size, left_context, x.device)
        mask = real.unsqueeze(-1).to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask, allowed)
        return x, lengths

    def forward_chunk(
        self, x: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode the next chunk.

        The states are the number of frames in the left context ``(N,)``, and those of each layer.
        """
        num_cached, left_context = states[0], states[1].size(1)
        real = frame_mask(lengths, x.size(1))
        # the last num_cached frames of the left context are there
        cached = ~frame_mask(left_context - num_cached, left_context)
        allowed = torch.cat([cached, real], dim=1)[:, None, None, :]
        mask = real.unsqueeze(-1).to(x.dtype)
        after = [(num_cached + lengths).clamp(max=left_context)]
        for i, layer in enumerate(cast(Iterable[ConformerLayer], self.layers)):
            x, last = layer.forward_chunk(x, mask, allowed, states[3 * i + 1 : 3 * i + 4])
            after += last
        return x, lengths, after

    def _initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        if self.left_context_frames < 0:
            raise OptionError(
                "left_context_frames: a stream keeps a limited number of frames, and -1 asks for "
                "all; choose one for streaming with --left-context-frames, or set_chunk"
            )
        sizes = (self.left_context_frames, self.left_context_frames, self.kernel_size - 1)
        states = [
            torch.zeros(batch_size, size, self.output_dim, dtype=self.dtype, device=device)
            for _ in self.layers
            for size in sizes
        ]
        return [torch.zeros(batch_size, dtype=torch.int64, device=device), *states]


def _draw(choices: Sequence[int]) -> int:
    """One of the choices; with a single one no random number is used."""
    return choices[int(torch.randint(len(choices), ()))] if len(choices) > 1 else choices[0]


def _feed_forward(dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim)
    )
