"""What this installation consists of: for a bug report, and kept with every training run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

import wfst_entropy
import wfst_entropy._native as _native


class Backend(NamedTuple):
    """An optional package: whether it can be used, its version, and if not, why."""

    name: str
    found: bool
    version: str | None
    reason: str


# Optional packages and the distributions that bring them.
BACKENDS = {
    "lhotse": "lhotse",
    "sentencepiece": "sentencepiece",
    "kaldialign": "kaldialign",
    "kaldi_native_fbank": "kaldi-native-fbank",
    "kaldifeat": "kaldifeat",
    "torchaudio": "torchaudio",
    "kaldifst": "kaldifst",
    "k2": "k2",
    "espeakng_loader": "espeakng-loader",
    "transformers": "transformers",
}
# Compiled against one torch version: importing them beside another one can raise OSError or end
# the interpreter, so they are tried in an interpreter of their own.
_TIED_TO_TORCH = {"kaldifeat", "torchaudio", "k2"}
_IMPORT_TIMEOUT = 60.0  # seconds


def _import_failure(module: str) -> str | None:
    """Why `import module` fails in a fresh interpreter, or None if it works."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import torch, {module}"],
            capture_output=True,
            text=True,
            timeout=_IMPORT_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its import did not finish within {_IMPORT_TIMEOUT:.0f} s"
    except OSError as error:
        return f"its import could not be tried: {error}"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"its import ends the interpreter with signal {-done.returncode}"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"its import ends with status {done.returncode}"


def find_backend(module: str, distribution: str, *, try_import: bool = False) -> Backend:
    """Look for an optional package without letting it take this process down.

    Args:
      module: name to import.
      distribution: name to install.
      try_import: also import it, in a process of its own.

    Returns:
      Whether it can be used, with version or reason.

    >>> find_backend("no_such_package", "no-such-package").reason
    'not installed (pip install no-such-package)'
    """
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        version = None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        return Backend(module, False, version, f"{type(error).__name__}: {error}")
    if spec is None:
        if version is None:
            return Backend(module, False, None, f"not installed (pip install {distribution})")
        return Backend(module, False, version, f"installed, but it has no module {module!r}")
    reason = _import_failure(module) if try_import else None
    return Backend(module, reason is None, version, reason or "")


def _processor() -> str:
    """The processor's name, "" where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


def environment() -> dict[str, Any]:
    """Versions, native module, threads and optional packages of this installation.

    Returns:
      A dictionary that `json.dumps` takes: `wfst_entropy`, `python`, `platform`, `processor`,
      `torch`, `cuda`, `native` (`available`, `reason`, `instruction_set`), `threads`,
      `backends` (one entry per optional package).
    """
    backends = [
        find_backend(module, distribution, try_import=module in _TIED_TO_TORCH)
        for module, distribution in BACKENDS.items()
    ]
    return {
        "wfst_entropy": wfst_entropy.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "native": {
            "available": _native.is_available(),
            "reason": _native.why_not(),
            "instruction_set": _native.instruction_set(),
        },
        "threads": {
            "cores": os.cpu_count(),
            "torch": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        },
        "backends": {b.name: b._asdict() for b in backends},
    }


def environment_json() -> str:
    """The report of `environment` as JSON text."""
    return json.dumps(environment(), indent=2)
