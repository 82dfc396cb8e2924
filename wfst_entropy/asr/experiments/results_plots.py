"""Plots of a table of experiments, from its records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wfst_entropy.asr.experiments.row_records import RowRecords
from wfst_entropy.fsa.atomic_file import replacing

_COLOURS = ("#1f5fa8", "#d9731a", "#3a8f4d", "#8a4fa0", "#777777")
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # the same records give the same bytes
    "svg.hashsalt": "wfst-entropy",
    "svg.fonttype": "none",
}


def plot_entropy_curves(rows: Sequence[RowRecords], path: Path) -> bool:
    """Draw likelihood and alignment entropy per frame over the batches of each training.

    Rows that are compared with each other share a panel, seeds of a row a colour.

    Args:
      rows: of one table.
      path: the SVG file to write.

    Returns:
      Whether there was anything to draw; nothing is written otherwise.
    """
    groups = _groups(rows)
    if not groups:
        return False
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        figure, axes = _panels(2, len(groups))
        for column, group in enumerate(groups):
            for row, colour in zip(group, _COLOURS, strict=False):
                for record in row.records:
                    points = record["training"]["curve"]
                    for line, value in ((0, 1), (1, 2)):
                        x, y = [p[0] for p in points], [p[value] for p in points]
                        short = row.name.removeprefix(f"{group[0].name}-")
                        label = short if record is row.first else None
                        axes[line][column].plot(x, y, color=colour, linewidth=1.0, label=label)
            axes[0][column].set_yscale("log")
            axes[0][column].set_title(group[0].name)
            axes[1][column].legend(fontsize=6, loc="upper right")
            axes[1][column].set_xlabel("batches")
            axes[1][column].set_ylim(bottom=0)
        axes[0][0].set_ylabel("NLL, nats per frame")
        axes[1][0].set_ylabel("alignment entropy,\nnats per frame")
        _save(figure, path)
    return True


def _groups(rows: Sequence[RowRecords]) -> list[list[RowRecords]]:
    """Rows with a curve, each with those that have it as their baseline."""
    known = [row for row in rows if all(r["training"] for r in row.records)]
    groups = {row.name: [row] for row in known if row.baseline is None}
    for row in known:
        if row.baseline is not None:
            groups.setdefault(row.baseline, []).append(row)
    return list(groups.values())


def plot_reliability(rows: Sequence[RowRecords], path: Path) -> bool:
    """Draw how often words of a confidence are right, by the first decoding that tells both.

    Args:
      rows: of one table.
      path: the SVG file to write.

    Returns:
      Whether there was anything to draw.
    """
    found = []
    for row in rows:
        decodings = [d for d in row.first["decodings"] if d["calibration"]]
        if decodings:
            found.append((row, decodings[0]))
    if not found:
        return False
    import matplotlib as mpl

    width = min(5, len(found))
    with mpl.rc_context(_STYLE):
        figure, axes = _panels(math.ceil(len(found) / width), width)
        for place, (row, decoding) in enumerate(found):
            panel = axes[place // width][place % width]
            bins = [b for b in decoding["calibration"]["bins"] if b["num_words"]]
            panel.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
            sizes = [4 + 30 * math.sqrt(b["num_words"] / 1000) for b in bins]
            x, y = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
            panel.plot(x, y, color=_COLOURS[0], linewidth=0.8)
            panel.scatter(x, y, s=sizes, color=_COLOURS[0])
            panel.set_title(f"{row.name}\nECE {decoding['calibration']['ece']:.3f}")
            panel.set_xlim(0, 1.02)
            panel.set_ylim(0, 1.02)
        for place in range(len(found), len(axes) * width):
            axes[place // width][place % width].set_visible(False)
        for panel in axes[-1]:
            panel.set_xlabel("confidence")
        for line in axes:
            line[0].set_ylabel("share that is right")
        _save(figure, path)
    return True


def _panels(lines: int, columns: int) -> tuple[Any, list[list[Any]]]:
    """A figure made without any display, and its panels by line and column."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * columns + 0.6, 1.9 * lines + 0.2), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.subplots(lines, columns, squeeze=False).tolist()


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
