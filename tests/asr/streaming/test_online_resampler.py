"""Resampled streams equal resampled files, and lag behind them by little."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
import torch

from wfst_entropy.asr.streaming.online_resampler import OnlineResampler


@pytest.mark.parametrize(("rate", "lag"), [(8000, 0.12), (44100, 0.045), (48000, 0.045)])
@pytest.mark.parametrize("size", [80, 777])
def test_samples_and_lag_of_a_stream(rate, lag, size):
    samples = torch.from_numpy(np.random.default_rng(0).random(rate, dtype=np.float32) - 0.5)
    online = OnlineResampler(rate)
    pieces, lags, given, come = [], [], 0, 0
    for piece in samples.split(size):
        pieces.append(online.accept(piece))
        given, come = given + len(piece), come + len(pieces[-1])
        lags.append(given / rate - come / 16000)
    found = torch.cat([*pieces, online.finish()])
    whole = soxr.resample(samples.numpy(), rate, 16000)
    torch.testing.assert_close(found, torch.from_numpy(whole), atol=1e-6, rtol=0)
    assert 0.01 < max(lags) <= lag


def test_audio_at_16_khz_is_passed_on():
    samples = torch.rand(10)
    assert OnlineResampler(16000).accept(samples) is samples
