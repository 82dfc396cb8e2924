"""Frames of a stream are those of the whole, however it is cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wfst_entropy.asr.data.fbank import make_extractor
from wfst_entropy.asr.streaming.online_fbank import FrameExtractor, OnlineFbank, window_end

EXTRACTORS = ("lhotse", "kaldi-native-fbank")
SHARED = {name: (make_extractor(name), FrameExtractor(name)) for name in EXTRACTORS}


def audio(num_samples, seed=0):
    return torch.rand(num_samples, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.mark.parametrize("name", EXTRACTORS)
@settings(max_examples=12, deadline=None)
@given(
    num_samples=st.integers(400, 4000),
    cuts=st.lists(st.integers(0, 4000), max_size=6),
)
def test_frames_of_the_whole(name, num_samples, cuts):
    whole_extractor, shared = SHARED[name]
    samples = audio(num_samples)
    bounds = [0, *sorted(min(cut, num_samples) for cut in cuts), num_samples]
    online = OnlineFbank(shared)
    frames = [online.accept(samples[a:b]) for a, b in itertools.pairwise(bounds)]
    # each frame comes as soon as its window is there, from one window of audio on
    come = len(torch.cat(frames))
    assert come == (num_samples - 280) // 160 + 1
    assert window_end(come) * 16000 <= num_samples < window_end(come + 1) * 16000
    found = torch.cat([*frames, online.finish()])
    whole = torch.from_numpy(np.asarray(whole_extractor.extract(samples.numpy(), 16000)))
    assert found.shape == whole.shape
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_frames_do_not_depend_on_the_cuts(name):
    shared = SHARED[name][1]
    samples = audio(16000)
    found = []
    for size in (16000, 1600, 400, 333):
        online = OnlineFbank(shared)
        frames = [online.accept(piece) for piece in samples.split(size)]
        found.append(torch.cat([*frames, online.finish()]))
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("num_samples", [0, 1, 119, 280, 399])
def test_less_than_a_window_has_no_frames(num_samples):
    online = OnlineFbank(SHARED["lhotse"][1])
    assert online.accept(audio(num_samples)).shape == (0, 80)
    assert online.finish().shape == (0, 80)


def test_memory_does_not_grow():
    online = OnlineFbank(SHARED["lhotse"][1])
    for _ in range(5):
        online.accept(audio(16000))
        assert online._samples.untyped_storage().nbytes() < 4 * 400


@pytest.mark.parametrize("name", EXTRACTORS)
def test_a_muted_microphone_is_heard_as_noise(name):
    plain, dithered = SHARED[name][1], FrameExtractor(name, dither_silence=True)
    step = 2.0**-15
    speech = (audio(3200) / step).round() * step
    faint = torch.tensor([step, 0.0]).repeat(800)  # one step is no silence
    samples = torch.cat([speech, torch.zeros(3200), faint, torch.full((3200,), -5 * step), speech])

    def frames(extractor, samples, size):
        online = OnlineFbank(extractor)
        return torch.cat([*map(online.accept, samples.split(size)), online.finish()])

    found = [frames(dithered, samples, size) for size in (len(samples), 333)]
    assert torch.equal(*found)
    padded = torch.cat([samples[:120].flip(0), samples, samples[-120:].flip(0)])
    windows = padded.unfold(0, 400, 160)
    silent = windows.amax(1) == windows.amin(1)
    assert silent.sum() > 30
    expected = frames(plain, samples, 500)
    assert torch.equal(found[0][~silent], expected[~silent])
    # between nothing and what is 4 times as loud (12 dB)
    loud = torch.randn(16000, generator=torch.Generator().manual_seed(1)) * 4 * step
    levels = found[0][silent].mean(), frames(plain, loud, 500).mean()
    assert expected[silent].mean() + 0.5 < levels[0] < levels[1]
    assert len(found[0][silent].unique(dim=0)) > 8  # no still tone
