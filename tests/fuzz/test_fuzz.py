"""The fuzz targets, with a few examples each; run.py has more of them."""

from __future__ import annotations

import inspect

import pytest
from fuzz_losses import drawable
from fuzz_targets import ELSEWHERE, ROOMS, TARGETS
from fuzz_values import strategy_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wfst_entropy.losses


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_target(name, data):
    TARGETS[name](data)


@pytest.mark.parametrize("room", ROOMS)
def test_arguments_of_every_operation_can_be_drawn(room):
    for name in room.__all__:
        operation = getattr(room, name)
        if inspect.isfunction(operation) and name not in ELSEWHERE:
            for parameter in inspect.signature(operation).parameters.values():
                strategy_for(operation, parameter)  # a KeyError names what fuzz_values.py lacks


def test_arguments_of_every_loss_can_be_drawn():
    losses = [getattr(wfst_entropy.losses, name) for name in wfst_entropy.losses.__all__]
    for loss in losses:
        if inspect.isfunction(loss):
            drawable(loss)  # a KeyError names what fuzz_losses.py lacks
