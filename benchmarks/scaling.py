"""How does time grow with frames, labels, symbols, utterances and threads?

    python benchmarks/scaling.py [--plots DIR] [--format svg] [--repeats 3] [--json FILE] [--quick]

Forward and backward passes of CTC and RNN-T, nll + H, with torch's `ctc_loss` (nll alone) and with
a copy of the logits beside them; one axis is varied at a time. Minima of processor time on one
thread, but of elapsed time for threads. With `--plots` a picture of each task is drawn too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctc
import rnnt
import torch
from measuring import Row, Task, environment
from problems import Sizes

AXES = {"n": "utterances", "t": "frames", "u": "labels", "v": "symbols"}
CTC = Sizes(4, 500, 50, 500)
RNNT = Sizes(8, 100, 25, 500)
CTC_AXES = {
    "t": [125, 250, 500, 1000, 2000],
    "u": [10, 25, 50, 100, 200],
    "v": [50, 200, 500, 2000, 5000],
    "n": [1, 2, 4, 8, 16, 32],
}
RNNT_AXES = {
    "t": [25, 50, 100, 200, 400],
    "u": [6, 12, 25, 50, 100],
    "v": [50, 200, 500, 2000],
    "n": [1, 2, 4, 8, 16],
}
CTC_ROWS = ["torch.nn.functional.ctc_loss", "ctc_loss, nll", "ctc_alignment, nll + H"]
RNNT_ROWS = ["logits.clone()", "rnnt_loss, nll", "rnnt_alignment, nll + H"]

Clock = Callable[[], float]


def minima(
    task: Task, rows: list[Row], sizes: Sizes, repeats: int, clock: Clock = time.process_time
) -> dict[str, float]:
    """Milliseconds of each row, in turn."""
    problem = task.problem(sizes, 0)
    calls = {row.name: row.prepare(problem) for row in rows}
    best = dict.fromkeys(calls, float("inf"))
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if repeat:  # the first one warms up
                best[name] = min(best[name], 1e3 * (clock() - start))
    return best


def print_table(title: str, axis: str, table: dict[int, dict[str, float]]) -> None:
    names = list(next(iter(table.values())))
    print(f"{title}: ms, and ratio to the first")
    print(f"{axis:>12}" + "".join(f"{name:>40}" for name in names))
    for value, row in table.items():
        cells = [f"{row[name]:.2f} ({row[name] / row[names[0]]:.2f})" for name in names]
        print(f"{value:12}" + "".join(f"{cell:>40}" for cell in cells))
    print()


def measure(
    task: Task, wanted: list[str], base: Sizes, axes: dict[str, list[int]], repeats: int
) -> dict[str, dict[int, dict[str, float]]]:
    """Times by axis, value and row."""
    rows = [row for row in task.rows() if row.name in wanted]
    tables = {}
    for axis, values in axes.items():
        table = {v: minima(task, rows, base._replace(**{axis: v}), repeats) for v in values}
        tables[AXES[axis]] = table
        print_table(f"{task.title}, {base}", AXES[axis], table)
    table = {}
    for threads in range(1, (os.cpu_count() or 1) + 1):
        torch.set_num_threads(threads)
        table[threads] = minima(task, rows, base._replace(n=16), repeats, time.perf_counter)
    torch.set_num_threads(1)
    tables["threads"] = table
    print_table(f"{task.title}, {base._replace(n=16)}, elapsed time", "threads", table)
    return tables


def draw(title: str, tables: dict[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(tables), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (axis, table) in zip(figure.subplots(1, len(tables)), tables.items()):
        for name in next(iter(table.values())):
            axes.loglog(list(table), [row[name] for row in table.values()], "o-", label=name)
        axes.set_xlabel(axis)
        axes.set_xticks(list(table), list(table), minor=False)
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("ms, forward and backward")
    figure.axes[0].legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(path)
    print(f"wrote {path}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plots", type=Path, metavar="DIR", help="where to draw pictures")
    parser.add_argument("--format", choices=["svg", "png"], default="svg", help="of the pictures")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(environment() + "\n")
    found = {}
    for task, rows, base, axes in (
        (ctc.TASK, CTC_ROWS, CTC, CTC_AXES),
        (rnnt.TASK, RNNT_ROWS, RNNT, RNNT_AXES),
    ):
        if options.quick:
            base, axes = Sizes(2, 12, 3, 7), {axis: [8, 10] for axis in axes}
        found[task.title] = measure(task, rows, base, axes, options.repeats)
        if options.plots is not None:
            options.plots.mkdir(parents=True, exist_ok=True)
            name = task.title.lower().replace("-", "")
            path = options.plots / f"scaling_{name}.{options.format}"
            draw(f"{task.title}, {base}, one axis varied", found[task.title], path)
    if options.json is not None:
        content = {"environment": environment(), "milliseconds": found}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
