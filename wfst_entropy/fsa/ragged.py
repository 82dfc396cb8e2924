"""Ragged tensors: lists of lists (of lists ...) of numbers as one flat tensor and row splits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from wfst_entropy.fsa import ragged_edits, ragged_reductions
from wfst_entropy.fsa.errors import FsaFormatError, FsaIndexError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged_lists import format_rows, parse_lists, parse_numbers, split_lists
from wfst_entropy.fsa.ragged_shape import INTEGER_DTYPES, RaggedShape, regular_ragged_shape

__all__ = ["RaggedShape", "RaggedTensor"]


class RaggedTensor:
    """A list of lists (of lists ...) of numbers.

    Reductions work on the sublists of the last axis, and give one number for each of them.

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
          FsaValueError: an integer does not fit the dtype.

        Example:
          >>> RaggedTensor.from_lists([[[1], []], [[2, 3]]]).num_axes
          3
        """
        lengths, elements = split_lists(lists)
        sizes = (torch.tensor(n, dtype=torch.int64, device=device) for n in lengths)
        return cls(RaggedShape.from_sizes(*sizes), _to_values(elements, dtype, device))

    @classmethod
    def from_str(
        cls,
        text: str,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> RaggedTensor:
        """Reads k2's text form; numbers are separated by blanks or commas.

        Args:
          text: nested lists, as `[ [1 2] [] [3] ]`.
          dtype: of the values; by default int64 if all are integers, else float32.
          device: of the result.

        Raises:
          FsaFormatError: brackets that do not match, or an element that is no number.
          FsaTypeError, FsaValueError: as `from_lists`.

        Example:
          >>> RaggedTensor.from_str("[ [1 2] [] [3] ]")
          [[1, 2], [], [3]]
        """
        items = parse_lists(text)
        try:
            lists = parse_numbers(items, int)
        except ValueError:
            try:
                lists = parse_numbers(items, float)
            except ValueError as error:
                raise FsaFormatError(
                    f"ragged text: every element must be a number: {error}."
                ) from None
        return cls.from_lists(lists, dtype, device)

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> RaggedTensor:
        """A ragged tensor with the elements of an ordinary one, sharing memory if it can.

        Raises:
          FsaValueError: `tensor` has fewer than two axes.

        Example:
          >>> RaggedTensor.from_tensor(torch.tensor([[1, 2], [3, 4]]))
          [[1, 2], [3, 4]]
        """
        if tensor.dim() < 2:
            raise FsaValueError(f"tensor: needs two axes or more, got {tuple(tensor.shape)}.")
        return cls(regular_ragged_shape(*tensor.shape, device=tensor.device), tensor.reshape(-1))

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

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows the values."""
        return self.values.requires_grad

    @property
    def grad(self) -> Tensor | None:
        """The gradient of the values, as of any leaf tensor."""
        return self.values.grad

    def requires_grad_(self, requires_grad: bool = True) -> RaggedTensor:
        """Lets autograd follow the values, in place, and returns the ragged tensor."""
        self.values.requires_grad_(requires_grad)
        return self

    def numel(self) -> int:
        """Number of values."""
        return self.shape.numel()

    def tot_size(self, axis: int) -> int:
        """Number of elements on `axis`, over all rows."""
        return self.shape.tot_size(axis)

    def tolist(self) -> list[Any]:
        """The nested Python lists."""
        return self.shape.nest(self.values.tolist())

    def to_str_simple(self) -> str:
        """Shape and numbers on one line, with the dtype; numbers have up to six digits.

        Example:
          >>> RaggedTensor.from_lists([[1, 2.5], []]).to_str_simple()
          'RaggedTensor([[1, 2.5], []], dtype=torch.float32)'
        """
        return f"RaggedTensor({format_rows(self.tolist(), ', ')}, dtype={self.dtype})"

    def __len__(self) -> int:
        return self.dim0

    @overload
    def __getitem__(self, index: int) -> RaggedTensor | Tensor: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> RaggedTensor: ...
    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> RaggedTensor | Tensor:
        """Row `index`, or several rows.

        A number gives a tensor of the row's values if there are two axes, else a ragged tensor; a
        slice, a list or a tensor of numbers gives a ragged tensor.  Differentiable.

        Example:
          >>> r = RaggedTensor.from_lists([[1, 2], [], [3]])
          >>> r[-1].tolist(), r[:2].tolist(), r[[2, 0]].tolist()
          ([3], [[1, 2], []], [[3], [1, 2]])
        """
        if isinstance(index, int):
            begin, end = self.shape.value_range(index)
            values = self.values[begin:end]
            return values if self.num_axes == 2 else RaggedTensor(self.shape[index], values)
        if isinstance(index, slice):
            begin, end, step = index.indices(self.dim0)
            if step == 1:
                return self.arange(0, begin, max(begin, end))
            index = range(begin, end, step)
        numbers = index if isinstance(index, Tensor) else torch.tensor(index, dtype=torch.int64)
        return self.index(numbers)

    def __iter__(self) -> Iterator[RaggedTensor | Tensor]:
        return (self[i] for i in range(self.dim0))

    def index(self, indexes: Tensor | RaggedTensor, axis: int = 0) -> RaggedTensor:
        """Picks elements of one axis, with all that is in them; differentiable in the values.

        Args:
          indexes: integers `(n,)` as `RaggedShape.index` takes them, -1 for an empty row; or, on
            axis 0, a ragged tensor of them, whose axes are put before the rows picked.
          axis: the axis that is indexed.

        Raises:
          FsaTypeError, FsaIndexError, FsaValueError: as `RaggedShape.index`.

        Example:
          >>> r = RaggedTensor.from_lists([[1, 2], [3]])
          >>> r.index(torch.tensor([1, 0, -1]))
          [[3], [1, 2], []]
          >>> r.index(RaggedTensor.from_lists([[1], [0, 1]]))
          [[[3]], [[1, 2], [3]]]
        """
        if isinstance(indexes, RaggedTensor):
            if axis != 0:
                raise FsaIndexError(f"axis: must be 0 for ragged indexes, got {axis}.")
            rows = self.index(indexes.values)
            return RaggedTensor(indexes.shape.compose(rows.shape), rows.values)
        shape, positions = self.shape.index(indexes, axis)
        return RaggedTensor(shape, self.values[positions])

    def arange(self, axis: int, begin: int, end: int) -> RaggedTensor:
        """Elements `begin` to `end - 1` of an axis, after removing the axes before it.

        The result shares memory with this tensor.

        Raises:
          FsaIndexError: the axis is not from 0 to `num_axes - 2`, or the range is not in it.

        Example:
          >>> RaggedTensor.from_lists([[[1], [], [2]], [[3, 4]]]).arange(1, 2, 4)
          [[2], [3, 4]]
        """
        return ragged_edits.slice_axis(self, axis, begin, end)

    def sum(self, initial_value: float = 0) -> Tensor:
        """Sum of each sublist of the last axis, plus `initial_value`; differentiable.

        Raises:
          FsaValueError: integers, and an `initial_value` that their dtype cannot hold.
        """
        return ragged_reductions.sum_sublists(self, initial_value)

    def max(self, initial_value: float | None = None) -> Tensor:
        """Maximum of each sublist and `initial_value`; differentiable (ties share the gradient).

        By default an empty sublist gives `-inf`, or the smallest integer of an integer dtype.

        Example:
          >>> RaggedTensor.from_lists([[1.0, 2.0], []]).max().tolist()
          [2.0, -inf]
        """
        return ragged_reductions.extreme(self, initial_value, largest=True)

    def min(self, initial_value: float | None = None) -> Tensor:
        """Minimum of each sublist and `initial_value`; differentiable (ties share the gradient).

        By default an empty sublist gives `inf`, or the largest integer of an integer dtype.

        Example:
          >>> RaggedTensor.from_lists([[1.0, 2.0], []]).min().tolist()
          [1.0, inf]
        """
        return ragged_reductions.extreme(self, initial_value, largest=False)

    def argmax(self, initial_value: float | None = None) -> Tensor:
        """Where in `values` the maximum of each sublist is, int64; the last one of equal values.

        -1 for an empty sublist, and where every value is below `initial_value`.

        Example:
          >>> RaggedTensor.from_lists([[3, 5, 1], [], [8, 2]]).argmax(initial_value=6).tolist()
          [-1, -1, 3]
        """
        return ragged_reductions.argmax(self, initial_value)

    def logsumexp(self, initial_value: float = -math.inf) -> Tensor:
        r"""`log(exp(initial_value) + sum_i exp(x_i))` of each sublist; differentiable.

        An empty sublist, or one of `-inf` only, gives `initial_value`, with a gradient of zero.

        Raises:
          FsaTypeError: the values are integers.

        Example:
          >>> RaggedTensor.from_lists([[0.0, 0.0], []]).logsumexp().tolist()
          [0.6931471824645996, -inf]
        """
        return ragged_reductions.logsumexp(self, initial_value)

    def normalize(self, use_log: bool = True) -> RaggedTensor:
        """Makes each sublist of the last axis sum to one; differentiable.

        Args:
          use_log: the values are logs, and their exponentials are made to sum to one; else the
            values themselves are divided by their sum.

        A sublist without mass (only `-inf`, or a sum of zero) stays as it is.

        Raises:
          FsaTypeError: the values are integers.

        Example:
          >>> RaggedTensor.from_lists([[1.0, 3.0], []]).normalize(use_log=False)
          [[0.25, 0.75], []]
        """
        return RaggedTensor(self.shape, ragged_reductions.normalize(self, use_log))

    def add(self, value: Tensor, alpha: float = 1) -> RaggedTensor:
        """Adds `alpha * value[i]` to all values of sublist `i` of the last axis; differentiable.

        Args:
          value: one number per sublist.
          alpha: a factor.

        Raises:
          FsaValueError: `value` has another number of elements.

        Example:
          >>> RaggedTensor.from_lists([[1, 3], [], [2]]).add(torch.tensor([1, 2, 3]), alpha=-1)
          [[0, 2], [], [-1]]
        """
        return RaggedTensor(self.shape, ragged_reductions.add(self, value, alpha))

    def pad(
        self,
        mode: Literal["constant", "replicate"] = "constant",
        padding_value: float = 0,
        pad_left: bool = False,
    ) -> Tensor:
        """An ordinary tensor `(dim0, longest)` of a ragged one with two axes; differentiable.

        Args:
          mode: `constant` fills rows with `padding_value`; `replicate` with their last element (the
            first one, with `pad_left`), and empty rows with `padding_value`.
          padding_value: what rows are filled with.
          pad_left: fill rows at their beginning instead of their end.

        Raises:
          FsaValueError: there are more than two axes, another mode, or a `padding_value` that the
            dtype cannot hold.

        Example:
          >>> RaggedTensor.from_lists([[1, 2], [], [3]]).pad("constant", -1).tolist()
          [[1, 2], [-1, -1], [3, -1]]
        """
        return ragged_edits.pad(self, mode, padding_value, pad_left)

    def remove_axis(self, axis: int) -> RaggedTensor:
        """Removes one axis but the last: axis 0 drops the outer list, another joins its rows.

        Example:
          >>> RaggedTensor.from_lists([[[1], [2]], [[3]]]).remove_axis(1)
          [[1, 2], [3]]
        """
        if self.num_axes > 2 and not 0 <= axis < self.num_axes - 1:
            raise FsaIndexError(
                f"axis: must be from 0 to {self.num_axes - 2} (the last axis stays), got {axis}."
            )
        return RaggedTensor(self.shape.remove_axis(axis), self.values)

    def remove_values_eq(self, target: float) -> RaggedTensor:
        """Without the values equal to `target`; their sublists stay.

        Example:
          >>> RaggedTensor.from_lists([[1, 0, 2], [0]]).remove_values_eq(0)
          [[1, 2], []]
        """
        return self._keep(self.values != target)

    def remove_values_leq(self, cutoff: float) -> RaggedTensor:
        """Without the values of at most `cutoff`; their sublists stay.

        Example:
          >>> RaggedTensor.from_lists([[1, 0, 2], [0]]).remove_values_leq(1)
          [[2], []]
        """
        return self._keep(self.values > cutoff)

    def _keep(self, kept: Tensor) -> RaggedTensor:
        return RaggedTensor(ragged_edits.keep_elements(self.shape, kept), self.values[kept])

    def sort_(self, descending: bool = False) -> Tensor:
        """Sorts each sublist of the last axis, in place; equal values stay in order.

        Returns:
          int64: the old position of each value.

        Example:
          >>> r = RaggedTensor.from_lists([[3, 2], [], [1, 5, 2]])
          >>> r.sort_().tolist(), r
          ([1, 0, 2, 4, 3], [[2, 3], [], [1, 2, 5]])
        """
        order = ragged_edits.sort_order(self, descending)
        self.values = self.values[order]
        return order

    def unique(self) -> tuple[RaggedTensor, RaggedTensor, Tensor]:
        """The distinct sublists of the last axis, within each list of them.

        Returns:
          The distinct sublists, ordered by length and then by their values; how often each occurs,
          int64 with two axes (one row per list of sublists); and the old number of the first
          occurrence of each, int64.

        Example:
          >>> r = RaggedTensor.from_lists([[3, 1], [3], [1], [3, 1]])
          >>> sublists, num_repeats, new2old = r.unique()
          >>> sublists, num_repeats, new2old.tolist()
          ([[1], [3], [3, 1]], [[1, 1, 2]], [2, 1, 0])
        """
        return ragged_edits.unique_sublists(self)

    @staticmethod
    def cat(tensors: Sequence[RaggedTensor], axis: int = 0) -> RaggedTensor:
        """Puts ragged tensors with equally many axes one after the other; differentiable.

        Args:
          tensors: one or more, on one device.
          axis: 0 for the rows of all; 1 to join row `i` of all, for each `i`.

        Raises:
          FsaValueError: the numbers of axes differ, or for axis 1 those of rows.
          FsaIndexError: another axis.

        Example:
          >>> a, b = RaggedTensor.from_lists([[1], [2]]), RaggedTensor.from_lists([[], [3]])
          >>> RaggedTensor.cat([a, b]), RaggedTensor.cat([a, b], axis=1)
          ([[1], [2], [], [3]], [[1], [2, 3]])
        """
        if axis not in (0, 1):
            raise FsaIndexError(f"axis: must be 0 or 1, got {axis}.")
        if axis == 1:
            shape, positions = ragged_edits.cat_rows(tensors)
            return RaggedTensor(shape, torch.cat([t.values for t in tensors])[positions])
        shape = RaggedShape.cat([tensor.shape for tensor in tensors])
        return RaggedTensor(shape, torch.cat([tensor.values for tensor in tensors]))

    def to(self, target: torch.device | str | torch.dtype) -> RaggedTensor:
        """The same lists on another device or with another dtype."""
        return RaggedTensor(self.shape, self.values.to(target))

    def clone(self) -> RaggedTensor:
        """A copy with values of its own; differentiable, as `Tensor.clone` is."""
        return RaggedTensor(self.shape, self.values.clone())

    def detach(self) -> RaggedTensor:
        """The same lists, sharing memory, outside autograd."""
        return RaggedTensor(self.shape, self.values.detach())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RaggedTensor):
            return NotImplemented
        return (
            self.dtype == other.dtype
            and self.shape == other.shape
            and torch.equal(self.values, other.values.to(self.device))
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return RaggedTensor, (self.shape, self.values)

    def __repr__(self) -> str:
        return str(self.tolist())


def _to_values(
    numbers: list[Any], dtype: torch.dtype | None, device: torch.device | str | None
) -> Tensor:
    if not numbers:
        return torch.empty(0, dtype=dtype or torch.int64, device=device)
    try:
        values = torch.tensor(numbers, device=device)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        if all(isinstance(x, (int, float)) for x in numbers):
            raise FsaValueError(f"lists: an element does not fit int64: {error}.") from error
        raise FsaTypeError(f"lists: every element must be a number: {error}.") from error
    if dtype in INTEGER_DTYPES and values.dtype not in INTEGER_DTYPES:
        raise FsaTypeError(f"lists: every element must be an integer, got {values.dtype} numbers.")
    if dtype is not None and dtype in INTEGER_DTYPES and values.numel():
        info = torch.iinfo(dtype)
        if int(values.max()) > info.max or int(values.min()) < info.min:
            raise FsaValueError(
                f"lists: an element does not fit {dtype} ({info.min} to {info.max})."
            )
    return values if dtype is None else values.to(dtype)
