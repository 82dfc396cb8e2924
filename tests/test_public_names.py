"""The front door: every public name is there, is what its room defines, and costs no import."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import wfst_entropy

FRONT_DOOR = Path(wfst_entropy.__file__)


def public_names() -> list[tuple[str, str]]:
    """(room, name) of the imports of the stub, which is all that type checkers see."""
    stub = ast.parse(FRONT_DOOR.with_suffix(".pyi").read_text())
    imports = [node for node in ast.walk(stub) if isinstance(node, ast.ImportFrom)]
    return [(node.module, alias.name) for node in imports if node.module for alias in node.names]


def test_each_name_stands_once():
    names = [name for _, name in public_names()]
    rooms = {room for room, _ in public_names()}
    assert sorted([*names, *rooms]) == wfst_entropy.__all__ == dir(wfst_entropy)


@pytest.mark.parametrize(("room", "name"), public_names())
def test_a_name_is_what_its_room_defines(room, name):
    module = import_module(f"wfst_entropy.{room}")
    assert getattr(wfst_entropy, name) is getattr(module, name)
    assert name in module.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute no_such_name"):
        wfst_entropy.no_such_name  # noqa: B018
    with pytest.raises(ImportError, match="no_such_name"):
        from wfst_entropy import no_such_name  # noqa: F401


@pytest.mark.parametrize(
    "statement", ["import wfst_entropy", "from wfst_entropy.cli.main import app"]
)
def test_torch_is_not_imported_before_it_is_needed(statement):
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        cwd=FRONT_DOOR.parents[1],
        check=True,
    )
    assert done.stdout.strip() == "False"
