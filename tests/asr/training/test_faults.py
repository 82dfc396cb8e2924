"""Runs of train.py that meet bad data, too little memory or dead processes, and go on."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lhotse import CutSet
from lhotse.dataset import K2SpeechRecognitionDataset

import wfst_entropy
from wfst_entropy.asr.data.manifest_files import read_cuts, write_jsonl
from wfst_entropy.asr.models.asr_model import AsrModel

TRAIN = Path(wfst_entropy.__file__).parents[1] / "recipes" / "librispeech" / "train.py"
# batches are a function of the cuts, the cuts' features are of the seed: the same in all runs
OPTIONS = {
    "encoder": "lstm",
    "use_transducer": "true",
    "decoder_dim": 8,
    "joiner_dim": 8,
    "rnnt_warm_step": 6,
    "num_epochs": 2,
    "dropout": 0.0,
    "use_bf16": "false",
    "base_lr": 0.001,
}


@pytest.fixture
def train(
    monkeypatch: pytest.MonkeyPatch, train_arguments: Callable[..., list[str]], tmp_path: Path
) -> Callable[..., tuple[str, list[dict[str, Any]], dict[str, Any]]]:
    """Runs train.py, and returns its log, its history and its last checkpoint."""

    def run(name: str, **options: object) -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
        exp_dir = tmp_path / name
        arguments = train_arguments(**{**OPTIONS, "exp_dir": exp_dir, **options})
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        runpy.run_path(str(TRAIN), run_name="__main__")
        log = "".join(path.read_text() for path in sorted((exp_dir / "log").iterdir()))
        rows = (exp_dir / "history.jsonl").read_text().splitlines()
        last = torch.load(exp_dir / "epoch-2.pt", weights_only=True)
        return log, [json.loads(row) for row in rows], last

    return run


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    """How far two models are apart, by how far they moved from zero."""
    differences = [(x - b["model"][name]).double().square().sum() for name, x in a["model"].items()]
    size = sum(x.double().square().sum() for x in a["model"].values())
    return float((sum(differences) / size).sqrt())


def too_little_memory(monkeypatch: pytest.MonkeyPatch, max_frames: int) -> list[int]:
    """Lets the CPU's allocator refuse batches of more frames; returns the list of their sizes."""
    refused: list[int] = []
    whole = AsrModel.forward_encoder

    def forward_encoder(self, features, lengths):
        if self.training and features.shape[0] * features.shape[1] > max_frames:
            refused.append(features.shape[0])
            torch.empty(2**60, dtype=torch.uint8)
        return whole(self, features, lengths)

    monkeypatch.setattr(AsrModel, "forward_encoder", forward_encoder)
    return refused


def killed_once(monkeypatch: pytest.MonkeyPatch, name: str, mark: Path) -> None:
    """Lets the first process that loads a cut be killed."""
    whole = K2SpeechRecognitionDataset.__getitem__
    parent = os.getpid()

    def getitem(self, cuts):
        if any(cut.id == name for cut in cuts) and not mark.exists():
            assert os.getpid() != parent
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, cuts)

    monkeypatch.setattr(K2SpeechRecognitionDataset, "__getitem__", getitem)


@pytest.mark.slow
def test_too_little_memory_and_a_killed_process_change_nothing(train, monkeypatch, tmp_path):
    _, rows, undisturbed = train("undisturbed")
    refused = too_little_memory(monkeypatch, max_frames=350)
    killed_once(monkeypatch, "train-clean-5-7", tmp_path / "killed")
    log, faulty_rows, last = train("faulty", num_workers=1)
    assert (tmp_path / "killed").exists() and len(refused) > 4
    assert log.count("out of memory, computed in two halves: train-clean-5-") == len(refused)
    assert log.count("are started again") == 1 and "train-clean-5-7 (" in log
    assert [row["step"] for row in faulty_rows] == [row["step"] for row in rows]
    assert [row["utterances"] for row in faulty_rows] == [30.0, 30.0]
    assert faulty_rows[1]["valid_loss"] == pytest.approx(rows[1]["valid_loss"], rel=1e-3)
    assert distance(last, undisturbed) < 1e-3
    _, _, other = train("other", seed=1)
    assert distance(other, undisturbed) > 1e-1  # what the numbers would be for another run


@pytest.fixture
def damaged_data(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy with an utterance of NaN, one whose loss overflows, and one far too long."""
    data = tmp_path / "damaged"
    shutil.copytree(tiny_data, data)
    for path in (data / "fbank").glob("*.jsonl.gz"):
        rows = [cut.to_dict() for cut in read_cuts(path)]
        for row in rows:
            features = row["features"]
            features["storage_path"] = features["storage_path"].replace(str(tiny_data), str(data))
        write_jsonl(path, rows)
    path = data / "fbank" / "librispeech_cuts_train-clean-5.jsonl.gz"
    cuts = {cut.id: cut for cut in CutSet.from_jsonl(path)}
    for name, value in (("train-clean-5-3", np.nan), ("train-clean-5-4", 1e38)):
        features = cuts[name].features
        stored = Path(features.storage_path) / features.storage_key
        matrix = np.load(stored)
        matrix[10] = value
        np.save(stored, matrix)
    rows = [cut.to_dict() for cut in read_cuts(path)]
    long = next(row for row in rows if row["id"] == "train-clean-5-5")
    copy = {**long, "id": "far-too-long", "duration": 1000.0}
    copy["features"] = {**long["features"], "duration": 1000.0, "num_frames": 100000}
    copy["supervisions"] = [{**long["supervisions"][0], "duration": 1000.0}]
    write_jsonl(path, [*rows, copy])
    return data


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["lstm", "conformer"])
def test_bad_utterances_are_named_and_the_others_trained_on(train, damaged_data, encoder):
    _, rows, _ = train("undisturbed", encoder=encoder)
    data = {"manifest_dir": damaged_data / "fbank", "lang_dir": damaged_data / "lang_char"}
    log, faulty_rows, last = train("faulty", encoder=encoder, enable_spec_aug="false", **data)
    assert "training without far-too-long: lasts 1000.00 s, outside 0.2 to 30 s" in log
    not_finite = [line for line in log.splitlines() if "not finite" in line]
    assert len([line for line in not_finite if "train-clean-5-3 (" in line]) == 2
    assert len([line for line in not_finite if "train-clean-5-4 (" in line]) == 2
    assert len(not_finite) == 4
    assert [row["step"] for row in faulty_rows] == [row["step"] for row in rows]
    assert [row["bad_batches"] for row in faulty_rows] == [0.0, 0.0]
    assert all(row["utterances"] >= 28.0 for row in faulty_rows)
    assert all(value.isfinite().all() for value in last["model"].values())
    # nothing but the bad utterances is missing: the training is much like the other
    assert faulty_rows[1]["valid_loss"] == pytest.approx(rows[1]["valid_loss"], rel=0.2)
