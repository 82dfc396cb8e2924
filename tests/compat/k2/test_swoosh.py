"""swoosh_l and swoosh_r: values, 8-bit derivatives, dropout."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.compat.k2 import swoosh
from wfst_entropy.fsa import FsaValueError

CASES = {
    "l": (swoosh.swoosh_l, swoosh.swoosh_l_forward, swoosh.swoosh_l_forward_and_deriv, 4, 0.035),
    "r": (
        swoosh.swoosh_r, swoosh.swoosh_r_forward, swoosh.swoosh_r_forward_and_deriv, 1, 0.313261687,
    ),
}  # fmt: skip


def formula(x, shift, offset):
    return torch.nn.functional.softplus(x - shift) - 0.08 * x - offset


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(10,), (2, 3), (4, 0), ()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_values_and_derivatives(name, shape, dtype):
    function, forward, forward_and_deriv, shift, offset = CASES[name]
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 5).to(dtype)
    wide = x.clone().double().requires_grad_()
    expected = formula(wide, shift, offset)
    expected.sum().backward()
    y, derivative = forward_and_deriv(x)
    for result in (y, forward(x), function(x), function(x, dropout_prob=0.5)):
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), expected.detach(), rtol=0, atol=2e-5)
    torch.testing.assert_close(derivative.double(), wide.grad, rtol=0, atol=1e-6)
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        assert not function(leaf).requires_grad


@pytest.mark.parametrize("name", CASES)
def test_far_arguments_stay_finite(name):
    _, forward, forward_and_deriv, shift, offset = CASES[name]
    x = torch.tensor([-1e4, 1e4])
    expected = torch.tensor([800 - offset, 1e4 - shift - 800 - offset])
    torch.testing.assert_close(forward(x), expected)
    assert torch.allclose(forward_and_deriv(x)[1], torch.tensor([-0.08, 0.92]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_within_a_byte_and_unbiased(name, dropout):
    function, _, forward_and_deriv, _, _ = CASES[name]
    torch.manual_seed(3)
    x = torch.linspace(-9, 9.5, 7).repeat(20_000, 1).requires_grad_()
    weight = torch.arange(1.0, 8.0)
    y = function(x, dropout_prob=dropout)
    # One byte per element is all that is kept for the backward pass.
    (saved,) = y.grad_fn.saved_tensors
    assert saved.dtype == torch.uint8 and saved.shape == x.shape
    (y * weight).sum().backward()
    value, derivative = forward_and_deriv(x.detach())
    kept = y != 0
    assert abs(float(kept.float().mean()) - (1 - dropout)) < 0.01
    torch.testing.assert_close(y, torch.where(kept, value / (1 - dropout), 0))
    slope = x.grad / weight
    expected = torch.where(kept, derivative, 0) / (1 - dropout)
    step = 1.005 / 255 / (1 - dropout)
    assert float((slope - expected).abs().max()) <= step * 1.001
    # Rounded at random: the mean over 20,000 repeats is much closer than a step.
    assert float((slope - expected).mean(0).abs().max()) < step / 40


def test_wrong_dropout():
    with pytest.raises(FsaValueError, match=r"dropout_prob: must be from 0 to below 1, got 1.0"):
        swoosh.swoosh_l(torch.zeros(2), 1.0)
