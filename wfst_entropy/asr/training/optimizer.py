"""Optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from wfst_entropy.asr.training.train_options import TrainOptions


class ScaledAdam(torch.optim.Optimizer):
    r"""Adam whose step is relative to the size of each parameter, which it also learns.

    With :math:`\hat m / (\sqrt{\hat v} + \epsilon)` Adam's direction for a parameter tensor, and
    :math:`r` its root mean square, a step is

    .. math:: -\alpha \, r \, \hat m / (\sqrt{\hat v} + \epsilon)
              \; - \; \eta \, \alpha \, \theta \, \hat n / (\sqrt{\hat w} + \epsilon)

    where ``n, w`` are Adam's moments of :math:`h = \sum g \, \theta`, the gradient with respect to
    the logarithm of the parameter's size (Yao et al. 2023, arXiv 2310.11230, section 3.4).

    Args:
      params: Parameters to train.
      lr: :math:`\alpha`.
      betas: Decay rates of the two moments.
      eps: :math:`\epsilon`.
      scale_lr: :math:`\eta`.
      min_rms: Smallest ``r``, so that parameters which start at zero can move.
      max_rms: Largest ``r``.

    >>> weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = ScaledAdam([weight], lr=0.1)
    >>> (weight**2).sum().backward()
    >>> optimizer.step()
    >>> bool((weight < torch.tensor([3.0, 4.0])).all())
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        scale_lr: float = 0.1,
        min_rms: float = 1e-2,
        max_rms: float = 3.0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "scale_lr": scale_lr,
                "min_rms": min_rms,
                "max_rms": max_rms,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters from their gradients."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            for name in ("m", "v"):
                state[name] = torch.zeros_like(parameter)
            for name in ("scale_m", "scale_v"):
                state[name] = parameter.new_zeros(())
        state["step"] += 1
        gradient = parameter.grad
        assert gradient is not None  # the caller looked
        rms = parameter.square().mean().sqrt().clamp(group["min_rms"], group["max_rms"])
        scale_gradient = (gradient * parameter).sum()
        direction = _adam_direction(state, "m", "v", gradient, group)
        scale_direction = _adam_direction(state, "scale_m", "scale_v", scale_gradient, group)
        parameter.mul_(1.0 - group["lr"] * group["scale_lr"] * scale_direction)
        parameter.add_(direction * rms, alpha=-group["lr"])


def _adam_direction(
    state: dict[str, Any], first: str, second: str, gradient: Tensor, group: dict[str, Any]
) -> Tensor:
    beta1, beta2 = group["betas"]
    m, v, step = state[first], state[second], state["step"]
    m.lerp_(gradient, 1.0 - beta1)
    v.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    m_hat = m / (1.0 - beta1**step)
    v_hat = v / (1.0 - beta2**step)
    return m_hat / (v_hat.sqrt() + group["eps"])


def build_optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """The optimiser that the options name.

    Args:
      model: The model; matrices and kernels decay (``adamw``), biases and norms do not.
      options: ``optimizer``, ``base_lr``, ``weight_decay``.

    Returns:
      The optimiser; the training loop sets its learning rate before every step.

    >>> type(build_optimizer(nn.Linear(2, 2), TrainOptions())).__name__
    'AdamW'
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if options.optimizer == "scaled-adam":
        return ScaledAdam(parameters, lr=options.base_lr)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    # fused: one pass over memory instead of one for each operation
    return torch.optim.AdamW(groups, lr=options.base_lr, betas=(0.9, 0.98), fused=True)
