"""Filter banks of a stream: samples in any pieces, the same frames as of the whole."""

from __future__ import annotations

import numpy as np
import torch
from lhotse.features.base import FeatureExtractor
from torch import Tensor

from wfst_entropy.asr.data.fbank import SAMPLING_RATE, ExtractorName, make_extractor

# Samples of the windows of all extractors: 25 ms every 10 ms, the first centred at 5 ms.
_WINDOW, _SHIFT = 400, 160
_LEFT = (_WINDOW - _SHIFT) // 2
# Frames are computed this many at a time, each at its own place among them: a matrix product may
# round a row otherwise where there are more or fewer rows, or where the row stands elsewhere.
_BLOCK = 16
_STEP = 2.0**-15  # of samples of 16 bits; recordings are no quieter than some steps


def window_end(num_frames: int) -> float:
    """Seconds of audio that the first frames depend on, where the audio does not end before.

    >>> window_end(1), window_end(100)
    (0.0175, 1.0075)
    """
    return ((num_frames - 1) * _SHIFT + _WINDOW - _LEFT) / SAMPLING_RATE if num_frames else 0.0


class FrameExtractor:
    """What many streams share: filter banks of whole windows.

    Args:
      name: as for `make_extractor`, the one of the run's data.
      num_mel_bins: F, dimension of a frame.
      dither_silence: whether a window that holds no signal, but samples of one value (to a step of
        16 bits), as of a muted microphone, gives the frame of noise of one step instead. No other
        frame changes.

    Raises:
      DataError, MissingDependencyError: see `make_extractor`.

    Source: Kaldi's `--dither`, 1 by default, which adds such noise to all samples.
    """

    def __init__(
        self,
        name: ExtractorName = "lhotse",
        num_mel_bins: int = 80,
        *,
        dither_silence: bool = False,
    ) -> None:
        self.num_mel_bins = num_mel_bins
        self._extractor: FeatureExtractor = make_extractor(name, num_mel_bins, snip_edges=True)
        self._noise: Tensor | None = None
        if dither_silence:
            generator = np.random.default_rng(0)
            noise = generator.standard_normal((_BLOCK - 1) * _SHIFT + _WINDOW) * _STEP
            self._noise = self._extract(torch.from_numpy(noise.astype(np.float32)))

    def frames(self, samples: Tensor, num_frames: int, first: int = 0) -> Tensor:
        """Filter banks `(num_frames, F)`, the same bits in whatever pieces they are asked for.

        Args:
          samples: `(n,)` float32, from the first frame's window on.
          num_frames: how many to compute.
          first: the number of the first one in its stream.
        """
        blocks = [torch.zeros(0, self.num_mel_bins)]
        done = 0
        while done < num_frames:
            place = (first + done) % _BLOCK
            count = min(_BLOCK - place, num_frames - done)
            block = torch.zeros((_BLOCK - 1) * _SHIFT + _WINDOW)
            begin, length = place * _SHIFT, (count - 1) * _SHIFT + _WINDOW
            block[begin : begin + length] = samples[done * _SHIFT : done * _SHIFT + length]
            found = self._extract(block)
            if self._noise is not None:
                windows = block.unfold(0, _WINDOW, _SHIFT)
                silent = windows.amax(1) - windows.amin(1) < _STEP
                found = torch.where(silent[:, None], self._noise, found)
            blocks.append(found[place : place + count])
            done += count
        return torch.cat(blocks)

    def _extract(self, block: Tensor) -> Tensor:
        found = self._extractor.extract(block.numpy(), SAMPLING_RATE)
        return torch.from_numpy(np.asarray(found, dtype=np.float32))


class OnlineFbank:
    """The filter banks of one stream at 16 kHz, each frame as soon as its window is there.

    Together the frames equal those that the extractor gives for the whole audio (100 a second,
    samples reflected at both ends) to 1e-5, and do not depend by a bit on how it is cut.  Frame t
    needs the samples up to `10 t + 17.5` ms; the last one or two come with `finish`.  As in whole
    files, audio shorter than one window (25 ms) has no frames.

    Args:
      extractor: may be shared by all streams.

    Example:
      >>> whole = torch.rand(1600) - 0.5
      >>> online = OnlineFbank(FrameExtractor())
      >>> frames = [online.accept(piece) for piece in whole.split(500)] + [online.finish()]
      >>> [len(each) for each in frames]
      [2, 3, 3, 1, 1]
      >>> reference = make_extractor("lhotse").extract(whole.numpy(), 16000)
      >>> torch.allclose(torch.cat(frames), torch.from_numpy(reference), atol=1e-5)
      True
    """

    def __init__(self, extractor: FrameExtractor) -> None:
        self._extractor = extractor
        # samples from the next frame's window on; before the first one those that there are
        self._samples = torch.zeros(0)
        self.num_samples = 0
        self.num_frames = 0

    def accept(self, samples: Tensor) -> Tensor:
        """Goes on by some samples.

        Args:
          samples: `(n,)` float32, between -1 and 1.

        Returns:
          The frames `(k, F)` float32 that are determined now.
        """
        begun = self.num_samples >= _WINDOW
        self.num_samples += len(samples)
        self._samples = torch.cat([self._samples, samples])
        if self.num_samples < _WINDOW:
            return self._take(0)
        if not begun:
            self._samples = torch.cat([self._samples[:_LEFT].flip(0), self._samples])
        return self._take((len(self._samples) - _WINDOW) // _SHIFT + 1)

    def finish(self) -> Tensor:
        """The frames `(k, F)` at the end of the stream, which needs no others after this."""
        if self.num_samples < _WINDOW:
            return self._take(0)
        remaining = (self.num_samples + _SHIFT // 2) // _SHIFT - self.num_frames
        missing = (remaining - 1) * _SHIFT + _WINDOW - len(self._samples)
        self._samples = torch.cat([self._samples, self._samples[-missing:].flip(0)])
        return self._take(remaining)

    def _take(self, num_frames: int) -> Tensor:
        frames = self._extractor.frames(self._samples, num_frames, self.num_frames)
        # a copy: a view would keep all samples that ever came
        self._samples = self._samples[num_frames * _SHIFT :].clone()
        self.num_frames += num_frames
        return frames
