"""An LSTM with projected outputs, spelled out for formats that have no such operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _run(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    weight_hr: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = x.matmul(weight_ih.t()) + bias
    outputs = torch.zeros(x.size(0), 0, hidden.size(1), dtype=x.dtype, device=x.device)
    for t in range(x.size(1)):
        gates = (inputs[:, t] + hidden.matmul(weight_hh.t())).chunk(4, dim=1)
        entry, keep, change, leave = gates[0], gates[1], gates[2], gates[3]
        cell = keep.sigmoid() * cell + entry.sigmoid() * change.tanh()
        hidden = (leave.sigmoid() * cell.tanh()).matmul(weight_hr.t())
        outputs = torch.cat([outputs, hidden.unsqueeze(1)], dim=1)
    return outputs, hidden, cell


class ProjectedLstm(nn.Module):
    """What ``nn.LSTM(..., proj_size=P, batch_first=True)`` computes, as a loop over frames.

    Args:
      lstm: One layer in one direction.

    >>> lstm = nn.LSTM(4, 6, proj_size=3, batch_first=True)
    >>> x = torch.randn(2, 5, 4)
    >>> bool(torch.allclose(ProjectedLstm(lstm)(x)[0], lstm(x)[0], atol=1e-6))
    True
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        self.proj_size = lstm.proj_size
        named = dict(lstm.named_parameters())
        self.weight_ih = named["weight_ih_l0"]
        self.weight_hh = named["weight_hh_l0"]
        self.bias = nn.Parameter((named["bias_ih_l0"] + named["bias_hh_l0"]).detach())
        self.weight_hr = named["weight_hr_l0"]
        # scripted, so that the loop is exported as a loop
        self.run = torch.jit.script(_run)

    def forward(
        self, x: Tensor, states: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As of ``nn.LSTM``: ``(N, T, D)`` and states ``(1, N, P)``, ``(1, N, cells)``."""
        if states is None:
            states = (
                x.new_zeros(1, x.size(0), self.proj_size),
                x.new_zeros(1, x.size(0), self.hidden_size),
            )
        weights = (self.weight_ih, self.weight_hh, self.bias, self.weight_hr)
        output, hidden, cell = self.run(x, states[0][0], states[1][0], *weights)
        return output, (hidden.unsqueeze(0), cell.unsqueeze(0))
