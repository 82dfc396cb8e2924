"""Acoustic models: one file per network, :func:`build_model` puts them together."""

from __future__ import annotations

import dataclasses
from typing import Literal

from torch import nn

from wfst_entropy.asr.models.conformer import ConformerEncoder
from wfst_entropy.asr.models.ctc_model import CtcModel
from wfst_entropy.asr.models.lstm import LstmEncoder
from wfst_entropy.asr.models.subsampling import ConvSubsampling
from wfst_entropy.asr.models.tdnn import TdnnEncoder
from wfst_entropy.asr.options import OptionError, option

__all__ = [
    "ConformerEncoder",
    "ConvSubsampling",
    "CtcModel",
    "LstmEncoder",
    "ModelOptions",
    "TdnnEncoder",
    "build_model",
]


@dataclasses.dataclass
class ModelOptions:
    """What fixes the architecture; saved with the run and read back by every later step.

    Raises:
      OptionError: when a value is out of range.

    >>> ModelOptions(encoder="lstm", causal=True).encoder
    'lstm'
    """

    encoder: Literal["tdnn", "lstm", "conformer"] = option("tdnn", "The encoder network.")
    causal: bool = option(
        False, "Streaming form: tdnn and lstm without look-ahead, conformer attending in chunks."
    )
    encoder_dim: int = option(256, "Channels of the encoder.")
    num_layers: int = option(9, "Layers of the encoder.")
    num_heads: int = option(4, "Attention heads (conformer).")
    subsampling_factor: Literal[2, 3, 4, 6] = option(
        4, "Feature frames (10 ms) in one frame of the encoder."
    )
    dropout: float = option(
        0.1, "Probability that a channel of an utterance is dropped, in each layer."
    )
    chunk_size: int = option(
        16, "Frames after subsampling in one chunk of attention (causal conformer)."
    )
    left_context_frames: int = option(
        64, "Frames after subsampling before its chunk that a frame attends to, -1 for all."
    )
    vocab_size: int = option(0, "Tokens with the blank; read from the lang directory.", flag=False)
    feature_dim: int = option(80, "Filter-bank channels.")

    def __post_init__(self) -> None:
        for name in ("encoder_dim", "num_layers", "num_heads", "chunk_size", "feature_dim"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: needs at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.dropout < 1.0:
            raise OptionError(f"dropout: needs a probability below 1, got {self.dropout}")
        if self.left_context_frames < -1:
            raise OptionError(
                "left_context_frames: needs 0 or more, or -1 for all, "
                f"got {self.left_context_frames}"
            )


def build_model(options: ModelOptions) -> CtcModel:
    """Make an untrained model; its parameters follow torch's random generator.

    Args:
      options: The architecture; ``vocab_size`` must be set.

    Returns:
      The model, on the CPU, in training mode.

    Raises:
      OptionError: when the vocabulary is missing or the sizes do not fit together.

    >>> build_model(ModelOptions(encoder_dim=16, num_layers=1, vocab_size=5)).num_parameters
    15989
    """
    if options.vocab_size < 2:
        raise OptionError(
            f"vocab_size: needs the blank and at least one token, got {options.vocab_size}"
        )
    subsampling = ConvSubsampling(
        options.feature_dim, options.encoder_dim, options.subsampling_factor, options.causal
    )
    encoder: nn.Module
    if options.encoder == "tdnn":
        encoder = TdnnEncoder(
            options.encoder_dim, options.num_layers, options.causal, options.dropout
        )
    elif options.encoder == "lstm":
        encoder = LstmEncoder(
            options.encoder_dim, options.num_layers, options.causal, options.dropout
        )
    else:
        encoder = ConformerEncoder(
            options.encoder_dim,
            options.num_layers,
            options.num_heads,
            options.causal,
            options.chunk_size,
            options.left_context_frames,
            options.dropout,
        )
    return CtcModel(
        subsampling,
        encoder,
        options.encoder_dim,
        options.vocab_size,
        options.subsampling_factor,
    )
