"""Averages of a model over its training, running ones and over checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_averaged_model(
    average: Mapping[str, Tensor], model: nn.Module, step: int, average_period: int
) -> bool:
    r"""Bring the running average of a model up to date, in place.

    After every ``average_period``-th batch, with ``step`` batches done, the average becomes
    :math:`\bar\theta + (\theta - \bar\theta) \cdot period / step`. Before the first period is over,
    it is the model itself.

    Args:
      average: The average so far by parameter name, float64: at 100,000 batches a step of the
        average is too small for float32.
      model: The model now.
      step: Batches trained so far.
      average_period: Batches between two updates.

    Returns:
      Whether the average was changed.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = {"weight": torch.zeros(1, 1, dtype=torch.float64)}
    >>> for step in (1, 2, 3, 4):
    ...     _ = nn.init.constant_(model.weight, step)
    ...     _ = update_averaged_model(average, model, step, average_period=1)
    >>> average["weight"].item()
    2.5
    """
    if step >= average_period and step % average_period:
        return False
    weight = min(1.0, average_period / step)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value.to(torch.float64), weight)
        else:
            average[name].copy_(value)
    return True


def average_checkpoints(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of the parameters of several checkpoints.

    Args:
      states: Parameters by name, of one architecture.

    Returns:
      Their mean by name, float64; values that are not floats are those of the last checkpoint.

    >>> average_checkpoints([{"w": torch.tensor(1.0)}, {"w": torch.tensor(2.0)}])
    {'w': tensor(1.5000, dtype=torch.float64)}
    """
    mean: dict[str, Tensor] = {}
    for name, last in states[-1].items():
        if last.is_floating_point():
            mean[name] = sum(state[name].to(torch.float64) for state in states) / len(states)  # type: ignore[assignment]
        else:
            mean[name] = last
    return mean


def average_checkpoints_with_averaged_model(
    start: Mapping[str, Tensor], start_step: int, end: Mapping[str, Tensor], end_step: int
) -> dict[str, Tensor]:
    r"""The average of the model over the batches between two checkpoints, from running averages.

    Running averages :math:`a_s, a_e` after ``s < e`` batches give the average between them:
    :math:`(e \, a_e - s \, a_s) / (e - s)`.

    Args:
      start: Running average of the earlier checkpoint, by name; not included.
      start_step: ``s``, batches that the earlier average covers.
      end: Running average of the later checkpoint.
      end_step: ``e``, batches that the later average covers; when this equals ``s`` because the
        averages have a longer period, the later average is returned.

    Returns:
      The average by name, float64.

    >>> a = {"w": torch.tensor(1.0)}  # the mean of 1
    >>> b = {"w": torch.tensor(2.0)}  # the mean of 1, 2, 3
    >>> average_checkpoints_with_averaged_model(a, 1, b, 3)
    {'w': tensor(2.5000, dtype=torch.float64)}
    """
    weight = end_step / (end_step - start_step) if end_step > start_step else 1.0
    return {
        name: value.to(torch.float64) * weight + start[name].to(torch.float64) * (1.0 - weight)
        if value.is_floating_point()
        else value
        for name, value in end.items()
    }
