"""The best label sequences of a transducer, with or without an n-gram of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from wfst_entropy.asr.search.lattice_source import load_graph
from wfst_entropy.asr.search.method import Hypothesis, Scales, SearchSetup
from wfst_entropy.asr.search.transducer_method import TransducerMethod
from wfst_entropy.decoding.transducer_search import ModifiedBeamSearch, TransducerNbest
from wfst_entropy.fsa import Fsa
from wfst_entropy.lang import context_graph_from_file


class TransducerBeam(TransducerMethod):
    """`modified_beam_search`: no lexicon; phrases are favoured if they are given.

    Args:
      setup: with the transducer head, `beam_size`, `search_beam`, `blank_penalty`, `context_file`
        and `context_score`.
    """

    name: ClassVar[str] = "modified_beam_search"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        self.lm: Fsa | None = None
        self.lodr_lm: Fsa | None = None
        self.context = None
        if self.options.context_file is not None:
            self.context = context_graph_from_file(
                self.options.context_file,
                lambda text: [self.tokenizer.encode(text)],
                self.options.context_score,
            )

    def stream_search(self, scales: Scales) -> ModifiedBeamSearch:
        """See `TransducerMethod.stream_search`."""
        return ModifiedBeamSearch(
            self.transducer,
            self.options.beam_size or 4,
            search_beam=self.options.search_beam,
            lm=self.lm,
            ngram_lm_scale=scales.get("ngram_lm_scale", 0.0),
            lodr_lm=self.lodr_lm,
            lodr_scale=scales.get("lodr_scale", 0.0),
            context_graph=self.context,
            length_bonus=scales.get("length_bonus", 0.0),
            blank_penalty=self.options.blank_penalty,
        )

    def _search(self, encoder_out: Tensor, lengths: Tensor, scales: Scales) -> list[Hypothesis]:
        search = self.stream_search(scales)
        states = search.advance(encoder_out, lengths, [search.start()] * len(lengths))
        return [self.hypothesis_of_nbest(result) for result in search.nbest(states, 1)]

    def hypothesis_of_nbest(self, result: TransducerNbest) -> Hypothesis:
        """The best words of a beam, and whether something is missing to the end."""
        hypothesis = self.hypothesis(result.hypotheses[0])
        hypothesis.word_entropy = result.entropy
        if result.partial:
            hypothesis.problem = f"the search ended at frame {result.num_frames}"
        return hypothesis


class TransducerShallowFusion(TransducerBeam):
    """`modified_beam_search_lm_shallow_fusion`: the same with an n-gram of tokens.

    Args:
      setup: also with the lang directory, and `tokens_ngram`.
    """

    name: ClassVar[str] = "modified_beam_search_lm_shallow_fusion"
    default_scales: ClassVar[Scales] = {"ngram_lm_scale": 0.3, "length_bonus": 0.0}
    grid: ClassVar[Sequence[Scales]] = tuple(
        {"ngram_lm_scale": scale, "length_bonus": bonus}
        for scale in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
        for bonus in (0.0, 0.5, 1.0, 2.0)
    )

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        order = self.options.tokens_ngram or 5
        self.lm = load_graph(setup.lang.path / f"{order}gram.pt", 4)


class TransducerLodr(TransducerShallowFusion):
    """`modified_beam_search_LODR`: less what an n-gram of the training transcripts gives.

    Args:
      setup: as there; the lang directory also has the n-gram of `lodr_order`.
    """

    name: ClassVar[str] = "modified_beam_search_LODR"
    default_scales: ClassVar[Scales] = {"ngram_lm_scale": 0.4, "lodr_scale": -0.1}
    grid: ClassVar[Sequence[Scales]] = tuple(
        {"ngram_lm_scale": scale, "lodr_scale": lodr}
        for scale in (0.1, 0.2, 0.3, 0.4, 0.6)
        for lodr in (-0.4, -0.3, -0.2, -0.1)
    )

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        order = self.options.lodr_order
        self.lodr_lm = load_graph(setup.lang.path / f"lodr_{order}gram.pt", 4)
