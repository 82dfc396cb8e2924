"""What every decoding method is: from the model's output to words, times and confidences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor

from wfst_entropy.asr.data.tokenizer import Tokenizer
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.lang import LangDir

# What a method reads of a model: the CTC head's log-probabilities, or the encoder's output, which
# the transducer head joins with its predictor.
Reads = Literal["ctc_log_probs", "encoder_out"]

# Names and values of what a search adds to the model's scores: the factors `hlg_scale` of the
# graph, `ngram_lm_scale` of the language model that rescores or of a beam search's n-gram,
# `lodr_scale` of one that is subtracted, and `length_bonus` for each token.
Scales = Mapping[str, float]


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
      entropy: of the paths of the lattice that was searched, words and alignments together, nats;
        None without a lattice.
      word_entropy: of the word sequences alone, nats; None where the method does not tell, or the
        lattice is too large to tell.
      problem: what is wrong with it, or "": where the beam lost every path to a final state, it is
        the best one that ended elsewhere.
    """

    words: list[str]
    times: list[WordFrames]
    entropy: float | None = None
    word_entropy: float | None = None
    problem: str = ""


def setting_name(method: str, scales: Scales) -> str:
    """The name of a decoding setting in a wer-summary file.

    >>> setting_name("1best", {"hlg_scale": 0.8}), setting_name("ctc-greedy-search", {})
    ('hlg_scale_0.8', 'ctc-greedy-search')
    """
    return "_".join(f"{name}_{value:g}" for name, value in scales.items()) or method


@dataclasses.dataclass
class SearchSetup:
    """What a search may use.

    Attributes:
      tokenizer: of the vocabulary that the model was trained with.
      lang_dir: its lang directory, or None where the method needs no graph.
      options: beams, graphs, files.
      scales: to search with; a method takes its `default_scales` for those that are not there.
      transducer: the model's transducer head, or None where it has none.
    """

    tokenizer: Tokenizer
    lang_dir: LangDir | None = None
    options: SearchOptions = dataclasses.field(default_factory=SearchOptions)
    scales: Scales = dataclasses.field(default_factory=dict)
    transducer: Transducer | None = None

    def scales_of(self, defaults: Scales) -> dict[str, float]:
        """The scales of a method that has those of `defaults`."""
        return {name: self.scales.get(name, value) for name, value in defaults.items()}

    @property
    def lang(self) -> LangDir:
        """The lang directory.

        Raises:
          OptionError: there is none.
        """
        if self.lang_dir is None:
            raise OptionError("lang_dir: this decoding method needs the lang directory of a graph")
        return self.lang_dir

    @property
    def head(self) -> Transducer:
        """The transducer head.

        Raises:
          OptionError: the model has none.
        """
        if self.transducer is None:
            raise OptionError("decoding_method: needs a model that has a transducer head")
        return self.transducer


class SearchMethod(Protocol):
    """A way to find words in the output of a model.

    Args:
      setup: what it may use.

    Attributes:
      name: as `--decoding-method` has it.
      reads: which output of the model it searches.
      default_scales: the scales that the method has, with their values where nothing else is said.
      grid: the scales to try when they are tuned; none where there is nothing to tune.
      scales: those it searches with.
    """

    name: ClassVar[str]
    reads: ClassVar[Reads]
    default_scales: ClassVar[Scales]
    grid: ClassVar[Sequence[Scales]]
    scales: Scales

    def __init__(self, setup: SearchSetup) -> None: ...

    def search(
        self, scores: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]], /
    ) -> list[Hypothesis]:
        """Find the words of a batch.

        Args:
          scores: what it `reads`, float32 on the CPU: `(N, T, C)` log-probabilities in nats, or
            the `(N, T, D)` output of the encoder.
          lengths: `(N,)` int64, frames of each utterance.
          refs: true words of each utterance, for oracles only.

        Returns:
          One hypothesis per utterance.
        """
        ...

    def search_grid(
        self, scores: Tensor, lengths: Tensor, grid: Sequence[Scales], /
    ) -> list[list[list[str]]]:
        """The words that each of several scales finds, from one search where that is possible.

        Args:
          scores: as in `search`.
          lengths: as in `search`.
          grid: the scales.

        Returns:
          For each scales, for each utterance, the words.
        """
        ...
