"""A data set that trains in a second: cuts with made-up features and transcripts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet, MonoCut, NumpyFilesWriter, SupervisionSegment
from lhotse.features.base import Features

from wfst_entropy.asr.data.prepare_lang import prepare_lang


def _cut(name: str, writer: NumpyFilesWriter, draw: random.Random) -> MonoCut:
    num_frames = draw.randint(60, 150)
    features = np.random.default_rng(draw.getrandbits(32)).normal(-8, 4, (num_frames, 80))
    key = writer.write(name, features.astype(np.float32))
    text = " ".join("".join(draw.choices("ABC", k=2)) for _ in range(draw.randint(1, 3)))
    duration = num_frames / 100
    return MonoCut(
        id=name,
        start=0.0,
        duration=duration,
        channel=0,
        supervisions=[SupervisionSegment(name, name, 0.0, duration, text=text)],
        features=Features(
            type="kaldi-fbank",
            num_frames=num_frames,
            num_features=80,
            frame_shift=0.01,
            sampling_rate=16000,
            start=0.0,
            duration=duration,
            storage_type=writer.name,
            storage_path=str(writer.storage_path),
            storage_key=key,
            recording_id=name,
            channels=0,
        ),
    )


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """A folder with ``fbank/`` (30 training and 6 validation cuts) and ``lang_char/``."""
    folder = tmp_path_factory.mktemp("tiny_data")
    draw = random.Random(1)
    texts = []
    with NumpyFilesWriter(folder / "feats") as writer:
        for part, size in (("train-clean-5", 30), ("dev-clean-2", 6)):
            cuts = [_cut(f"{part}-{i}", writer, draw) for i in range(size)]
            texts += [cut.supervisions[0].text for cut in cuts]
            (folder / "fbank").mkdir(exist_ok=True)
            CutSet.from_cuts(cuts).to_file(folder / f"fbank/librispeech_cuts_{part}.jsonl.gz")
    prepare_lang(texts, folder / "lang_char")
    return folder


@pytest.fixture(scope="session")
def train_arguments(tiny_data) -> Callable[..., list[str]]:
    """Arguments of train.py for a small model on the tiny data; keywords are further options."""

    def arguments(**options: object) -> list[str]:
        values = {
            "manifest_dir": tiny_data / "fbank",
            "lang_dir": tiny_data / "lang_char",
            "max_duration": 5,
            "num_buckets": 2,
            "num_epochs": 3,
            "encoder_dim": 8,
            "num_layers": 2,
            "log_interval": 1,
            "average_period": 4,
            "tensorboard": "false",
            "entropy_loss_scale": 0.1,
        } | options
        named = (("--" + name.replace("_", "-"), str(value)) for name, value in values.items())
        return [word for pair in named for word in pair]

    return arguments
