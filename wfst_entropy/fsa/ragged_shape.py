"""The index structure of ragged tensors: lists of lists (of lists ...).

A shape with `n` axes is written `[axis 0][axis 1]...`; axis `k >= 1` has

* `row_splits(k)`, int64 `(tot_size(k - 1) + 1,)`: where each row of axis `k - 1` begins in it;
* `row_ids(k)`, int64 `(tot_size(k),)`: the row of axis `k - 1` that each of its elements is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaIndexError, FsaTypeError, FsaValueError


def sizes_to_splits(sizes: Tensor) -> Tensor:
    """Row splits, int64 `(n + 1,)`, of `n` rows with the given sizes.

    Example:
      >>> sizes_to_splits(torch.tensor([2, 0, 1])).tolist()
      [0, 2, 2, 3]
    """
    splits = torch.zeros(sizes.numel() + 1, dtype=torch.int64, device=sizes.device)
    torch.cumsum(sizes, dim=0, out=splits[1:])
    return splits


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

    def index(self, indexes: Tensor) -> tuple[RaggedShape, Tensor]:
        """Picks rows of axis 0, in the order given and with repetition allowed.

        Args:
          indexes: int64 `(n,)`, each from 0 to `dim0 - 1`, or -1 for an empty row.

        Returns:
          The shape with `dim0 == n`, and int64 positions of its elements in the old last axis.

        Example:
          >>> shape, positions = RaggedShape(torch.tensor([0, 2, 3])).index(torch.tensor([1, 0]))
          >>> shape.row_splits(1).tolist(), positions.tolist()
          ([0, 1, 3], [2, 0, 1])
        """
        rows = indexes
        new_splits = []
        for splits in self._row_splits:
            begins = splits[rows]
            # For row -1 this is first split - last split, which the clamp makes an empty row.
            sizes = (splits[rows + 1] - begins).clamp(min=0)
            new = sizes_to_splits(sizes)
            # Element j of the new axis is (begin of its row) + (j - new begin of its row).
            shift = torch.repeat_interleave(begins - new[:-1], sizes)
            rows = torch.arange(shift.numel(), device=splits.device) + shift
            new_splits.append(new)
        return RaggedShape._unchecked(new_splits), rows

    def __getitem__(self, i: int) -> RaggedShape:
        """The shape of row `i`, with one axis less; only for three axes or more."""
        if self.num_axes == 2:
            raise FsaIndexError("shape[i]: needs at least 3 axes, got 2; use row_splits(1).")
        begin, end = self._range(i)
        new_splits = []
        for splits in self._row_splits[1:]:
            part = splits[begin : end + 1]
            new_splits.append(part - part[0])
            begin, end = int(part[0]), int(part[-1])
        return RaggedShape._unchecked(new_splits)

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
        """Removes one axis but the last: axis 0 drops the outer list, another joins its rows.

        Example:
          >>> shape = RaggedShape(torch.tensor([0, 2, 3]), torch.tensor([0, 1, 3, 4]))
          >>> shape.remove_axis(1).row_splits(1).tolist()
          [0, 3, 4]
        """
        if self.num_axes == 2:
            raise FsaIndexError("remove_axis: needs at least 3 axes, got 2.")
        if not 0 <= axis < self.num_axes - 1:
            raise FsaIndexError(
                f"axis: must be from 0 to {self.num_axes - 2} (the last axis stays), got {axis}."
            )
        if axis == 0:
            return RaggedShape._unchecked(self._row_splits[1:])
        joined = self._row_splits[axis][self._row_splits[axis - 1]]
        return RaggedShape._unchecked(
            [*self._row_splits[: axis - 1], joined, *self._row_splits[axis + 1 :]]
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

    def __repr__(self) -> str:
        splits = ", ".join(str(splits.tolist()) for splits in self._row_splits)
        return f"RaggedShape(row_splits={splits})"


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
