"""An encoder with the outputs of CTC, of a transducer, or of both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wfst_entropy.asr.models.encoder import Encoder
from wfst_entropy.asr.models.subsampling import ConvSubsampling
from wfst_entropy.asr.models.transducer_head import TransducerHead
from wfst_entropy.asr.options import OptionError
from wfst_entropy.fsa.errors import FsaValueError


class AsrModel(nn.Module):
    """Subsampling, an encoder, and on top of it a CTC output, a transducer, or both.

    Padding never influences the frames of an utterance: in evaluation, a batch gives what its
    utterances give one by one. A causal model also reads streams chunk by chunk, with the result
    that it has for whole utterances:

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> sizes = {"encoder_dim": 16, "num_layers": 1, "vocab_size": 5}
    >>> model = build_model(ModelOptions(causal=True, **sizes)).eval()
    >>> features, lengths = torch.randn(2, 40, 80), torch.tensor([40, 40])
    >>> whole, out_lengths = model(features, lengths)
    >>> states = model.initial_states(2, "cpu")
    >>> first, _, states = model.forward_chunk(features[:, :24], torch.tensor([24, 24]), states)
    >>> second, _, states = model.forward_chunk(features[:, 24:], torch.tensor([16, 16]), states)
    >>> bool(torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-5))
    True

    Args:
      subsampling: The front end.
      encoder: Maps ``(N, T, D)`` and lengths to ``(N, T', D')`` and lengths.
      vocab_size: ``C``, tokens with the blank (0).
      ctc_output: The linear map to the vocabulary, None without CTC.
      transducer: Predictor and joiner, None without a transducer.

    Attributes:
      subsampling_factor: Feature frames per encoder frame.
    """

    def __init__(
        self,
        subsampling: ConvSubsampling,
        encoder: Encoder,
        vocab_size: int,
        ctc_output: nn.Linear | None = None,
        transducer: TransducerHead | None = None,
    ) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.encoder = encoder
        self.ctc_output = ctc_output
        self.transducer = transducer
        self.vocab_size = vocab_size
        self.subsampling_factor = subsampling.factor * encoder.reduction

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same as :meth:`forward_encoder`."""
        return self.forward_encoder(features, lengths)

    def forward_encoder(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode whole utterances.

        Args:
          features: Log filter-bank energies ``(N, T, F)``, float32.
          lengths: Integer tensor ``(N,)``, feature frames per utterance; later frames are not read.

        Returns:
          Encoder frames ``(N, T', D')`` and their number per utterance ``(N,)``. An utterance of no
          frames has none.

        Raises:
          FsaValueError: when the shapes do not fit.
        """
        self._check_shapes(features, lengths)
        x, lengths = self.subsampling(features, lengths)
        encoder_out, lengths = self.encoder(x, lengths)
        return encoder_out, lengths

    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        """Log-probabilities of the tokens ``(N, T', C)``, float32, of encoder frames.

        Raises:
          OptionError: when the model has no CTC output.
        """
        if self.ctc_output is None:
            raise OptionError(
                "use_ctc: this model was trained without a CTC output; decode with its transducer, "
                "or train with --use-ctc true"
            )
        logits: Tensor = self.ctc_output(encoder_out)
        return logits.float().log_softmax(dim=-1)

    def initial_states(self, batch_size: int, device: torch.device | str) -> list[Tensor]:
        """What new streams carry; every tensor has the streams in its first dimension.

        So streams are put into one batch by ``torch.cat`` of each state, and taken out by rows.

        Args:
          batch_size: How many streams.
          device: Where to put the states.

        Raises:
          OptionError: when the model looks ahead or its left context has no limit.
        """
        encoder_states = self.encoder.initial_states(batch_size, device)
        return [*self.subsampling.initial_states(batch_size, device), *encoder_states]

    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Encode the next frames of streams, which need not be of the same age.

        Args:
          features: ``(N, T, F)``; ``T`` is :attr:`chunk_frames` (where no frame attends to others,
            any multiple of :attr:`subsampling_factor`) or less in the last chunk.
          lengths: ``(N,)``, feature frames per stream. Only the last chunk of a stream may be
            shorter than ``T``; the states after it are of no use.
          states: What :meth:`initial_states` or the chunk before returned; not changed.

        Returns:
          Encoder frames ``(N, T', D')``, their number per stream ``(N,)``, and the states to give
          to the next call.

        Raises:
          OptionError: when the model looks ahead.
          FsaValueError: when the shapes do not fit, or there are more frames than in a chunk.
        """
        self.encoder.check_causal()
        self._check_shapes(features, lengths)
        self._check_chunk(features, states)
        count = self.subsampling.num_states
        x, lengths, after = self.subsampling.forward_chunk(features, lengths, states[:count])
        encoder_out, lengths, encoder_after = self.encoder.forward_chunk(x, lengths, states[count:])
        return encoder_out, lengths, [*after, *encoder_after]

    def set_chunk(self, chunk_size: int, left_context_frames: int) -> None:
        """Choose one of the chunk sizes and left contexts, in encoder frames, for evaluation.

        Args:
          chunk_size: Frames in one chunk; -1 is the whole utterance, which cannot be streamed.
          left_context_frames: Frames before its chunk that a frame attends to, -1 for all, which
            cannot be streamed.

        Raises:
          OptionError: when a value is out of range, or the model looks ahead.
        """
        self.encoder.check_causal()
        self.encoder.set_chunk(chunk_size, left_context_frames)

    @property
    def chunk_frames(self) -> int:
        """Feature frames in one chunk of a stream.

        Raises:
          OptionError: when the model looks ahead, or a chunk is the whole utterance.
        """
        self.encoder.check_causal()
        if self.encoder.chunk_size < 0:
            raise OptionError(
                "chunk_size: -1 is the whole utterance, which no stream has; choose one for "
                "streaming with --chunk-size, or set_chunk"
            )
        return self.encoder.chunk_size * self.subsampling_factor

    @property
    def num_parameters(self) -> int:
        """Trainable values in the model."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def _check_shapes(self, features: Tensor, lengths: Tensor) -> None:
        channels = self.subsampling.feature_dim
        if features.dim() != 3 or features.size(2) != channels or features.size(1) < 1:
            raise FsaValueError(
                f"features: needs shape (N, T, {channels}) with at least one frame, got "
                f"{tuple(features.shape)}; the features have to be those of the training "
                "(feature_dim)"
            )
        if lengths.dim() != 1 or lengths.size(0) != features.size(0):
            raise FsaValueError(
                f"lengths: needs one number for each of the {features.size(0)} rows of features, "
                f"got shape {tuple(lengths.shape)}"
            )

    def _check_chunk(self, features: Tensor, states: list[Tensor]) -> None:
        if self.encoder.fixed_chunk and features.size(1) > self.chunk_frames:
            raise FsaValueError(
                f"features: a chunk has at most {self.chunk_frames} frames here (chunk size "
                f"{self.encoder.chunk_size} x subsampling {self.subsampling_factor}), got "
                f"{features.size(1)}; give so many at a time, or set_chunk before the first"
            )
        if any(state.size(0) != features.size(0) for state in states):
            raise FsaValueError(
                f"states: needs those of {features.size(0)} streams, as features has, got rows "
                f"{[state.size(0) for state in states]}; states of streams are put together by "
                "torch.cat"
            )
