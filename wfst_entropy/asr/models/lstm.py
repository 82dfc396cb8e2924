"""A recurrent encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from wfst_entropy.asr.models.channel_dropout import ChannelDropout
from wfst_entropy.asr.models.encoder import Encoder
from wfst_entropy.asr.models.masking import frame_mask
from wfst_entropy.asr.options import OptionError


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
      dim: ``D``, channels of input and output; each direction of a bidirectional layer makes half.
      causal: Forward direction only.
      dropout: Probability that a channel of an utterance is dropped.
      cells: Cells of both directions together; more than ``D`` are projected down to ``D`` (Sak et
        al. 2014, arXiv 1402.1128). By default ``D``.

    >>> LstmLayer(8)(torch.zeros(1, 5, 8), torch.tensor([5])).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self, dim: int, causal: bool = False, dropout: float = 0.0, cells: int | None = None
    ) -> None:
        super().__init__()
        cells = cells or dim
        self.norm = nn.LayerNorm(dim)
        if causal:
            self.forward_lstm = _lstm(dim, cells, dim)
            self.backward_lstm = None
        else:
            self.forward_lstm = _lstm(dim, cells // 2, dim // 2)
            self.backward_lstm = _lstm(dim, cells - cells // 2, dim - dim // 2)
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map ``(N, T, D)`` to ``(N, T, D)``."""
        normed = self.norm(x)
        y = self.forward_lstm(normed)[0]
        if self.backward_lstm is not None:
            backward = self.backward_lstm(reverse_frames(normed, lengths))[0]
            y = torch.cat([y, reverse_frames(backward, lengths)], dim=-1)
        return x + self.dropout(y)

    def forward_chunk(
        self, x: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the next frames of streams with states ``(N, D)`` and ``(N, cells)``."""
        states = (hidden.unsqueeze(0), cell.unsqueeze(0))
        y, (hidden, cell) = self.forward_lstm(self.norm(x), states)
        return x + y, hidden.squeeze(0), cell.squeeze(0)


class TimeReduction(nn.Module):
    """Concatenates each two successive frames and maps them back to one frame's size.

    Args:
      dim: ``D``, channels.

    >>> x, lengths = TimeReduction(8)(torch.zeros(2, 5, 8), torch.tensor([5, 2]))
    >>> x.shape, lengths
    (torch.Size([2, 3, 8]), tensor([3, 1]))
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, T, D)`` to ``(N, ceil(T / 2), D)``; a missing last frame is zero."""
        x = x * frame_mask(lengths, x.size(1)).unsqueeze(-1).to(x.dtype)
        x = nn.functional.pad(x, (0, 0, 0, x.size(1) % 2))
        x = x.view(x.size(0), x.size(1) // 2, 2 * x.size(2))
        return self.linear(x), torch.div(lengths + 1, 2, rounding_mode="floor")


class LstmEncoder(Encoder):
    """Layers of :class:`LstmLayer` and a last norm.

    Args:
      dim: ``D``, channels.
      num_layers: How many layers.
      causal: Forward direction only.
      dropout: Probability that a channel of an utterance is dropped.
      cells: Cells of each layer, projected down to ``D`` where there are more; by default ``D``.
      time_reduction: The layers, from 1, after which two frames become one.

    >>> LstmEncoder(8, 2)(torch.zeros(2, 5, 8), torch.tensor([5, 2]))[0].shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        dim: int,
        num_layers: int,
        causal: bool = False,
        dropout: float = 0.0,
        cells: int | None = None,
        time_reduction: Sequence[int] = (),
    ) -> None:
        super().__init__(dim, causal, 2 ** len(time_reduction))
        wrong = [layer for layer in time_reduction if not 1 <= layer <= num_layers]
        if wrong or len(set(time_reduction)) < len(time_reduction):
            raise OptionError(
                f"time_reduction: needs different layers from 1 to {num_layers}, "
                f"got {list(time_reduction)}"
            )
        self.cells = cells or dim
        self.layers = nn.ModuleList(
            LstmLayer(dim, causal, dropout, self.cells) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        # empty without reductions, so that the names of parameters stay what they were
        self.reductions = nn.ModuleDict(
            {str(layer): TimeReduction(dim) for layer in time_reduction}
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real, into ``(N, T', D)``."""
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x, lengths)
            if str(number) in self.reductions:
                x, lengths = self.reductions[str(number)](x, lengths)
        return self.norm(x), lengths

    def forward_chunk(
        self, x: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode the next frames; the states are output and cells of each layer's last frame."""
        after = []
        for number, layer in enumerate(cast(Iterable[LstmLayer], self.layers), start=1):
            x, *last = layer.forward_chunk(x, *states[2 * number - 2 : 2 * number])
            after += last
            if str(number) in self.reductions:
                x, lengths = self.reductions[str(number)](x, lengths)
        return self.norm(x), lengths, after

    def _initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        return [
            torch.zeros(batch_size, size, dtype=self.dtype, device=device)
            for _ in self.layers
            for size in (self.output_dim, self.cells)
        ]


def _lstm(input_dim: int, cells: int, output_dim: int) -> nn.LSTM:
    projection = output_dim if output_dim < cells else 0
    return nn.LSTM(input_dim, cells, batch_first=True, proj_size=projection)
