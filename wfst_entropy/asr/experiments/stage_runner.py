"""Runs the commands of one experiment, once each, over as many attempts as it takes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wfst_entropy.asr.experiments.table import Stage
from wfst_entropy.asr.options import OptionError
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

STATE_FILE = "experiment.json"
_TAIL = 5  # lines of a log that a message repeats
# what a stage leaves for the record of its run
RECORDED = ("summary-*.json", "alignments-*.json")


class StageError(FsaError, RuntimeError):
    """A command of an experiment did not end well; the message has its last lines."""


class StageRunner:
    """Runs the stages of one experiment and remembers in its folder which are done.

    A stage that was interrupted, by whatever, is started again with the same command; scripts go on
    where they were. The folder is locked by this process and by the commands that it starts: if
    this process is killed, the next one waits until the command that was left alone has ended.

    Args:
      exp_dir: folder of the run; made if missing. Its file `experiment.json` keeps what was done.
      recipe_dir: where commands are run.
      threads: of each command.
      log: told what happens.
    """

    def __init__(
        self, exp_dir: Path, recipe_dir: Path, threads: int, log: Callable[[str], None]
    ) -> None:
        self.exp_dir = exp_dir
        self.recipe_dir = recipe_dir
        self.threads = threads
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False

    @property
    def folder(self) -> Path:
        """The run's folder as seen from here; commands see it from the recipe's folder."""
        return self.recipe_dir / self.exp_dir

    def run(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Run all stages that are not done.

        Returns:
          What is known of each stage: its command, attempts and files.

        Raises:
          StageError: a command failed or was stopped.
          OptionError: the folder was begun with another command for its first stage.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked() as lock:
            state = self._read()
            first = stages[0]
            begun = state.get(first.name, {}).get("command", first.command)
            if begun != first.command:
                raise OptionError(
                    f"{self.exp_dir}: was begun with another command ({begun}); move the folder "
                    "away to begin anew"
                )
            for stage in stages:
                entry = state.get(stage.name)
                if entry is None or entry["command"] != stage.command:
                    entry = {"command": stage.command, "done": False, "attempts": [], "files": []}
                    state[stage.name] = entry
                if not entry["done"]:
                    self._attempt(stage, state, lock)
            return {stage.name: state[stage.name] for stage in stages}

    def stop(self) -> None:
        """End the command that runs now, and start no other."""
        self.stopped = True
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.log(f"{self.exp_dir}: another process works there; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _attempt(self, stage: Stage, state: dict[str, Any], lock: int) -> None:
        if self.stopped:
            raise StageError(f"{stage.name}: not started, the driver was stopped")
        entry = state[stage.name]
        attempt: dict[str, Any] = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        attempt |= {"commit": code_version()}
        entry["attempts"].append(attempt)
        self._write(state)
        began, clock = time.time_ns(), time.monotonic()
        log_file = self.folder / f"log-{stage.name}.txt"
        status, cpu = self._execute(stage, log_file, lock)
        attempt |= {
            "wall_seconds": round(time.monotonic() - clock, 2),
            "cpu_seconds": round(cpu, 2),
            "status": status,
        }
        entry["done"] = status == 0
        entry["files"] = self._files_since(began) if status == 0 else []
        self._write(state)
        if status != 0:
            lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
            raise StageError(
                f"{stage.name}: ended with status {status}; the end of {log_file}:\n"
                + "\n".join(f"  {line}" for line in lines[-_TAIL:])
            )

    def _execute(self, stage: Stage, log_file: Path, lock: int) -> tuple[int, float]:
        """Run a command to its end; its status, and the seconds of CPU that it took."""
        script, *arguments = stage.argv
        command = [sys.executable, script, *arguments]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads), "COLUMNS": "200"}
        with log_file.open("ab") as log:
            log.write(f"$ {stage.command}\n".encode())
            log.flush()
            self.process = process = subprocess.Popen(
                command,
                cwd=self.recipe_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[lock],
            )
            _, wait_status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(wait_status)
        return process.returncode, usage.ru_utime + usage.ru_stime

    def _files_since(self, began: int) -> list[str]:
        """What the record of the run reads, written since a time in nanoseconds."""
        found = (path for pattern in RECORDED for path in self.folder.rglob(pattern))
        new = (path for path in found if path.stat().st_mtime_ns >= began)
        return sorted(str(path.relative_to(self.folder)) for path in new)

    def _read(self) -> dict[str, Any]:
        path = self.folder / STATE_FILE
        if not path.exists():
            return {}
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OptionError(f"{path}: is damaged ({error}); move the folder away") from error
        return state

    def _write(self, state: dict[str, Any]) -> None:
        with replacing(self.folder / STATE_FILE) as file:
            file.write(json.dumps(state, indent=1).encode())


def code_version() -> str | None:
    """The commit of the code, with "+" where files differ from it; None outside a repository."""
    here = Path(__file__).parent

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["git", *words]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)

    try:
        commit = git("rev-parse", "--short=10", "HEAD")
        changed = git("diff", "--quiet", "HEAD", "--", ":/*.py", ":/*.cpp", ":/*.h")
    except OSError:  # there is no git here
        return None
    if commit.returncode != 0:
        return None
    return commit.stdout.strip() + ("+" if changed.returncode else "")
