"""Training by the recipe's train.py: killed and resumed, in two processes, with bad arguments."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wfst_entropy

ROOT = Path(wfst_entropy.__file__).parents[1]
TRAIN = ROOT / "recipes" / "librispeech" / "train.py"

# Imports torch once and forks a process per run: most of the time would be importing otherwise.
KILLER = """
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

train_py, work, num_steps, *arguments = sys.argv[1:]
spec = importlib.util.spec_from_file_location("train", train_py)
train = importlib.util.module_from_spec(spec)
sys.modules["train"] = train
spec.loader.exec_module(train)


def start(exp_dir):
    pid = os.fork()
    if pid:
        return pid
    sys.argv = ["train.py", "--exp-dir", str(exp_dir), *arguments]
    try:
        train.main()
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_at(exp_dir, step):
    pid = start(exp_dir)
    deadline = time.monotonic() + 60
    while not any(f"step {step}:" in p.read_text() for p in exp_dir.glob("log/log-train-*")):
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.03))
    os.kill(pid, signal.SIGKILL)
    assert wait(pid) == -signal.SIGKILL


work, num_steps = Path(work), int(num_steps)
draw = random.Random(time.time_ns())
assert wait(start(work / "whole")) == 0
for part in range(3):
    third = num_steps // 3
    kill_at(work / "killed", draw.randint(part * third + 2, (part + 1) * third - 1))
    if part == 1:
        newest = max(
            [p for p in (work / "killed").glob("*-*.pt") if "best" not in p.name],
            key=lambda p: p.stat().st_mtime_ns,
        )
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        (work / "truncated").write_text(newest.name)
assert wait(start(work / "killed")) == 0
"""


def run(command: list[str], timeout: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def tensors(value: object, name: str = "") -> dict[str, object]:
    """All leaves of a checkpoint by path, without the times that it took."""
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items() if key != "seconds"]
    elif isinstance(value, list):
        items = [(str(i), item) for i, item in enumerate(value)]
    else:
        return {name: value}
    return {
        path: leaf for key, item in items for path, leaf in tensors(item, f"{name}/{key}").items()
    }


TRANSDUCER = {
    "use_transducer": "true",
    "predictor": "lstm",
    "decoder_dim": 8,
    "joiner_dim": 8,
    "rnnt_warm_step": 12,
    "entropy_warm_up": 9,
}


@pytest.mark.slow
def test_killed_three_times_the_run_ends_as_if_it_never_was(train_arguments, tmp_path):
    script = tmp_path / "killer.py"
    script.write_text(KILLER)
    options = train_arguments(save_every_n=2, keep_last_k=2, **TRANSDUCER)
    done = run([sys.executable, str(script), str(TRAIN), str(tmp_path), "21", *options])
    assert done.returncode == 0, done.stderr
    logs = "".join(path.read_text() for path in (tmp_path / "killed/log").iterdir())
    truncated = (tmp_path / "truncated").read_text()
    assert f"{truncated}: is truncated or damaged" in logs
    assert logs.count("going on from") >= 3
    for name in ("epoch-1.pt", "epoch-3.pt", "best-valid-loss.pt", "best-train-loss.pt"):
        whole, killed = (
            tensors(torch.load(tmp_path / run / name, weights_only=True))
            for run in ("whole", "killed")
        )
        assert whole.keys() == killed.keys()
        different = [
            key
            for key, value in whole.items()
            if not (
                torch.equal(value, killed[key])
                if isinstance(value, torch.Tensor)
                else value == killed[key]
            )
        ]
        assert not different, f"{name}: {different[:5]}"
    rows = [
        [json.loads(line) for line in (tmp_path / run / "history.jsonl").read_text().splitlines()]
        for run in ("whole", "killed")
    ]
    assert [row["epoch"] for row in rows[1]] == [1, 2, 3]
    assert [tensors(row) for row in rows[0]] == [tensors(row) for row in rows[1]]


@pytest.mark.slow
def test_processes_can_be_started_without_torchrun(train_arguments, tmp_path):
    options = train_arguments(num_epochs=1, exp_dir=tmp_path / "exp", world_size=2)
    done = run([sys.executable, str(TRAIN), *options])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "exp" / "epoch-1.pt").exists()


def train_here(monkeypatch, *argv: str) -> str:
    """Run train.py in this process and return the message it ends with."""
    monkeypatch.setattr(sys, "argv", ["train.py", *argv])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(TRAIN), run_name="__main__")
    return str(stopped.value.code)


def test_bad_arguments_get_a_message(train_arguments, tiny_data, tmp_path, monkeypatch, capsys):
    exp = str(tmp_path / "exp")
    options = train_arguments(exp_dir=exp)
    message = train_here(monkeypatch, *options, "--lang-dir", str(tmp_path / "no"))
    assert message.startswith("train.py: error:") and str(tmp_path / "no") in message
    message = train_here(monkeypatch, *options, "--num-epochs", "0")
    assert "num_epochs: needs at least 1, got 0" in message
    message = train_here(monkeypatch, *options, "--manifest-dir", str(tmp_path))
    assert str(tmp_path) in message
    (cuts,) = (tiny_data / "fbank").glob("librispeech_cuts_train*")
    shutil.copy(cuts, tmp_path)
    message = train_here(monkeypatch, *options, "--manifest-dir", str(tmp_path))
    assert "no librispeech_cuts_dev*.jsonl.gz" in message  # before any training
    assert not list((tmp_path / "exp").glob("*.pt"))
    assert train_here(monkeypatch, *options, "--encoder", "rnn") == "2"
    assert "choose from" in capsys.readouterr().err


def test_another_model_in_the_same_folder_is_refused(
    train_arguments, tiny_data, tmp_path, monkeypatch
):
    exp = str(tmp_path / "exp")
    options = train_arguments(exp_dir=exp, num_epochs=1)
    monkeypatch.setattr(sys, "argv", ["train.py", *options])
    runpy.run_path(str(TRAIN), run_name="__main__")
    message = train_here(monkeypatch, *options, "--num-layers", "5")
    assert "config.yaml: the run there has another model (num_layers 2 -> 5)" in message
    shutil.copytree(tiny_data / "lang_char", tmp_path / "lang")
    tokens = (tmp_path / "lang/tokens.txt").read_text()
    changed = tokens.replace("A 4", "B 4").replace("B 5", "A 5")
    (tmp_path / "lang/tokens.txt").write_text(changed)
    assert changed != tokens
    message = train_here(monkeypatch, *options, "--lang-dir", str(tmp_path / "lang"))
    assert "its tokens.txt has 'B 4' where the run in" in message
    # a run that is finished stays described by the options that made it
    before = (tmp_path / "exp/config.yaml").read_text()
    monkeypatch.setattr(sys, "argv", ["train.py", *options, "--entropy-loss-scale", "0.7"])
    runpy.run_path(str(TRAIN), run_name="__main__")
    assert (tmp_path / "exp/config.yaml").read_text() == before
    log = "".join(path.read_text() for path in (tmp_path / "exp/log").iterdir())
    assert "entropy_loss_scale 0.1 -> 0.7; the run is finished without them" in log


def test_other_batches_and_losses_in_the_middle_of_an_epoch_are_pointed_out(
    train_arguments, tmp_path, monkeypatch
):
    def train(**options: object) -> str:
        arguments = train_arguments(exp_dir=tmp_path / "exp", num_epochs=1, **options)
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        runpy.run_path(str(TRAIN), run_name="__main__")
        return "".join(path.read_text() for path in (tmp_path / "exp/log").iterdir())

    assert "has other batches" not in train(save_every_n=3)
    for name in ("epoch-1.pt", "checkpoint-6.pt"):
        (tmp_path / "exp" / name).unlink()
    assert "other options than before" not in train(save_every_n=3, start_batch=3)
    for name in ("epoch-1.pt", "checkpoint-6.pt"):
        (tmp_path / "exp" / name).unlink()
    log = train(save_every_n=3, max_duration=8, entropy_loss_scale=0.2)
    assert "epoch 1, batch 3" in log
    assert "the rest of epoch 1 has other batches than the interrupted run would have had: " in log
    assert "max_duration 5.0 -> 8.0" in log
    assert "other options than before: entropy_loss_scale 0.1 -> 0.2" in log
