"""The loader of the C++ kernels, and the only room that knows the extension module.

Importing this file never fails: where the extension is missing, broken or switched off by the
environment variable ``WFST_ENTROPY_NO_NATIVE=1``, `why_not` says why and the callers use their
pure-torch twin. The extension knows nothing of torch: it gets addresses and sizes, and everything
that could make it read outside a tensor is checked here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

_DTYPES = {torch.float32: "float32", torch.float64: "float64"}


def _load() -> tuple[ModuleType | None, str]:
    if os.environ.get("WFST_ENTROPY_NO_NATIVE", "") not in ("", "0"):
        return None, "switched off by the environment variable WFST_ENTROPY_NO_NATIVE"
    try:
        return importlib.import_module("wfst_entropy._wfst_entropy"), ""
    except ModuleNotFoundError as error:
        return None, f"the extension was not built ({error}); `pip install .` builds it"
    except ImportError as error:
        return None, f"the extension does not load: {error}"


_module, _reason = _load()
_disabled = 0


def is_available() -> bool:
    """Tells whether the C++ kernels can be used (and are not inside `disabled`)."""
    return _module is not None and not _disabled


def why_not() -> str:
    """Says why `is_available` is false; the empty string if it is true."""
    return "disabled by a surrounding `with _native.disabled():`" if _disabled else _reason


def instruction_set() -> str:
    """Names the instruction set of the kernels in use, ``"none"`` without them."""
    return str(_module.instruction_set()) if _module is not None else "none"


@contextlib.contextmanager
def using_instruction_set(name: str) -> Iterator[None]:
    """Makes the kernels use another instruction set inside the block, to compare results.

    Args:
        name: ``"portable"``, ``"avx2"`` or ``"avx512"``.

    Raises:
        RuntimeError: this machine or this build has no such instruction set.
    """
    before = instruction_set()
    if not kernel("use_instruction_set")(name):
        raise RuntimeError(f"instruction set {name!r}: not on this machine, which has {before}")
    try:
        yield
    finally:
        kernel("use_instruction_set")(before)


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Makes every operation inside the block use its pure-torch twin (all threads of the process).

    >>> with disabled():
    ...     is_available()
    False
    """
    global _disabled
    _disabled += 1
    try:
        yield
    finally:
        _disabled -= 1


def can_run(scores: Tensor) -> bool:
    """Tells whether a kernel exists for a tensor's device and dtype, and may be used."""
    return is_available() and scores.device.type == "cpu" and scores.dtype in _DTYPES


def kernel(name: str, dtype: torch.dtype | None = None) -> Any:
    if _module is None:
        raise RuntimeError(f"the C++ kernel {name} is not available: {_reason}")
    return getattr(_module, name if dtype is None else f"{name}_{_DTYPES[dtype]}")


def check(tensor: Tensor, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Returns a contiguous CPU tensor of exactly the dtype and shape that a kernel relies on."""
    if tensor.dtype != dtype or tensor.device.type != "cpu" or tuple(tensor.shape) != shape:
        raise ValueError(
            f"{name}: the kernel needs a CPU tensor of {dtype} and shape {shape}, "
            f"got {tensor.dtype} and {tuple(tensor.shape)} on {tensor.device}"
        )
    return tensor.contiguous()


class CtcBatch:
    """The inputs of the CTC kernels, checked and kept alive while a kernel reads them.

    Args:
        log_probs: (N, T, C), floating-point, on the CPU, in any memory order.
        targets: int64 labels, any shape; utterance n's are
            ``targets.flatten()[offsets[n]:][:target_lengths[n]]``. Their values must lie in
            0..C-1: the caller checks them.
        target_offsets: (N,) int64.
        input_lengths: (N,) int64, in frames.
        target_lengths: (N,) int64.
        blank: the blank symbol.
    """

    def __init__(
        self,
        log_probs: Tensor,
        targets: Tensor,
        target_offsets: Tensor,
        input_lengths: Tensor,
        target_lengths: Tensor,
        blank: int,
    ) -> None:
        n, num_frames, num_symbols = log_probs.shape
        self.log_probs = log_probs if log_probs.stride(2) == 1 else log_probs.contiguous()
        self.targets = check(targets.flatten(), "targets", torch.int64, (targets.numel(),))
        self.target_offsets = check(target_offsets, "target_offsets", torch.int64, (n,))
        self.input_lengths = check(input_lengths, "input_lengths", torch.int64, (n,))
        self.target_lengths = check(target_lengths, "target_lengths", torch.int64, (n,))
        if n and (int(self.input_lengths.min()) < 0 or int(self.input_lengths.max()) > num_frames):
            raise ValueError(f"input_lengths: must lie in 0..{num_frames}, the frames of log_probs")
        # nothing is added up that could wrap
        last_start = self.targets.numel() - self.target_lengths
        if n and (
            int(self.target_offsets.min()) < 0
            or int(self.target_lengths.min()) < 0
            or bool((self.target_offsets > last_start).any())
        ):
            raise ValueError(f"target_lengths: reach outside the {self.targets.numel()} targets")
        if not 0 <= blank < num_symbols:
            raise ValueError(f"blank: must lie in 0..{num_symbols - 1}, got {blank}")
        self.blank = blank


class Forward(NamedTuple):
    """What a forward sweep returns; `cells` and `cell_offsets` are for the backward one."""

    nll: Tensor  # (N,) float64
    entropy: Tensor  # (N,) float64, zeros if not wanted
    path_count: Tensor  # (N,) uint8: 0, 1, or 2 for "two or more"
    bad_frame: Tensor  # (N,) int64, -1, or the frame of the first score that is NaN or above 2**26
    bad_symbol: Tensor  # (N,) int64, likewise the symbol
    cells: Tensor  # empty if not saved
    cell_offsets: Tensor

    @classmethod
    def empty(cls, n: int, size: int, dtype: torch.dtype, cell_offsets: Tensor) -> Forward:
        """Returns the tensors that a kernel fills."""
        return cls(
            nll=torch.zeros(n, dtype=torch.float64),
            entropy=torch.zeros(n, dtype=torch.float64),
            path_count=torch.zeros(n, dtype=torch.uint8),
            bad_frame=torch.full((n,), -1),
            bad_symbol=torch.full((n,), -1),
            cells=torch.empty(size, dtype=dtype),
            cell_offsets=cell_offsets,
        )
