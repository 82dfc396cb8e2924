"""One stream of audio: what has come, and how far it is recognised."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wfst_entropy.asr.data.fbank import SAMPLING_RATE
from wfst_entropy.asr.streaming.online_fbank import FrameExtractor, OnlineFbank, window_end
from wfst_entropy.asr.streaming.online_resampler import OnlineResampler
from wfst_entropy.asr.streaming.stream_search import StreamHypothesis
from wfst_entropy.asr.streaming.word_history import WordHistory
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

# Below speech, and beyond any sound card; soxr would take the memory for any ratio.
_RATES = range(1000, 768001)
_INT16 = 32768.0


class Stream:
    """Audio that comes in pieces; made by `StreamingRecognizer.create_stream`.

    Args:
      extractor: of filter banks, shared by streams.
      model_states: of a stream that begins, one row each.
      search_state: likewise.
      owner: the recogniser, whose states these are.
    """

    def __init__(
        self,
        extractor: FrameExtractor,
        model_states: list[Tensor],
        search_state: Any,
        owner: object = None,
    ) -> None:
        self.owner = owner
        self._fbank = OnlineFbank(extractor)
        self._resampler: OnlineResampler | None = None
        self._features: deque[Tensor] = deque()
        self._num_samples = 0  # at the stream's own rate
        self.sampling_rate: int | None = None
        self.is_finished = False
        # What the recogniser keeps here: rows of its batches, and the results of this segment.
        self.num_frames = 0
        self.num_output_frames = 0
        self.model_states = model_states
        self.begin_segment(0, search_state)

    def begin_segment(self, segment: int, search_state: Any) -> None:
        """Forgets the words so far, and goes on with the next segment; times go on."""
        self.segment = segment
        self.search_state = search_state
        self.segment_start = self.num_output_frames
        self.history = WordHistory()
        self.partial: StreamHypothesis | None = None
        self.final: StreamHypothesis | None = None

    def accept_waveform(self, sampling_rate: int, samples: Tensor | np.ndarray) -> None:
        """Takes the next piece of audio, of any length.

        Args:
          sampling_rate: Hz; the same for all pieces of a stream.
          samples: `(n,)`, floating-point between -1 and 1, or int16.

        Raises:
          FsaTypeError: samples are no numbers of these kinds.
          FsaValueError: the stream is finished; or samples have several channels, are not finite,
            or have another rate than those before.
        """
        self._check_rate(sampling_rate)
        checked = _checked_samples(samples)
        self._check_finite(checked, sampling_rate)
        if self._resampler is None:
            self.sampling_rate, self._resampler = sampling_rate, OnlineResampler(sampling_rate)
        self._num_samples += len(checked)
        self._keep(self._fbank.accept(self._resampler.accept(checked)))

    def _check_rate(self, sampling_rate: int) -> None:
        if self.is_finished:
            raise FsaValueError(
                "accept_waveform: input_finished() has been called; begin another stream with "
                "create_stream()"
            )
        if isinstance(sampling_rate, bool) or sampling_rate not in _RATES:
            raise FsaValueError(
                f"sampling_rate: must be an integer in {_RATES.start}..{_RATES.stop - 1} Hz, got "
                f"{sampling_rate!r}"
            )
        if self.sampling_rate not in (None, sampling_rate):
            raise FsaValueError(
                f"sampling_rate: the stream began with {self.sampling_rate} Hz, got "
                f"{sampling_rate}; begin another stream with create_stream()"
            )

    def _check_finite(self, samples: Tensor, sampling_rate: int) -> None:
        if bool(samples.isfinite().all()):
            return
        place = int((~samples.isfinite()).nonzero()[0])
        raise FsaValueError(
            f"samples: {float(samples[place])} at sample {place} of this piece, "
            f"{(self._num_samples + place) / sampling_rate:.4f} s after the stream's beginning; "
            "the stream is as before this piece"
        )

    def input_finished(self) -> None:
        """Says that no more audio comes; what is left can be decoded then."""
        if self.is_finished:
            return
        self.is_finished = True
        if self._resampler is not None:
            self._keep(self._fbank.accept(self._resampler.finish()))
        self._keep(self._fbank.finish())

    def _keep(self, frames: Tensor) -> None:
        if len(frames):
            self._features.append(frames)

    @property
    def num_frames_ready(self) -> int:
        """Feature frames that wait to be decoded."""
        return self._fbank.num_frames - self.num_frames

    def next_frames(self, most: int) -> Tensor:
        """The next feature frames `(k, F)`, at most so many; they wait until they are dropped."""
        taken, missing = [], most
        for frames in self._features:
            if not missing:
                break
            taken.append(frames[:missing])
            missing -= len(taken[-1])
        return torch.cat(taken)

    def drop_frames(self, num_frames: int) -> None:
        """The next feature frames are decoded."""
        self.num_frames += num_frames
        while num_frames:
            first = self._features.popleft()
            if len(first) > num_frames:
                # no copy: who gives an hour at once would wait for an hour's copy in each chunk
                self._features.appendleft(first[num_frames:])
            num_frames -= min(num_frames, len(first))

    @property
    def is_decoded(self) -> bool:
        """Whether it is finished and nothing waits."""
        return self.is_finished and not self.num_frames_ready

    @property
    def duration(self) -> float:
        """Seconds of audio that have come; what the resampler holds back does not count."""
        return self._fbank.num_samples / SAMPLING_RATE

    @property
    def heard(self) -> float:
        """Seconds of audio that the results so far are of."""
        # the windows of the last frames go beyond the end
        end = min(self.duration, window_end(self.num_frames))
        return self.duration if self.is_decoded else end


def _checked_samples(samples: Tensor | np.ndarray) -> Tensor:
    """A copy in float32, for the caller may use its buffer again."""
    if isinstance(samples, np.ndarray) and (
        samples.dtype.kind == "f" or samples.dtype.newbyteorder("=") == np.int16
    ):
        # torch knows neither the other order of bytes, nor long floats, nor read-only buffers
        kind = np.float32 if samples.dtype.kind == "f" else np.int16
        with np.errstate(over="ignore"):  # infinity is refused with its place
            samples = torch.from_numpy(np.array(samples, dtype=kind, order="C"))
    if not isinstance(samples, Tensor):
        kind_of = getattr(samples, "dtype", type(samples).__name__)
        raise FsaTypeError(
            f"samples: must be a tensor or an array, floating-point or int16, got {kind_of}"
        )
    if samples.dim() != 1:
        raise FsaValueError(
            f"samples: must be one channel, (n,), got {tuple(samples.shape)}; choose a channel, or "
            "decode each as a stream of its own"
        )
    if samples.dtype == torch.int16:
        return samples.detach().cpu().to(torch.float32) / _INT16
    if not samples.is_floating_point():
        raise FsaTypeError(f"samples: must be floating-point or int16, got {samples.dtype}")
    return samples.detach().to("cpu", torch.float32, copy=True)
