"""The table of `docs/coming_from_k2.md` against the module, both ways."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch

import wfst_entropy
from wfst_entropy.compat import k2

ROOT = Path(wfst_entropy.__file__).parents[1]
ROW = re.compile(r"^\| `(?P<name>[\w.]+)` \| (?P<state>here|absent) \| ?(?P<remark>.*?) ?\|$")
# What this package adds to k2's names.
OWN = {"MODULES", "from_k2", "install", "to_k2"}


class Row(NamedTuple):
    name: str
    state: str
    remark: str


def rows() -> list[Row]:
    text = (ROOT / "docs" / "coming_from_k2.md").read_text()
    table = text[text.index("## Every name of k2") :].splitlines()
    lines = [line for line in table if line.startswith("| `")]
    matches = [ROW.match(line) for line in lines]
    malformed = [line for line, match in zip(lines, matches) if match is None]
    assert not malformed, f"rows need the form | `name` | state | remark |: {malformed}"
    return [Row(**match.groupdict()) for match in matches if match is not None]


@pytest.fixture(scope="module")
def instances() -> dict[type, Any]:
    fsa = k2.linear_fst([1], [1])
    segments = torch.tensor([[0, 0, 1]], dtype=torch.int32)
    return {k2.Fsa: fsa, k2.DenseFsaVec: k2.DenseFsaVec(torch.zeros(1, 1, 2), segments)}


def resolve(name: str, instances: dict[type, Any]) -> Any:
    """What a dotted name means; attributes of objects are looked up in an object."""
    first, *parts = name.split(".")
    found: Any = k2._k2 if first == "_k2" else k2
    for part in parts:
        found = getattr(instances.get(found, found) if isinstance(found, type) else found, part)
    return found


def test_every_row_tells_the_truth(instances: dict[type, Any]):
    for row in rows():
        if row.state == "here":
            resolve(row.name, instances)
        else:
            assert row.remark, f"{row.name}: the table must say why it is absent"
            with pytest.raises(AttributeError):
                resolve(row.name, instances)


def test_every_public_name_has_a_row():
    names = {row.name for row in rows()}
    classes = (k2.Fsa, k2.Nbest, k2.RaggedShape, k2.RaggedTensor, k2.SymbolTable)
    classes += (k2.RnntDecodingStreams,)
    public = {
        f"k2.{name}"
        for name in k2.__all__
        if name not in OWN and not isinstance(getattr(k2, name), ModuleType) and name[0] != "_"
    }
    public |= {f"k2.{c.__name__}.{m}" for c in classes for m in vars(c) if m[0] != "_"}
    added = {"k2.Fsa.from_core", "k2.Fsa.core", "k2.Fsa.bare"}
    assert public - added - names == set()


def test_no_name_stands_there_twice():
    names = [row.name for row in rows()]
    assert len(names) == len(set(names))


def test_nearly_all_names_are_here_and_tested():
    """At least 95 % are here and occur in a test."""
    tests = [
        p.read_text() for p in Path(__file__).parent.glob("test_*.py") if p.name != "test_names.py"
    ]
    words = set(re.findall(r"\w+", "\n".join(tests)))
    covered = rows()
    missing = [r.name for r in covered if r.state != "here" or r.name.split(".")[-1] not in words]
    share = 1 - len(missing) / len(covered)
    assert share >= 0.95, f"{share:.1%} of {len(covered)}; missing: {missing}"


def test_the_page_counts_right():
    text = " ".join((ROOT / "docs" / "coming_from_k2.md").read_text().split())
    low = [row for row in rows() if row.name.startswith("_k2.")]
    public = [row for row in rows() if not row.name.startswith("_k2.")]
    here = [sum(row.state == "here" for row in some) for some in (public, low)]
    assert (
        f"Of the {len(public)} public names {here[0]} are here, of the {len(low)} low-level ones "
        f"{here[1]};" in text
    )


def test_what_cannot_be_imported_says_why():
    with pytest.raises(NotImplementedError, match="no C\\+\\+ headers"):
        _ = k2.cmake_prefix_path
