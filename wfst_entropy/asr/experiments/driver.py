"""Runs a table of experiments to its end: what is stored is skipped, what was killed goes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from wfst_entropy.asr.experiments.run_record import collect, read_record, write_record
from wfst_entropy.asr.experiments.stage_runner import StageError, StageRunner
from wfst_entropy.asr.experiments.table import ExperimentTable, exp_dir
from wfst_entropy.asr.options import OptionError, option
from wfst_entropy.fsa.errors import FsaError

DONE, STORED = "done", "stored already"


@dataclasses.dataclass
class DriverOptions:
    """Where runs are made, and how many at a time."""

    data_dir: Path = option(Path("data/mini"), "The corpus, as prepare.sh left it.")
    exp_root: Path = option(Path("exp/experiments"), "Folder of all runs.")
    results_dir: Path = option(
        Path("experiments/results"), "Where the record of each finished run goes."
    )
    rows: tuple[str, ...] = option((), "Only these rows and what they need; all by default.")
    seeds: tuple[int, ...] = option((), "Instead of the table's seeds.")
    num_parallel: int = option(1, "Runs at a time.")
    threads: int = option(1, "Threads of each run.")
    dry_run: bool = option(False, "Print the commands and run nothing.")

    def __post_init__(self) -> None:
        for name in ("num_parallel", "threads"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: needs at least 1, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Run:
    """A row with a seed."""

    row: str
    seed: int

    @property
    def name(self) -> str:
        """As in the names of files."""
        return f"{self.row}-seed{self.seed}"


class Driver:
    """Runs a table.

    Args:
      table: from `read_table`.
      options: where and how.
      recipe_dir: the recipe's folder; relative paths of the options and commands are seen from it.
      log: told what happens.
    """

    def __init__(
        self,
        table: ExperimentTable,
        options: DriverOptions,
        recipe_dir: Path,
        log: Callable[[str], None] = print,
    ) -> None:
        self.table = table
        self.options = options
        self.recipe_dir = recipe_dir
        self.log = log
        self._runners: list[StageRunner] = []

    def runs(self) -> list[Run]:
        """All runs wanted, and those that they need, in an order in which they can be done.

        Raises:
          OptionError: a row is wanted that the table has not.
        """
        unknown = [name for name in self.options.rows if name not in self.table.rows]
        if unknown:
            raise OptionError(
                f"rows: the table has no row {unknown[0]!r}; it has {', '.join(self.table.rows)}"
            )
        wanted = set(self.options.rows or self.table.rows)
        for name in reversed(self.table.rows):  # a row needs rows above it only
            if name in wanted:
                wanted |= self.table.rows[name].needs()
        rows = [name for name in self.table.rows if name in wanted]
        return [Run(row, seed) for seed in self.options.seeds or self.table.seeds for row in rows]

    def commands(self, run: Run) -> list[str]:
        """The commands of a run."""
        return [stage.command for stage in self._stages(run)]

    def run(self) -> dict[str, str]:
        """Run everything.

        Returns:
          What became of each run by its name: `DONE`, `STORED`, or why not.
        """
        waiting, outcomes = self.runs(), dict[str, str]()
        active: dict[Future[str], Run] = {}
        with ThreadPoolExecutor(self.options.num_parallel) as pool:
            try:
                while waiting or active:
                    for run in self._startable(waiting, outcomes, len(active)):
                        waiting.remove(run)
                        active[pool.submit(self._run, run)] = run
                    if active:
                        finished, _ = wait(active, return_when=FIRST_COMPLETED)
                        for future in finished:
                            name = active.pop(future).name
                            outcomes[name] = future.result()
                            self.log(f"{name}: {outcomes[name]}")
            except BaseException:  # Ctrl-C too: leave no command behind
                waiting.clear()
                for runner in self._runners:
                    runner.stop()
                raise
        return outcomes

    def _startable(
        self, waiting: list[Run], outcomes: dict[str, str], num_active: int
    ) -> Iterable[Run]:
        """Runs whose turn it is; those whose predecessors failed are given up."""
        chosen: list[Run] = []
        for run in list(waiting):
            needed = [Run(row, run.seed).name for row in self.table.rows[run.row].needs()]
            lost = [name for name in needed if outcomes.get(name, DONE) not in (DONE, STORED)]
            if lost:
                outcomes[run.name] = f"not run: it needs {lost[0]}, which failed"
                waiting.remove(run)
                self.log(f"{run.name}: {outcomes[run.name]}")
            elif all(name in outcomes for name in needed):
                chosen.append(run)
        return chosen[: self.options.num_parallel - num_active]

    def _stages(self, run: Run) -> Any:
        options = self.options
        return self.table.commands(run.row, run.seed, options.data_dir, options.exp_root)

    def _exp_dir(self, row: str, seed: int) -> Path:
        return exp_dir(self.options.exp_root, self.table.name, row, seed)

    def record_path(self, run: Run) -> Path:
        """Where the record of a run is stored."""
        return self.recipe_dir / self.options.results_dir / self.table.name / f"{run.name}.json"

    def _run(self, run: Run) -> str:
        """Do one run; failures of commands are outcomes, not exceptions."""
        path = self.record_path(run)
        try:
            if path.exists():
                before = [stage["command"] for stage in read_record(path)["stages"]]
                if before == self.commands(run):
                    return STORED
                return f"stored from other commands; remove {path} to run it again"
            self.log(f"{run.name}: started")
            folder = self._exp_dir(run.row, run.seed)
            runner = StageRunner(folder, self.recipe_dir, self.options.threads, self.log)
            self._runners.append(runner)
            stages = runner.run(self._stages(run))
            row = self.table.rows[run.row]
            baseline = self._exp_dir(row.baseline, run.seed) if row.baseline else None
            record = collect(
                *(self.table, row, run.seed, stages, runner.folder),
                baseline=self.recipe_dir / baseline if baseline else None,
            )
            record["threads"] = self.options.threads
            write_record(path, record)
        except (StageError, FsaError, OSError, json.JSONDecodeError) as error:
            return f"failed: {error}"
        return DONE
