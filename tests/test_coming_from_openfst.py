"""The page "Coming from OpenFst": what it names exists, and it misses no operation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

import wfst_entropy
from wfst_entropy.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "coming_from_openfst.md"
NAME = re.compile(r"`([^`]+)`")
VERBS = typer.main.get_command(app).commands.keys()

# The commands of OpenFst 1.8, without those of its extensions.
COMMANDS = {
    "arcsort", "closure", "compile", "compose", "concat", "connect", "convert", "decode",
    "determinize", "difference", "disambiguate", "draw", "encode", "epsnormalize", "equal",
    "equivalent", "info", "intersect", "invert", "isomorphic", "map", "minimize", "print",
    "project", "prune", "push", "randgen", "relabel", "replace", "reverse", "reweight",
    "rmepsilon", "shortestdistance", "shortestpath", "symbols", "synchronize", "topsort",
    "union",
}  # fmt: skip


class Row(NamedTuple):
    theirs: list[str]
    ours: list[str]
    verbs: list[str]
    remark: str


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    found = []
    for line in lines[1:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 4, line
        for cell in cells[1:3]:
            assert cell == "-" or NAME.sub("", cell).strip(", ") == "", cell
        found.append(Row(*(NAME.findall(cell) for cell in cells[:3]), cells[3]))
    return found


def listed() -> set[str]:
    return {name for row in rows() for name in row.theirs}


@pytest.mark.parametrize("name", sorted({name for row in rows() for name in row.ours}))
def test_what_is_named_exists(name):
    first, *rest = name.split(".")
    found = getattr(wfst_entropy, first)
    for part in rest:
        found = getattr(found, part)
    assert callable(found) or isinstance(found, property)


@pytest.mark.parametrize("verb", sorted({verb for row in rows() for verb in row.verbs}))
def test_verbs_exist(verb):
    assert verb in VERBS


def test_every_verb_named_as_an_operation_of_openfst_is_on_the_page():
    named = {verb for row in rows() for verb in row.verbs}
    # What a recogniser calls decoding is not what OpenFst does.
    assert (VERBS & COMMANDS) - named == {"decode"}


def test_what_is_absent_has_a_reason():
    absent = [row for row in rows() if not row.ours]
    assert absent and all(row.remark for row in absent)


def test_every_command_has_a_row():
    missing = {f"fst{command}" for command in COMMANDS} - listed()
    assert not missing, f"{PAGE.name} has no row for {sorted(missing)}"


@pytest.mark.parametrize("module", ["pynini", "pywrapfst"])
def test_every_function_of_pynini_has_a_row(module):
    module = pytest.importorskip(module)
    functions = {
        name
        for name, value in vars(module).items()
        if name[0].islower() and type(value).__name__ == "cython_function_or_method"
    }
    # How text is read, not an operation; the module exports it with the others.
    functions -= {"default_token_type"}
    assert len(functions) > 20
    missing = functions - listed()
    assert not missing, f"{PAGE.name} has no row for {sorted(missing)}"


def test_methods_of_fst_that_are_named_exist():
    pynini = pytest.importorskip("pynini")
    methods = [name.removeprefix("Fst.") for name in listed() if name.startswith("Fst.")]
    assert methods and not [name for name in methods if not hasattr(pynini.Fst, name)]
