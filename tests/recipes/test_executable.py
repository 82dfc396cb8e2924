"""What can be started by its name says so, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("recipes/librispeech", "recipes/librispeech/local", "recipes/librispeech/experiments")
SCRIPTS = [
    path
    for folder in (*FOLDERS, "recipes/shared", "graphs", "benchmarks")
    for path in sorted((ROOT / folder).iterdir())
    if path.suffix in (".py", ".sh")
]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_with_an_interpreter_are_executable(path):
    assert path.read_bytes().startswith(b"#!") == os.access(path, os.X_OK)
