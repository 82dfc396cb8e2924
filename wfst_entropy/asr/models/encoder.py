"""What every encoder offers: whole utterances, and chunk by chunk with explicit states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wfst_entropy.asr.options import OptionError


class Encoder(nn.Module):
    """Maps frames after subsampling to encoder frames; the base of all encoders.

    Args:
      output_dim: ``D'``, channels of the encoder's output.
      causal: Whether frames can be encoded as they arrive.
      reduction: Input frames in one output frame.
      fixed_chunk: Whether frames attend to others, so that a stream comes in chunks of one size.

    Attributes:
      chunk_size: Output frames of a chunk, -1 for the whole utterance.
      left_context_frames: Output frames before its chunk that a frame attends to, -1 for all.

    >>> Encoder(16, causal=False).initial_states(1, torch.device("cpu"))
    Traceback (most recent call last):
    ...
    wfst_entropy.asr.options.OptionError: causal: this encoder looks ahead, so it cannot read an
    utterance in chunks; train with --causal true, or give it whole utterances
    """

    def __init__(
        self, output_dim: int, causal: bool, reduction: int = 1, fixed_chunk: bool = False
    ) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.causal = causal
        self.reduction = reduction
        self.fixed_chunk = fixed_chunk
        self.chunk_size = 16
        self.left_context_frames = 64

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``(N, T, D)`` frames, ``lengths`` ``(N,)`` of them real.

        Returns:
          ``(N, T', D')`` and the output frames per utterance ``(N,)``.
        """
        raise NotImplementedError

    def initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        """What new streams carry; every tensor has the streams in its first dimension.

        Raises:
          OptionError: when the encoder looks ahead, or its states have no fixed size.
        """
        self.check_causal()
        return self._initial_states(batch_size, device)

    def forward_chunk(
        self, x: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode the next frames ``(N, T, D)`` of streams; a shorter row is a stream's last.

        Returns:
          ``(N, T', D')``, the output frames per stream ``(N,)``, and the states afterwards.
        """
        raise NotImplementedError

    def set_chunk(self, chunk_size: int, left_context_frames: int) -> None:
        """Choose the chunk that frames attend within, and how far they look back.

        Raises:
          OptionError: when a value is out of range.
        """
        if chunk_size < 1 and chunk_size != -1:
            raise OptionError(
                f"chunk_size: needs at least 1 frame, or -1 for all, got {chunk_size}"
            )
        if left_context_frames < -1:
            raise OptionError(
                f"left_context_frames: needs 0 or more, or -1 for all, got {left_context_frames}"
            )
        self.chunk_size = chunk_size
        self.left_context_frames = left_context_frames

    def check_causal(self) -> None:
        """Raise if the encoder looks ahead.

        Raises:
          OptionError: with the next step.
        """
        if not self.causal:
            raise OptionError(
                "causal: this encoder looks ahead, so it cannot read an utterance in chunks; "
                "train with --causal true, or give it whole utterances"
            )

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters, and so of the states."""
        return next(self.parameters()).dtype

    def _initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        raise NotImplementedError
