"""The joint network of a transducer."""

from __future__ import annotations

from torch import Tensor, nn


class Joiner(nn.Module):
    r"""Scores of the next token from an encoder frame and the labels so far.

    .. math:: z = W \tanh(a + g), \quad a = W_a f_t, \quad g = W_g h_u

    The two projections are applied once per frame and per label, :meth:`forward` per pair.

    Args:
      encoder_dim: ``D``, channels of the encoder.
      decoder_dim: ``P``, channels of the predictor.
      joiner_dim: ``J``.
      vocab_size: ``C``.

    >>> import torch
    >>> joiner = Joiner(16, 8, 12, vocab_size=5)
    >>> am, lm = joiner.encoder_proj(torch.zeros(3, 16)), joiner.decoder_proj(torch.zeros(3, 8))
    >>> joiner(am, lm).shape
    torch.Size([3, 5])
    """

    def __init__(
        self, encoder_dim: int, decoder_dim: int, joiner_dim: int, vocab_size: int
    ) -> None:
        super().__init__()
        self.encoder_proj = nn.Linear(encoder_dim, joiner_dim)
        self.decoder_proj = nn.Linear(decoder_dim, joiner_dim)
        self.output = nn.Linear(joiner_dim, vocab_size)

    def forward(self, am: Tensor, lm: Tensor) -> Tensor:
        """Logits ``(..., C)`` of projected inputs ``(..., J)``, whose shapes are broadcast."""
        logits: Tensor = self.output((am + lm).tanh())
        return logits
