"""Whole utterances through a model that reads streams."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class StreamingModel(Protocol):
    """What reads streams chunk by chunk."""

    @property
    def chunk_frames(self) -> int:
        """Feature frames in one chunk."""
        ...

    def initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        """What new streams carry."""
        ...

    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encoder frames of the next feature frames, their numbers, and the states afterwards."""
        ...


def encode_in_chunks(
    model: StreamingModel, features: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Encode whole utterances as streams.

    Args:
      model: The model.
      features: ``(N, T, F)``.
      lengths: ``(N,)``, feature frames per utterance.

    Returns:
      Encoder frames ``(N, T', D)`` and their number per utterance ``(N,)``.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> model = build_model(ModelOptions(causal=True, encoder_dim=16, num_layers=1, vocab_size=5))
    >>> encoder_out, lengths = encode_in_chunks(
    ...     model.eval(), torch.zeros(2, 100, 80), torch.tensor([100, 30])
    ... )
    >>> encoder_out.shape, lengths
    (torch.Size([2, 25, 16]), tensor([25,  8]))
    """
    states = model.initial_states(features.size(0), features.device)
    outputs, counts = [], []
    for first in range(0, features.size(1), model.chunk_frames):
        chunk = features[:, first : first + model.chunk_frames]
        rest = (lengths - first).clamp(min=0, max=chunk.size(1))
        encoder_out, count, states = model.forward_chunk(chunk, rest, states)
        outputs.append(encoder_out)
        counts.append(count)
    return torch.cat(outputs, dim=1), torch.stack(counts).sum(dim=0)
