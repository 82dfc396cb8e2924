"""Checkpoints are whole or absent, found again, and loaded only where they fit."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import torch

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.checkpoint import (
    CheckpointError,
    checkpoint_files,
    load_checkpoint,
    load_latest,
    load_model,
    load_parameters,
    remove_old_checkpoints,
    remove_unfinished,
    save_checkpoint,
    set_aside,
)
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa import FileWriteError
from wfst_entropy.fsa.atomic_file import replacing

SMALL = ModelOptions(encoder_dim=8, num_layers=1, vocab_size=5)


def save(path, value=1.0, **entries):
    save_checkpoint(path, {"model": {"w": torch.full((1000,), value)}, **entries})


def test_the_newest_readable_checkpoint_is_used_and_damaged_ones_are_named(tmp_path):
    for number, value in ((1, 1.0), (2, 2.0), (3, 3.0)):
        save(tmp_path / f"epoch-{number}.pt", value)
        os.utime(tmp_path / f"epoch-{number}.pt", (number, number))
    whole = (tmp_path / "epoch-3.pt").read_bytes()
    (tmp_path / "epoch-3.pt").write_bytes(whole[: len(whole) // 2])
    os.utime(tmp_path / "epoch-3.pt", (3, 3))
    path, state, damaged = load_latest(tmp_path)
    assert path.name == "epoch-2.pt" and state["model"]["w"][0] == 2.0
    assert len(damaged) == 1 and "epoch-3.pt: is truncated or damaged" in damaged[0]


def test_any_flipped_byte_of_the_parameters_is_noticed(tmp_path):
    path = tmp_path / "epoch-1.pt"
    save(path)
    data = bytearray(path.read_bytes())
    where = data.index(torch.ones(8).numpy().tobytes()) + 100
    data[where] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"epoch-1\.pt: is truncated or damaged"):
        load_checkpoint(path)


def test_an_empty_file_and_a_foreign_file_are_named(tmp_path):
    (tmp_path / "epoch-1.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_checkpoint(tmp_path / "epoch-1.pt")
    torch.save([1, 2], tmp_path / "epoch-2.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "epoch-2.pt")
    with pytest.raises(CheckpointError, match=r"no checkpoint can be read.*--resume false"):
        load_latest(tmp_path)


def test_a_missing_checkpoint_lists_those_that_exist(tmp_path):
    save(tmp_path / "epoch-4.pt")
    with pytest.raises(CheckpointError, match=r"epoch-7\.pt: .*there are: epoch-4\.pt"):
        load_checkpoint(tmp_path / "epoch-7.pt")


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path):
    path = tmp_path / "epoch-1.pt"
    save(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(FileWriteError, match=r"epoch-1\.pt: cannot be written.*Make room"):
            save(path, 2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-1.pt"]


def test_only_the_last_batch_checkpoints_are_kept(tmp_path):
    for number in (9, 10, 200, 1000):
        save(tmp_path / f"checkpoint-{number}.pt")
    save(tmp_path / "epoch-1.pt")
    remove_old_checkpoints(tmp_path, 2)
    names = {p.name for p in checkpoint_files(tmp_path)}
    assert names == {"checkpoint-200.pt", "checkpoint-1000.pt", "epoch-1.pt"}


def test_what_a_killed_run_left_unfinished_is_deleted(tmp_path):
    save(tmp_path / "checkpoint-9.pt")
    for name in (".checkpoint-10.pt.123.tmp", ".best-valid-loss.pt.123.tmp", ".lock", "a.pt.1.tmp"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "epoch-1.pt") as file:
        unfinished = tmp_path / Path(file.name).name
        kept = tmp_path / f"{unfinished.name}.copy"
        kept.hardlink_to(unfinished)
        raise KeyboardInterrupt
    kept.rename(unfinished)  # as if nobody had cleaned up
    remove_unfinished(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-9.pt", ".lock", "a.pt.1.tmp"}


def test_setting_aside_moves_and_never_overwrites(tmp_path):
    for expected in ("previous-1", "previous-2"):
        save(tmp_path / "epoch-1.pt")
        save(tmp_path / "best-valid-loss.pt")
        assert set_aside(tmp_path).name == expected
        assert checkpoint_files(tmp_path) == []
        assert len(list((tmp_path / expected).iterdir())) == 2


@pytest.mark.parametrize(
    ("other", "wording"),
    [
        ({"encoder": "lstm"}, r"encoder\.layers\.0\.conv\.weight is missing.* more"),
        (
            {"encoder_dim": 16},
            r"subsampling\.linear\.weight is \(16, 640\) in the file, \(8, 640\)",
        ),
        ({"num_layers": 2}, r"encoder\.layers\.1\.conv\.weight is not in the model"),
        ({"vocab_size": 9}, r"output\.weight is \(9, 8\) in the file, \(5, 8\) in the model"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(other, wording):
    sizes = {"encoder_dim": 8, "num_layers": 1, "vocab_size": 5} | other
    state = build_model(ModelOptions(**sizes)).state_dict()
    with pytest.raises(CheckpointError, match=rf"exp/epoch-1\.pt: is of another .*{wording}"):
        load_parameters(build_model(SMALL), state, "exp/epoch-1.pt")


@pytest.fixture
def run_of_four_epochs(tmp_path):
    """Models after 10, 20, 30, 40 batches whose parameters are all 1, 2, 3, 4."""
    RunConfig(SMALL, DataOptions(), TrainOptions(exp_dir=tmp_path)).save()
    names = build_model(SMALL).state_dict()
    for epoch in range(1, 5):
        running = sum(range(1, epoch + 1)) / epoch
        content = {
            "model": {name: torch.full_like(v, epoch) for name, v in names.items()},
            "model_avg": {name: torch.full_like(v, running).double() for name, v in names.items()},
            "progress": {"averaged_step": 10 * epoch},
        }
        save_checkpoint(tmp_path / f"epoch-{epoch}.pt", content)
        save_checkpoint(tmp_path / f"checkpoint-{10 * epoch}.pt", content)
    return tmp_path


@pytest.mark.parametrize(
    ("epoch", "avg", "use_averaged_model", "expected"),
    [
        (4, 1, False, 4.0),
        (4, 3, False, 3.0),
        (4, 1, True, 4.0),
        (4, 3, True, 3.0),
        (3, 3, True, 2.0),
    ],
)
def test_averaging_over_the_last_epochs(
    run_of_four_epochs, epoch, avg, use_averaged_model, expected
):
    model, config = load_model(run_of_four_epochs, epoch, avg, use_averaged_model)
    assert config.model == SMALL and not model.training
    torch.testing.assert_close(model.ctc_output.bias.detach(), torch.full((5,), expected))


def test_averaging_over_batch_checkpoints(run_of_four_epochs):
    model, _ = load_model(run_of_four_epochs, 0, avg=2, iteration=40)
    torch.testing.assert_close(model.ctc_output.bias.detach(), torch.full((5,), 3.5))
    # without running averages no file before the first one is needed
    model, _ = load_model(run_of_four_epochs, 0, avg=4, use_averaged_model=False, iteration=40)
    torch.testing.assert_close(model.ctc_output.bias.detach(), torch.full((5,), 2.5))


def test_impossible_averages_are_explained(run_of_four_epochs):
    with pytest.raises(CheckpointError, match="cannot average 5 epochs that end with epoch 4"):
        load_model(run_of_four_epochs, 4, 5)
    with pytest.raises(CheckpointError, match=r"epoch-9\.pt: there is no such checkpoint"):
        load_model(run_of_four_epochs, 9, 1)
    with pytest.raises(CheckpointError, match=r"checkpoint-40\.pt: averaging 4 needs.* 4 before"):
        load_model(run_of_four_epochs, 0, avg=4, iteration=40)


def test_a_folder_without_a_run_is_called_that(tmp_path):
    with pytest.raises(OptionError, match=r"config\.yaml: no such file, so .* no folder of a run"):
        RunConfig.load(tmp_path)


def test_a_folder_is_no_checkpoint(run_of_four_epochs):
    with pytest.raises(CheckpointError, match=r"is a folder; name a checkpoint .* epoch-4\.pt"):
        load_checkpoint(run_of_four_epochs)
