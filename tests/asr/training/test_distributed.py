"""Two processes compute the gradient that one computes on the joint batch, and they train."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wfst_entropy
from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.training.checkpoint import load_checkpoint, load_model, load_parameters
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distributed import ProcessRank
from wfst_entropy.asr.training.train_loop import choose_dtype, validate

ROOT = Path(wfst_entropy.__file__).parents[1]

# Run by torchrun with two processes, and by the test for the joint batch. One launch serves all
# tests: starting three interpreters takes most of the time.
SCRIPT = '''
import runpy
import sys

import torch

from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distributed import ProcessRank
from wfst_entropy.asr.training.optimizer import build_optimizer
from wfst_entropy.asr.training.train_loop import BadBatches, train_batch
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import TrainState
from wfst_entropy.asr.data.utterances import read_batch

ENCODERS = ["tdnn", "lstm", "conformer"]


class Letters:
    def encode(self, text):
        return [ord(letter) - 96 for letter in text]


def batch(utterances):
    """Shares of unequal length; the last utterance is too short for its transcript."""
    texts = ["abc", "dda", "b", "abcd", "abab" * 9]
    frames = [80, 61, 33, 50, 20]
    features = torch.randn(5, 80, 80, generator=torch.Generator().manual_seed(0)) * 4 - 8
    supervisions = {
        "text": [texts[i] for i in utterances],
        "num_frames": torch.tensor([frames[i] for i in utterances]),
        "sequence_idx": torch.arange(len(utterances)),
    }
    longest = max(frames[i] for i in utterances)
    return {"inputs": features[utterances, :longest], "supervisions": supervisions}


def too_little_memory(model, max_rows):
    whole = model.forward_encoder

    def forward_encoder(features, lengths):
        if len(features) > max_rows:
            raise MemoryError
        return whole(features, lengths)

    model.forward_encoder = forward_encoder


def gradients(process, encoder, utterances, prune_range=None, max_rows=9):
    """Loss and gradients of a step; a transducer where there is a prune_range."""
    torch.manual_seed(1)
    model = build_model(
        ModelOptions(
            encoder=encoder, encoder_dim=16, num_layers=2, vocab_size=5, dropout=0.0,
            use_transducer=prune_range is not None, decoder_dim=8, joiner_dim=8,
        )
    )
    too_little_memory(model, max_rows)
    options = TrainOptions(entropy_loss_scale=0.3, prune_range=prune_range or 0, grad_clip=1e9)
    criterion = TrainingCriterion(model, options)
    optimizer = build_optimizer(model, options)
    state = TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))
    data = read_batch(batch(utterances), Letters())
    result = train_batch(criterion, data, state, options, process, BadBatches(0))
    assert result.problem is None
    return result.loss, result.terms, {name: p.grad for name, p in model.named_parameters()}


def not_finite(process, utterances):
    """One process has nothing but NaN: what the other says, and whether it changed its model."""
    torch.manual_seed(1)
    model = build_model(ModelOptions(encoder="lstm", encoder_dim=16, num_layers=1, vocab_size=5))
    before = model.ctc_output.bias.detach().clone()
    if process.rank == 1:
        model.forward_encoder = lambda features, lengths: (
            features[:, ::4, :16] * torch.nan * model.ctc_output.bias[0], lengths // 4
        )
    options = TrainOptions()
    state = TrainState(
        model, build_optimizer(model, options), torch.amp.GradScaler("cpu", enabled=False)
    )
    data = read_batch(batch(utterances), Letters())
    criterion = TrainingCriterion(model, options)
    result = train_batch(criterion, data, state, options, process, BadBatches(1))
    return result.problem, torch.equal(before, model.ctc_output.bias)


def run(process, config):
    """What train.py's main() launches: first the gradients, then the training itself."""
    mine = [[0, 4], [1, 2, 3]][process.rank]
    found = {encoder: gradients(process, encoder, mine) for encoder in ENCODERS}
    for prune_range in (0, 3):
        found[prune_range] = gradients(process, "lstm", mine, prune_range)
    # the second process computes its three utterances one by one, the first its two at once
    found["nan"] = not_finite(process, mine)
    found["memory"] = gradients(process, "lstm", mine, 3, max_rows=[2, 1][process.rank])
    if process.is_first:
        torch.save(found, config.train.exp_dir.parent / "gradients.pt")
    train_run(process, config)


if __name__ == "__main__":
    train = runpy.run_path(sys.argv.pop(1))
    train_run = train["run"]
    train["main"].__globals__["run"] = run
    train["main"]()
'''


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, train_arguments):
    folder = tmp_path_factory.mktemp("ddp")
    script = folder / "ddp_script.py"
    script.write_text(SCRIPT)
    torchrun = subprocess.Popen(
        [
            *[sys.executable, "-m", "torch.distributed.run", "--standalone"],
            *["--nproc-per-node", "2", script, ROOT / "recipes/librispeech/train.py"],
            *train_arguments(num_epochs=2, exp_dir=folder / "exp", max_duration=3),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = torchrun.communicate(timeout=120)
    finally:
        torchrun.terminate()  # it ends its processes, which a kill would leave behind
    assert torchrun.returncode == 0, output
    namespace = {"__name__": "ddp_script"}
    exec(compile(SCRIPT, str(script), "exec"), namespace)
    return folder, namespace


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["tdnn", "lstm", "conformer"])
def test_gradients_of_two_processes_are_those_of_the_joint_batch(two_processes, encoder):
    folder, namespace = two_processes
    alone = namespace["ProcessRank"](0, 1, torch.device("cpu"))
    compare(
        torch.load(folder / "gradients.pt")[encoder],
        namespace["gradients"](alone, encoder, [0, 1, 2, 3, 4]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("prune_range", [0, 3])
def test_transducers_too_with_parameters_that_are_not_used(two_processes, prune_range):
    folder, namespace = two_processes
    alone = namespace["ProcessRank"](0, 1, torch.device("cpu"))
    joint = namespace["gradients"](alone, "lstm", [0, 1, 2, 3, 4], prune_range)
    unused = {name for name, gradient in joint[2].items() if gradient is None}
    assert all("simple" in name for name in unused) and bool(unused) == (prune_range == 0)
    compare(torch.load(folder / "gradients.pt")[prune_range], joint)


@pytest.mark.slow
def test_a_process_with_too_little_memory_does_not_keep_the_other_waiting(two_processes):
    folder, _ = two_processes
    found = torch.load(folder / "gradients.pt")
    compare(found["memory"], found[3])


@pytest.mark.slow
def test_nan_in_one_process_changes_no_model(two_processes):
    found = torch.load(two_processes[0] / "gradients.pt")
    assert found["nan"] == ("no finite loss for utterances of another process", True)


def compare(of_two, of_one):
    loss, terms, gradient = of_two
    joint_loss, joint_terms, joint = of_one
    assert loss == pytest.approx(joint_loss, rel=1e-5)
    assert terms == pytest.approx(joint_terms, rel=1e-5)
    assert max(float(g.abs().max()) for g in joint.values() if g is not None) > 1e-2
    for name, expected in joint.items():
        if expected is None:
            assert gradient[name] is None, name
            continue
        torch.testing.assert_close(gradient[name], expected, atol=1e-5, rtol=0, msg=name)


@pytest.mark.slow
def test_torchrun_trains_and_the_model_can_be_loaded(two_processes):
    exp_dir = two_processes[0] / "exp"
    files = {path.name for path in exp_dir.iterdir()}
    assert files >= {"epoch-1.pt", "epoch-2.pt", "config.yaml", "env.json", "history.jsonl"}
    rows = [json.loads(row) for row in (exp_dir / "history.jsonl").read_text().splitlines()]
    assert [row["utterances"] for row in rows] == [30.0, 30.0]
    model, config = load_model(exp_dir, epoch=2, avg=1)
    # the two shared the validation; one alone finds the same
    data = AsrDataModule(config.data)
    assert len(list(data.valid_batches())) > 1
    load_parameters(model, load_checkpoint(exp_dir / "epoch-2.pt")["model"], exp_dir)
    cpu = torch.device("cpu")
    criterion = TrainingCriterion(model, config.train, choose_dtype(config.train, cpu))
    alone = ProcessRank(0, 1, cpu)
    figures = validate(criterion, data.valid_batches(), data.tokenizer, rows[1]["step"], alone)
    model.eval()
    assert {name: rows[1][name] for name in figures} == pytest.approx(figures, rel=1e-5)
    encoder_out, lengths = model(torch.randn(1, 40, 80), torch.tensor([40]))
    log_probs = model.ctc_log_probs(encoder_out)
    assert log_probs.shape == (1, 10, config.model.vocab_size) and lengths.tolist() == [10]


@pytest.mark.slow
@pytest.mark.parametrize("in_use", [False, True])
def test_what_a_started_process_refuses_is_told_in_one_line(train_arguments, tmp_path, in_use):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        if not in_use:
            other.close()
        arguments = train_arguments(
            exp_dir=tmp_path / "exp",
            init_from=tmp_path / "nothing.pt",
            world_size=2,
            master_port=port,
        )
        done = subprocess.run(
            [sys.executable, ROOT / "recipes/librispeech/train.py", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
    expected = f"master_port: {port} is in use" if in_use else "nothing.pt: there is no such"
    (message,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert message.startswith("train.py: error: ") and expected in message
    assert done.returncode == 1 and "Traceback" not in done.stderr


SIGNALLED = """
import os
import signal
import sys
import time

from wfst_entropy.asr.training.distributed import launch


def run(process):
    if process.rank == 1:
        own = {"SIGKILL": os.getpid(), "SIGINT": os.getppid()}
        os.kill(own[sys.argv[2]], signal.Signals[sys.argv[2]])
    time.sleep(60)


if __name__ == "__main__":
    launch(run, 2, int(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ("SIGKILL", "FsaRuntimeError: process 2 of 2 ended with SIGKILL; if the system killed it"),
        ("SIGINT", "KeyboardInterrupt"),  # of the process that waits, and of no other
    ],
)
def test_a_process_that_gets_a_signal_ends_the_others(tmp_path, signal, message):
    script = tmp_path / "signalled.py"
    script.write_text(SIGNALLED)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, script, str(port), signal],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode != 0 and message in done.stderr.splitlines()[-1]
