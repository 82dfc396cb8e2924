from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.optimizer import ScaledAdam, build_optimizer
from wfst_entropy.asr.training.schedule import learning_rate
from wfst_entropy.asr.training.train_options import TrainOptions

SCHEDULES = ("cosine", "inverse-sqrt", "eden")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_rises_over_the_warm_up_and_falls_after(schedule):
    options = TrainOptions(
        lr_schedule=schedule, base_lr=0.5, warm_up=10, num_epochs=4, lr_batches=20, lr_epochs=1.0
    )
    rates = [learning_rate(options, step, (step - 1) / 25) for step in range(1, 101)]
    assert max(rates) <= 0.5
    assert all(a < b for a, b in pairwise(rates[:10])) or schedule == "eden"
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.6 * max(rates)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_warm_up_and_a_long_training_stay_positive(schedule):
    options = TrainOptions(lr_schedule=schedule, base_lr=1.0, warm_up=0, num_epochs=2)
    assert learning_rate(options, 1, 0.0) == pytest.approx(1.0, rel=1e-2)
    assert learning_rate(options, 10**6, 50.0) > 0


@pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 0.05), ("scaled-adam", 0.1)])
def test_an_optimiser_solves_a_regression(optimizer, lr):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    x = torch.randn(64, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]]) + 0.3
    options = TrainOptions(optimizer=optimizer, base_lr=lr, weight_decay=0.0)
    trainer = build_optimizer(model, options)
    for step in range(300):
        for group in trainer.param_groups:
            group["lr"] = lr * (1 - step / 300)
        trainer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        trainer.step()
    assert loss < 1e-3


def test_scaled_adam_steps_are_relative_to_the_size():
    """Scaling a parameter scales its steps: the direction of training does not change."""
    steps = []
    for size in (0.1, 1.0):
        weight = nn.Parameter(torch.tensor([1.0, -1.0, 2.0]) * size)
        ScaledAdam([weight], lr=0.01)
        weight.grad = torch.tensor([0.3, 0.1, -0.2]) / size
        before = weight.detach().clone()
        ScaledAdam([weight], lr=0.01).step()
        steps.append((weight.detach() - before) / size)
    torch.testing.assert_close(steps[0], steps[1])


def test_scaled_adam_follows_the_formula_on_its_first_step():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([1.0, -1.0])
    ScaledAdam([weight], lr=0.1, scale_lr=0.1, max_rms=10.0).step()
    rms = (25 / 2) ** 0.5  # both of Adam's first directions are signs; sum(g * w) = -1
    expected = torch.tensor([3.0, 4.0]) * (1 + 0.1 * 0.1) - 0.1 * rms * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(weight.detach(), expected)


def test_biases_and_norms_do_not_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    groups = build_optimizer(model, TrainOptions(weight_decay=0.5)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.5), (3, 0.0)]


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"num_epochs": 0}, "num_epochs: needs at least 1"),
        ({"base_lr": 0.0}, "base_lr: needs a number above 0"),
        ({"warm_up": -1}, "warm_up: needs at least 0"),
        ({"keep_last_k": 0}, "keep_last_k: needs at least 1"),
        ({"base_lr": float("inf")}, "base_lr: needs a number, got inf"),
        ({"seed": -1}, "seed: needs a number from 0"),
        ({"seed": 2**63}, "seed: needs a number from 0"),
    ],
)
def test_values_out_of_range_are_refused(options, wording):
    with pytest.raises(OptionError, match=wording):
        TrainOptions(**options)
