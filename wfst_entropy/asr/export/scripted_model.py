"""A TorchScript file as a model, whole utterances at a time or chunk by chunk."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from wfst_entropy.asr.export.chunk_by_chunk import encode_in_chunks
from wfst_entropy.asr.export.torchscript import load_torchscript
from wfst_entropy.decoding.transducer import Transducer


class ScriptedModel:
    """A file of :func:`wfst_entropy.asr.export.export_torchscript`.

    Args:
      path: The file.
      streaming: Whether :meth:`forward_encoder` reads utterances chunk by chunk.

    Attributes:
      module: The TorchScript module, which has the same methods.
      transducer: Its transducer, or None.

    Raises:
      ExportError: when there is no such file, or it is damaged.
    """

    def __init__(self, path: Path, streaming: bool = False) -> None:
        self.module = load_torchscript(path)
        self.streaming = streaming
        self.transducer: Transducer | None = self.module.transducer
        self.subsampling_factor: int = self.module.subsampling_factor
        self.vocab_size: int = self.module.vocab_size
        self.chunk_frames: int = self.module.chunk_frames

    def forward_encoder(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whole utterances ``(N, T, F)`` and ``(N,)`` to encoder frames and their numbers."""
        if self.streaming:
            return encode_in_chunks(self, features, lengths)
        return cast(tuple[Tensor, Tensor], self.module.forward_encoder(features, lengths))

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """Log-probabilities ``(N, T', C)``, float32, of encoder frames."""
        return cast(Tensor, self.module.ctc_log_probs(encoder_out))

    def initial_states(self, batch_size: int, device: torch.device | str = "cpu") -> list[Tensor]:
        """What new streams carry."""
        return [state.to(device) for state in self.module.initial_states(batch_size)]

    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The next frames of streams, as of :class:`wfst_entropy.asr.models.AsrModel`."""
        found = self.module.forward_chunk(features, lengths, states)
        return cast(tuple[Tensor, Tensor, list[Tensor]], found)
