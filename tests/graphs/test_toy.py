"""The toy graphs are made and looked into by their script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def texts(svg: Path) -> list[str]:
    return re.findall(">([^<]+)</text>", svg.read_text())


@pytest.mark.slow
def test_the_script_makes_all_graphs_and_pictures(tmp_path):
    done = subprocess.run(
        [ROOT / "graphs/toy/run.sh", "--python", sys.executable, "--out-dir", tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the cat sat on the mat" in done.stdout
    assert "puts out 'cow' (id 6)" in done.stdout
    pictures = {path.name for path in tmp_path.glob("*.svg")}
    assert pictures == {"L.svg", "G.svg", "LG_near_on.svg"}
    for name in ("L", "G"):
        shown = ROOT / "docs/images" / {"L": "lexicon.svg", "G": "bigram.svg"}[name]
        assert texts(tmp_path / f"{name}.svg") == texts(shown), (
            f"{shown} is out of date: copy {name}.svg of graphs/toy/out there"
        )
