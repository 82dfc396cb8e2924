"""Test sets as streams: many utterances at a time, chunk by chunk, from their audio."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.asr.data.errors import brief
from wfst_entropy.asr.data.fbank import FRAME_SHIFT
from wfst_entropy.asr.decode.decoded_utterance import DecodedUtterance, reference_times
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream import Stream
from wfst_entropy.asr.streaming.streaming_result import StreamingResult
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.metrics.latency import WordTime

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class StreamedTestSet:
    """What came of a test set.

    Attributes:
      decoded: its utterances, ordered by name.
      not_loaded: `{name: cause}` of those whose audio cannot be read.
      audio: seconds of audio.
      seconds: time for features, model and search.
      rounds: time of each round, in which all streams go on by one chunk; what a word waits for
        when the machine is as loaded as this.
    """

    decoded: list[DecodedUtterance] = dataclasses.field(default_factory=list)
    not_loaded: dict[str, str] = dataclasses.field(default_factory=dict)
    audio: float = 0.0
    seconds: float = 0.0
    rounds: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Utterance:
    cut: Any
    stream: Stream
    pieces: Iterator[Tensor]


def stream_test_set(
    recognizer: StreamingRecognizer,
    cuts: Iterable[Any],
    num_streams: int,
    on_utterance: Callable[[int], None] = lambda number: None,
) -> StreamedTestSet:
    """Decodes the audio of cuts as streams, which get a chunk of audio each in every round.

    A stream that ends makes room for the next cut.

    Args:
      recognizer: of the model; without endpoints.
      cuts: of lhotse, with recordings.
      num_streams: so many at a time.
      on_utterance: told 1 after each.

    Returns:
      What was found, and how long it took. An utterance that fails harms no other.
    """
    result = StreamedTestSet()
    waiting = iter(cuts)
    active: list[_Utterance] = []
    while True:
        while len(active) < num_streams:
            cut = next(waiting, None)
            if cut is None:
                break
            opened = _open(recognizer, cut, result)
            active += [opened] if opened else []
        if not active:
            result.decoded.sort(key=lambda utterance: utterance.cut_id)
            return result
        started = time.perf_counter()
        failed = _round(recognizer, active)
        took = time.perf_counter() - started
        result.seconds += took
        result.rounds.append(took)
        for utterance in list(active):
            problem = failed.get(utterance.cut.id)
            if problem is not None or utterance.stream.is_decoded:
                result.decoded.append(_decoded(recognizer, utterance, problem))
                active.remove(utterance)
                on_utterance(1)


def _open(recognizer: StreamingRecognizer, cut: Any, result: StreamedTestSet) -> _Utterance | None:
    try:
        samples = torch.from_numpy(cut.load_audio())[0]
    # Audio backends raise errors of many kinds; each means that this file is of no use.
    except Exception as error:  # noqa: BLE001
        result.not_loaded[cut.id] = brief(error)
        logger.warning("%s: its audio cannot be read: %s", cut.id, brief(error))
        return None
    result.audio += cut.duration
    size = round(recognizer.chunk_frames * FRAME_SHIFT * cut.sampling_rate)
    return _Utterance(cut, recognizer.create_stream(), iter(samples.split(size)))


def _round(recognizer: StreamingRecognizer, active: list[_Utterance]) -> dict[str, str]:
    """Gives each stream its next piece and decodes what is ready; returns what went wrong."""
    failed: dict[str, str] = {}
    for utterance in active:
        piece = next(utterance.pieces, None)
        if piece is None:
            utterance.stream.input_finished()
            continue
        try:
            utterance.stream.accept_waveform(utterance.cut.sampling_rate, piece)
        except FsaError as error:
            failed[utterance.cut.id] = str(error)
    while True:
        ready = [
            each
            for each in active
            if each.cut.id not in failed and recognizer.is_ready(each.stream)
        ]
        if not ready:
            return failed
        try:
            recognizer.decode_streams([each.stream for each in ready])
        except (FsaError, RuntimeError):
            # one of them is to blame: find it, and keep the others
            for each in ready:
                try:
                    recognizer.decode_streams([each.stream])
                except (FsaError, RuntimeError) as error:
                    failed[each.cut.id] = str(error)


def _decoded(
    recognizer: StreamingRecognizer, utterance: _Utterance, problem: str | None
) -> DecodedUtterance:
    cut = utterance.cut
    ref = cut.supervisions[0].text.split()
    if problem is not None:
        logger.warning("%s: not decoded: %s", cut.id, problem)
        return DecodedUtterance(cut.id, ref, problem=problem, failed=True)
    result = recognizer.result(utterance.stream)
    if result.problem:
        logger.warning("%s: %s", cut.id, result.problem)
    return DecodedUtterance(
        cut_id=cut.id,
        ref=ref,
        hyp=result.text.split(),
        emitted=emitted_words(result, recognizer.seconds_per_frame),
        confidences=[word.confidence for word in result.words if word.start is not None],
        true_times=reference_times(cut),
        search_problem=result.problem,
        streamed=result.words,
        heard=result.heard,
    )


def emitted_words(result: StreamingResult, seconds_per_frame: float) -> list[WordTime]:
    """Words from the first frame of the first token to the first frame of the last one, seconds.

    >>> from wfst_entropy.asr.decode.streaming_word import StreamingWord
    >>> word = StreamingWord("HI", 0.0, 0.08, 0.1, 0.1)
    >>> emitted_words(StreamingResult("HI", [word], [5], [0.0], False, 0, 0.0, 0.1), 0.04)
    [WordTime(word='HI', start=0.0, end=0.04)]
    """
    return [
        WordTime(word.word, word.start, word.end - seconds_per_frame)
        for word in result.words
        if word.start is not None and word.end is not None
    ]
