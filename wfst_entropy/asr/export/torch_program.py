"""Models as programs of ``torch.export``."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wfst_entropy.asr.export.parts import Chunk, WholeUtterances, example_features, has_lstm
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.fsa.atomic_file import replacing

_FREE = torch.export.Dim.AUTO


@torch.no_grad()
def export_programs(model: AsrModel, folder: Path) -> tuple[list[Path], list[str]]:
    """Write the encoder as programs of ``torch.export``.

    ``program-encoder.pt2`` maps features and lengths to encoder frames and lengths, with both
    sizes left open; ``program-encoder-chunk-C-left-L.pt2`` of a causal model one chunk and states.

    Args:
      model: The model, on the CPU, in evaluation mode; streaming has the chunk that it has.
      folder: Where the files go.

    Returns:
      The files, and what could not be expressed.
    """
    written: list[Path] = []
    left_out: list[str] = []
    if has_lstm(model.encoder):
        left_out.append(
            "torch.export writes an LSTM out frame by frame, so there is no program for utterances "
            "of any length; use ONNX or TorchScript"
        )
    else:
        example = example_features(model, 24 * model.subsampling_factor)
        part = WholeUtterances(model, nn.Identity())
        sizes = ({0: _FREE, 1: _FREE}, {0: _FREE})
        written.append(_export(part, example, sizes, folder / "program-encoder.pt2"))
    if model.encoder.causal:
        states = model.initial_states(2, "cpu")
        chunk = (*example_features(model, model.chunk_frames), states)
        free = ({0: _FREE}, {0: _FREE}, [{0: _FREE} for _ in states])
        encoder = model.encoder
        name = f"program-encoder-chunk-{encoder.chunk_size}-left-{encoder.left_context_frames}.pt2"
        written.append(_export(Chunk(model, nn.Identity()), chunk, free, folder / name))
    return written, left_out


def _export(part: nn.Module, example: tuple[Any, ...], sizes: tuple[Any, ...], path: Path) -> Path:
    with warnings.catch_warnings():
        # about the list of an LSTM's weights, which torch.nn keeps itself
        warnings.simplefilter("ignore", UserWarning)
        program = torch.export.export(part, example, dynamic_shapes=sizes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())
    return path
