"""The page on losses names every loss, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wfst_entropy
import wfst_entropy.losses

PAGE = Path(__file__).parents[1] / "docs" / "losses.md"
TEXT = PAGE.read_text()


@pytest.mark.parametrize("name", wfst_entropy.losses.__all__)
def test_the_page_names_every_loss(name):
    assert re.search(rf"\b{name}\b", TEXT), f"docs/losses.md says nothing of {name}"


def test_every_name_in_its_first_tables_exists():
    before, found, _ = TEXT.partition("\n## Three quantities")
    assert found
    rows = [line for line in before.splitlines() if line.startswith("| ")]
    names = {n for row in rows for n in re.findall(r"`([A-Za-z]\w+)`", row)} - {"am", "lm"}
    assert len(names) > 30
    missing = sorted(name for name in names if not hasattr(wfst_entropy, name))
    assert not missing, f"docs/losses.md names {missing}"
