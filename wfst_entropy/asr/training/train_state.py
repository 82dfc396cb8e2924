"""All that a training run carries from one batch to the next."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wfst_entropy.asr.training.checkpoint import load_parameters


@dataclasses.dataclass
class Progress:
    """How far a run is, in plain numbers.

    Args:
      epoch: The epoch in training, from 1.
      batch: Batches of it that are done.
      step: Batches done in all epochs.
      averaged_step: The value of ``step`` when the running average was last brought up to date.
      batches_per_epoch: Batches of the last whole epoch; in the first an estimate, 0 for none.
      best_train_loss: Lowest loss per frame of an epoch.
      best_valid_loss: Lowest validation loss per frame.
      sums: Sums over the batches of this epoch, by name.
      curve: Points within this epoch: batches done, and the sums of NLL and entropy of the main
        head, and of frames.
      term_curves: For each term of the loss, points within this epoch: batches done, and the sums
        of the term and of frames.
      history: One row of figures per finished epoch, with its curves.

    >>> Progress(epoch=3, batch=5, batches_per_epoch=10).epochs_done
    2.5
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    averaged_step: int = 0
    batches_per_epoch: int = 0
    best_train_loss: float = math.inf
    best_valid_loss: float = math.inf
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    curve: list[list[float]] = dataclasses.field(default_factory=list)
    term_curves: dict[str, list[list[float]]] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def epochs_done(self) -> float:
        """Epochs done, with the fraction of this one as far as its length is known."""
        if not self.batches_per_epoch:
            return float(self.epoch - 1)
        return self.epoch - 1 + min(1.0, self.batch / self.batches_per_epoch)

    def add(self, **values: float) -> None:
        """Add to the sums of this epoch."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def per_frame(self, name: str) -> float:
        """A sum of this epoch per output frame, NaN before the first."""
        frames = self.sums.get("frames", 0.0)
        return self.sums.get(name, 0.0) / frames if frames else math.nan

    def mark(self, terms: Sequence[str] = ()) -> None:
        """Add a point to this epoch's curves, those of the terms too."""
        sums = [self.sums.get(name, 0.0) for name in ("nll", "entropy", "frames")]
        self.curve.append([self.batch, *sums])
        for name in terms:
            point = [self.batch, self.sums.get(name, 0.0), self.sums.get("frames", 0.0)]
            self.term_curves.setdefault(name, []).append(point)

    def finish_epoch(self, row: dict[str, Any], terms: Sequence[str] = ()) -> None:
        """Close this epoch with its row of figures and turn to the next."""
        self.mark(terms)
        self.history.append({**row, "curve": self.curve, "term_curves": self.term_curves})
        self.curve, self.term_curves = [], {}
        self.batches_per_epoch = self.batch
        self.epoch += 1
        self.batch = 0
        self.sums = {}


@dataclasses.dataclass
class TrainState:
    """The model, its running average, the optimiser, and the progress of a run.

    Args:
      model: The model.
      optimizer: Its optimiser.
      scaler: Scales the loss where float16 is used, and does nothing elsewhere.
      progress: How far the run is.
      model_avg: Running average of the model's parameters and buffers by name, float64.

    >>> optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
    >>> state = TrainState(nn.Linear(1, 1), optimizer, torch.amp.GradScaler("cpu", enabled=False))
    >>> sorted(state.state_dict())
    ['model', 'model_avg', 'optimizer', 'progress', 'scaler']
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress = dataclasses.field(default_factory=Progress)
    model_avg: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.model_avg:
            self.model_avg = {
                name: value.detach().to(torch.float64, copy=True)
                if value.is_floating_point()
                else value.detach().clone()
                for name, value in self.model.state_dict().items()
            }

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "model_avg": self.model_avg,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }

    def load_state_dict(self, state: dict[str, Any], path: Path) -> None:
        """Go on from a checkpoint.

        Args:
          state: Its content.
          path: Its file, for messages.

        Raises:
          CheckpointError: when it is of another architecture.
        """
        load_parameters(self.model, state["model"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        device = next(iter(self.model_avg.values())).device
        self.model_avg = {name: value.to(device) for name, value in state["model_avg"].items()}
        self.progress = Progress(**state["progress"])


def seed_batch(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Make everything random a function of the seed and the place in the training.

    A run that is resumed in the middle of an epoch then draws the same random numbers as one that
    was never interrupted.

    Args:
      seed: Seed of the run.
      epoch: Epoch, from 1.
      batch: Batch in the epoch, from 0.
      rank: Number of the process.

    >>> seed_batch(42, 1, 0, 0); a = torch.rand(1); seed_batch(42, 1, 0, 0); b = torch.rand(1)
    >>> bool(a == b)
    True
    """
    words = np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))
