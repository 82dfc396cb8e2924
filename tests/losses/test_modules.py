"""Losses as modules: the options of the function, under its names and with its defaults."""

from __future__ import annotations

import inspect

import pytest
import torch

from wfst_entropy import losses

G = torch.Generator().manual_seed(0)
TARGETS, FRAMES, COUNTS = torch.tensor([[1, 2], [3, 3]]), [5, 4], [2, 2]


def scores(*shape):
    return torch.randn(2, 5, *shape, generator=G)


CTC = (scores(4), TARGETS, FRAMES, COUNTS)
RNNT = (scores(3, 4), TARGETS, FRAMES, COUNTS)
AM_LM = (scores(4), torch.randn(2, 3, 4, generator=G), TARGETS, FRAMES, COUNTS)
MODULES = [
    ("CTCLoss", "ctc_loss", CTC, {"entropy_scale": 0.3, "reduction": "sum"}),
    ("RNNTLoss", "rnnt_loss", RNNT, {"entropy_scale": 0.3, "rnnt_type": "modified"}),
    ("SmoothedRNNTLoss", "rnnt_loss_smoothed", AM_LM, {"am_only_scale": 0.2, "kind": "raw"}),
    ("CTCDistillationLoss", "ctc_distillation_loss", (scores(4), *CTC), {"kl_scale": 0.3}),
    ("RNNTDistillationLoss", "rnnt_distillation_loss", (scores(3, 4), *RNNT), {"reverse": True}),
    ("CTCSoftDistillation", "ctc_soft_distillation", (*CTC[:1], scores(4), FRAMES), {}),
    ("RNNTSoftDistillation", "rnnt_soft_distillation", (scores(3, 4), *RNNT), {"collapsed": True}),
    ("FullSumDistillation", "full_sum_distillation", (CTC[0][:, 0, 0], CTC[0][:, 0, 1], COUNTS),
     {"distance": "absolute"}),
]  # fmt: skip


@pytest.mark.parametrize(("module", "function", "arguments", "options"), MODULES)
def test_a_module_is_its_function_with_options(module, function, arguments, options):
    module, function = getattr(losses, module), getattr(losses, function)
    torch.testing.assert_close(
        module(**options)(*arguments), function(*arguments, **options), rtol=0, atol=0
    )
    for name, value in options.items():
        assert f"{name}={value!r}" in repr(module(**options))


@pytest.mark.parametrize(
    ("module", "function"), [row[:2] for row in MODULES] + [("FSALoss", "fsa_loss")]
)
def test_options_have_the_names_and_defaults_of_the_function(module, function):
    module, function = getattr(losses, module), getattr(losses, function)
    of_function = inspect.signature(function).parameters
    options = dict(list(inspect.signature(module.__init__).parameters.items())[1:])
    inputs = list(inspect.signature(module.forward).parameters)[1:]
    assert {name: p.default for name, p in options.items()} == {
        name: p.default
        for name, p in of_function.items()
        if name not in inputs and name != "return_arc_posteriors"
    }
    assert inputs == [name for name in of_function if name in inputs]
