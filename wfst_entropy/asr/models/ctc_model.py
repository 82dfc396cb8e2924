"""An encoder with a CTC output."""

from __future__ import annotations

from torch import Tensor, nn

from wfst_entropy.asr.models.subsampling import ConvSubsampling

# Log filter-bank energies of speech in [-1, 1] are about -8 +- 4. A fixed shift and scale brings
# them near zero mean and unit variance, and unlike per-utterance statistics it is causal.
_FEATURE_MEAN = -8.0
_FEATURE_SCALE = 4.0


class CtcModel(nn.Module):
    """Subsampling, an encoder, a linear map to the vocabulary, and a log-softmax.

    Padding never influences the frames of an utterance: in evaluation, a batch gives what its
    utterances give one by one.

    Args:
      subsampling: The front end.
      encoder: Maps ``(N, T', D)`` and lengths ``(N,)`` to ``(N, T', D)``.
      encoder_dim: ``D``.
      vocab_size: ``C``, tokens with the blank (0).
      subsampling_factor: Feature frames per output frame.

    >>> import torch
    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> model = build_model(ModelOptions(encoder_dim=16, num_layers=1, vocab_size=5))
    >>> log_probs, lengths = model(torch.zeros(2, 40, 80), torch.tensor([40, 20]))
    >>> log_probs.shape, lengths
    (torch.Size([2, 10, 5]), tensor([10,  5]))
    """

    def __init__(
        self,
        subsampling: ConvSubsampling,
        encoder: nn.Module,
        encoder_dim: int,
        vocab_size: int,
        subsampling_factor: int,
    ) -> None:
        super().__init__()
        self.subsampling = subsampling
        self.encoder = encoder
        self.output = nn.Linear(encoder_dim, vocab_size)
        self.subsampling_factor = subsampling_factor

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the tokens in each output frame.

        Args:
          features: Log filter-bank energies ``(N, T, F)``, float32.
          lengths: Integer tensor ``(N,)``, feature frames per utterance; later frames are not read.

        Returns:
          Log-probabilities ``(N, T', C)``, float32, and the output frames per utterance ``(N,)``.
        """
        features = (features - _FEATURE_MEAN) / _FEATURE_SCALE
        x, lengths = self.subsampling(features, lengths)
        x = self.encoder(x, lengths)
        return self.output(x).float().log_softmax(dim=-1), lengths

    @property
    def num_parameters(self) -> int:
        """Trainable values in the model."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
