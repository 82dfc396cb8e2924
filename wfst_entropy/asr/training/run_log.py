"""What a person watches: log file, terminal, tensorboard curves, and one row per epoch."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from wfst_entropy.fsa.atomic_file import replacing

_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class RunLog:
    """Writes ``exp_dir/log/log-train-*``, the terminal, and ``exp_dir/tensorboard``.

    Only the first process writes to the terminal and to tensorboard; each has a log file.

    Args:
      exp_dir: Folder of the run; made if missing.
      rank: Number of the process.
      tensorboard: Whether to write curves.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = RunLog(Path(folder), rank=1, tensorboard=False)
    ...     log.info("one epoch done")
    ...     log.close()
    ...     [path.read_text()[24:].strip() for path in Path(folder).glob("log/log-train-*")]
    ['INFO one epoch done']
    """

    def __init__(self, exp_dir: Path, rank: int, tensorboard: bool) -> None:
        self.exp_dir = exp_dir
        folder = exp_dir / "log"
        folder.mkdir(parents=True, exist_ok=True)
        self.console = Console()
        self.is_first = rank == 0
        self._logger = logging.getLogger("wfst_entropy.train")
        self._logger.setLevel(logging.INFO)
        # at the root, so that warnings of other modules are in the file too
        self._handlers: list[logging.Handler] = []
        stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
        self._add(logging.FileHandler(folder / f"log-train-{stamp}-{rank}"))
        if self.is_first and self.console.is_terminal:
            # the handler shows time and level itself
            self._add(RichHandler(console=self.console, show_path=False), "%(message)s")
        elif self.is_first:
            self._add(logging.StreamHandler())
        self._writer = None
        if tensorboard and self.is_first:
            # imported here: it takes a second that runs without curves need not wait
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(exp_dir / "tensorboard"))

    def _add(self, handler: logging.Handler, line_format: str = _FORMAT) -> None:
        handler.setFormatter(logging.Formatter(line_format))
        logging.getLogger().addHandler(handler)
        self._handlers.append(handler)

    def info(self, message: str) -> None:
        """Log a line."""
        self._logger.info(message)

    def warning(self, message: str) -> None:
        """Log a line that needs attention."""
        self._logger.warning(message)

    def excluded(self, reasons: dict[str, str]) -> None:
        """Log utterances that are left out of the loss, with the reason."""
        for name, reason in reasons.items():
            self.warning(f"{name}: left out of the loss: {reason}")

    def scalars(self, step: int, **values: float) -> None:
        """Add points to the curves.

        Args:
          step: Batches trained so far.
          **values: Numbers by name; ``train_loss`` becomes the curve ``train/loss``.
        """
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name.replace("_", "/", 1), value, step)

    @contextlib.contextmanager
    def epoch_bar(self, epoch: int, done: int, total: int) -> Iterator[EpochBar]:
        """A progress bar on a terminal; elsewhere nothing, the log lines do.

        Args:
          epoch: Epoch, from 1.
          done: Batches that are done already.
          total: Batches expected, 0 when that is not known yet.

        Yields:
          The bar, to be told of every batch.
        """
        progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (self.is_first and self.console.is_terminal),
        )
        with progress:
            task = progress.add_task(
                "", total=total or None, completed=done, epoch=epoch, figures=""
            )
            yield EpochBar(progress, task)

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Write ``exp_dir/history.jsonl``, one JSON object per finished epoch.

        The whole file is written again: a run that is resumed then has each epoch once.

        Args:
          rows: Figures of all epochs so far.
        """
        with replacing(self.exp_dir / "history.jsonl") as file:
            file.writelines((json.dumps(row) + "\n").encode() for row in rows)

    def close(self) -> None:
        """Close the files."""
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        if self._writer is not None:
            self._writer.close()


class EpochBar:
    """The bar of one epoch.

    >>> bar = EpochBar(Progress(disable=True), TaskID(0))
    >>> bar.advance("loss 1.0")
    """

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, figures: str) -> None:
        """One more batch is done; show these figures beside the bar."""
        if not self._progress.disable:
            self._progress.update(self._task, advance=1, figures=figures)
