"""A program of ``torch.export`` as a model, whole utterances at a time or chunk by chunk."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from wfst_entropy.asr.export.chunk_by_chunk import encode_in_chunks
from wfst_entropy.asr.export.errors import ExportError
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.decoding.transducer import Transducer


class ProgramModel:
    """An encoder from a file of :func:`wfst_entropy.asr.export.export_programs`.

    Args:
      path: The file.
      model: The model that it was made from; its heads, which no program has, are used.
      streaming: Whether the program reads chunks.

    Attributes:
      transducer: That of the model, or None.
      chunk_frames: Feature frames in one chunk.

    Raises:
      ExportError: when there is no such file, or it is damaged.
    """

    def __init__(self, path: Path, model: AsrModel, streaming: bool = False) -> None:
        try:
            self._program = torch.export.load(path).module()
        # torch.export has exceptions of many kinds for what is no program
        except Exception as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise ExportError(
                f"{path}: cannot be read as a program of torch.export ({cause}); make it with "
                "export.py --formats torch-export"
            ) from error
        self._model = model
        self.streaming = streaming
        self.transducer: Transducer | None = model.transducer
        self.chunk_frames = model.chunk_frames if streaming else 0

    def forward_encoder(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Whole utterances ``(N, T, F)`` and ``(N,)`` to encoder frames and their numbers."""
        if self.streaming:
            return encode_in_chunks(self, features, lengths)
        return cast(tuple[Tensor, Tensor], self._program(features, lengths))

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """Log-probabilities ``(N, T', C)``, float32, of encoder frames."""
        return self._model.ctc_log_probs(encoder_out)

    def initial_states(self, batch_size: int, device: torch.device | str = "cpu") -> list[Tensor]:
        """What new streams carry."""
        return self._model.initial_states(batch_size, device)

    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The next frames of streams; a chunk at the end is filled up, programs know one size."""
        missing = self.chunk_frames - features.size(1)
        features = torch.nn.functional.pad(features, (0, 0, 0, missing))
        found = self._program(features, lengths, states)
        return cast(tuple[Tensor, Tensor, list[Tensor]], found)
