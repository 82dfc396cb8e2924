"""Acoustic models: one file per network, :func:`build_model` puts them together."""

from __future__ import annotations

from torch import nn

from wfst_entropy.asr.models.asr_model import AsrModel
from wfst_entropy.asr.models.conformer import ConformerEncoder
from wfst_entropy.asr.models.encoder import Encoder
from wfst_entropy.asr.models.joiner import Joiner
from wfst_entropy.asr.models.lstm import LstmEncoder
from wfst_entropy.asr.models.model_options import ModelOptions
from wfst_entropy.asr.models.predictor import LstmPredictor, StatelessPredictor
from wfst_entropy.asr.models.subsampling import ConvSubsampling
from wfst_entropy.asr.models.tdnn import TdnnEncoder
from wfst_entropy.asr.models.transducer_head import TransducerHead
from wfst_entropy.asr.options import OptionError

__all__ = [
    "AsrModel",
    "ConformerEncoder",
    "ConvSubsampling",
    "Encoder",
    "Joiner",
    "LstmEncoder",
    "LstmPredictor",
    "ModelOptions",
    "StatelessPredictor",
    "TdnnEncoder",
    "TransducerHead",
    "build_model",
]


def build_model(options: ModelOptions) -> AsrModel:
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
    dim = options.projection_dim or options.encoder_dim
    subsampling = ConvSubsampling(
        options.feature_dim, dim, options.subsampling_factor, options.causal
    )
    encoder = _build_encoder(options, dim)
    return AsrModel(
        subsampling,
        encoder,
        options.vocab_size,
        ctc_output=nn.Linear(dim, options.vocab_size) if options.use_ctc else None,
        transducer=_build_transducer(options, dim) if options.use_transducer else None,
    )


def _build_encoder(options: ModelOptions, dim: int) -> Encoder:
    encoder: Encoder
    if options.encoder == "tdnn":
        encoder = TdnnEncoder(dim, options.num_layers, options.causal, options.dropout)
    elif options.encoder == "lstm":
        encoder = LstmEncoder(
            dim,
            options.num_layers,
            options.causal,
            options.dropout,
            options.encoder_dim,
            options.time_reduction,
        )
    else:
        encoder = ConformerEncoder(
            dim,
            options.num_layers,
            options.num_heads,
            options.causal,
            options.chunk_sizes,
            options.left_contexts,
            options.dropout,
        )
    encoder.set_chunk(options.chunk_sizes[0], options.left_contexts[0])
    return encoder


def _build_transducer(options: ModelOptions, dim: int) -> TransducerHead:
    predictor: StatelessPredictor | LstmPredictor
    if options.predictor == "lstm":
        predictor = LstmPredictor(options.vocab_size, options.decoder_dim, options.predictor_layers)
    else:
        predictor = StatelessPredictor(
            options.vocab_size, options.decoder_dim, options.context_size
        )
    return TransducerHead(
        predictor, dim, options.decoder_dim, options.joiner_dim, options.vocab_size
    )
