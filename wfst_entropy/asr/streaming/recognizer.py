"""Many streams of audio at a time, recognised while they come."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.asr.data.fbank import FRAME_SHIFT, ExtractorName
from wfst_entropy.asr.decode.decoded_utterance import TimeSpent
from wfst_entropy.asr.decode.streaming_word import StreamingWord
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.search.method import SearchMethod
from wfst_entropy.asr.streaming.endpoint import EndpointOptions
from wfst_entropy.asr.streaming.online_fbank import FrameExtractor
from wfst_entropy.asr.streaming.stream import Stream
from wfst_entropy.asr.streaming.stream_search import StreamHypothesis, make_stream_search
from wfst_entropy.asr.streaming.streaming_result import StreamingResult
from wfst_entropy.fsa.errors import FsaValueError

_MOST_FRAMES = 2**17  # of a chunk, 22 minutes; nobody waits so long


class StreamingRecognizer:
    """A trained model that reads streams of audio, many at a time.

    Streams begin and end when they like; those that have a chunk of audio ready go through model
    and search in one batch. The text of a stream depends neither on how its audio is cut, nor on
    the other streams, and is that of decoding the whole utterance (but for rounding, where a tie
    decides).

    Args:
      model: a causal model.
      method: a decoding method, see `make_method`; it has the tokenizer, and all settings of the
        search.
      chunk_size: encoder frames that are decoded at a time; by default the model's.
      left_context_frames: encoder frames before its chunk that a frame attends to; by default the
        model's.
      extractor: what computes features; the one of the run's data.
      feature_dim: filter-bank channels of the model.
      endpoint: when an utterance is over; None where only the end of the audio tells.
      dither_silence: whether stretches without any signal, as of a muted microphone, are heard as
        faint noise; see `FrameExtractor`. Not what the model was trained with, if its training has
        such stretches.
      device: where the model computes; searches run on the CPU.

    Raises:
      OptionError: the model looks ahead, chunks do not fit it or are endless, or the method needs
        whole utterances or an output that the model does not have.

    Attributes:
      chunk_frames: feature frames that are decoded at a time.
      seconds_per_frame: of the model's output.
      spent: time that `decode_streams` took, and of audio, since this was last set anew.

    Example, of audio that a program gets piece by piece:

    .. code-block:: python

        stream = recognizer.create_stream()
        for samples in pieces:
            stream.accept_waveform(16000, samples)
            while recognizer.is_ready(stream):
                recognizer.decode_streams([stream])
            print(recognizer.result(stream).text)
            if recognizer.is_endpoint(stream):
                recognizer.reset(stream)
        stream.input_finished()
        while recognizer.is_ready(stream):
            recognizer.decode_streams([stream])
        print(recognizer.result(stream).text)
    """

    def __init__(
        self,
        model: AsrModel,
        method: SearchMethod,
        *,
        chunk_size: int | None = None,
        left_context_frames: int | None = None,
        extractor: ExtractorName = "lhotse",
        feature_dim: int = 80,
        endpoint: EndpointOptions | None = None,
        dither_silence: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.device = model.to(device).eval(), torch.device(device)
        if chunk_size is not None or left_context_frames is not None:
            encoder = model.encoder
            model.set_chunk(
                encoder.chunk_size if chunk_size is None else chunk_size,
                encoder.left_context_frames if left_context_frames is None else left_context_frames,
            )
        self.search, self.endpoint = make_stream_search(method), endpoint
        self.chunk_frames, self._chunks = model.chunk_frames, _chunks_of(model)
        if self.chunk_frames > _MOST_FRAMES:
            raise OptionError(
                f"chunk_size: {model.encoder.chunk_size} is a chunk of "
                f"{self.chunk_frames * FRAME_SHIFT:.0f} s, for which each stream would wait, and "
                f"take the memory; {_MOST_FRAMES // model.subsampling_factor} at most"
            )
        self.seconds_per_frame = FRAME_SHIFT * model.subsampling_factor
        self.spent = TimeSpent()
        self._extractor = FrameExtractor(extractor, feature_dim, dither_silence=dither_silence)
        with torch.inference_mode():
            self._first_states = model.initial_states(1, self.device)

    def create_stream(self) -> Stream:
        """A stream that begins."""
        return Stream(self._extractor, self._first_states, self.search.start(), self)

    def is_ready(self, stream: Stream) -> bool:
        """Whether a stream has something to decode: a whole chunk, or its end."""
        ready = stream.num_frames_ready
        return ready >= self.chunk_frames or (stream.is_finished and ready > 0)

    @torch.inference_mode()
    def decode_streams(self, streams: Sequence[Stream]) -> None:
        """Decodes one chunk of each stream that is ready, in one batch.

        Args:
          streams: different ones; those that are not ready stay as they are.

        Raises:
          FsaValueError: a stream is there twice, or of another recogniser; or the model has got
            other chunks, of another recogniser for example; load a model for each.
          FsaError: the search refuses the model's output; no stream has changed then.
        """
        if len({id(stream) for stream in streams}) != len(streams):
            raise FsaValueError("streams: needs different ones, one is there twice")
        for number, stream in enumerate(streams):
            if stream.owner is not self:
                raise FsaValueError(
                    f"streams[{number}]: is of another recogniser; make it with create_stream() of "
                    "this one"
                )
        if _chunks_of(self.model) != self._chunks:
            raise FsaValueError(
                f"model: has chunks and left context of {_chunks_of(self.model)} frames now, but "
                f"had {self._chunks} when this recogniser was made; load a model for each"
            )
        ready = [stream for stream in streams if self.is_ready(stream)]
        if not ready:
            return
        started = time.perf_counter()
        chunks = [stream.next_frames(self.chunk_frames) for stream in ready]
        scores, lengths, model_states = self._scores(chunks, ready)
        modelled = time.perf_counter()
        states = self.search.advance(scores, lengths, [each.search_state for each in ready])
        for row, stream in enumerate(ready):
            stream.drop_frames(len(chunks[row]))
            stream.num_output_frames += int(lengths[row])
            # copies: a view would keep the states of all streams
            stream.model_states = [each[row : row + 1].clone() for each in model_states]
            stream.search_state, stream.final = states[row], None
        for stream, found in zip(ready, self.search.results(states, final=False), strict=True):
            stream.partial = found
            stream.history.add(stream.heard, found.hypothesis.words)
        self.spent.model += modelled - started
        self.spent.search += time.perf_counter() - modelled
        self.spent.audio += sum(len(chunk) for chunk in chunks) * FRAME_SHIFT

    def _scores(
        self, chunks: Sequence[Tensor], streams: Sequence[Stream]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The model's output for a chunk of each stream, on the CPU, its lengths, its states."""
        features = torch.zeros(len(chunks), self.chunk_frames, chunks[0].shape[1])
        for row, chunk in enumerate(chunks):
            features[row, : len(chunk)] = chunk
        columns = zip(*(stream.model_states for stream in streams), strict=True)
        encoder_out, lengths, states = self.model.forward_chunk(
            features.to(self.device),
            torch.tensor([len(chunk) for chunk in chunks], device=self.device),
            [torch.cat(column) for column in columns],
        )
        if self.search.reads == "ctc_log_probs":
            encoder_out = self.model.ctc_log_probs(encoder_out)
        return encoder_out.float().cpu(), lengths.cpu(), states

    def is_endpoint(self, stream: Stream) -> bool:
        """Whether the utterance is over by the rules of `endpoint`; then `reset` begins the next.

        The silence after the last token counts, and the length of the segment.
        """
        if self.endpoint is None or stream.partial is None:
            return False
        return self.endpoint.is_endpoint(*self._pauses(stream))

    def reset(self, stream: Stream, reset_encoder: bool | None = None) -> None:
        """Begins the next segment: the text is empty again, times go on.

        Args:
          stream: at an endpoint, or wherever a caller wants one.
          reset_encoder: whether the encoder forgets what it has heard, too, as at the beginning of
            the utterances that it was trained on; by default where the segment ended in silence
            (rules 1 and 2), and not amid speech.
        """
        if reset_encoder is None:
            silence, _, has_words = self._pauses(stream)
            reset_encoder = self.endpoint is not None and self.endpoint.is_silence(
                silence, has_words
            )
        if reset_encoder:
            stream.model_states = self._first_states
        stream.begin_segment(stream.segment + 1, self.search.start())

    def _pauses(self, stream: Stream) -> tuple[float, float, bool]:
        """Seconds of silence at the end of a segment, its length, and whether it has words."""
        step, end = self.seconds_per_frame, stream.partial.end if stream.partial else 0
        length = stream.num_output_frames - stream.segment_start
        return (length - end) * step, length * step, end > 0

    @torch.inference_mode()
    def result(self, stream: Stream) -> StreamingResult:
        """What has been recognised since the stream began, or since `reset`.

        It is final where `is_endpoint`, or when the stream is finished and all of it decoded.
        """
        is_final = stream.is_decoded or self.is_endpoint(stream)
        if is_final and stream.final is None:
            (stream.final,) = self.search.results([stream.search_state], final=True)
            stream.history.add(stream.heard, stream.final.hypothesis.words)
        found = stream.final if is_final else stream.partial
        step, offset = self.seconds_per_frame, stream.segment_start
        return StreamingResult(
            text=" ".join(found.hypothesis.words) if found else "",
            words=self._words(stream, found, is_final) if found else [],
            tokens=list(found.tokens) if found else [],
            timestamps=[(frame + offset) * step for frame in found.frames] if found else [],
            is_final=is_final,
            segment=stream.segment,
            start=offset * step,
            heard=stream.heard,
            problem=found.hypothesis.problem if found else "",
        )

    def _words(
        self, stream: Stream, found: StreamHypothesis, is_final: bool
    ) -> list[StreamingWord]:
        names, times = found.hypothesis.words, found.hypothesis.times
        # a graph's words have no times where its tokens do not tell which are whose
        known = len(names) == len(times)
        step, offset = self.seconds_per_frame, stream.segment_start
        words = []
        for place, (name, emission) in enumerate(zip(names, stream.history.emissions, strict=True)):
            frames = times[place] if known else None
            words.append(
                StreamingWord(
                    word=name,
                    start=None if frames is None else (frames.start + offset) * step,
                    end=None if frames is None else (frames.end + 1 + offset) * step,
                    first=emission.first,
                    stable=emission.stable,
                    final=stream.heard if is_final else None,
                    confidence=None if frames is None else frames.confidence,
                )
            )
        return words


def _chunks_of(model: AsrModel) -> tuple[int, int]:
    return model.encoder.chunk_size, model.encoder.left_context_frames
