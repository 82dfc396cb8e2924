"""What searches ask of a transducer, and what they find."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Transducer(Protocol):
    """A trained transducer: any object that has these methods, a module or an exported model.

    Symbol 0 is blank, J is the joiner's width, C the number of symbols.

    A predictor reads the labels of a hypothesis one at a time.  Its states are lists of tensors
    whose first axis is the batch, so that rows are chosen by `index_select` and put together by
    `torch.cat`.  No method changes what it is given.
    """

    @property
    def context_size(self) -> int | None:
        """How many last labels the predictor depends on; None where it depends on all."""
        ...

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        """`(N, T, D)` of the encoder as `(N, T, J)` of the joiner; each frame by itself."""
        ...

    def start(self, n: int) -> tuple[Tensor, list[Tensor]]:
        """The predictor before any label, n times: `(n, J)` of the joiner, and the state."""
        ...

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The predictor one label further: tokens `(n,)` int64, never blank; as `start` returns."""
        ...

    def join(self, am: Tensor, lm: Tensor) -> Tensor:
        """Log-probabilities `(n, C)` float32, nats, of n frames `(n, J)` with n states `(n, J)`."""
        ...

    def contexts(self, tokens: Tensor) -> Tensor:
        """The predictor after contexts `(m, context_size)` int64, the last label at the right.

        Blanks at the left stand where there is no label yet; so row i equals what `start` and
        `step` give for these labels.  Only where `context_size` is no None.

        Returns:
          `(m, J)` of the joiner.
        """
        ...


class TransducerHypothesis(NamedTuple):
    """What a search found in one stream.

    Frames are frames of the encoder, counted from the beginning of the stream.

    Attributes:
      tokens: the labels.
      frames: the frame in which each was emitted, on the best alignment.
      log_probs: of each label where it was emitted, nats; `exp` of it is its confidence.
      score: what hypotheses are ordered by, nats: log-probability by the model, plus `lm_score`,
        `context_score` and whatever else the search adds.
      lm_score: of n-grams, scaled, nats; 0 without any.
      context_score: boosts of phrases, nats; 0 without any.
      posterior: probability among all hypotheses that the search still had; 1 where it keeps one.
    """

    tokens: list[int]
    frames: list[int]
    log_probs: list[float]
    score: float
    lm_score: float = 0.0
    context_score: float = 0.0
    posterior: float = 1.0

    def times(self, seconds_per_frame: float) -> list[float]:
        """When each label was emitted: the end of its frame, seconds from the stream's beginning.

        Args:
          seconds_per_frame: of the encoder, such as 0.04.

        >>> TransducerHypothesis([7, 3], [0, 4], [-0.1, -0.2], -0.9).times(0.5)
        [0.5, 2.5]
        """
        return [(frame + 1) * seconds_per_frame for frame in self.frames]
