"""How the benchmarks of the losses measure: time, memory and error, one row per implementation.

Time is processor time of one process on one thread, all rows in turn on changing inputs, so that a
busy machine disturbs all alike. Memory is measured in a process of each row's own: what the peak
of a call adds to the inputs and the gradient, which every implementation has to hold. Errors are
those of a row's values and gradient against the torch engine of this package in float64, on the
very numbers that the row was given.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from problems import Problem, Sizes
from torch import Tensor

import wfst_entropy
from wfst_entropy import _native

SLOW = 1.0  # seconds; what takes longer is repeated twice only


class Absent(Exception):
    """An implementation that cannot run here, and why."""


class Result(NamedTuple):
    """What a call gave, as tensors or arrays; the extra is an entropy or a divergence."""

    nll: Any
    extra: Any
    gradient: Any


class Reference(NamedTuple):
    """The same in float64, with the gradients apart."""

    nll: Tensor
    extra: Tensor
    d_nll: Tensor
    d_extra: Tensor


@dataclass(frozen=True)
class Row:
    """One implementation.

    `prepare` gets a problem and does what needs no clock; the call that it returns is measured.
    The gradient is that of `weights[0]` * nll + `weights[1]` * extra, summed over utterances.
    """

    name: str
    prepare: Callable[[Problem], Callable[[], Result]]
    weights: tuple[float, float] = (1.0, 0.0)
    reference: str = ""  # what it is compared with, a key of the task's; "" for nothing
    dtype: torch.dtype = torch.float32
    package: str = ""  # of another project
    compiles: bool = False  # for the sizes that it sees
    true_gradient: Callable[[Problem, Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Task:
    """Rows and what they are measured on; functions at the top of a module, so that it pickles."""

    title: str
    rows: Callable[[], list[Row]]
    problem: Callable[..., Problem]
    reference: Callable[[Problem, str, torch.dtype], Reference]
    cells: Callable[[Problem], int]  # nodes of all lattices
    extra: str = "entropy"


def parser(doc: str | None, sizes: Sizes, repeats: int) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    options = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    options.add_argument("--sizes", type=int, nargs=4, metavar=("B", "T", "U", "V"), default=sizes)
    options.add_argument("--repeats", type=int, default=repeats)
    options.add_argument(
        "--peers", nargs="*", metavar="PACKAGE", help="only these of other projects; none without"
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the tables there")
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    return options


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def environment() -> str:
    return (
        f"{processor()}, one thread, kernels for {_native.instruction_set()}\n"
        f"Python {platform.python_version()}, torch {torch.__version__}, wfst_entropy "
        f"{wfst_entropy.__version__}"
    )


def chosen(rows: Iterable[Row], peers: list[str] | None) -> list[Row]:
    wanted = [row for row in rows if not row.package or peers is None or row.package in peers]
    if len({row.name for row in wanted}) < len(wanted):
        raise ValueError("two rows have the same name")
    return wanted


def ready(row: Row, problem: Problem) -> tuple[Callable[[], Result], Result]:
    """The call to be measured, and what it gave at first, when code was loaded and compiled.

    Raises:
        Absent: a package is missing, or fails.
    """
    try:
        call = row.prepare(problem)
        return call, call()
    except Absent:
        raise
    except Exception as error:
        if not row.package:  # another project's must not end the others
            raise
        raise Absent(f"failed with {type(error).__name__}: {error}".splitlines()[0]) from error


def times(
    rows: list[Row], problems: list[Problem], repeats: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Milliseconds of every call of each row, and why rows are missing."""
    found: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    calls: dict[str, list[Callable[[], Result]]] = {}
    for row in rows:
        try:
            calls[row.name] = [ready(row, problem)[0] for problem in problems]
        except Absent as error:
            missing[row.name] = str(error)
    for repeat in range(repeats):
        for name, run in calls.items():
            row_times = found.setdefault(name, [])
            if len(row_times) >= 2 and min(row_times) > 1e3 * SLOW:
                continue
            start = time.process_time()
            result = run[repeat % len(run)]()
            row_times.append(1e3 * (time.process_time() - start))
            del result
    return found, missing


def _memory_field(field: str) -> int:
    """VmRSS or VmHWM (its peak) of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def _measure_memory(task: Task, name: str, sizes: Sizes, tiny: Sizes, pipe: Any) -> None:
    """In a child: sends the bytes of a call beyond inputs and gradient, or None if it cannot."""
    torch.set_num_threads(1)
    row = next(row for row in task.rows() if row.name == name)
    problem = task.problem(sizes, 0)
    try:
        if row.compiles:
            call, _ = ready(row, problem)
        else:
            ready(row, task.problem(tiny, 0))
            call = row.prepare(problem)
    except Absent:
        pipe.send(None)
        return
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _memory_field("VmRSS")
    result = call()
    pipe.send(_memory_field("VmHWM") - before - result.gradient.nbytes)


def memory(task: Task, rows: list[Row], sizes: Sizes, tiny: Sizes) -> dict[str, int]:
    """Bytes of each row, from a fresh process each, where the system can tell."""
    if not Path("/proc/self/clear_refs").exists():
        return {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "wfst_entropy.losses"])
    found = {}
    for row in rows:
        receive, send = context.Pipe(duplex=False)
        child = context.Process(
            target=_measure_memory, args=(task, row.name, sizes, tiny, send), daemon=True
        )
        child.start()
        send.close()
        try:
            taken = receive.recv()
            if taken is not None:
                found[row.name] = taken
        except EOFError:
            print(f"{row.name}: the process that was to measure its memory ended early")
        child.join()
    return found


def as_tensor(value: Any) -> Tensor:
    """A tensor of what any package calls an array."""
    if isinstance(value, Tensor):
        return value.detach().double()
    import numpy

    return torch.from_numpy(numpy.array(value, dtype=numpy.float64))


def errors(task: Task, rows: list[Row], problem: Problem) -> dict[str, tuple[float, float, float]]:
    """Largest errors per row: nll (relative), extra and gradient (absolute); NaN where absent."""
    references: dict[Any, Reference] = {}
    found = {}
    for row in rows:
        if not row.reference:
            continue
        try:
            _, result = ready(row, problem)
        except Absent:
            continue
        key = (row.reference, row.dtype)
        if key not in references:
            references[key] = task.reference(problem, *key)
        true = references[key]
        gradient = as_tensor(result.gradient)
        if row.true_gradient is not None:
            gradient = row.true_gradient(problem, gradient)
        wanted = sum(w * d for w, d in zip(row.weights, (true.d_nll, true.d_extra)) if w)
        no = float("nan")
        has_nll, has_extra = result.nll is not None, result.extra is not None
        nll = (as_tensor(result.nll) / true.nll - 1).abs().max().item() if has_nll else no
        extra = (as_tensor(result.extra) - true.extra).abs().max().item() if has_extra else no
        found[row.name] = (nll, extra, (gradient - wanted).abs().max().item())
    return found


def print_times(
    found: dict[str, list[float]], taken: dict[str, int], cells: int
) -> list[dict[str, Any]]:
    """Prints milliseconds, ratios to the first row, and memory; returns the same as numbers."""
    base = next(iter(found.values()))
    print(f"{'':44}{'min ms':>9}{'median':>9}{'ratio of mins':>15}{'of medians':>12}", end="")
    print(f"{'runs':>6}{'extra MB':>10}{'B/cell':>8}")
    table = []
    for name, row in found.items():
        line: dict[str, Any] = {
            "name": name,
            "min_ms": min(row),
            "median_ms": statistics.median(row),
            "ratio_of_mins": min(row) / min(base),
            "ratio_of_medians": statistics.median(row) / statistics.median(base),
            "runs": len(row),
            "extra_bytes": taken.get(name),
        }
        table.append(line)
        text = f"{name:44}{line['min_ms']:9.2f}{line['median_ms']:9.2f}"
        text += f"{line['ratio_of_mins']:15.3f}{line['ratio_of_medians']:12.3f}{len(row):6}"
        if name in taken:
            text += f"{taken[name] / 2**20:10.1f}{taken[name] / cells:8.0f}"
        print(text)
    return table


def print_errors(found: dict[str, tuple[float, float, float]], extra: str) -> list[dict[str, Any]]:
    """Prints the errors, a dash where a row does not give a quantity."""
    print(f"{'':44}{'nll, relative':>15}{extra:>12}{'gradient':>12}")
    for name, values in found.items():
        text = ["-" if value != value else f"{value:.1e}" for value in values]
        print(f"{name:44}{text[0]:>15}{text[1]:>12}{text[2]:>12}")
    keys = ("nll_relative", extra, "gradient")
    return [
        {"name": name, **{k: v for k, v in zip(keys, values) if v == v}}
        for name, values in found.items()
    ]


def run(
    task: Task,
    options: argparse.Namespace,
    tiny: Sizes,
    hard: dict[str, Callable[[], Problem]],
    num_problems: int = 2,
) -> list[dict[str, Any]]:
    """Measures and prints one task: time and memory, then errors on the hard problems."""
    sizes = tiny if options.quick else Sizes(*options.sizes)
    repeats = 1 if options.quick else options.repeats
    rows = chosen(task.rows(), options.peers)
    taken = memory(task, rows, sizes, tiny)
    problems = [task.problem(sizes, seed) for seed in range(num_problems)]
    found, missing = times(rows, problems, repeats)
    cells = task.cells(problems[0])
    del problems
    print(f"{task.title}, {sizes}: forward and backward, processor time, {cells:,} cells")
    tables = [{"title": f"{task.title}, {sizes}", "rows": print_times(found, taken, cells)}]
    for name, reason in missing.items():
        print(f"absent: {name}: {reason}")
    for title, make in hard.items():
        print(f"\n{task.title}, largest errors against float64: {title}")
        table = print_errors(errors(task, rows, make()), task.extra)
        tables.append({"title": f"{task.title}, errors: {title}", "rows": table})
    print()
    return tables


def write_json(options: argparse.Namespace, tables: list[dict[str, Any]]) -> None:
    if options.json is not None:
        content = {"environment": environment(), "command": sys.argv, "tables": tables}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
