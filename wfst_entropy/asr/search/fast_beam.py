"""A graph searched with a transducer: best paths, and lists of paths of the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wfst_entropy.algorithms import path_entropy
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.greedy import hypothesis_of_tokens
from wfst_entropy.asr.search.lattice_source import load_graph
from wfst_entropy.asr.search.lattice_words import LatticeWords
from wfst_entropy.asr.search.method import Hypothesis, Scales, SearchSetup
from wfst_entropy.asr.search.transducer_method import TransducerMethod
from wfst_entropy.decoding import Nbest, get_aux_labels
from wfst_entropy.decoding.fast_beam_search import FastBeamSearch, FastBeamState
from wfst_entropy.decoding.transducer import TransducerHypothesis
from wfst_entropy.fsa import Fsa
from wfst_entropy.metrics.wer import Recognition, error_stats

# Scales to try for the graph's scores, for each of those of the transducer's own language model:
# the more of that is subtracted, the more the graph may say.
_LM_SCALES = {
    0.0: (0.05, 0.1, 0.2),
    0.1: (0.1, 0.2, 0.3, 0.4),
    0.2: (0.2, 0.3, 0.4, 0.6),
    0.3: (0.3, 0.4, 0.6, 0.8),
    0.4: (0.4, 0.6),
}


class FastBeam(TransducerMethod):
    """`fast_beam_search`: the best path through any labels; hypotheses with equal contexts meet.

    Args:
      setup: with the transducer head, `beam`, `max_contexts` and `max_states`.
    """

    name: ClassVar[str] = "fast_beam_search"

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        self.graph = self.load(setup)
        self._made: tuple[tuple[float, float], FastBeamSearch] | None = None

    def load(self, setup: SearchSetup) -> Fsa | None:
        """The graph to search, None for any labels."""
        return None

    def stream_search(self, scales: Scales) -> FastBeamSearch:
        """See `TransducerMethod.stream_search`; kept, since large graphs take time to prepare."""
        key = (scales.get("ngram_lm_scale", 1.0), scales.get("ilme_scale", 0.0))
        if self._made is None or self._made[0] != key:
            search = FastBeamSearch(
                self.transducer,
                self.graph,
                beam=self.options.beam,
                max_contexts=self.options.max_contexts,
                max_states=self.options.max_states,
                ngram_lm_scale=key[0],
                ilme_scale=key[1],
                blank_penalty=self.options.blank_penalty,
            )
            self._made = (key, search)
        return self._made[1]

    def streams(
        self, encoder_out: Tensor, lengths: Tensor, scales: Scales
    ) -> tuple[FastBeamSearch, list[FastBeamState]]:
        """A search, and where it is at the end of each utterance."""
        search = self.stream_search(scales)
        return search, search.advance(encoder_out, lengths, [search.start()] * len(lengths))

    @torch.inference_mode()
    def _search(self, encoder_out: Tensor, lengths: Tensor, scales: Scales) -> list[Hypothesis]:
        search, states = self.streams(encoder_out, lengths, scales)
        found = [self.hypothesis(result) for result in search.results(states)]
        for hypothesis, entropy in zip(found, path_entropy(search.lattice(states)), strict=True):
            hypothesis.entropy = float(entropy)
        return found


class FastBeamLG(FastBeam):
    """`fast_beam_search_LG`: the best path through the lexicon and the n-gram of LG.

    The transducer's own language model, which the n-gram takes the place of, is subtracted by
    `ilme_scale`.

    Args:
      setup: also with the lang directory that has LG.pt.
    """

    name: ClassVar[str] = "fast_beam_search_LG"
    default_scales: ClassVar[Scales] = {"ngram_lm_scale": 0.3, "ilme_scale": 0.0}
    grid: ClassVar[Sequence[Scales]] = tuple(
        {"ngram_lm_scale": lm, "ilme_scale": own}
        for own, scales in _LM_SCALES.items()
        for lm in scales
    )

    def __init__(self, setup: SearchSetup) -> None:
        super().__init__(setup)
        scale = self.scales["ngram_lm_scale"]
        self.reader = LatticeWords(setup, "ngram_lm_scale", scale, repeats=False)

    def load(self, setup: SearchSetup) -> Fsa | None:
        """LG."""
        return load_graph(setup.lang.path / "LG.pt", 3)

    @torch.inference_mode()
    def search(
        self, encoder_out: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`; confidences are those of the lattice."""
        search, states = self.streams(encoder_out, lengths, self.scales)
        return self.reader.hypotheses(search.lattice(states), search.best_path(states))

    def hypothesis(self, result: TransducerHypothesis) -> Hypothesis:
        """See `TransducerMethod.hypothesis`."""
        if self.scales["ilme_scale"] == 0:
            return super().hypothesis(result)
        # what is left after a subtraction is no probability
        return hypothesis_of_tokens(result.tokens, result.frames, self.tokenizer)


class FastBeamNbest(FastBeam):
    """`fast_beam_search_nbest`: of `num_paths` drawn paths, the one that scores most.

    Args:
      setup: also with `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "fast_beam_search_nbest"

    @torch.inference_mode()
    def search(
        self, encoder_out: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        search, states = self.streams(encoder_out, lengths, self.scales)
        return self.read_lattices(search.lattice(states), refs)

    def read_lattices(self, lattices: Fsa, refs: Sequence[Sequence[str]] = ()) -> list[Hypothesis]:
        """The words of the best of the paths drawn of each lattice."""
        nbest = Nbest.from_lattice(lattices, self.options.num_paths, self.options.nbest_scale)
        paths = self.best(nbest, lattices, refs)
        found = [self.read(paths[i]) for i in range(len(paths))]
        for hypothesis, entropy in zip(found, path_entropy(lattices), strict=True):
            hypothesis.entropy = float(entropy)
        return found

    def best(self, nbest: Nbest, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """One path of each utterance."""
        return nbest.intersect(lattices).best()

    def read(self, path: Fsa) -> Hypothesis:
        """The words of a path of tokens."""
        spoken = path.labels > 0
        tokens, frames = path.labels[spoken].tolist(), path.frame_idx[spoken].tolist()
        return hypothesis_of_tokens(tokens, frames, self.tokenizer)


class FastBeamNbestOracle(FastBeamNbest):
    """`fast_beam_search_nbest_oracle`: of the drawn paths, the one with the fewest errors.

    A bound, not a result.

    Args:
      setup: as of `FastBeamNbest`.
    """

    name: ClassVar[str] = "fast_beam_search_nbest_oracle"

    def best(self, nbest: Nbest, lattices: Fsa, refs: Sequence[Sequence[str]]) -> Fsa:
        """One path of each utterance."""
        owners = nbest.shape.row_ids(1).tolist()
        errors = [
            error_stats([Recognition("", list(refs[owner]), self._spelled(tokens))]).num_errors
            for owner, tokens in zip(owners, get_aux_labels(nbest.fsa), strict=True)
        ]
        return nbest.best(-torch.tensor(errors, dtype=torch.float32))

    def _spelled(self, tokens: list[int]) -> list[str]:
        return self.tokenizer.decode(tokens).split()


class FastBeamNbestLG(FastBeamLG):
    """`fast_beam_search_nbest_LG`: of drawn paths of LG, the words with the largest weight.

    The weight is the sum over all paths of the lattice that tell these words.

    Args:
      setup: as of `FastBeamLG`, also with `num_paths` and `nbest_scale`.
    """

    name: ClassVar[str] = "fast_beam_search_nbest_LG"

    @torch.inference_mode()
    def search(
        self, encoder_out: Tensor, lengths: Tensor, refs: Sequence[Sequence[str]]
    ) -> list[Hypothesis]:
        """See `SearchMethod.search`."""
        search, states = self.streams(encoder_out, lengths, self.scales)
        return self.read_lattices(search.lattice(states))

    def read_lattices(self, lattices: Fsa) -> list[Hypothesis]:
        """The words with the largest weight in each lattice."""
        return self.reader.hypotheses(lattices, self._best(lattices))

    @torch.inference_mode()
    def search_grid(
        self, encoder_out: Tensor, lengths: Tensor, grid: Sequence[Scales]
    ) -> list[list[list[str]]]:
        """See `SearchMethod.search_grid`; one lattice for all of an `ilme_scale`."""
        if not self.scales["ngram_lm_scale"] > 0:
            raise OptionError(
                "ngram_lm_scale: lattices that are searched with 0 cannot be scaled otherwise; "
                "leave the flag out, or --tune true"
            )
        lattices: dict[float, Fsa] = {}
        found = []
        for scales in grid:
            own = scales["ilme_scale"]
            if own not in lattices:
                used = {**self.scales, "ilme_scale": own}
                search, states = self.streams(encoder_out, lengths, used)
                lattices[own] = search.lattice(states)
            best = self._best(self.reader.rescaled(lattices[own], scales))
            found.append(self.reader.spelled(best))
        return found

    def _best(self, lattices: Fsa) -> Fsa:
        nbest = self.reader.nbest(lattices)
        return nbest.best(nbest.sequence_scores(lattices).values)
