"""What every decoding method is: from the model's output to words, times and confidences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor


class WordFrames(NamedTuple):
    """A word that was found.

    `start` is the frame of its first token, `end` that of its last one, `confidence` the
    probability that it is in the transcript there, None where the method does not tell.
    """

    word: str
    start: int
    end: int
    confidence: float | None = None


@dataclasses.dataclass
class Hypothesis:
    """What a search found in one utterance.

    Attributes:
      words: the transcript.
      times: where the words lie, in frames of the model's output.
      entropy: of the paths of the lattice that was searched, nats; None without a lattice.
      problem: what is wrong with it, or "": where the beam lost every path to a final state, it is
        the best one that ended elsewhere.
    """

    words: list[str]
    times: list[WordFrames]
    entropy: float | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Scales:
    """The scales of the scores that a search adds to those of the model.

    Attributes:
      hlg_scale: of the graph.
      ngram_lm_scale: of the language model that rescores, or of shallow fusion.
    """

    hlg_scale: float | None = None
    ngram_lm_scale: float | None = None

    def named(self, method: str) -> str:
        """The name of a decoding setting in a wer-summary file.

        >>> Scales(hlg_scale=0.8).named("1best"), Scales().named("ctc-greedy-search")
        ('hlg_scale_0.8', 'ctc-greedy-search')
        """
        given = [(k, v) for k, v in dataclasses.asdict(self).items() if v is not None]
        return "_".join(f"{name}_{value:g}" for name, value in given) or method


class SearchMethod(Protocol):
    """A way to find words in the output of a CTC model.

    Attributes:
      name: as `--decoding-method` has it.
      scales: which scales it has, with the values it decodes with.
    """

    name: str
    scales: Scales

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """Find the words of a batch.

        Args:
          log_probs: `(N, T, C)` float32 on the CPU, log-probabilities in nats.
          lengths: `(N,)` int64, frames of each utterance.
          refs: true words of each utterance, for oracles only.

        Returns:
          One hypothesis per utterance.
        """
        ...

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """The words that each of several scales finds, from one search where that is possible.

        Args:
          log_probs: as in `search`.
          lengths: as in `search`.
          grid: the scales.

        Returns:
          For each scales, for each utterance, the words.
        """
        ...
