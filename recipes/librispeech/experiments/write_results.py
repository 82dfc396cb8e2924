#!/usr/bin/env python3
"""Write the sections of RESULTS.md about experiments, and their plots, from the stored records.

  cd recipes/librispeech
  ./experiments/write_results.py

Each table with records in experiments/results/TABLE/ has a section between the lines
"<!-- experiments TABLE: begin -->" and "<!-- experiments TABLE: end -->"; what stands outside of
them is written by hand and kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wfst_entropy.asr.experiments.results_page import render_section, replace_section
from wfst_entropy.asr.experiments.results_plots import plot_entropy_curves, plot_reliability
from wfst_entropy.asr.experiments.row_records import read_records
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

RECIPE_DIR = Path(__file__).resolve().parents[1]
PLOTS = {"entropy-curves": plot_entropy_curves, "reliability": plot_reliability}


def tables(recipe_dir: Path) -> list[Path]:
    """Folders of the tables that have records."""
    folders = (recipe_dir / "experiments" / "results").iterdir()
    return sorted(path for path in folders if path.is_dir())


def picture_file(table: str, plot: str) -> Path:
    """Where a plot goes, relative to the page."""
    return Path("experiments") / "plots" / f"{table}-{plot}.svg"


def results_page(recipe_dir: Path) -> str:
    """The page as it should be, with the plots that there are."""
    text = (recipe_dir / "RESULTS.md").read_text(encoding="utf-8")
    for folder in tables(recipe_dir):
        pictures = [picture_file(folder.name, plot) for plot in PLOTS]
        drawn = [str(p) for p in pictures if (recipe_dir / p).exists()]
        text = replace_section(text, folder.name, render_section(read_records(folder), drawn))
    return text


def draw_plots(recipe_dir: Path) -> None:
    """Draw what the records allow."""
    for folder in tables(recipe_dir):
        rows = read_records(folder)
        for plot, draw in PLOTS.items():
            draw(rows, recipe_dir / picture_file(folder.name, plot))


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        draw_plots(RECIPE_DIR)
        text = results_page(RECIPE_DIR)
        with replacing(RECIPE_DIR / "RESULTS.md") as file:
            file.write(text.encode())
    except (FsaError, OSError) as error:
        sys.exit(f"write_results.py: error: {error}")


if __name__ == "__main__":
    main()
