"""Determinisation and minimisation by kaldifst, in a process of its own.

Determinisation of a graph that has no deterministic form may never end, and inside kaldifst it can
neither be interrupted nor be kept from taking all memory. A process can be: it has a limit of
states and one of memory, Ctrl-C ends it, and all that it held is given back at its end.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.fsa.openfst import from_openfst_file, to_openfst_file

_log = logging.getLogger(__name__)
_WORKER = Path(__file__).with_name("kaldifst_worker.py")
# Graphs that can be determinised take a fraction of this; output strings of one that cannot, which
# grow with every state, soon take more.
_BYTES_AT_LEAST, _BYTES_PER_ARC = 2**30, 1024


class NotDeterminizableError(FsaRuntimeError):
    """A graph has no deterministic form, or none within the limits."""


def require_kaldifst(purpose: str) -> None:
    """Raises FsaRuntimeError, with the command that installs it, where kaldifst is missing."""
    if importlib.util.find_spec("kaldifst") is None:
        raise FsaRuntimeError(
            f"{purpose}: needs the package kaldifst, which is not installed: pip install "
            "'wfst-entropy[graphs]'."
        )


class DeterminizedFile:
    """A graph on its way through kaldifst: written, worked on, read; use it in a `with` block.

    The graph is in a file in between, so that the caller can let go of it before the heavy work.

    Args:
      fsa: one FSA with `aux_labels`.
    """

    def __init__(self, fsa: Fsa) -> None:
        require_kaldifst("determinisation")
        self._folder = tempfile.TemporaryDirectory(prefix="wfst-entropy-")
        self._path = Path(self._folder.name) / "graph.fst"
        self._num_arcs = fsa.num_arcs
        to_openfst_file(fsa, self._path)
        self.peak_bytes = 0

    def __enter__(self) -> DeterminizedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, max_states: int) -> None:
        """Determinises and minimises.

        Raises:
          NotDeterminizableError: the graph is not functional, or outgrows `max_states` or the
            memory that a graph of its size may take.
          FsaRuntimeError: the process ended for another reason.
        """
        max_bytes = _BYTES_AT_LEAST + _BYTES_PER_ARC * self._num_arcs
        arguments = [str(self._path), str(max_states), str(max_bytes)]
        # As many folders as here, for kaldifst may come from any of them.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with (Path(self._folder.name) / "stderr").open("w+b") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", _WORKER.read_text(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )
            with process:
                try:
                    assert process.stdout is not None
                    failure = self._follow(json.loads(line) for line in process.stdout)
                except BaseException:
                    process.kill()
                    raise
            errors.seek(0)
            said = " ".join(errors.read().decode("utf-8", "replace").split())
        if failure is not None:
            raise _error(failure, max_states, max_bytes)
        if process.returncode:
            raise FsaRuntimeError(
                f"determinisation: the process of kaldifst ended with status {process.returncode} "
                f"(negative: the signal that ended it, -9 where memory ran out). It said: "
                f"{said[-500:] or 'nothing'}"
            )

    def read(self) -> Fsa:
        """The graph as it is now."""
        return from_openfst_file(self._path, acceptor=False)

    def _follow(self, lines: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
        for line in lines:
            if "error" in line:
                return line
            if line["step"] == "done":
                self.peak_bytes = int(line["peak_bytes"])
                _log.info("kaldifst took at most %.0f MB", self.peak_bytes / 1e6)
            else:
                _log.info(
                    "%sd: %s states, %.1f s", line["step"], f"{line['states']:,}", line["seconds"]
                )
        return None


def _error(failure: dict[str, Any], max_states: int, max_bytes: int) -> FsaRuntimeError:
    said = str(failure["message"])
    if "not functional" in said:
        return NotDeterminizableError(
            "the graph is not functional: it writes two different word strings for one token "
            "string, and nothing that follows tells them apart"
        )
    if "aborted since passed" in said:
        return NotDeterminizableError(
            f"the determinised graph passed max_states={max_states:,} and was still growing"
        )
    if failure["error"] == "MemoryError":
        return NotDeterminizableError(
            f"determinisation took more than the {max_bytes / 1e9:.1f} GB that are allowed for a "
            "graph of this size, as one does that has no deterministic form"
        )
    return FsaRuntimeError(f"determinisation: kaldifst failed: {said[-500:]}")
