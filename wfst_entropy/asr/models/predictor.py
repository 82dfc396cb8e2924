"""Prediction networks of transducers: what the labels so far say about the next one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StatelessPredictor(nn.Module):
    r"""An embedding and a convolution over the last few labels (Ghodsi et al. 2020).

    .. math:: g_u = \mathrm{relu}\big(\sum_{k=1}^{K} w_k \odot e(y_{u-K+k})\big)

    with blank in place of labels before the first. It has no memory beyond ``K`` labels, so that
    hypotheses with the same last ``K`` labels share everything.

    Args:
      vocab_size: ``C``, tokens with the blank (0).
      dim: ``P``, channels of the output.
      context_size: ``K``.

    >>> StatelessPredictor(5, 8, context_size=2)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 4, 8])
    """

    def __init__(self, vocab_size: int, dim: int, context_size: int) -> None:
        super().__init__()
        self.context_size = context_size
        self.embedding = nn.Embedding(vocab_size, dim)
        self.conv = nn.Conv1d(dim, dim, context_size, groups=dim, bias=False)

    def forward(self, targets: Tensor) -> Tensor:
        """Outputs ``(N, U+1, P)`` before and after each of the labels ``(N, U)``."""
        return self.contexts(F.pad(targets, (self.context_size, 0)))

    def contexts(self, tokens: Tensor) -> Tensor:
        """Outputs ``(N, U-K+1, P)`` after each ``K`` successive labels of ``(N, U)``."""
        embedded = self.embedding(tokens).transpose(1, 2)
        return F.relu(self.conv(embedded)).transpose(1, 2)

    def start(self, n: int, device: torch.device) -> tuple[Tensor, list[Tensor]]:
        """Output ``(n, P)`` before any label, and the state: the last labels ``(n, K)``."""
        last = torch.zeros(n, self.context_size, dtype=torch.int64, device=device)
        return self.after(last), [last]

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Output ``(n, P)`` after the labels ``(n,)``, and the state afterwards."""
        last = torch.cat([state[0][:, 1:], tokens.unsqueeze(1).to(state[0].dtype)], dim=1)
        return self.after(last), [last]

    def after(self, tokens: Tensor) -> Tensor:
        """Outputs ``(n, P)`` after the last labels ``(n, K)``: the convolution at one place."""
        weight = self.conv.weight.squeeze(1).transpose(0, 1)
        return F.relu((self.embedding(tokens) * weight).sum(1))


class LstmPredictor(nn.Module):
    """An embedding and an LSTM over all labels so far (Graves 2012, arXiv 1211.3711).

    Args:
      vocab_size: ``C``, tokens with the blank (0), which stands for the start.
      dim: ``P``, channels of the embedding and cells of each layer.
      num_layers: How many layers.

    >>> LstmPredictor(5, 8)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 4, 8])
    """

    context_size = None

    def __init__(self, vocab_size: int, dim: int, num_layers: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.lstm = nn.LSTM(dim, dim, num_layers, batch_first=True)

    def forward(self, targets: Tensor) -> Tensor:
        """Outputs ``(N, U+1, P)`` before and after each of the labels ``(N, U)``."""
        output: Tensor = self.lstm(self.embedding(F.pad(targets, (1, 0))))[0]
        return output

    def start(self, n: int, device: torch.device) -> tuple[Tensor, list[Tensor]]:
        """Output ``(n, P)`` before any label, and the states ``(n, layers, P)`` of the LSTM."""
        zeros = self.embedding.weight.new_zeros(n, self.lstm.num_layers, self.lstm.hidden_size)
        return self.step(torch.zeros(n, dtype=torch.int64, device=device), [zeros, zeros])

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Output ``(n, P)`` after the labels ``(n,)``, and the states afterwards."""
        # Gate by gate: torch's LSTM on the CPU rearranges all its weights in each call.
        x = self.embedding(tokens)
        hiddens, cells = [], []
        for layer, (w_ih, w_hh, b_ih, b_hh) in enumerate(self.lstm.all_weights):
            hidden, cell = state[0][:, layer], state[1][:, layer]
            gates = F.linear(x, w_ih, b_ih) + F.linear(hidden, w_hh, b_hh)
            into, forget, new, out = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
            x = out.sigmoid() * cell.tanh()
            hiddens.append(x)
            cells.append(cell)
        return x, [torch.stack(hiddens, dim=1), torch.stack(cells, dim=1)]
