"""What fixes the architecture of a model, and named sets of sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from wfst_entropy.asr.options import OptionError, option

EncoderName = Literal["tdnn", "lstm", "conformer"]
ModelSize = Literal["base", "mini", "small", "paper-blstm", "paper-conformer"]

# By name, then by encoder; the first encoder is what the name means without one.
_BASE = {"encoder_dim": 256, "num_layers": 9, "decoder_dim": 256, "joiner_dim": 256}
SIZES: Mapping[ModelSize, Mapping[EncoderName, Mapping[str, Any]]] = {
    "base": {"tdnn": _BASE, "lstm": _BASE, "conformer": _BASE},
    # runs of minutes on two cores
    "mini": {
        "lstm": {"encoder_dim": 320, "num_layers": 4, "decoder_dim": 128, "joiner_dim": 256},
        "tdnn": {"encoder_dim": 384, "num_layers": 8, "decoder_dim": 128, "joiner_dim": 256},
        "conformer": {"encoder_dim": 144, "num_layers": 6, "decoder_dim": 128, "joiner_dim": 256},
    },
    "small": {
        "conformer": {"encoder_dim": 256, "num_layers": 12, "decoder_dim": 512, "joiner_dim": 512},
        "lstm": {"encoder_dim": 640, "num_layers": 6, "decoder_dim": 512, "joiner_dim": 512},
        "tdnn": {"encoder_dim": 512, "num_layers": 15, "decoder_dim": 512, "joiner_dim": 512},
    },
    # Chang et al. 2023, arXiv 2312.10087, section 5.1; the joiner's size is not given there
    "paper-blstm": {
        "lstm": {
            "encoder_dim": 1024,
            "num_layers": 4,
            "predictor": "lstm",
            "decoder_dim": 320,
            "joiner_dim": 640,
        },
    },
    "paper-conformer": {
        "conformer": {
            "encoder_dim": 144,
            "num_layers": 16,
            "predictor": "lstm",
            "decoder_dim": 320,
            "joiner_dim": 320,
        },
    },
}


@dataclasses.dataclass
class ModelOptions:
    """What fixes the architecture; saved with the run and read back by every later step.

    A size of 0, and an encoder or predictor of None, is that of ``model_size``.

    Raises:
      OptionError: when a value is out of range.

    >>> ModelOptions(encoder="lstm", causal=True).encoder
    'lstm'
    >>> ModelOptions(model_size="mini", num_layers=2).encoder_dim
    320
    """

    model_size: ModelSize = option(
        "base", "A named set of sizes; what is given by a flag of its own comes before it."
    )
    encoder: EncoderName | None = option(
        None, "The encoder network; none: that of --model-size (base: tdnn)."
    )
    causal: bool = option(
        False, "Streaming form: tdnn and lstm without look-ahead, conformer attending in chunks."
    )
    encoder_dim: int = option(
        0, "Channels of the encoder; cells of an lstm, of both directions together; 0: by size."
    )
    num_layers: int = option(0, "Layers of the encoder; 0: by --model-size.")
    num_heads: int = option(4, "Attention heads (conformer).")
    subsampling_factor: Literal[2, 3, 4, 6] = option(
        4, "Feature frames (10 ms) in one frame of the encoder."
    )
    dropout: float = option(
        0.1, "Probability that a channel of an utterance is dropped, in each layer."
    )
    chunk_size: str = option(
        "16",
        "Encoder frames in one chunk of attention (causal conformer), -1 for the whole utterance. "
        "Of several with commas, training draws one for each batch; elsewhere the first counts, "
        "unless another is asked for.",
    )
    left_context_frames: str = option(
        "64",
        "Encoder frames before its chunk that a frame attends to, -1 for all; one or several.",
    )
    projection_dim: int = option(
        0, "Channels that the cells of an lstm layer are projected to; 0: no projection."
    )
    time_reduction: tuple[int, ...] = option(
        (), "Layers of an lstm, from 1, after which two frames become one."
    )
    use_ctc: bool = option(True, "Give the model a CTC output.")
    use_transducer: bool = option(False, "Give the model a predictor and a joiner (RNN-T).")
    predictor: Literal["stateless", "lstm"] | None = option(
        None, "Predictor of the transducer; none: that of --model-size (base: stateless)."
    )
    context_size: int = option(2, "Labels that a stateless predictor looks back.")
    decoder_dim: int = option(0, "Channels of the predictor; 0: by --model-size.")
    joiner_dim: int = option(0, "Channels of the joiner; 0: by --model-size.")
    predictor_layers: int = option(1, "Layers of an lstm predictor.")
    vocab_size: int = option(0, "Tokens with the blank; read from the lang directory.", flag=False)
    feature_dim: int = option(80, "Filter-bank channels.")

    def __post_init__(self) -> None:
        sizes = SIZES[self.model_size]
        encoder: EncoderName = next(iter(sizes)) if self.encoder is None else self.encoder
        if encoder not in sizes:
            raise OptionError(
                f"model_size: {self.model_size} is a size of {' or '.join(sizes)}, got the encoder "
                f"{encoder}; choose one of mini, small and base"
            )
        for name, value in {"predictor": "stateless", "encoder": encoder, **sizes[encoder]}.items():
            if not getattr(self, name):
                setattr(self, name, value)
        # numbers are taken as well, which is what the configurations of earlier versions have
        self.chunk_size = str(self.chunk_size)
        self.left_context_frames = str(self.left_context_frames)
        self._check_ranges()

    def _check_ranges(self) -> None:
        for name in (
            *("encoder_dim", "num_layers", "num_heads", "feature_dim", "context_size"),
            *("decoder_dim", "joiner_dim", "predictor_layers"),
        ):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: needs at least 1, got {getattr(self, name)}")
        if not 0.0 <= self.dropout < 1.0:
            raise OptionError(f"dropout: needs a probability below 1, got {self.dropout}")
        if not (self.use_ctc or self.use_transducer):
            raise OptionError("use_ctc: a model needs an output; add --use-transducer true")
        if self.encoder != "lstm" and (self.projection_dim or self.time_reduction):
            raise OptionError(
                f"projection_dim, time_reduction: are for --encoder lstm, got {self.encoder}"
            )
        if self.projection_dim and not 0 < self.projection_dim < self.encoder_dim:
            raise OptionError(
                "projection_dim: needs fewer channels than the cells of --encoder-dim "
                f"{self.encoder_dim}, or 0 for none, got {self.projection_dim}"
            )
        if max(len(self.chunk_sizes), len(self.left_contexts)) > 1 and not (
            self.causal and self.encoder == "conformer"
        ):
            raise OptionError(
                f"chunk_size, left_context_frames: only a causal conformer draws one of several, "
                f"got {self.chunk_size} and {self.left_context_frames} for a "
                f"{'causal' if self.causal else 'non-causal'} {self.encoder}; add --causal true "
                "--encoder conformer, or leave them out"
            )

    @property
    def chunk_sizes(self) -> tuple[int, ...]:
        """The numbers of ``chunk_size``.

        >>> ModelOptions(encoder="conformer", causal=True, chunk_size="16,32,-1").chunk_sizes
        (16, 32, -1)
        """
        return _frames("chunk_size", self.chunk_size, 1)

    @property
    def left_contexts(self) -> tuple[int, ...]:
        """The numbers of ``left_context_frames``."""
        return _frames("left_context_frames", self.left_context_frames, 0)


def _frames(name: str, text: str, smallest: int) -> tuple[int, ...]:
    """The numbers of a comma list, each -1 or at least the smallest one."""
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise OptionError(
            f"{name}: needs numbers with commas between them, such as 16,32, got {text!r}"
        ) from None
    for number in numbers:
        if number < smallest and number != -1:
            raise OptionError(f"{name}: needs {smallest} or more, or -1 for all, got {number}")
    return numbers
