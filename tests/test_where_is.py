"""The page "Where is ...?" tells the truth, and misses no feature that people look for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import wfst_entropy

PACKAGE = Path(wfst_entropy.__file__).parent
PAGE = PACKAGE.parent / "docs" / "where_is.md"
ROW = re.compile(r"^\| (?P<question>[^|]+) \| `(?P<file>[^`|]+)` \| `(?P<name>\w+)` \|$")

# Ideas with one file each; whoever adds such a file adds its row to the page.
MUST_HAVE_A_ROW = [
    "semirings/entropy.py",
    "semirings/reverse_kl.py",
    "algorithms/shortest_distance.py",
    "algorithms/path_entropy.py",
    "algorithms/intersect_dense.py",
    "topologies/ctc.py",
    "topologies/rnnt.py",
    "losses/ctc.py",
    "losses/rnnt.py",
    "losses/fsa.py",
    "losses/distillation.py",
    "lang/graph_compiler.py",
    "inspection/explain.py",
    "decoding/alignment.py",
    "decoding/ctc_greedy_search.py",
    "decoding/ctc_prefix_beam_search.py",
    "lang/context_graph.py",
    "decoding/intersect_dense_pruned.py",
    "decoding/transducer_search.py",
    "metrics/wer.py",
    "metrics/latency.py",
    "metrics/entropy_allocation.py",
]


def rows() -> list[tuple[str, str]]:
    """(file, name) of each row."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    matches = [ROW.match(line) for line in lines[1:]]
    malformed = [line for line, match in zip(lines[1:], matches, strict=True) if match is None]
    assert not malformed, f"rows need the form | question | `file` | `name` |: {malformed}"
    return [(match["file"], match["name"]) for match in matches if match is not None]


def definitions(tree: ast.Module) -> set[str]:
    """Names defined at the top level."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("file", "name"), rows())
def test_the_file_exists_and_defines_the_name(file, name):
    path = PACKAGE / file
    assert path.is_file(), f"{PAGE.name} names {file}, which does not exist"
    tree = ast.parse(path.read_text())
    found = definitions(tree)
    assert name in found, f"{file} does not define {name}; it defines {sorted(found)}"
    statements = sum(isinstance(node, ast.stmt) for node in ast.walk(tree))
    assert statements >= 10, f"{file} has {statements} statements: too few for a feature"


def test_every_idea_that_exists_has_a_row():
    listed = {file for file, _ in rows()}
    missing = [f for f in MUST_HAVE_A_ROW if (PACKAGE / f).exists() and f not in listed]
    assert not missing, f"add rows to docs/where_is.md for {missing}"


def test_a_row_names_each_file_once():
    files = [file for file, _ in rows()]
    assert len(files) == len(set(files))


def test_definitions_are_read_from_the_source():
    source = "from a import b\nx = 1\nclass C:\n    y = 2\ndef f():\n    return 1\n"
    assert definitions(ast.parse(source)) == {"x", "C", "f"}
