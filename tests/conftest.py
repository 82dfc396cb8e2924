"""Settings for the whole test suite."""

from __future__ import annotations

import functools
import gc
import signal

import typer.testing
from hypothesis import settings

import wfst_entropy

# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest collects the doctests of `algorithms/connect.py` by importing that module once more, which
# then stands in its package where the function of the same name was: names are looked up before.
for name in wfst_entropy.__all__:
    getattr(wfst_entropy, name)

# Typer builds all verbs anew for each call of its test runner.
typer.testing._get_command = functools.cache(typer.testing._get_command)


def pytest_collection_finish():
    """Modules and tests live to the end; the garbage collector need not walk them ever again."""
    gc.collect()
    gc.freeze()
