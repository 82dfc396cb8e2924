"""Predictor and joiner of a transducer, and what a search asks of them."""

from __future__ import annotations

from torch import Tensor, nn

from wfst_entropy.asr.models.joiner import Joiner
from wfst_entropy.asr.models.predictor import LstmPredictor, StatelessPredictor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError


class TransducerHead(nn.Module):
    """Everything of a transducer after the encoder.

    Training calls :attr:`predictor` and :attr:`joiner` on whole transcripts; the pruned loss also
    needs :attr:`simple_am_proj` and :attr:`simple_lm_proj`, which give the scores of a trivial
    joiner, their sum. Searches call the other methods, see
    :class:`wfst_entropy.decoding.transducer.Transducer`. Blank is 0.

    Args:
      predictor: Maps labels ``(N, U)`` to ``(N, U+1, P)``.
      encoder_dim: ``D``, channels of the encoder.
      decoder_dim: ``P``.
      joiner_dim: ``J``.
      vocab_size: ``C``, tokens with the blank.

    >>> import torch
    >>> head = TransducerHead(StatelessPredictor(5, 8, context_size=2), 16, 8, 12, 5)
    >>> am = head.project_encoder(torch.zeros(3, 10, 16))
    >>> lm, state = head.start(3)
    >>> head.join(am[:, 0], lm).shape
    torch.Size([3, 5])
    >>> lm, state = head.step(torch.tensor([1, 4, 2]), state)
    >>> bool(torch.allclose(lm, head.contexts(torch.tensor([[0, 1], [0, 4], [0, 2]]))))
    True
    """

    def __init__(
        self,
        predictor: StatelessPredictor | LstmPredictor,
        encoder_dim: int,
        decoder_dim: int,
        joiner_dim: int,
        vocab_size: int,
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.joiner = Joiner(encoder_dim, decoder_dim, joiner_dim, vocab_size)
        self.simple_am_proj = nn.Linear(encoder_dim, vocab_size)
        self.simple_lm_proj = nn.Linear(decoder_dim, vocab_size)

    @property
    def context_size(self) -> int | None:
        """Labels that the predictor looks back, None for all."""
        return self.predictor.context_size

    @property
    def vocab_size(self) -> int:
        """Tokens with the blank."""
        return self.joiner.output.out_features

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """Map encoder frames ``(N, T, D)`` to the joiner's size, ``(N, T, J)``.

        Raises:
          FsaValueError: ``D`` is not that of the encoder.
        """
        if encoder_out.size(-1) != self.joiner.encoder_proj.in_features:
            raise FsaValueError(
                f"encoder_out: needs {self.joiner.encoder_proj.in_features} channels, as the "
                f"joiner was made for, got {encoder_out.size(-1)}; give the output of "
                "model.forward_encoder of the same model"
            )
        projected: Tensor = self.joiner.encoder_proj(encoder_out)
        return projected

    def start(self, n: int) -> tuple[Tensor, list[Tensor]]:
        """Projected predictor output ``(n, J)`` before any label, and its state.

        Each tensor of the state has the hypotheses in its first dimension.
        """
        lm, state = self.predictor.start(n, self.joiner.output.weight.device)
        return self.joiner.decoder_proj(lm), state

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Projected predictor output ``(n, J)`` after the labels ``(n,)``, and its state."""
        lm, state = self.predictor.step(tokens, state)
        return self.joiner.decoder_proj(lm), state

    def contexts(self, tokens: Tensor) -> Tensor:
        """Projected predictor outputs ``(m, J)`` after the last labels ``(m, context_size)``.

        Labels before the first are blank.

        Raises:
          FsaTypeError: when the predictor depends on all labels.
          FsaValueError: when there are more or fewer labels.
        """
        if not isinstance(self.predictor, StatelessPredictor):
            raise FsaTypeError(
                "contexts: the predictor of this model depends on all labels, not on the last "
                "few; use start and step, or a model with a stateless predictor"
            )
        if tokens.dim() != 2 or tokens.size(1) != self.predictor.context_size:
            raise FsaValueError(
                f"tokens: needs shape (m, {self.predictor.context_size}), the labels that the "
                f"predictor looks back, got {tuple(tokens.shape)}"
            )
        lm: Tensor = self.joiner.decoder_proj(self.predictor.after(tokens))
        return lm

    def join(self, am: Tensor, lm: Tensor) -> Tensor:
        """Log-probabilities of the next token ``(..., C)``, float32, of projected inputs."""
        logits: Tensor = self.joiner(am, lm)
        return logits.float().log_softmax(dim=-1)
