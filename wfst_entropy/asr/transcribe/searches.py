"""The ways from frame scores to a transcript, each with times, confidences and alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import Tensor

from wfst_entropy.algorithms import get_tot_scores
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import Reads
from wfst_entropy.asr.transcribe.search_settings import (
    GREEDY,
    PREFIX,
    TRANSDUCER_BEAM,
    TRANSDUCER_GREEDY,
    SearchSettings,
)
from wfst_entropy.asr.transcribe.transcript import (
    Alternative,
    FoundWord,
    Transcript,
    entropy_of,
    merge_alternatives,
    vote,
)
from wfst_entropy.asr.transcribe.units import Units
from wfst_entropy.decoding import (
    DecodingGraph,
    Nbest,
    OnlineCtcPrefixBeamSearch,
    best_path_results,
    ctc_greedy_search,
    intersect_dense_pruned,
    rescore_with_whole_lattice,
    scaled_lattice,
)
from wfst_entropy.decoding.transducer import TransducerHypothesis
from wfst_entropy.decoding.transducer_greedy_search import TransducerGreedySearch
from wfst_entropy.decoding.transducer_search import ModifiedBeamSearch
from wfst_entropy.fsa import DenseFsaVec, Fsa, load_fsa
from wfst_entropy.lang import (
    ContextGraph,
    LangDir,
    bias_lattice,
    context_graph_from_file,
    spell_by_words,
)


class FileSearch(Protocol):
    """A way from frame scores to a transcript.

    Attributes:
      reads: which output of a model it searches.
    """

    reads: ClassVar[Reads]

    def search(self, name: str, scores: Tensor, /) -> Transcript:
        """The transcript of one utterance, times in frames.

        Args:
          name: of the utterance.
          scores: what it `reads`, float32: `(T, C)` log-probabilities in nats, or the `(T, D)`
            output of the encoder.

        Raises:
          FsaError: the scores cannot be searched.
        """
        ...


def make_search(settings: SearchSettings) -> FileSearch:
    """The search of a method, with its graph and models read.

    Raises:
      FsaError: a file is missing or damaged; OptionError: settings do not fit.
    """
    lang = LangDir(settings.lang_dir)
    if settings.method == GREEDY:
        return GreedyFileSearch(Units(lang))
    if settings.method == PREFIX:
        return PrefixFileSearch(Units(lang), settings)
    if settings.method in (TRANSDUCER_GREEDY, TRANSDUCER_BEAM):
        return TransducerFileSearch(Units(lang), settings)
    return GraphFileSearch(lang, settings)


class GreedyFileSearch:
    """`ctc-greedy-search`.

    Args:
      units: of the model.
    """

    reads: ClassVar[Reads] = "ctc_log_probs"

    def __init__(self, units: Units) -> None:
        self.units = units

    def search(self, name: str, log_probs: Tensor) -> Transcript:
        """See `FileSearch`; confidences are mean probabilities of tokens."""
        self.units.check(log_probs)
        lengths = log_probs.new_tensor([log_probs.shape[0]]).long()
        found = ctc_greedy_search(log_probs[None], lengths)[0]
        return Transcript(name, self.units.words(*found), num_frames=log_probs.shape[0])


class PrefixFileSearch:
    """`ctc-prefix-beam-search`, with a token n-gram and phrases if they are given.

    Args:
      units: of the model.
      settings: see `SearchSettings`.
    """

    reads: ClassVar[Reads] = "ctc_log_probs"

    def __init__(self, units: Units, settings: SearchSettings) -> None:
        self.units, self.nbest, self.beam_size = units, settings.nbest, settings.beam_size
        self._search = OnlineCtcPrefixBeamSearch(
            len(units.symbols),
            beam_size=max(settings.beam_size, settings.nbest),
            search_beam=settings.search_beam,
            lm=None if settings.lm is None else load_fsa(settings.lm),
            ngram_lm_scale=settings.ngram_lm_scale,
            context_graph=units.context(settings),
        )

    def search(self, name: str, log_probs: Tensor) -> Transcript:
        """See `FileSearch`; posteriors are among the prefixes of the final beam."""
        self.units.check(log_probs)
        stream = self._search.new_stream()
        lengths = log_probs.new_tensor([log_probs.shape[0]]).long()
        self._search.advance([stream], log_probs[None], lengths)
        result = self._search.result(stream, nbest=max(self.beam_size, self.nbest))
        problem = f"the search ended at frame {result.num_frames}" if result.partial else ""
        spelled = [(self.units.words(*h[:4]), h.score, h.posterior) for h in result.hypotheses]
        return _of_beam(name, spelled, self.nbest, log_probs.shape[0], problem)


class TransducerFileSearch:
    """`greedy_search` and `modified_beam_search`, with a token n-gram and phrases if given.

    Args:
      units: of the model.
      settings: see `SearchSettings`.
    """

    reads: ClassVar[Reads] = "encoder_out"

    def __init__(self, units: Units, settings: SearchSettings) -> None:
        assert settings.transducer is not None  # SearchSettings has seen to it
        self.units, self.nbest = units, settings.nbest
        self._search: TransducerGreedySearch | ModifiedBeamSearch
        if settings.method == TRANSDUCER_GREEDY:
            self._search = TransducerGreedySearch(settings.transducer)
            return
        self._search = ModifiedBeamSearch(
            settings.transducer,
            max(settings.beam_size, settings.nbest),
            search_beam=settings.search_beam,
            lm=None if settings.lm is None else load_fsa(settings.lm),
            ngram_lm_scale=settings.ngram_lm_scale,
            context_graph=units.context(settings),
        )

    def search(self, name: str, encoder_out: Tensor) -> Transcript:
        """See `FileSearch`; posteriors are among the hypotheses of the final beam."""
        search, num_frames = self._search, encoder_out.shape[0]
        lengths = encoder_out.new_tensor([num_frames]).long()
        if isinstance(search, TransducerGreedySearch):
            (found,) = search.results(search.advance(encoder_out[None], lengths, [search.start()]))
            return Transcript(name, self._words(found), num_frames=num_frames)
        states = search.advance(encoder_out[None], lengths, [search.start()])
        (result,) = search.nbest(states, search.beam_size)
        problem = f"the search ended at frame {result.num_frames}" if result.partial else ""
        spelled = [(self._words(h), h.score, h.posterior) for h in result.hypotheses]
        return _of_beam(name, spelled, self.nbest, num_frames, problem)

    def _words(self, found: TransducerHypothesis) -> list[FoundWord]:
        ends = [frame + 1 for frame in found.frames]
        return self.units.words(found.tokens, found.frames, ends, found.log_probs)


def _of_beam(
    name: str,
    spelled: Sequence[tuple[list[FoundWord], float, float]],
    nbest: int,
    num_frames: int,
    problem: str,
) -> Transcript:
    """The transcript of the hypotheses, with their scores and posteriors, that a beam has kept."""
    alternatives = merge_alternatives(
        [
            Alternative([word.word for word in words], score, posterior)
            for words, score, posterior in spelled
        ]
    )
    best = next(w for w, _, _ in spelled if [x.word for x in w] == alternatives[0].words)
    shares = vote(best, [(words, posterior) for words, _, posterior in spelled])
    return Transcript(
        name,
        [w._replace(confidence=share) for w, share in zip(best, shares, strict=True)],
        alternatives[0].posterior,
        entropy_of(alternatives),
        alternatives[:nbest],
        num_frames,
        problem,
    )


class GraphFileSearch:
    """`1best` and `whole-lattice-rescoring`: a decoding graph, searched for a lattice.

    Args:
      lang: words, and pronunciations for their times.
      settings: see `SearchSettings`.
    """

    reads: ClassVar[Reads] = "ctc_log_probs"

    def __init__(self, lang: LangDir, settings: SearchSettings) -> None:
        self.lang, self.settings = lang, settings
        assert settings.graph is not None  # SearchSettings has seen to it
        graph = load_fsa(settings.graph)
        if "aux_labels" not in graph.attributes:
            raise OptionError(f"graph: {settings.graph} has no aux_labels, the words of its arcs")
        if settings.hlg_scale != 1.0:
            graph = graph.with_scores(graph.scores * settings.hlg_scale)
        if settings.topology == "hlg":
            label = settings.epsilon_label
            self.graph = DecodingGraph(
                graph, epsilon_label=lang.vocab_size if label is None else label
            )
        else:
            self.graph = DecodingGraph(graph, topology=settings.topology)
        self._pronunciations = lang.pronunciation_ids
        self._silence = () if settings.silence is None else (lang.tokens[settings.silence],)
        self.G = load_fsa(settings.lm) if settings.lm is not None else None
        self.context: ContextGraph | None = None
        if settings.context_file is not None:
            self.context = context_graph_from_file(
                settings.context_file, spell_by_words(lang.words), settings.context_score
            )

    def lattice(self, log_probs: Tensor) -> Fsa:
        """The lattice of one utterance, a vector of one: biased, and rescored."""
        settings = self.settings
        lengths = log_probs.new_tensor([log_probs.shape[0]]).long()
        lattice = intersect_dense_pruned(
            self.graph,
            DenseFsaVec.from_lengths(log_probs[None], lengths),
            search_beam=settings.search_beam,
            output_beam=settings.output_beam,
            min_active_states=settings.min_active_states,
            max_active_states=settings.max_active_states,
        )
        if self.G is not None:
            whole = rescore_with_whole_lattice(lattice, self.G)
            lattice = scaled_lattice(whole, lm_scale=settings.ngram_lm_scale)
        return lattice if self.context is None else bias_lattice(lattice, self.context)

    def search(self, name: str, log_probs: Tensor) -> Transcript:
        """See `FileSearch`; posteriors are those of the lattice."""
        lattice = self.lattice(log_probs)
        (best,) = best_path_results(lattice, self._pronunciations, silence=self._silence)
        words = [
            FoundWord(self._spelled([w.word])[0], w.start_frame, w.end_frame, w.confidence)
            for w in best.words
        ]
        problem = ""
        if not best.valid:
            problem = "the search found no path; try a larger --search-beam"
        elif best.partial:
            problem = "the beam lost all paths to the end of a sentence; this is part of one"
        return Transcript(
            name,
            words,
            best.confidence,
            best.entropy,
            self._alternatives(lattice) if best.valid and self.settings.nbest else [],
            log_probs.shape[0],
            problem,
            lattice=lattice,
        )

    def _alternatives(self, lattice: Fsa) -> list[Alternative]:
        nbest = Nbest.from_lattice_exact(lattice, self.settings.nbest)
        weights = nbest.sequence_scores(lattice).values
        shares = (weights - get_tot_scores(lattice)).exp()
        return [
            Alternative(self._spelled(words), score, min(share, 1.0))
            for words, score, share in zip(
                nbest.words().tolist(),
                nbest.total_scores().values.tolist(),
                shares.tolist(),
                strict=True,
            )
        ]

    def _spelled(self, words: Sequence[int]) -> list[str]:
        return [self.lang.words[word] for word in words]
