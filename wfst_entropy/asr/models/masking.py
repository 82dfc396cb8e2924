"""Masks over frames: which are padding, and which a chunked causal encoder may look at."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_mask(lengths: Tensor, num_frames: int) -> Tensor:
    """True where a frame belongs to its utterance, False where it is padding.

    Args:
      lengths: Integer tensor ``(N,)``, frames per utterance.
      num_frames: ``T``, the frames of the padded batch.

    Returns:
      Bool tensor ``(N, T)``.

    >>> frame_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(num_frames, device=lengths.device) < lengths.unsqueeze(1)


def chunk_mask(
    num_frames: int, chunk_size: int, left_context_frames: int, device: torch.device | None = None
) -> Tensor:
    """True where frame ``t`` (row) may attend to frame ``s`` (column), in chunks.

    A frame sees its whole chunk and ``left_context_frames`` frames before the chunk, so it looks
    ahead at most ``chunk_size - 1`` frames (Zhang et al. 2020, arXiv 2012.05481, section 3.2).

    Args:
      num_frames: ``T``, in frames after subsampling.
      chunk_size: Frames of one chunk.
      left_context_frames: Frames before the chunk, -1 for all.
      device: Where to put the mask.

    Returns:
      Bool tensor ``(T, T)``.

    >>> chunk_mask(4, chunk_size=2, left_context_frames=1).int().tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    """
    frames = torch.arange(num_frames, device=device)
    chunk_start = frames // chunk_size * chunk_size
    allowed = frames < (chunk_start + chunk_size).unsqueeze(1)
    if left_context_frames >= 0:
        allowed = allowed & (frames >= (chunk_start - left_context_frames).unsqueeze(1))
    return allowed
