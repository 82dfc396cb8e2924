"""Ragged tensors: lists of lists (of lists ...) of numbers as one flat tensor and row splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged_shape import RaggedShape

__all__ = ["RaggedShape", "RaggedTensor"]

_INTEGER_DTYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


class RaggedTensor:
    """A list of lists (of lists ...) of numbers.

    Args:
      shape: the index structure.
      values: `(shape.numel(),)`, any dtype; autograd is kept.

    Raises:
      FsaValueError: `values` is not 1-D or has another number of elements than `shape`.

    Example:
      >>> r = RaggedTensor.from_lists([[1, 2], [], [3]])
      >>> r
      [[1, 2], [], [3]]
      >>> r[0].tolist(), r.sum().tolist()
      ([1, 2], [3, 0, 3])
    """

    __slots__ = ("shape", "values")

    def __init__(self, shape: RaggedShape, values: Tensor) -> None:
        if values.dim() != 1 or values.numel() != shape.numel():
            raise FsaValueError(
                f"values: must be a tensor of shape ({shape.numel()},), one number per element of "
                f"the ragged shape, got {tuple(values.shape)}."
            )
        self.shape = shape.to(values.device)
        self.values = values

    @classmethod
    def from_lists(
        cls,
        lists: Sequence[Any],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> RaggedTensor:
        """Builds a ragged tensor from nested lists of one depth, at least two.

        The depth is that of the first element found; an empty list of lists has two axes.

        Args:
          lists: nested Python lists of numbers, or a list of 1-D tensors.
          dtype: of the values; by default int64 for integers and float32 for fractions.
          device: of the result.

        Raises:
          FsaTypeError: the nesting is uneven, or fractions are asked to become integers.

        Example:
          >>> RaggedTensor.from_lists([[[1], []], [[2, 3]]]).num_axes
          3
        """
        sizes: list[Tensor] = []
        level: list[Any] = list(lists)
        nested = True
        while nested:
            rows = [x.tolist() if isinstance(x, Tensor) else x for x in level]
            lengths = [_length(row) for row in rows]
            sizes.append(torch.tensor(lengths, dtype=torch.int64, device=device))
            level = list(chain.from_iterable(rows))
            nested = not {list, tuple, Tensor}.isdisjoint(map(type, level))
        return cls(RaggedShape.from_sizes(*sizes), _to_values(level, dtype, device))

    @property
    def num_axes(self) -> int:
        """Number of axes, at least 2."""
        return self.shape.num_axes

    @property
    def dim0(self) -> int:
        """Number of rows of axis 0."""
        return self.shape.dim0

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        """The device of the values."""
        return self.values.device

    def numel(self) -> int:
        """Number of values."""
        return self.shape.numel()

    def tolist(self) -> list[Any]:
        """The nested Python lists."""
        items: list[Any] = self.values.tolist()
        for axis in range(self.num_axes - 1, 0, -1):
            splits = self.shape.row_splits(axis).tolist()
            items = [items[b:e] for b, e in pairwise(splits)]
        return items

    def __len__(self) -> int:
        return self.dim0

    def __getitem__(self, i: int) -> RaggedTensor | Tensor:
        """Row `i`: a tensor of its values if there are two axes, else a ragged tensor."""
        begin, end = self.shape.value_range(i)
        values = self.values[begin:end]
        return values if self.num_axes == 2 else RaggedTensor(self.shape[i], values)

    def __iter__(self) -> Iterator[RaggedTensor | Tensor]:
        return (self[i] for i in range(self.dim0))

    def index(self, indexes: Tensor) -> RaggedTensor:
        """Picks rows of axis 0 by int64 `indexes (n,)`; differentiable in the values.

        Example:
          >>> RaggedTensor.from_lists([[1, 2], [3]]).index(torch.tensor([1, 0, 1]))
          [[3], [1, 2], [3]]
        """
        shape, positions = self.shape.index(indexes)
        return RaggedTensor(shape, self.values[positions])

    def sum(self) -> Tensor:
        """Sum of each sublist of the last axis, 0 for an empty one; differentiable."""
        return self._zeros(0).index_add(0, self._last_row_ids(), self.values)

    def max(self) -> Tensor:
        """Maximum of each sublist of the last axis; differentiable (ties share the gradient).

        An empty sublist gives `-inf`, or the smallest integer of an integer dtype.

        Example:
          >>> RaggedTensor.from_lists([[1.0, 2.0], []]).max().tolist()
          [2.0, -inf]
        """
        lowest = -float("inf") if self.dtype.is_floating_point else torch.iinfo(self.dtype).min
        ids = self._last_row_ids()
        return self._zeros(lowest).scatter_reduce(0, ids, self.values, "amax", include_self=True)

    def logsumexp(self) -> Tensor:
        r"""`log sum_i exp(x_i)` of each sublist of the last axis; differentiable.

        An empty sublist, or one of `-inf` only, gives `-inf` with a gradient of zero.

        Example:
          >>> RaggedTensor.from_lists([[0.0, 0.0], []]).logsumexp().tolist()
          [0.6931471824645996, -inf]
        """
        self._check_floating("logsumexp")
        ids = self._last_row_ids()
        with torch.no_grad():
            highest = self.max()
            highest = torch.where(highest.isfinite(), highest, torch.zeros_like(highest))
        mass = self._zeros(0).index_add(0, ids, (self.values - highest[ids]).exp())
        # log(0) would turn a zero gradient into NaN; such sublists are set apart.
        some = mass > 0
        log_mass = torch.where(some, mass, torch.ones_like(mass)).log() + highest
        return torch.where(some, log_mass, torch.full_like(log_mass, -float("inf")))

    def normalize(self, use_log: bool = True) -> RaggedTensor:
        """Makes each sublist of the last axis sum to one; differentiable.

        Args:
          use_log: the values are logs, and their exponentials are made to sum to one; else the
            values themselves are divided by their sum.

        A sublist without mass (only `-inf`, or a sum of zero) stays as it is.

        Example:
          >>> RaggedTensor.from_lists([[1.0, 3.0], []]).normalize(use_log=False)
          [[0.25, 0.75], []]
        """
        self._check_floating("normalize")
        total = self.logsumexp() if use_log else self.sum()
        neutral = 0.0 if use_log else 1.0
        none = total == (-float("inf") if use_log else 0.0)
        total = torch.where(none, torch.full_like(total, neutral), total)[self._last_row_ids()]
        return RaggedTensor(self.shape, self.values - total if use_log else self.values / total)

    def remove_axis(self, axis: int) -> RaggedTensor:
        """Removes one axis but the last; see `RaggedShape.remove_axis`.

        Example:
          >>> RaggedTensor.from_lists([[[1], [2]], [[3]]]).remove_axis(1)
          [[1, 2], [3]]
        """
        return RaggedTensor(self.shape.remove_axis(axis), self.values)

    @staticmethod
    def cat(tensors: Sequence[RaggedTensor]) -> RaggedTensor:
        """Puts ragged tensors with equally many axes one after the other; differentiable.

        Example:
          >>> RaggedTensor.cat([RaggedTensor.from_lists([[1]]), RaggedTensor.from_lists([[], [2]])])
          [[1], [], [2]]
        """
        shape = RaggedShape.cat([tensor.shape for tensor in tensors])
        return RaggedTensor(shape, torch.cat([tensor.values for tensor in tensors]))

    def to(self, target: torch.device | str | torch.dtype) -> RaggedTensor:
        """The same lists on another device or with another dtype."""
        return RaggedTensor(self.shape, self.values.to(target))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RaggedTensor):
            return NotImplemented
        return self.shape == other.shape and torch.equal(self.values, other.values.to(self.device))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return RaggedTensor, (self.shape, self.values)

    def __repr__(self) -> str:
        return str(self.tolist())

    def _last_row_ids(self) -> Tensor:
        return self.shape.row_ids(self.num_axes - 1)

    def _zeros(self, fill: float) -> Tensor:
        rows = self.shape.tot_size(self.num_axes - 2)
        return torch.full((rows,), fill, dtype=self.dtype, device=self.device)

    def _check_floating(self, operation: str) -> None:
        if not self.dtype.is_floating_point:
            raise FsaTypeError(f"{operation}: needs floating-point values, got {self.dtype}.")


def _length(row: Any) -> int:
    if not isinstance(row, (list, tuple)):
        raise FsaTypeError(
            f"lists: must be nested lists of one depth, at least two; found {row!r} beside lists."
        )
    return len(row)


def _to_values(
    numbers: list[Any], dtype: torch.dtype | None, device: torch.device | str | None
) -> Tensor:
    if not numbers:
        return torch.empty(0, dtype=dtype or torch.int64, device=device)
    try:
        values = torch.tensor(numbers, device=device)
    except (TypeError, ValueError) as error:
        raise FsaTypeError(f"lists: every element must be a number: {error}.") from error
    if dtype in _INTEGER_DTYPES and values.dtype not in _INTEGER_DTYPES:
        raise FsaTypeError(f"lists: every element must be an integer, got {values.dtype} numbers.")
    if dtype is not None and dtype in _INTEGER_DTYPES and values.numel():
        info = torch.iinfo(dtype)
        if int(values.max()) > info.max or int(values.min()) < info.min:
            raise FsaValueError(
                f"lists: an element does not fit {dtype} ({info.min} to {info.max})."
            )
    return values if dtype is None else values.to(dtype)
