"""CTC prefix beam search: the best token sequences, each with all its alignments summed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from wfst_entropy._native import is_available, why_not
from wfst_entropy._native.prefix_search import ContextTables, PrefixSearch
from wfst_entropy.decoding._ngram_tables import ngram_tables
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import Fsa

# Beyond this sums lose their digits; in double precision they still never overflow.
_LARGEST = 2.0**26

# Frames given to C++ at a time; between two blocks Ctrl-C gets through.
_FRAMES_AT_A_TIME = 500


class PhraseBoosts(Protocol):
    """What a search asks of a `ContextGraph`."""

    def tables(self) -> ContextTables:
        """The automaton as tensors."""
        ...


class PrefixHypothesis(NamedTuple):
    """One token sequence.

    Frames are frames of the log-probs, that is after subsampling. Times are those of the best
    single alignment of these tokens.

    Attributes:
      tokens: the sequence.
      start_frames: the first frame of each token.
      end_frames: one beyond its last frame.
      log_probs: the mean log-probability of each token over its frames, nats.
      score: what hypotheses are ordered by, nats: `am_score + ngram_lm_scale * lm_score +
        context_score + length_bonus * len(tokens)`.
      am_score: log-probability of the tokens, summed over their alignments.
      lm_score: log-probability by the n-gram, its end included; 0 without one.
      context_score: boosts of phrases, nats; 0 without any.
      posterior: probability of this hypothesis among all in the final beam.
    """

    tokens: list[int]
    start_frames: list[int]
    end_frames: list[int]
    log_probs: list[float]
    score: float
    am_score: float
    lm_score: float
    context_score: float
    posterior: float


class PrefixSearchResult(NamedTuple):
    """What was found in one utterance.

    Attributes:
      hypotheses: different token sequences, the best first; at least one.
      entropy: nats, of the posteriors of all hypotheses in the final beam; 0 if there is but one.
      num_frames: frames that were read.
      partial: whether something is missing to the end: the search stopped at a frame at which no
        prefix had any probability, or the n-gram lets no hypothesis end (no end is scored then).
    """

    hypotheses: list[PrefixHypothesis]
    entropy: float
    num_frames: int
    partial: bool


class PrefixStream:
    """The state of one utterance between chunks; see `OnlineCtcPrefixBeamSearch`."""

    def __init__(self, search: PrefixSearch) -> None:
        self._search = search
        self._native: Any = search.new_stream()

    @property
    def num_frames(self) -> int:
        """Frames that have been read."""
        return int(self._native.num_frames)


class OnlineCtcPrefixBeamSearch:
    """CTC prefix beam search chunk by chunk; any chunking gives the same result.

    Args:
      num_symbols: C, the symbols of a frame, blank included.
      blank, beam_size, search_beam, beam_size_token, lm, ngram_lm_scale, backoff_label,
        context_graph, length_bonus: as in `ctc_prefix_beam_search`.

    Raises:
      DecodingError: as there.

    Example:
      >>> frames = torch.tensor([[[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]]).log()
      >>> search = OnlineCtcPrefixBeamSearch(num_symbols=2)
      >>> stream = search.new_stream()
      >>> for frame in frames.split(1, dim=1):
      ...     search.advance([stream], frame, torch.tensor([1]))
      ...     print(search.result(stream, final=False).hypotheses[0].tokens)
      [1]
      [1]
      [1]
      >>> best, second = search.result(stream, nbest=2).hypotheses
      >>> second.tokens, round(math.exp(second.am_score), 3)
      ([1, 1], 0.336)
    """

    def __init__(
        self,
        num_symbols: int,
        *,
        blank: int = 0,
        beam_size: int = 16,
        search_beam: float = 20.0,
        beam_size_token: int | None = None,
        lm: Fsa | None = None,
        ngram_lm_scale: float = 1.0,
        backoff_label: int | None = None,
        context_graph: PhraseBoosts | None = None,
        length_bonus: float = 0.0,
    ) -> None:
        if not is_available():
            raise DecodingError(f"ctc_prefix_beam_search: needs the C++ module: {why_not()}.")
        _at_least("num_symbols", num_symbols, 1)
        _at_least("beam_size", beam_size, 1, 2**24)
        if beam_size_token is not None:
            _at_least("beam_size_token", beam_size_token, 1)
        if not 0 <= blank < num_symbols:
            raise DecodingError(f"blank: must lie in 0..{num_symbols - 1}, got {blank}.")
        _between("search_beam", search_beam, 0.0, math.inf)
        _between("ngram_lm_scale", ngram_lm_scale, 0.0, _LARGEST)
        _between("length_bonus", length_bonus, -_LARGEST, _LARGEST)
        self.num_symbols = num_symbols
        backoff = num_symbols if backoff_label is None else backoff_label
        self._search = PrefixSearch(
            num_symbols,
            blank,
            beam_size=beam_size,
            tokens_per_frame=beam_size_token or 0,
            search_beam=search_beam,
            lm_scale=ngram_lm_scale,
            length_bonus=length_bonus,
            lm=None if lm is None else ngram_tables(lm, num_symbols, blank, backoff),
            context=None if context_graph is None else context_graph.tables(),
        )

    def new_stream(self) -> PrefixStream:
        """The state of an utterance that begins."""
        return PrefixStream(self._search)

    def advance(self, streams: Sequence[PrefixStream], log_probs: Tensor, lengths: Tensor) -> None:
        """Reads a chunk of each stream, on as many threads as torch uses.

        Args:
          streams: N different ones of this search.
          log_probs: `(N, T, C)` float, nats.
          lengths: `(N,)` integer, frames of each chunk; the frames beyond are not read.

        Raises:
          DecodingError: shapes do not fit, a length is beyond T, a frame in use has NaN or
            more than 2**26, or a stream is of another search; no stream has changed then.
        """
        scores, frames = _checked(log_probs, lengths, self.num_symbols)
        if len(streams) != len(scores) or len({id(stream) for stream in streams}) != len(streams):
            raise DecodingError(
                f"streams: needs {len(scores)} different ones, one for each row of log_probs, got "
                f"{len(streams)}."
            )
        native = [self._own(stream) for stream in streams]
        for start in range(0, scores.shape[1], _FRAMES_AT_A_TIME):
            block = scores[:, start : start + _FRAMES_AT_A_TIME]
            self._search.advance(native, block, (frames - start).clamp(0, block.shape[1]))

    def _own(self, stream: PrefixStream) -> Any:
        if stream._search is not self._search:
            raise DecodingError("streams: one is of another search; take it from new_stream().")
        return stream._native

    def result(
        self, stream: PrefixStream, *, nbest: int = 1, final: bool = True
    ) -> PrefixSearchResult:
        """The best hypotheses for the frames read so far; the stream may go on after it.

        Args:
          stream: one of this search.
          nbest: at most so many hypotheses; there are no more than `beam_size`.
          final: whether the utterance ends here: then the n-gram's score of the end counts, and
            boosts for phrases not completed are taken back.

        Raises:
          DecodingError: `nbest` is below 1, or the stream is of another search.
        """
        _at_least("nbest", nbest, 1)
        found, ends = self._search.hypotheses(self._own(stream), final)
        log_posteriors = torch.tensor([row[4] for row in found], dtype=torch.float64).log_softmax(0)
        posteriors = log_posteriors.exp()
        hypotheses = [
            PrefixHypothesis._make([*(x.tolist() for x in row[:4]), *row[4:], posterior])
            for row, posterior in zip(found[:nbest], posteriors.tolist())
        ]
        entropy = 0.0 - float((posteriors * log_posteriors).nansum())
        return PrefixSearchResult(
            hypotheses, max(entropy, 0.0), stream.num_frames, stream._native.stopped or not ends
        )


def ctc_prefix_beam_search(
    log_probs: Tensor,
    lengths: Tensor,
    *,
    blank: int = 0,
    beam_size: int = 16,
    nbest: int = 1,
    search_beam: float = 20.0,
    beam_size_token: int | None = None,
    lm: Fsa | None = None,
    ngram_lm_scale: float = 1.0,
    backoff_label: int | None = None,
    context_graph: PhraseBoosts | None = None,
    length_bonus: float = 0.0,
) -> list[PrefixSearchResult]:
    r"""The best token sequences of a batch, each with the sum over its alignments.

    Ordered by

    .. math:: \log \sum_{\pi \in B^{-1}(y)} \prod_t p_t(\pi_t) + \lambda \log p_{LM}(y)
        + \mathrm{boosts}(y) + \beta |y|,

    where :math:`B` removes repetitions, then blanks.  The sum holds the alignments whose prefixes
    were in the beam at each of their frames, so it is a lower bound; with a beam that never prunes
    it is exact, `-ctc_loss`.  Utterances run in parallel on torch's threads, which do not change
    the result.

    Args:
      log_probs: `(N, T, C)` float, log-probabilities of a frame's symbols, nats.
      lengths: `(N,)` integer, frames of each utterance; the frames beyond are not read.
      blank: the blank symbol.
      beam_size: prefixes kept at each frame.
      nbest: hypotheses returned, at most; `beam_size` at most.
      search_beam: prefixes whose score is so many nats below the best of the frame are dropped.
      beam_size_token: only the best so many tokens of a frame extend prefixes (repetitions and
        prefixes of the beam that meet are never cut off); None for all.
      lm: an n-gram over tokens as an FSA, scores in nats: deterministic, back-off arcs labelled
        `backoff_label` or 0, which are followed only where a token is not there (failure arcs), -1
        at the end of a sentence.
      ngram_lm_scale: :math:`\lambda`, from 0 on.
      backoff_label: by default C, the id of `#0`.
      context_graph: a `ContextGraph` over the same tokens.
      length_bonus: :math:`\beta`, nats per token.

    Returns:
      One result per utterance.  Without frames it is the empty sequence with probability one.
      Where no path goes on to the end, the result is that of the frames before, and `partial`.

    Raises:
      DecodingError: shapes do not fit, a length is beyond T, a frame in use has NaN or +inf, an
        option is out of range, or `lm` is no deterministic n-gram over these tokens.

    Source: Hannun, Maas, Jurafsky and Ng 2014, "First-pass large vocabulary continuous speech
    recognition using bi-directional recurrent DNNs", Algorithm 1.

    Example:
      >>> log_probs = torch.tensor([[[0.5, 0.4, 0.1], [0.5, 0.4, 0.1]]]).log()
      >>> result = ctc_prefix_beam_search(log_probs, torch.tensor([2]), nbest=3)[0]
      >>> [(h.tokens, round(math.exp(h.am_score), 2)) for h in result.hypotheses]
      [([1], 0.56), ([], 0.25), ([2], 0.11)]
      >>> from wfst_entropy.decoding import ctc_greedy_search
      >>> ctc_greedy_search(log_probs, torch.tensor([2]))[0].tokens
      []
    """
    if log_probs.dim() != 3:
        raise DecodingError(f"log_probs: needs (N, T, C), got {tuple(log_probs.shape)}.")
    _at_least("nbest", nbest, 1)
    search = OnlineCtcPrefixBeamSearch(
        log_probs.shape[2],
        blank=blank,
        beam_size=beam_size,
        search_beam=search_beam,
        beam_size_token=beam_size_token,
        lm=lm,
        ngram_lm_scale=ngram_lm_scale,
        backoff_label=backoff_label,
        context_graph=context_graph,
        length_bonus=length_bonus,
    )
    streams = [search.new_stream() for _ in range(log_probs.shape[0])]
    search.advance(streams, log_probs, lengths)
    return [search.result(stream, nbest=nbest) for stream in streams]


def _at_least(name: str, value: int, lowest: int, highest: int = 2**31 - 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise DecodingError(f"{name}: must be an integer in {lowest}..{highest}, got {value!r}.")


def _between(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise DecodingError(f"{name}: must lie in {lowest:g}..{highest:g}, got {value!r}.")


def _checked(log_probs: Tensor, lengths: Tensor, num_symbols: int) -> tuple[Tensor, Tensor]:
    """What C++ reads: float32 or float64 scores, dense in the last axis, and int64 lengths."""
    shape = tuple(log_probs.shape)
    if len(shape) != 3 or shape[2] != num_symbols or lengths.shape != shape[:1]:
        raise DecodingError(
            f"ctc_prefix_beam_search: log_probs must be (N, T, {num_symbols}) and lengths (N,), "
            f"got {shape} and {tuple(lengths.shape)}."
        )
    if lengths.is_floating_point() or not log_probs.is_floating_point():
        raise DecodingError(
            "ctc_prefix_beam_search: log_probs must be floating-point and lengths integer, got "
            f"{log_probs.dtype} and {lengths.dtype}."
        )
    scores, frames = log_probs.detach().to("cpu"), lengths.to("cpu", torch.int64)
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.float()
    for utt in ((frames < 0) | (frames > shape[1])).nonzero().flatten().tolist()[:1]:
        raise DecodingError(
            f"ctc_prefix_beam_search: length of utterance {utt} is {int(frames[utt])}, but "
            f"log_probs has {shape[1]} frames. Lengths count frames after subsampling."
        )
    if scores.numel():
        inside = torch.arange(shape[1]) < frames[:, None]
        best = scores.amax(-1)  # NaN wins
        for utt, frame in (inside & ~(best <= _LARGEST)).nonzero().tolist()[:1]:
            raise DecodingError(
                f"ctc_prefix_beam_search: log_probs of utterance {utt} has NaN or more than "
                f"2**26 at frame {frame}. The model's output is broken: check its features and its "
                "weights."
            )
    return scores if scores.stride(2) == 1 else scores.contiguous(), frames
