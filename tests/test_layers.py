"""The house: imports go down only, and rooms on one level do not import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import wfst_entropy

PACKAGE = "wfst_entropy"
LEVELS = {
    "semirings": 0,
    "_native": 0,
    "fsa": 0,
    "algorithms": 1,
    "topologies": 2,
    "inspection": 2,
    "lang": 3,
    "losses": 3,
    "decoding": 3,
    "metrics": 3,
    "asr": 4,
    "compat": 4,
    "cli": 5,
}
# The floors of the largest room.
ASR_LEVELS = {
    "environment": 0,
    "out_of_memory": 0,
    "word_pieces": 0,
    "yaml_file": 0,
    "options": 1,
    "data": 2,
    "models": 2,
    "search": 3,
    "training": 3,
    "decode": 4,
    "export": 5,
    "report": 5,
    "transcribe": 5,
    "streaming": 6,
    "experiments": 6,
}
# The one arrow between neighbours: fsa asks _native for its kernels.
NEIGHBOURS = {("fsa", "_native")}
# What graph users without the recipes have not installed, and what only recipes may need.
HEAVY = {"lhotse", "sentencepiece", "transformers", "kaldifst", "k2"}


class Import(NamedTuple):
    file: Path
    line: int
    module: str
    deferred: bool  # inside a function, or for type checkers only


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _walk(node: ast.AST, deferred: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, deferred or inner or _is_type_checking(child))


def _modules(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    """Absolute dotted names; `from a import b` counts as a.b too, for b may be a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module.split(".") if node.module else []
    if node.level:
        base = package[: len(package) - node.level + 1] + base
    return [".".join([*base, alias.name]) for alias in node.names]


@cache
def imports_of(root: Path) -> list[Import]:
    """Every import statement below the package folder `root`."""
    found = []
    for file in sorted(root.rglob("*.py")):
        package = [root.name, *file.relative_to(root).parts[:-1]]
        for node, deferred in _walk(ast.parse(file.read_text(), str(file)), False):
            found += [Import(file, node.lineno, m, deferred) for m in _modules(node, package)]
    return found


def room_of(file: Path, root: Path, inside: tuple[str, ...] = ()) -> str | None:
    """The room a file stands in: a folder or a module right below the package, or below a room."""
    names = file.relative_to(root).with_suffix("").parts
    return names[len(inside)] if names[: len(inside)] == inside else None


def violations(
    root: Path, levels: dict[str, int] = LEVELS, inside: tuple[str, ...] = ()
) -> list[str]:
    """Import statements that break a rule of the house, or of one of its rooms, in words."""
    wrong = []
    house = (root.name, *inside)
    for item in imports_of(root):
        here = room_of(item.file, root, inside)
        parts = tuple(item.module.split("."))
        where = f"{item.file.relative_to(root.parent)}:{item.line}"
        if here is None or here in ("__init__", "__main__"):
            continue  # another house; the front door shows every room
        if here not in levels:
            wrong.append(f"{where}: room {here!r} has no level; add it to LEVELS")
            continue
        if parts[0] in HEAVY and not inside and levels[here] <= 3 and not item.deferred:
            wrong.append(f"{where}: {here} (L{levels[here]}) imports {parts[0]} at import time")
        if parts[: len(house)] != house or len(parts) <= len(house):
            continue
        there = parts[len(house)]
        if there == here or (here, there) in NEIGHBOURS or there.startswith("__"):
            continue
        if there not in levels:
            wrong.append(f"{where}: imports {item.module}; {there!r} is no room")
        elif levels[there] >= levels[here]:
            way = "sideways" if levels[there] == levels[here] else "upward"
            wrong.append(f"{where}: {way} arrow, {here} imports {item.module}")
    return wrong


def test_imports_go_down_only():
    root = Path(wfst_entropy.__file__).parent
    assert imports_of(root), "the walker found no import at all"
    assert violations(root) == []


def test_imports_inside_asr_go_down_only():
    root = Path(wfst_entropy.__file__).parent
    rooms = {room_of(item.file, root, ("asr",)) for item in imports_of(root)}
    assert rooms >= ASR_LEVELS.keys(), "the walker found no import in some room"
    assert violations(root, ASR_LEVELS, ("asr",)) == []


def test_recipes_do_not_import_each_other():
    recipes = Path(wfst_entropy.__file__).parents[1] / "recipes"
    wrong = [
        f"{item.file.relative_to(recipes.parent)}:{item.line}: imports {item.module}"
        for item in imports_of(recipes)
        if any(
            (item.file.parent / f"{item.module.split('.')[0]}{end}").exists() for end in ("", ".py")
        )
        or item.module.split(".")[0] == "recipes"
    ]
    assert wrong == []


def test_the_walker_sees_a_bad_tree(tmp_path):
    """Each rule, broken once (and each exception, used once)."""
    root = tmp_path / PACKAGE
    files = {
        "__init__.py": "from wfst_entropy.cli import main\n",
        "fsa/fsa.py": "from wfst_entropy import _native\nfrom ..semirings.log import LogSemiring\n",
        "algorithms/up.py": "import torch\nimport wfst_entropy.losses.ctc\n",
        "losses/side.py": "def f():\n    from ..decoding import alignment\n",
        "losses/fine.py": "from wfst_entropy import __version__\nfrom . import side\n"
        "from ..topologies import ctc\ndef f():\n    import lhotse\n",
        "metrics/heavy.py": "try:\n    import lhotse.cut\nexcept ImportError:\n    lhotse = None\n",
        "asr/data.py": "import lhotse\nfrom wfst_entropy.helpers import x\n",
        "asr/models/up.py": "from wfst_entropy.asr.training import loop\n",
        "asr/training/loop.py": "from wfst_entropy.asr.models import up\n",
        "attic/old.py": "import os\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert violations(root) == [
        "wfst_entropy/algorithms/up.py:2: upward arrow, algorithms imports wfst_entropy.losses.ctc",
        "wfst_entropy/asr/data.py:2: imports wfst_entropy.helpers.x; 'helpers' is no room",
        "wfst_entropy/attic/old.py:1: room 'attic' has no level; add it to LEVELS",
        "wfst_entropy/fsa/fsa.py:2: sideways arrow, fsa imports "
        "wfst_entropy.semirings.log.LogSemiring",
        "wfst_entropy/losses/side.py:2: sideways arrow, losses imports "
        "wfst_entropy.decoding.alignment",
        "wfst_entropy/metrics/heavy.py:2: metrics (L3) imports lhotse at import time",
    ]
    assert violations(root, {"data": 0, "models": 1, "training": 2}, ("asr",)) == [
        "wfst_entropy/asr/models/up.py:1: upward arrow, models imports "
        "wfst_entropy.asr.training.loop"
    ]
