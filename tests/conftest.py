"""Settings for the whole test suite."""

from __future__ import annotations

from hypothesis import settings

# Examples are the same in every run, and a slow machine is not a failure.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")
