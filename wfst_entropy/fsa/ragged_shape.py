"""The index structure of ragged tensors: lists of lists (of lists ...).

A shape with `n` axes is written `[axis 0][axis 1]...`; axis `k >= 1` has

* `row_splits(k)`, int64 `(tot_size(k - 1) + 1,)`: where each row of axis `k - 1` begins in it;
* `row_ids(k)`, int64 `(tot_size(k),)`: the row of axis `k - 1` that each of its elements is in.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaFormatError, FsaIndexError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged_lists import format_lists, parse_lists, split_lists

INTEGER_DTYPES = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


def sizes_to_splits(sizes: Tensor) -> Tensor:
    """Row splits, int64 `(n + 1,)`, of `n` rows with the given sizes.

    Example:
      >>> sizes_to_splits(torch.tensor([2, 0, 1])).tolist()
      [0, 2, 2, 3]
    """
    splits = torch.zeros(sizes.numel() + 1, dtype=torch.int64, device=sizes.device)
    torch.cumsum(sizes, dim=0, out=splits[1:])
    return splits


def regular_ragged_shape(*sizes: int, device: torch.device | str | None = None) -> RaggedShape:
    """The shape of an ordinary tensor of these sizes.

    Raises:
      FsaValueError: fewer than two sizes, or a negative one.

    Example:
      >>> print(regular_ragged_shape(2, 3))
      [ [ x x x ] [ x x x ] ]
    """
    if len(sizes) < 2 or min(sizes) < 0:
        raise FsaValueError(f"sizes: need two or more, none negative, got {sizes}.")
    row_splits, rows = [], sizes[0]
    for size in sizes[1:]:
        row_splits.append(torch.arange(rows + 1, device=device) * size)
        rows *= size
    return RaggedShape._unchecked(row_splits, rows)


def random_ragged_shape(
    min_num_axes: int = 2,
    max_num_axes: int = 4,
    min_num_elements: int = 0,
    max_num_elements: int = 2000,
    seed: int | None = None,
) -> RaggedShape:
    """A random shape, for tests.

    Args:
      min_num_axes, max_num_axes: the number of axes is drawn from this range, its ends included.
      min_num_elements, max_num_elements: likewise the number of elements.
      seed: of the random numbers; by default every call gives another shape.

    Raises:
      FsaValueError: a range is empty, or fewer than two axes are asked for.

    Example:
      >>> random_ragged_shape(3, 3, 5, 5, seed=1).tot_sizes()[-1]
      5
    """
    axes, elements = (min_num_axes, max_num_axes), (min_num_elements, max_num_elements)
    if not 2 <= axes[0] <= axes[1] or not 0 <= elements[0] <= elements[1]:
        raise FsaValueError(
            f"needs 2 <= min_num_axes <= max_num_axes, got {axes}, and "
            f"0 <= min_num_elements <= max_num_elements, got {elements}."
        )
    rng = random.Random(seed)
    size = rng.randint(*elements)
    row_splits: list[Tensor] = []
    for _ in range(rng.randint(*axes) - 1):
        rows = rng.randint(1, size + 1)
        inner = sorted(rng.randint(0, size) for _ in range(rows - 1))
        row_splits.insert(0, torch.tensor([0, *inner, size]))
        size = rows
    return RaggedShape._unchecked(row_splits)


class RaggedShape:
    """The index structure of a ragged tensor.

    Args:
      row_splits: one int64 tensor per axis from axis 1 on, each starting at 0, never falling, and
        ending at the number of rows of the next axis.

    Raises:
      FsaTypeError: a split is not a 1-D int64 tensor.
      FsaValueError: a split does not start at 0, falls, or does not fit the next axis.

    Example:
      >>> shape = RaggedShape(torch.tensor([0, 2, 2, 3]))
      >>> shape.num_axes, shape.dim0, shape.numel()
      (2, 3, 3)
      >>> shape.row_ids(1).tolist()
      [0, 0, 2]
    """

    __slots__ = ("_row_ids", "_row_splits", "_tot_sizes")

    def __init__(self, *row_splits: Tensor) -> None:
        if not row_splits:
            raise FsaValueError(
                "row_splits: a ragged shape needs at least one, for axis 1; got none."
            )
        for axis, splits in enumerate(row_splits, start=1):
            _check_splits(splits, axis)
        for axis in range(1, len(row_splits)):
            end, rows = int(row_splits[axis - 1][-1]), row_splits[axis].numel() - 1
            if end != rows:
                raise FsaValueError(
                    f"row_splits: axis {axis} has {end} elements by its row_splits, but axis "
                    f"{axis + 1} has row_splits for {rows} rows."
                )
        self._set(list(row_splits))

    def _set(self, row_splits: list[Tensor], numel: int | None = None) -> None:
        self._row_splits = row_splits
        self._row_ids: list[Tensor | None] = [None] * len(row_splits)
        sizes = [splits.numel() - 1 for splits in row_splits]
        # Python integers, so that asking for a size never waits for a GPU again.
        self._tot_sizes = (*sizes, int(row_splits[-1][-1]) if numel is None else numel)

    @classmethod
    def _unchecked(cls, row_splits: list[Tensor], numel: int | None = None) -> RaggedShape:
        shape = cls.__new__(cls)
        shape._set(row_splits, numel)
        return shape

    @classmethod
    def from_sizes(cls, *sizes: Tensor) -> RaggedShape:
        """Builds a shape from the lengths of its rows, one int64 tensor per axis from axis 1 on.

        Example:
          >>> RaggedShape.from_sizes(torch.tensor([2, 0, 1])).row_splits(1).tolist()
          [0, 2, 2, 3]
        """
        return cls(*(sizes_to_splits(size) for size in sizes))

    @classmethod
    def from_str(cls, text: str, device: torch.device | str | None = None) -> RaggedShape:
        """Reads k2's text form, with an `x` for each element.

        Raises:
          FsaFormatError: brackets that do not match, or something other than `x`.
          FsaTypeError: the nesting is uneven, or less than two deep.

        Example:
          >>> RaggedShape.from_str("[ [x x] [] [x] ]").row_splits(1).tolist()
          [0, 2, 2, 3]
        """
        lengths, elements = split_lists(parse_lists(text))
        other = next((x for x in elements if x != "x"), None)
        if other is not None:
            raise FsaFormatError(f"ragged shape: every element must be 'x', got {other!r}.")
        return cls.from_sizes(*(torch.tensor(n, dtype=torch.int64, device=device) for n in lengths))

    @property
    def num_axes(self) -> int:
        """Number of axes, at least 2."""
        return len(self._row_splits) + 1

    @property
    def dim0(self) -> int:
        """Number of rows of axis 0."""
        return self._tot_sizes[0]

    @property
    def device(self) -> torch.device:
        """The device of the row splits."""
        return self._row_splits[0].device

    def numel(self) -> int:
        """Number of elements on the last axis."""
        return self._tot_sizes[-1]

    def tot_size(self, axis: int) -> int:
        """Number of elements on `axis`, over all rows."""
        self._check_axis(axis, 0)
        return self._tot_sizes[axis]

    def tot_sizes(self) -> tuple[int, ...]:
        """Number of elements on each axis."""
        return self._tot_sizes

    def max_size(self, axis: int) -> int:
        """The length of the longest row on `axis`, from 1 on; 0 if there is none.

        Example:
          >>> RaggedShape.from_str("[ [x x] [] [x] ]").max_size(1)
          2
        """
        splits = self.row_splits(axis)
        return int((splits[1:] - splits[:-1]).max()) if splits.numel() > 1 else 0

    def all_row_splits(self) -> list[Tensor]:
        """The row splits of all axes from axis 1 on, in a new list."""
        return list(self._row_splits)

    def row_splits(self, axis: int) -> Tensor:
        """Where the rows of `axis - 1` begin in `axis`: int64 `(tot_size(axis - 1) + 1,)`."""
        self._check_axis(axis, 1)
        return self._row_splits[axis - 1]

    def row_ids(self, axis: int) -> Tensor:
        """The row of `axis - 1` of each element of `axis`: int64 `(tot_size(axis),)`; cached."""
        self._check_axis(axis, 1)
        ids = self._row_ids[axis - 1]
        if ids is None:
            splits = self._row_splits[axis - 1]
            rows = torch.arange(splits.numel() - 1, device=splits.device)
            ids = torch.repeat_interleave(
                rows, splits[1:] - splits[:-1], output_size=self._tot_sizes[axis]
            )
            self._row_ids[axis - 1] = ids
        return ids

    def _check_axis(self, axis: int, lowest: int) -> None:
        if not lowest <= axis < self.num_axes:
            raise FsaIndexError(
                f"axis: must be from {lowest} to {self.num_axes - 1} for a ragged shape with "
                f"{self.num_axes} axes, got {axis}."
            )

    def index(self, indexes: Tensor, axis: int = 0) -> tuple[RaggedShape, Tensor]:
        """Picks elements of one axis, with all that is in them; repetition is allowed.

        Args:
          indexes: integers `(n,)`, each from 0 to `tot_size(axis) - 1`; on axis 0 in any order, and
            -1 stands for an empty row; on other axes, elements stay in the rows they are in, so
            these rows must not fall.
          axis: the axis that is indexed.

        Returns:
          The new shape, and int64 positions of its elements in the old last axis.

        Raises:
          FsaTypeError: the indexes are not integers.
          FsaIndexError: an index or the axis is outside the shape.
          FsaValueError: on axis 1 or higher, the rows fall.

        Example:
          >>> shape, positions = RaggedShape(torch.tensor([0, 2, 3])).index(torch.tensor([1, 0]))
          >>> shape.row_splits(1).tolist(), positions.tolist()
          ([0, 1, 3], [2, 0, 1])
        """
        self._check_axis(axis, 0)
        rows = self._check_indexes(indexes, axis)
        if axis == 0:
            return _index_rows(self._row_splits, rows)
        parents = self.row_ids(axis)[rows]
        if bool((parents[1:] < parents[:-1]).any()):
            raise FsaValueError(
                f"indexes: on axis {axis} the elements stay in their rows, which must not fall, "
                f"got rows {parents.tolist()[:10]}; sort the indexes, or use remove_axis(0)."
            )
        sizes = torch.bincount(parents, minlength=self._tot_sizes[axis - 1])
        outer = [*self._row_splits[: axis - 1], sizes_to_splits(sizes)]
        if axis == self.num_axes - 1:
            return RaggedShape._unchecked(outer), rows
        inner, positions = _index_rows(self._row_splits[axis:], rows)
        return RaggedShape._unchecked([*outer, *inner._row_splits]), positions

    def _check_indexes(self, indexes: Tensor, axis: int) -> Tensor:
        if indexes.dtype not in INTEGER_DTYPES or indexes.dim() != 1:
            raise FsaTypeError(
                f"indexes: must be a 1-D tensor of integers, got {indexes.dtype} "
                f"{tuple(indexes.shape)}."
            )
        lowest, size = (-1 if axis == 0 else 0), self._tot_sizes[axis]
        if bool(((indexes < lowest) | (indexes >= size)).any()):
            raise FsaIndexError(
                f"indexes: must be from {lowest} to {size - 1}, got from {int(indexes.min())} to "
                f"{int(indexes.max())}."
            )
        return indexes.to(device=self.device, dtype=torch.int64)

    def slice_rows(self, begin: int, end: int) -> tuple[RaggedShape, int, int]:
        """Rows `begin` to `end - 1` of axis 0, and the range of their elements on the last axis.

        Raises:
          FsaIndexError: the rows are not `0 <= begin <= end <= dim0`.
        """
        if not 0 <= begin <= end <= self.dim0:
            raise FsaIndexError(
                f"rows {begin} to {end}: must be a range in the {self.dim0} rows of axis 0."
            )
        new_splits = []
        for splits in self._row_splits:
            part = splits[begin : end + 1]
            new_splits.append(part - part[0])
            begin, end = int(part[0]), int(part[-1])
        return RaggedShape._unchecked(new_splits, end - begin), begin, end

    def get_layer(self, layer: int) -> RaggedShape:
        """The shape with two axes that axes `layer` and `layer + 1` make.

        Example:
          >>> print(RaggedShape.from_str("[ [[x] []] [[x x]] ]").get_layer(1))
          [ [ x ] [ ] [ x x ] ]
        """
        if not 0 <= layer < self.num_axes - 1:
            raise FsaIndexError(f"layer: must be from 0 to {self.num_axes - 2}, got {layer}.")
        return RaggedShape._unchecked([self._row_splits[layer]])

    def __getitem__(self, i: int) -> RaggedShape:
        """The shape of row `i`, with one axis less; only for three axes or more."""
        if self.num_axes == 2:
            raise FsaIndexError("shape[i]: needs at least 3 axes, got 2; use row_splits(1).")
        self._range(i)
        return self.slice_rows(i % self.dim0, i % self.dim0 + 1)[0].remove_axis(0)

    def _range(self, i: int) -> tuple[int, int]:
        """Begin and end of row `i` (may count from the end) on axis 1."""
        if not -self.dim0 <= i < self.dim0:
            raise FsaIndexError(f"index {i} is outside a ragged shape with {self.dim0} rows.")
        i %= self.dim0
        splits = self._row_splits[0]
        return int(splits[i]), int(splits[i + 1])

    def value_range(self, i: int) -> tuple[int, int]:
        """Begin and end, on the last axis, of the elements of row `i` of axis 0."""
        begin, end = self._range(i)
        for splits in self._row_splits[1:]:
            begin, end = int(splits[begin]), int(splits[end])
        return begin, end

    def remove_axis(self, axis: int) -> RaggedShape:
        """Removes one axis: the first drops the outer list, the last the elements, another joins.

        Raises:
          FsaIndexError: there are only two axes, or `axis` is none of them.

        Example:
          >>> shape = RaggedShape.from_str("[ [[x] [x x]] [[x]] ]")
          >>> for axis in range(3):
          ...     print(shape.remove_axis(axis))
          [ [ x ] [ x x ] [ x ] ]
          [ [ x x x ] [ x ] ]
          [ [ x x ] [ x ] ]
        """
        if self.num_axes == 2:
            raise FsaIndexError("remove_axis: needs at least 3 axes, got 2.")
        self._check_axis(axis, 0)
        if axis == 0:
            return RaggedShape._unchecked(self._row_splits[1:], self.numel())
        if axis == self.num_axes - 1:
            return RaggedShape._unchecked(self._row_splits[:-1])
        joined = self._row_splits[axis][self._row_splits[axis - 1]]
        return RaggedShape._unchecked(
            [*self._row_splits[: axis - 1], joined, *self._row_splits[axis + 1 :]], self.numel()
        )

    def compose(self, inner: RaggedShape) -> RaggedShape:
        """The shape whose last axes are those of `inner`, one row of it per element of this.

        Raises:
          FsaValueError: `inner.dim0` is not `numel()`.

        Example:
          >>> outer, inner = RaggedShape(torch.tensor([0, 2])), RaggedShape(torch.tensor([0, 1, 3]))
          >>> outer.compose(inner)
          RaggedShape(row_splits=[0, 2], [0, 1, 3])
        """
        if inner.dim0 != self.numel():
            raise FsaValueError(
                f"inner: needs one row per element of this shape, {self.numel()}, got {inner.dim0}."
            )
        return RaggedShape._unchecked([*self._row_splits, *inner._row_splits], inner.numel())

    @staticmethod
    def cat(shapes: Sequence[RaggedShape]) -> RaggedShape:
        """Puts shapes with equally many axes one after the other along axis 0."""
        axes = sorted({shape.num_axes for shape in shapes})
        if len(axes) != 1:
            raise FsaValueError(f"shapes: need one number of axes, at least one shape; got {axes}.")
        new_splits = []
        for axis in range(1, axes[0]):
            parts, offset = [torch.zeros(1, dtype=torch.int64, device=shapes[0].device)], 0
            for shape in shapes:
                parts.append(shape.row_splits(axis)[1:] + offset)
                offset += shape.tot_size(axis)
            new_splits.append(torch.cat(parts))
        return RaggedShape._unchecked(new_splits)

    def to(self, device: torch.device | str) -> RaggedShape:
        """The same shape on `device`; itself when it is there already."""
        if self.device == torch.device(device):
            return self
        return RaggedShape._unchecked([s.to(device) for s in self._row_splits], self.numel())

    def nest(self, elements: list[Any]) -> list[Any]:
        """The nested lists of this shape around a flat list of elements."""
        for splits in reversed(self._row_splits):
            elements = [elements[b:e] for b, e in pairwise(splits.tolist())]
        return elements

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RaggedShape):
            return NotImplemented
        return self.num_axes == other.num_axes and all(
            a.shape == b.shape and torch.equal(a, b.to(a.device))
            for a, b in zip(self._row_splits, other._row_splits, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return RaggedShape, tuple(self._row_splits)

    def __str__(self) -> str:
        return format_lists(self.nest([0] * self.numel()), "x")

    def __repr__(self) -> str:
        splits = ", ".join(str(splits.tolist()) for splits in self._row_splits)
        return f"RaggedShape(row_splits={splits})"


def _index_rows(all_splits: list[Tensor], rows: Tensor) -> tuple[RaggedShape, Tensor]:
    new_splits = []
    for splits in all_splits:
        begins = splits[rows]
        # For row -1 this is first split - last split, which the clamp makes an empty row.
        sizes = (splits[rows + 1] - begins).clamp(min=0)
        new = sizes_to_splits(sizes)
        # Element j of the new axis is (begin of its row) + (j - new begin of its row).
        shift = torch.repeat_interleave(begins - new[:-1], sizes)
        rows = torch.arange(shift.numel(), device=splits.device) + shift
        new_splits.append(new)
    return RaggedShape._unchecked(new_splits, rows.numel()), rows


def _check_splits(splits: Tensor, axis: int) -> None:
    if not isinstance(splits, Tensor) or splits.dim() != 1 or splits.dtype != torch.int64:
        came = (
            f"{splits.dtype} {tuple(splits.shape)}"
            if isinstance(splits, Tensor)
            else type(splits).__name__
        )
        raise FsaTypeError(f"row_splits of axis {axis}: must be a 1-D int64 tensor, got {came}.")
    if splits.numel() == 0 or int(splits[0]) != 0:
        raise FsaValueError(
            f"row_splits of axis {axis}: must start with 0, got {splits.tolist()[:5]}."
        )
    falls = torch.nonzero(splits[1:] < splits[:-1])
    if falls.numel():
        row = int(falls[0])
        raise FsaValueError(
            f"row_splits of axis {axis}: must never fall, but row {row} begins at "
            f"{int(splits[row])} and ends at {int(splits[row + 1])}."
        )
