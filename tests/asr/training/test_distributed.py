"""Two processes compute the gradient that one computes on the joint batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wfst_entropy

ENCODERS = ("tdnn", "lstm", "conformer")

# Run by torchrun with two processes, and imported by the test for the joint batch.
SCRIPT = '''
import sys

import torch
from torch.nn.parallel import DistributedDataParallel

from wfst_entropy.asr.models import ModelOptions, build_model
from wfst_entropy.asr.training.distributed import ProcessRank, launch
from wfst_entropy.asr.training.train_loop import backward, loss_of_batch
from wfst_entropy.asr.training.train_options import TrainOptions


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


def gradients(process, encoder, utterances):
    torch.manual_seed(1)
    model = build_model(
        ModelOptions(encoder=encoder, encoder_dim=16, num_layers=2, vocab_size=5, dropout=0.0)
    )
    called = DistributedDataParallel(model) if process.world_size > 1 else model
    options = TrainOptions(entropy_loss_scale=0.3)
    sums = loss_of_batch(
        called, batch(utterances), Letters(), options, process.device, torch.float32
    )
    result = backward(sums, torch.amp.GradScaler("cpu", enabled=False), process)
    return result.loss, {name: p.grad for name, p in model.named_parameters()}


def main(process, path, encoders):
    mine = [[0, 4], [1, 2, 3]][process.rank]
    found = {encoder: gradients(process, encoder, mine) for encoder in encoders}
    if process.is_first:
        torch.save(found, path)


if __name__ == "__main__":
    launch(main, 1, 12354, sys.argv[1], sys.argv[2:])
'''


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    script = folder / "ddp_script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [
            *[sys.executable, "-m", "torch.distributed.run", "--standalone"],
            *["--nproc-per-node", "2", script, folder / "gradients.pt", *ENCODERS],
        ],
        env=os.environ
        | {"PYTHONPATH": str(Path(wfst_entropy.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    namespace = {"__name__": "ddp_script"}
    exec(compile(SCRIPT, str(script), "exec"), namespace)
    return torch.load(folder / "gradients.pt"), namespace


@pytest.mark.parametrize("encoder", ENCODERS)
def test_gradients_of_two_processes_are_those_of_the_joint_batch(two_processes, encoder):
    found, namespace = two_processes
    alone = namespace["ProcessRank"](0, 1, torch.device("cpu"))
    joint_loss, joint = namespace["gradients"](alone, encoder, [0, 1, 2, 3, 4])
    loss, gradient = found[encoder]
    assert loss == pytest.approx(joint_loss, rel=1e-5)
    assert max(float(g.abs().max()) for g in joint.values()) > 1e-2
    for name, expected in joint.items():
        torch.testing.assert_close(gradient[name], expected, atol=1e-5, rtol=0, msg=name)
