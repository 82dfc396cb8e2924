"""The front door: every public name is there, is what its room defines, and costs no import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import wfst_entropy

FRONT_DOOR = Path(wfst_entropy.__file__)


def names_for_type_checkers() -> list[tuple[str, str]]:
    """(room, name) of the imports that only type checkers see."""
    found = []
    for node in ast.walk(ast.parse(FRONT_DOOR.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wfst_entropy."):
            found += [(node.module, alias.name) for alias in node.names]
    return found


def test_type_checkers_and_python_see_the_same_names():
    checked = [name for _, name in names_for_type_checkers()]
    assert sorted(checked) == sorted(wfst_entropy.__all__)
    assert len(set(checked)) == len(checked)
    assert wfst_entropy.__all__ == sorted(wfst_entropy.__all__)


@pytest.mark.parametrize(("room", "name"), names_for_type_checkers())
def test_a_name_is_what_its_room_defines(room, name):
    module = __import__(room, fromlist=[name])
    assert getattr(wfst_entropy, name) is getattr(module, name)
    assert name in dir(wfst_entropy)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
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
