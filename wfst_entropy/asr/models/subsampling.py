"""The convolutional front end that lowers the frame rate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wfst_entropy.asr.models.masking import frame_mask
from wfst_entropy.asr.options import OptionError

# Log filter-bank energies of speech in [-1, 1] are about -8 +- 4. A fixed shift and scale brings
# them near zero mean and unit variance, and unlike per-utterance statistics it is causal.
_FEATURE_MEAN = -8.0
_FEATURE_SCALE = 4.0
# Strides over time of the two convolutions.
_STRIDES = {2: (2, 1), 3: (3, 1), 4: (2, 2), 6: (3, 2)}


class ConvSubsampling(nn.Module):
    r"""Scales features, then two 3x3 convolutions over time and frequency and a linear map.

    Each convolution of stride ``s`` gives :math:`\lceil T / s \rceil` frames. In the causal form,
    output frame ``t`` sees inputs up to ``factor * t``.

    Args:
      feature_dim: ``F``, filter-bank channels.
      output_dim: ``D``.
      factor: Input frames per output frame: 2, 3, 4 or 6.
      causal: Pad in time on the left only.
      channels: Channels of the second convolution; the first, on four times as many values, has
        half of them.

    >>> front_end = ConvSubsampling(80, 16, factor=4)
    >>> output, lengths = front_end(torch.zeros(2, 9, 80), torch.tensor([9, 4]))
    >>> output.shape, lengths
    (torch.Size([2, 3, 16]), tensor([3, 1]))
    """

    def __init__(
        self,
        feature_dim: int,
        output_dim: int,
        factor: int = 4,
        causal: bool = False,
        channels: int = 32,
    ) -> None:
        super().__init__()
        if factor not in _STRIDES:
            raise OptionError(f"subsampling_factor: needs one of {list(_STRIDES)}, got {factor}")
        self.factor = factor
        self.feature_dim = feature_dim
        self.num_states = 2
        self.strides = _STRIDES[factor]
        self.time_padding = (2, 0) if causal else (1, 1)
        first, second = self.strides
        self.conv1 = nn.Conv2d(1, channels // 2, 3, stride=(first, 2), padding=(0, 1))
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, stride=(second, 2), padding=(0, 1))
        self.linear = nn.Linear(channels * -(-feature_dim // 4), output_dim)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Lower the frame rate.

        Args:
          features: ``(N, T, F)``.
          lengths: ``(N,)``, frames per utterance; frames beyond are not read.

        Returns:
          ``(N, T', D)`` and the new lengths ``(N,)``.
        """
        # (N, T, F, channels): channels last takes half the time of channels first on a CPU
        x = _scaled(features).unsqueeze(-1)
        for conv, stride in zip((self.conv1, self.conv2), self.strides):
            x = _without_padding(x, lengths)
            x = _convolve(conv, F.pad(x, (0, 0, 0, 0, *self.time_padding)))
            lengths = _divide(lengths, stride)
        return self.linear(x.flatten(2)), lengths

    def initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        """The inputs before the first chunk of streams, for each convolution ``(N, 2, F', C')``."""
        # the first convolution reads the features, the second half as many frequencies
        sizes = [(self.feature_dim, 1), (-(-self.feature_dim // 2), self.conv1.out_channels)]
        dtype = self.linear.weight.dtype
        return [torch.zeros(batch_size, 2, *size, dtype=dtype, device=device) for size in sizes]

    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Lower the frame rate of the next frames of streams, a multiple of the factor each.

        Args:
          features: ``(N, T, F)``.
          lengths: ``(N,)``, frames per stream; a shorter row is the last of its stream.
          states: What the frames before left.

        Returns:
          ``(N, T', D)``, the new lengths ``(N,)``, and the states afterwards.
        """
        x = _scaled(features).unsqueeze(-1)
        after = []
        for conv, stride, before in zip((self.conv1, self.conv2), self.strides, states):
            x = torch.cat([before, _without_padding(x, lengths)], dim=1)
            after.append(x[:, x.size(1) - 2 :])
            x = _convolve(conv, x)
            lengths = _divide(lengths, stride)
        return self.linear(x.flatten(2)), lengths, after


def _scaled(features: Tensor) -> Tensor:
    return (features - _FEATURE_MEAN) / _FEATURE_SCALE


def _without_padding(x: Tensor, lengths: Tensor) -> Tensor:
    return x.masked_fill(~frame_mask(lengths, x.size(1))[:, :, None, None], 0.0)


def _convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.relu(conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)


def _divide(lengths: Tensor, stride: int) -> Tensor:
    """Frames after a convolution of this stride."""
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")
