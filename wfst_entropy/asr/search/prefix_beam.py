"""The best token sequences, each with all its alignments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.asr.search.greedy import hypothesis_of_tokens
from wfst_entropy.asr.search.lattice_source import load_graph
from wfst_entropy.asr.search.method import Hypothesis, Reads, Scales, SearchSetup
from wfst_entropy.decoding import ctc_prefix_beam_search
from wfst_entropy.decoding.ctc_prefix_beam_search import PrefixSearchResult
from wfst_entropy.lang import context_graph_from_file


class PrefixBeamSearch:
    """`ctc-prefix-beam-search`: no lexicon; a token n-gram and favoured phrases if they are given.

    Args:
      setup: with `beam_size`, `tokens_ngram`, `context_file` and `context_score`.
    """

    name: ClassVar[str] = "ctc-prefix-beam-search"
    reads: ClassVar[Reads] = "ctc_log_probs"
    default_scales: ClassVar[Scales] = {"ngram_lm_scale": 0.5}
    grid: ClassVar[Sequence[Scales]] = tuple(
        {"ngram_lm_scale": scale} for scale in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2)
    )

    def __init__(self, setup: SearchSetup) -> None:
        self.tokenizer, self.options = setup.tokenizer, setup.options
        self.scales: Scales = setup.scales_of(self.default_scales)
        self.beam_size = self.options.beam_size or 10
        order, phrases = self.options.tokens_ngram, self.options.context_file
        self.lm = load_graph(setup.lang.path / f"{order}gram.pt", 4) if order else None
        self.context = None
        if phrases is not None:
            self.context = context_graph_from_file(
                phrases, lambda text: [self.tokenizer.encode(text)], self.options.context_score
            )

    def search(
        self, log_probs: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        results = self._results(log_probs, lengths, self.scales["ngram_lm_scale"])
        return [self.hypothesis(result) for result in results]

    def search_grid(
        self, log_probs: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one search for each scale."""
        found = [self._results(log_probs, lengths, each["ngram_lm_scale"]) for each in grid]
        return [[self.hypothesis(result).words for result in results] for results in found]

    def _results(
        self, log_probs: Tensor, lengths: Tensor, ngram_lm_scale: float
    ) -> list[PrefixSearchResult]:
        return ctc_prefix_beam_search(
            log_probs,
            lengths,
            beam_size=self.beam_size,
            search_beam=self.options.search_beam,
            lm=self.lm,
            ngram_lm_scale=ngram_lm_scale,
            context_graph=self.context,
        )

    def hypothesis(self, result: PrefixSearchResult) -> Hypothesis:
        """The words of what the search has found."""
        best = result.hypotheses[0]
        hypothesis = hypothesis_of_tokens(best.tokens, best.start_frames, self.tokenizer)
        hypothesis.word_entropy = result.entropy
        if result.partial:
            hypothesis.problem = f"the search ended at frame {result.num_frames}"
        return hypothesis
