"""What becomes of the sublists on the last axis of a ragged tensor: sums, extrema, normalisation.

The methods of `RaggedTensor` call these functions and describe them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

if TYPE_CHECKING:
    from wfst_entropy.fsa.ragged import RaggedTensor


def sum_sublists(ragged: RaggedTensor, initial_value: float) -> Tensor:
    """See `RaggedTensor.sum`."""
    return _filled(ragged, initial_value).index_add(0, last_row_ids(ragged), ragged.values)


def extreme(ragged: RaggedTensor, initial_value: float | None, largest: bool) -> Tensor:
    """See `RaggedTensor.max` and `RaggedTensor.min`."""
    if initial_value is None:
        initial_value = _limit(ragged.dtype, largest)
    reduce = "amax" if largest else "amin"
    start = _filled(ragged, initial_value)
    return start.scatter_reduce(0, last_row_ids(ragged), ragged.values, reduce, include_self=True)


def argmax(ragged: RaggedTensor, initial_value: float | None) -> Tensor:
    """See `RaggedTensor.argmax`."""
    row_ids = last_row_ids(ragged)
    best = extreme(ragged.detach(), initial_value, largest=True)
    positions = torch.arange(ragged.numel(), device=ragged.device)
    positions = torch.where(ragged.values == best[row_ids], positions, -1)
    none = torch.full_like(best, -1, dtype=torch.int64)
    return none.scatter_reduce(0, row_ids, positions, "amax", include_self=True)


def logsumexp(ragged: RaggedTensor, initial_value: float) -> Tensor:
    """See `RaggedTensor.logsumexp`."""
    check_floating(ragged, "logsumexp")
    row_ids = last_row_ids(ragged)
    with torch.no_grad():
        highest = extreme(ragged, initial_value, largest=True)
        highest = torch.where(highest.isfinite(), highest, torch.zeros_like(highest))
    start = (initial_value - highest).exp()
    mass = start.index_add(0, row_ids, (ragged.values - highest[row_ids]).exp())
    # log(0) would turn a zero gradient into NaN; such sublists are set apart.
    some = mass > 0
    log_mass = torch.where(some, mass, torch.ones_like(mass)).log() + highest
    return torch.where(some, log_mass, torch.full_like(log_mass, -math.inf))


def normalize(ragged: RaggedTensor, use_log: bool) -> Tensor:
    """The new values; see `RaggedTensor.normalize`."""
    check_floating(ragged, "normalize")
    total = logsumexp(ragged, -math.inf) if use_log else sum_sublists(ragged, 0)
    neutral = 0.0 if use_log else 1.0
    none = total == (-math.inf if use_log else 0.0)
    total = torch.where(none, torch.full_like(total, neutral), total)[last_row_ids(ragged)]
    return ragged.values - total if use_log else ragged.values / total


def add(ragged: RaggedTensor, value: Tensor, alpha: float) -> Tensor:
    """The new values; see `RaggedTensor.add`."""
    rows = ragged.shape.tot_size(ragged.num_axes - 2)
    if value.shape != (rows,):
        raise FsaValueError(
            f"value: needs one number per sublist of the last axis, ({rows},), got "
            f"{tuple(value.shape)}."
        )
    return ragged.values + (alpha * value).to(ragged.dtype)[last_row_ids(ragged)]


def last_row_ids(ragged: RaggedTensor) -> Tensor:
    """The sublist of the last axis that each value is in."""
    return ragged.shape.row_ids(ragged.num_axes - 1)


def check_floating(ragged: RaggedTensor, operation: str) -> None:
    """Checks the dtype.

    Raises:
      FsaTypeError: integers.
    """
    if not ragged.dtype.is_floating_point:
        raise FsaTypeError(f"{operation}: needs floating-point values, got {ragged.dtype}.")


def check_fits(name: str, value: float, dtype: torch.dtype) -> None:
    """Checks a number that is to stand among values.

    Raises:
      FsaValueError: the dtype is one of integers and cannot hold it.
    """
    if dtype.is_floating_point or dtype.is_complex or dtype == torch.bool:
        return
    limits = torch.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise FsaValueError(f"{name}: must be a number that {dtype} can hold, got {value}.")


def _filled(ragged: RaggedTensor, fill: float) -> Tensor:
    check_fits("initial_value", fill, ragged.dtype)
    rows = ragged.shape.tot_size(ragged.num_axes - 2)
    return torch.full((rows,), fill, dtype=ragged.dtype, device=ragged.device)


def _limit(dtype: torch.dtype, largest: bool) -> float:
    """What every number of `dtype` beats: the start of a search for the largest, or smallest."""
    if dtype.is_floating_point:
        return -math.inf if largest else math.inf
    return torch.iinfo(dtype).min if largest else torch.iinfo(dtype).max
