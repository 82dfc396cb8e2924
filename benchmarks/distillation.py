"""What does each term of distillation add to a training step?

    python benchmarks/distillation.py
    python benchmarks/distillation.py --encoder lstm --encoder-dim 320 --num-layers 4 --symbols 27

Forward and backward pass of one batch, student and teacher of the same architecture, with random
parameters, features and labels; processor time on one thread, the rows in turn, the best of the
repeats. "labels" is a step without a teacher, the yardstick. "hard, other" has pseudo-labels that
all differ from the transcripts, beside them; "hard, equal" has the transcripts once more. The terms
of the teacher include its encoder, whose time is told too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from wfst_entropy.asr.data.utterances import Utterances
from wfst_entropy.asr.models import AsrModel, ModelOptions, build_model
from wfst_entropy.asr.training.criterion import TrainingCriterion
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.distillation import Distiller
from wfst_entropy.asr.training.teacher import Teacher
from wfst_entropy.asr.training.train_options import TrainOptions

HEADS = {"ctc": (True, False), "transducer": (False, True)}
TERMS: dict[str, dict[str, float]] = {
    "labels": {},
    "hard, equal": {"hard": 1.0},
    "hard, other": {"hard": 1.0},
    "state": {"state": 0.01},
    "seq": {"seq": 0.01},
    "fullsum": {"fullsum": 0.01},
    "seq + fullsum": {"seq": 0.01, "fullsum": 0.01},
    "state + seq + fullsum": {"state": 0.01, "seq": 0.01, "fullsum": 0.01},
}


def models_of(args: argparse.Namespace, head: str) -> tuple[AsrModel, AsrModel]:
    """A student and a teacher."""
    use_ctc, use_transducer = HEADS[head]
    options = ModelOptions(
        encoder=args.encoder,
        encoder_dim=args.encoder_dim,
        num_layers=args.num_layers,
        vocab_size=args.symbols,
        use_ctc=use_ctc,
        use_transducer=use_transducer,
    )
    torch.manual_seed(0)
    return build_model(options), build_model(options)


def batch_of(args: argparse.Namespace, labels: str) -> Utterances:
    """Random utterances; ``labels`` says which pseudo-labels they have."""
    generator = torch.Generator().manual_seed(1)
    frames = 4 * args.frames
    features = torch.randn(args.utterances, frames, 80, generator=generator) * 4 - 8
    shape = (args.utterances, args.labels)
    tokens = torch.randint(1, args.symbols, shape, generator=generator).tolist()
    others = torch.randint(1, args.symbols, shape, generator=generator).tolist()
    batch = Utterances(
        features,
        torch.full((args.utterances,), frames),
        tokens,
        [f"utterance {n}" for n in range(args.utterances)],
    )
    if labels.startswith("hard"):
        batch.teacher_tokens = dict(enumerate(tokens if labels == "hard, equal" else others))
    return batch


def step_of(args: argparse.Namespace, head: str, prune_range: int, name: str) -> Callable[[], None]:
    """One forward and backward pass."""
    student, teacher = models_of(args, head)
    train = TrainOptions(prune_range=prune_range, rnnt_warm_step=0)
    criterion = TrainingCriterion(student, train)
    scales: dict[str, Any] = {
        f"{term}_distill_loss_scale": scale for term, scale in TERMS[name].items()
    }
    if scales:
        hard = "hard" in TERMS[name]
        options = DistillOptions(
            teacher_exp_dir=None if hard else Path("teacher"),
            pseudo_labels=Path("labels") if hard else None,
            **scales,
        )
        with_teacher = None if hard else Teacher(teacher, "the teacher")
        criterion.distiller = Distiller(options, train, student, with_teacher)
    batch = batch_of(args, name)

    def step() -> None:
        student.zero_grad()
        criterion(batch, 0).loss.backward()

    return step


def teacher_of(args: argparse.Namespace, head: str) -> Callable[[], None]:
    """The teacher's encoder."""
    teacher, batch = Teacher(models_of(args, head)[1], "the teacher"), batch_of(args, "labels")

    def encode() -> None:
        teacher.encode(batch.features, batch.num_frames)

    return encode


def measure(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Seconds of processor time, the least of the repeats, all in turn."""
    best = dict.fromkeys(steps, float("inf"))
    for repeat in range(repeats + 1):  # the first is for warming up
        for name, step in steps.items():
            started = time.process_time()
            step()
            if repeat:
                best[name] = min(best[name], time.process_time() - started)
    return best


def main() -> None:
    """Read the command line and print a table for each lattice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="tdnn", choices=("tdnn", "lstm", "conformer"))
    for flag, default in (
        *(("encoder-dim", 256), ("num-layers", 9), ("symbols", 500), ("utterances", 8)),
        *(("frames", 120), ("labels", 30), ("repeats", 3)),
    ):
        parser.add_argument(f"--{flag}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{args.utterances} utterances of {args.frames} encoder frames, {args.labels} labels of "
        f"{args.symbols - 1}; {args.encoder}, {args.num_layers} x {args.encoder_dim}"
    )
    lattices = (("ctc", 0, "CTC"), ("transducer", 5, "windows of 5"), ("transducer", 0, "whole"))
    for head, prune_range, title in lattices:
        steps = {name: step_of(args, head, prune_range, name) for name in TERMS}
        seconds = measure(steps | {"(teacher's encoder)": teacher_of(args, head)}, args.repeats)
        print(f"\n{title:24} {'ms':>8} {'x labels':>9}")
        for name, value in seconds.items():
            print(f"{name:24} {1000 * value:8.1f} {value / seconds['labels']:9.2f}")


if __name__ == "__main__":
    main()
