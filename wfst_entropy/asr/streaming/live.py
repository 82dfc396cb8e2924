"""A stream from its first piece to its last word, with the time at which each word is told."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.decode.streaming_word import StreamingWord
from wfst_entropy.asr.streaming.audio_pieces import Piece
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream import Stream
from wfst_entropy.asr.streaming.streaming_result import StreamingResult
from wfst_entropy.asr.streaming.word_history import Emission, WordHistory
from wfst_entropy.fsa.errors import FsaError, FsaValueError


@dataclasses.dataclass(frozen=True)
class LiveResult:
    """A partial or final result at the moment at which it is told.

    Attributes:
      result: text and words.
      time: that moment, seconds after the beginning of the audio.
      told: when each word of it was told first, and since when it is told; seconds likewise.
    """

    result: StreamingResult
    time: float
    told: list[Emission]

    def partial_latency(self, place: int) -> float | None:
        """Seconds from the end of a word, where the model emitted it, until it was told first."""
        end = self.result.words[place].end
        return None if end is None else self.told[place].first - end

    def final_latency(self, place: int) -> float | None:
        """Seconds from there until it is final; None for partial results."""
        end = self.result.words[place].end
        return None if end is None or not self.result.is_final else self.time - end

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times and latencies in seconds."""
        result = self.result
        return {
            "type": "final" if result.is_final else "partial",
            "time": round(self.time, 3),
            "heard": round(result.heard, 3),
            "segment": result.segment,
            "start": round(result.start, 3),
            "text": result.text,
            "words": [self._word(place, word) for place, word in enumerate(result.words)],
        } | ({"problem": result.problem} if result.problem else {})

    def _word(self, place: int, word: StreamingWord) -> dict[str, Any]:
        fields: dict[str, Any] = {"word": word.word}
        for name, value in (
            ("start", word.start),
            ("end", word.end),
            ("confidence", word.confidence),
            ("partial_latency", self.partial_latency(place)),
            ("final_latency", self.final_latency(place)),
        ):
            fields[name] = None if value is None else round(value, 4)
        return fields


class LiveTranscription:
    """Recognises one stream, and yields its results as they change.

    The moment of a result is that of the clock, counted from the beginning of the audio; where the
    audio comes faster than it was spoken, it is the audio that has come, and the time of computing
    since its last piece.

    Args:
      recognizer: of the model.
      realtime: wait until each piece would have been spoken.
      clock: seconds.
      sleep: waits for seconds.

    Attributes:
      interrupted: whether Ctrl-C ended the stream; its last words came all the same.
      seconds: time of computing.
      stream: it.
    """

    def __init__(
        self,
        recognizer: StreamingRecognizer,
        *,
        realtime: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.recognizer, self.realtime = recognizer, realtime
        self._clock, self._sleep = clock, sleep
        self.stream: Stream = recognizer.create_stream()
        self.interrupted = False
        self.seconds = 0.0
        self._came = 0.0  # seconds of audio
        self._began: float | None = None
        self._told = WordHistory()
        self._last = ""

    def results(self, pieces: Iterable[Piece]) -> Iterator[LiveResult]:
        """Partial results whenever the text changes, and a final one for each segment with words.

        Args:
          pieces: the audio. Ctrl-C while it is waited for ends the stream there; `until_ctrl_c`
            makes that of a Ctrl-C at any time.

        Raises:
          DataError, FsaValueError: the audio is damaged, or has NaN, after the words before that
            place.
          FsaError: the model's output cannot be searched.
        """
        damage: FsaError | None = None
        coming = iter(pieces)
        while not self.stream.is_finished:
            try:
                mark = self._take(next(coming, None))
            except KeyboardInterrupt:
                self.interrupted = True
                mark = self._take(None)
            except (DataError, FsaValueError) as error:
                damage = error
                mark = self._take(None)
            yield from self._go_on(mark)
        if damage is not None:
            raise damage

    def _take(self, piece: Piece | None) -> float:
        """The next piece, or the end; returns when there was something to compute."""
        if piece is None:
            mark = self._clock()
            self.stream.input_finished()
        else:
            self._wait_for(piece)
            mark = self._clock()
            self.stream.accept_waveform(piece.sampling_rate, piece.samples)
        return mark

    def _wait_for(self, piece: Piece) -> None:
        """Until a piece is spoken, where that is wanted; its end is what the clock is set by."""
        length = len(piece.samples) / piece.sampling_rate
        if self._began is None:
            self._began = self._clock() - (0.0 if self.realtime else length)
        self._came += length
        if self.realtime:
            self._sleep(max(0.0, self._began + self._came - self._clock()))

    def _go_on(self, mark: float) -> Iterator[LiveResult]:
        """With what has been taken, at the time `mark`."""
        recognizer, stream, computing = self.recognizer, self.stream, 0.0
        goes_on = stream.is_finished or recognizer.is_ready(stream)
        while goes_on:
            recognizer.decode_streams([stream])
            result = recognizer.result(stream)
            if result.is_final and not stream.is_decoded:
                recognizer.reset(stream)
            now = self._clock()
            computing += now - mark
            began = now if self._began is None else self._began
            # what is done with a result is none of the recogniser's time
            yield from self._tell(result, max(now - began, self._came + computing))
            mark = self._clock()
            goes_on = recognizer.is_ready(stream)
        self.seconds += computing + self._clock() - mark

    def _tell(self, result: StreamingResult, now: float) -> Iterator[LiveResult]:
        words = [word.word for word in result.words]
        self._told.add(now, words)
        changed, self._last = result.text != self._last, result.text
        told = self._told.emissions
        if result.is_final:
            self._told, self._last = WordHistory(), ""
        if (result.is_final and words) or changed:
            yield LiveResult(result, now, told)
