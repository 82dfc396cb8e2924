from __future__ import annotations

import torch
from torch import nn

from wfst_entropy.asr.training.averaging import (
    average_checkpoints,
    average_checkpoints_with_averaged_model,
    update_averaged_model,
)


def trajectory(steps: int) -> torch.Tensor:
    return torch.randn(steps + 1, 3, generator=torch.Generator().manual_seed(0)) * 1e3


def run(values: torch.Tensor, period: int) -> dict[int, dict[str, torch.Tensor]]:
    """The running average after every step at which it changed."""
    model = nn.Linear(3, 1, bias=False)
    average = {"weight": torch.zeros(1, 3, dtype=torch.float64)}
    seen = {}
    for step in range(1, len(values)):
        with torch.no_grad():
            model.weight.copy_(values[step])
        if update_averaged_model(average, model, step, period):
            seen[step] = {"weight": average["weight"].clone()}
    return seen


def test_the_running_average_is_the_mean_of_every_period():
    values = trajectory(30)
    seen = run(values, 5)
    mean = values[5:31:5].double().mean(0)
    torch.testing.assert_close(seen[30]["weight"][0], mean)
    assert set(seen) == {1, 2, 3, 4, 5, 10, 15, 20, 25, 30}


def test_before_the_first_period_it_is_the_model():
    values = trajectory(4)
    torch.testing.assert_close(run(values, 5)[3]["weight"][0], values[3].double())


def test_two_running_averages_give_the_mean_between_them():
    values = trajectory(30)
    seen = run(values, 5)
    between = average_checkpoints_with_averaged_model(seen[10], 10, seen[30], 30)
    torch.testing.assert_close(between["weight"][0], values[15:31:5].double().mean(0))


def test_equal_averages_give_that_average():
    state = {"w": torch.ones(2)}
    assert average_checkpoints_with_averaged_model(state, 5, state, 5)["w"].tolist() == [1, 1]


def test_counters_are_not_averaged():
    states = [{"w": torch.tensor([1.0]), "n": torch.tensor(k)} for k in (1, 2)]
    assert average_checkpoints(states)["n"] == 2
    model = nn.BatchNorm1d(1)
    average = {name: value.double() for name, value in model.state_dict().items()}
    average["num_batches_tracked"] = torch.tensor(0)
    model.num_batches_tracked.fill_(7)
    update_averaged_model(average, model, 4, 2)
    assert average["num_batches_tracked"] == 7
