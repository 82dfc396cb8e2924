"""Audio of another rate at 16 kHz, piece by piece."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from torch import Tensor

from wfst_entropy.asr.data.fbank import SAMPLING_RATE


class OnlineResampler:
    """A stream of any sampling rate at 16 kHz; together the same samples as of the whole.

    The filter looks ahead and works in blocks, so that samples come later: at most 45 ms for 44.1
    and 48 kHz, 120 ms for 8 kHz (`tests/asr/streaming/test_online_resampler.py` measures it).  At
    16 kHz samples are passed on.

    Args:
      sampling_rate: of the stream, in Hz.

    Example:
      >>> online = OnlineResampler(8000)
      >>> whole = torch.rand(8000) - 0.5
      >>> pieces = [online.accept(piece) for piece in whole.split(1000)] + [online.finish()]
      >>> reference = soxr.resample(whole.numpy(), 8000, 16000)
      >>> torch.allclose(torch.cat(pieces), torch.from_numpy(reference), atol=1e-6)
      True
    """

    def __init__(self, sampling_rate: int) -> None:
        self._stream = None
        if sampling_rate != SAMPLING_RATE:
            self._stream = soxr.ResampleStream(sampling_rate, SAMPLING_RATE, 1, dtype="float32")

    def accept(self, samples: Tensor) -> Tensor:
        """Goes on by samples `(n,)` float32; returns those at 16 kHz that are determined now."""
        return self._resampled(samples, last=False)

    def finish(self) -> Tensor:
        """The last samples, which the filter held back."""
        return self._resampled(torch.zeros(0), last=True)

    def _resampled(self, samples: Tensor, last: bool) -> Tensor:
        if self._stream is None:
            return samples
        found = self._stream.resample_chunk(np.ascontiguousarray(samples.numpy()), last=last)
        return torch.from_numpy(found)
