"""The decoding methods of the recipe as searches of streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.fast_beam import (
    FastBeam,
    FastBeamLG,
    FastBeamNbest,
    FastBeamNbestLG,
)
from wfst_entropy.asr.search.greedy import GreedySearch, hypothesis_of_tokens
from wfst_entropy.asr.search.method import Hypothesis, SearchMethod
from wfst_entropy.asr.search.one_best import OneBest
from wfst_entropy.asr.search.prefix_beam import PrefixBeamSearch
from wfst_entropy.asr.search.transducer_beam import (
    TransducerBeam,
    TransducerLodr,
    TransducerShallowFusion,
)
from wfst_entropy.asr.search.transducer_greedy import TransducerGreedy
from wfst_entropy.asr.search.transducer_method import TransducerMethod
from wfst_entropy.decoding import (
    OnlineCtcGreedySearch,
    OnlineCtcPrefixBeamSearch,
    OnlineDenseIntersecter,
    one_best_decoding,
)
from wfst_entropy.decoding.fast_beam_search import FastBeamSearch
from wfst_entropy.decoding.transducer import TransducerHypothesis
from wfst_entropy.decoding.transducer_search import ModifiedBeamSearch
from wfst_entropy.fsa import DenseFsaVec

# A bound for memory only: batches of streams are made by who calls the recogniser.
_MAX_STREAMS = 2**20


@dataclasses.dataclass
class StreamHypothesis:
    """What a search has found in a stream so far; frames are the model's, from its beginning.

    Attributes:
      hypothesis: words, with times in frames.
      tokens: the tokens; empty where the search keeps none.
      frames: the first frame of each.
      end: the frame after the last one that is no blank, 0 where there is none.
    """

    hypothesis: Hypothesis
    tokens: list[int]
    frames: list[int]
    end: int


class StreamSearch(Protocol):
    """A search of many streams at a time, chunk by chunk.

    The same as the method of whole utterances of this name: its hypotheses do not depend on the
    chunks, nor on the other streams.

    Attributes:
      reads: "ctc_log_probs" or "encoder_out", what of the model's output it reads.
    """

    reads: str

    def start(self) -> Any:
        """The state of a stream that begins."""
        ...

    def advance(self, scores: Tensor, lengths: Tensor, states: Sequence[Any]) -> list[Any]:
        """Goes on by a chunk of each stream.

        Args:
          scores: `(N, T, C)` or `(N, T, D)`, what it `reads`.
          lengths: `(N,)`, frames of each chunk.
          states: where each of the N streams is.

        Returns:
          Where each is then.
        """
        ...

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """What each stream has so far.

        Args:
          states: of the streams.
          final: whether they end here.
        """
        ...


class TransducerStreams:
    """`greedy_search`, `fast_beam_search`, `fast_beam_search_LG`: the method's own search.

    Args:
      method: which tells search and scales.
    """

    def __init__(self, method: TransducerMethod) -> None:
        self.reads: str = method.reads
        self._method, self._search = method, method.stream_search(method.scales)

    def start(self) -> Any:
        """See `StreamSearch`."""
        return self._search.start()

    def advance(self, scores: Tensor, lengths: Tensor, states: Sequence[Any]) -> list[Any]:
        """See `StreamSearch`."""
        return self._search.advance(scores, lengths, states)

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """See `StreamSearch`."""
        search = self._search
        if isinstance(search, FastBeamSearch):
            found = search.results(states, final=final)
        else:
            found = search.results(states)
        return [_of_transducer(self._method.hypothesis(each), each) for each in found]


class TransducerBeamStreams(TransducerStreams):
    """`modified_beam_search`, with or without n-grams: also tells where a beam ran empty.

    Args:
      method: which tells search and scales.
    """

    _method: TransducerBeam
    _search: ModifiedBeamSearch

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """See `StreamSearch`."""
        return [
            _of_transducer(self._method.hypothesis_of_nbest(each), each.hypotheses[0])
            for each in self._search.nbest(states, 1, final=final)
        ]


def _of_transducer(hypothesis: Hypothesis, found: TransducerHypothesis) -> StreamHypothesis:
    end = found.frames[-1] + 1 if found.frames else 0
    return StreamHypothesis(hypothesis, found.tokens, found.frames, end)


class FastBeamNbestStreams(TransducerStreams):
    """`fast_beam_search_nbest`, `fast_beam_search_nbest_LG`: the list of paths comes with the end.

    Until then results are of the best path.

    Args:
      method: which tells search and scales.
    """

    _method: FastBeamNbest | FastBeamNbestLG
    _search: FastBeamSearch

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """See `StreamSearch`."""
        found = super().results(states, final)
        if final:
            read = self._method.read_lattices(self._search.lattice(states))
            for each, hypothesis in zip(found, read, strict=True):
                each.hypothesis = hypothesis
        return found


class CtcGreedyStreams:
    """`ctc-greedy-search`.

    Args:
      method: which tells the tokenizer.
    """

    def __init__(self, method: GreedySearch) -> None:
        self.reads: str = method.reads
        self._tokenizer, self._search = method.tokenizer, OnlineCtcGreedySearch()

    def start(self) -> Any:
        """See `StreamSearch`."""
        return self._search.start()

    def advance(self, scores: Tensor, lengths: Tensor, states: Sequence[Any]) -> list[Any]:
        """See `StreamSearch`."""
        return self._search.advance(scores, lengths, states)

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """See `StreamSearch`."""
        return [
            StreamHypothesis(
                hypothesis_of_tokens(each.tokens, each.start_frames, self._tokenizer),
                each.tokens,
                each.start_frames,
                each.end_frames[-1] if each.end_frames else 0,
            )
            for each in self._search.results(states)
        ]


class PrefixBeamStreams:
    """`ctc-prefix-beam-search`, with the method's n-gram and phrases.

    Args:
      method: which tells them.
    """

    def __init__(self, method: PrefixBeamSearch) -> None:
        self.reads: str = method.reads
        self._method = method
        self._search = OnlineCtcPrefixBeamSearch(
            method.tokenizer.vocab_size,
            beam_size=method.beam_size,
            search_beam=method.options.search_beam,
            lm=method.lm,
            ngram_lm_scale=method.scales["ngram_lm_scale"],
            context_graph=method.context,
        )

    def start(self) -> Any:
        """See `StreamSearch`; unlike other states this one changes as the stream goes on."""
        return self._search.new_stream()

    def advance(self, scores: Tensor, lengths: Tensor, states: Sequence[Any]) -> list[Any]:
        """See `StreamSearch`."""
        self._search.advance(states, scores, lengths)
        return list(states)

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """See `StreamSearch`."""
        found = []
        for state in states:
            result = self._search.result(state, final=final)
            best = result.hypotheses[0]
            found.append(
                StreamHypothesis(
                    self._method.hypothesis(result),
                    best.tokens,
                    best.start_frames,
                    best.end_frames[-1] if best.end_frames else 0,
                )
            )
        return found


class OneBestStreams:
    """`1best`: the best path through HLG, or LG with the CTC topology.

    Args:
      method: which tells graph, beams and scale.
    """

    def __init__(self, method: OneBest) -> None:
        self.reads: str = method.reads
        self._source, options = method.source, method.source.options
        self._search = OnlineDenseIntersecter(
            self._source.graph,
            _MAX_STREAMS,
            options.search_beam,
            options.output_beam,
            options.min_active_states,
            options.max_active_states,
        )

    def start(self) -> Any:
        """See `StreamSearch`."""
        return None

    def advance(self, scores: Tensor, lengths: Tensor, states: Sequence[Any]) -> list[Any]:
        """See `StreamSearch`."""
        return list(self._search.advance(DenseFsaVec.from_lengths(scores, lengths), states))

    def results(self, states: Sequence[Any], final: bool) -> list[StreamHypothesis]:
        """See `StreamSearch`; confidences and entropies come with the end."""
        begun = [state for state in states if state is not None]
        if final:
            lattices = self._search.lattice(begun)
            paths = one_best_decoding(lattices)
            hypotheses = self._source.hypotheses(lattices, paths)
        else:
            paths = self._search.best_path(begun)
            hypotheses = self._source.partial_hypotheses(paths)
        found = []
        for row, hypothesis in enumerate(hypotheses):
            tokens, frames, end = self._source.tokens_of_path(paths[row])
            found.append(StreamHypothesis(hypothesis, tokens, frames, end))
        rest = iter(found)
        nothing = StreamHypothesis(Hypothesis([], []), [], [], 0)
        return [nothing if state is None else next(rest) for state in states]


# By the very class: one derived from it may need whole utterances.
_STREAMS: dict[type[SearchMethod], Callable[[Any], StreamSearch]] = {
    TransducerGreedy: TransducerStreams,
    TransducerBeam: TransducerBeamStreams,
    TransducerShallowFusion: TransducerBeamStreams,
    TransducerLodr: TransducerBeamStreams,
    FastBeam: TransducerStreams,
    FastBeamLG: TransducerStreams,
    FastBeamNbest: FastBeamNbestStreams,
    FastBeamNbestLG: FastBeamNbestStreams,
    GreedySearch: CtcGreedyStreams,
    PrefixBeamSearch: PrefixBeamStreams,
    OneBest: OneBestStreams,
}


def check_streamable(method: type[SearchMethod]) -> None:
    """Refuses a method that needs whole utterances.

    Raises:
      OptionError: with those that do not.
    """
    if method not in _STREAMS:
        names = ", ".join(each.name for each in _STREAMS)
        raise OptionError(
            f"decoding_method: {method.name} needs whole utterances; streams can be decoded with "
            f"{names}"
        )


def make_stream_search(method: SearchMethod) -> StreamSearch:
    """A decoding method as a search of streams.

    Args:
      method: see `make_method`.

    Raises:
      OptionError: see `check_streamable`.
    """
    check_streamable(type(method))
    return _STREAMS[type(method)](method)
