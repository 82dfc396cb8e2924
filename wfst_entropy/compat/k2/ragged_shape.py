"""k2's RaggedShape: this package's, with int32 row splits and row ids."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import RaggedShape as CoreShape
from wfst_entropy.fsa import ragged_shape as core
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

_MAX_INT32 = 2**31 - 1


class RaggedShape:
    """The index structure of a ragged tensor.

    Args:
      s: k2's text form, with an `x` for each element.

    Raises:
      FsaFormatError, FsaTypeError: the text is not such a form.

    Example:
      >>> shape = RaggedShape("[ [x x] [] [x] ]")
      >>> shape, shape.dim0, shape.row_splits(1)
      ([ [ x x ] [ ] [ x ] ], 3, tensor([0, 2, 2, 3], dtype=torch.int32))
    """

    __slots__ = ("_core",)

    def __init__(self, s: str) -> None:
        self._core = CoreShape.from_str(s)

    @property
    def dim0(self) -> int:
        """Number of rows of axis 0."""
        return self._core.dim0

    @property
    def num_axes(self) -> int:
        """Number of axes, at least 2."""
        return self._core.num_axes

    @property
    def device(self) -> torch.device:
        """Where the row splits are."""
        return self._core.device

    def numel(self) -> int:
        """Number of elements on the last axis."""
        return self._core.numel()

    def tot_size(self, axis: int) -> int:
        """Number of elements on `axis`."""
        return self._core.tot_size(axis)

    def tot_sizes(self) -> tuple[int, ...]:
        """Number of elements on each axis."""
        return self._core.tot_sizes()

    def max_size(self, axis: int) -> int:
        """The length of the longest row on `axis`, from 1 on."""
        return self._core.max_size(axis)

    def row_splits(self, axis: int) -> Tensor:
        """Where the rows of `axis - 1` begin in `axis`, int32."""
        return self._core.row_splits(axis).to(torch.int32)

    def row_ids(self, axis: int) -> Tensor:
        """The row of `axis - 1` of each element of `axis`, int32."""
        return self._core.row_ids(axis).to(torch.int32)

    def compose(self, other: RaggedShape) -> RaggedShape:
        """The shape whose last axes are those of `other`, one row of it per element of this."""
        return k2_shape(self._core.compose(other._core))

    def get_layer(self, layer: int) -> RaggedShape:
        """The shape with two axes that axes `layer` and `layer + 1` make."""
        return k2_shape(self._core.get_layer(layer))

    def index(
        self, axis: int, indexes: Tensor, need_value_indexes: bool = True
    ) -> tuple[RaggedShape, Tensor | None]:
        """Picks elements of `axis`; -1 stands for an empty row of axis 0.

        Returns:
          The new shape, and the int32 positions of its elements in the old last axis, or None.

        Example:
          >>> RaggedShape("[ [x x] [x] ]").index(0, torch.tensor([1, -1, 0]))
          ([ [ x ] [ ] [ x x ] ], tensor([2, 0, 1], dtype=torch.int32))
        """
        shape, positions = self._core.index(indexes, axis)
        return k2_shape(shape), positions.to(torch.int32) if need_value_indexes else None

    def remove_axis(self, axis: int) -> RaggedShape:
        """Without one axis: the first drops the outer list, the last the elements; others join."""
        return k2_shape(self._core.remove_axis(axis))

    def to(self, device: torch.device | str | None) -> RaggedShape:
        """The same shape on `device`; None is the CPU."""
        return k2_shape(self._core.to("cpu" if device is None else device))

    @staticmethod
    def regular_ragged_shape(dim0: int, dim1: int) -> RaggedShape:
        """`dim0` rows of `dim1` elements each.

        Example:
          >>> RaggedShape.regular_ragged_shape(2, 3)
          [ [ x x x ] [ x x x ] ]
        """
        return k2_shape(core.regular_ragged_shape(dim0, dim1))

    def __getitem__(self, i: int) -> RaggedShape:
        return k2_shape(self._core[i])

    def __eq__(self, other: object) -> bool:
        return self._core == other._core if isinstance(other, RaggedShape) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self._core)

    __repr__ = __str__


def k2_shape(shape: CoreShape) -> RaggedShape:
    """k2's view of a shape.

    Raises:
      FsaValueError: an axis has more elements than int32 can count.
    """
    if max(shape.tot_sizes()) > _MAX_INT32:
        raise FsaValueError(
            f"a ragged shape of sizes {shape.tot_sizes()} does not fit k2's int32 row splits; use "
            "wfst_entropy.RaggedShape, which has int64."
        )
    new = RaggedShape.__new__(RaggedShape)
    new._core = shape
    return new


def core_shape(shape: RaggedShape | CoreShape) -> CoreShape:
    """This package's shape of k2's, or the one given if it is that already."""
    if isinstance(shape, CoreShape):
        return shape
    if not isinstance(shape, RaggedShape):
        raise FsaTypeError(f"shape: must be a RaggedShape, got {type(shape).__name__}.")
    return shape._core


def create_ragged_shape2(
    row_splits: Tensor | None = None, row_ids: Tensor | None = None, cached_tot_size: int = -1
) -> RaggedShape:
    """The shape with two axes that row splits, or row ids, or both, say.

    Args:
      row_splits: int32, where each row begins, and the end of the last.
      row_ids: int32, the row of each element; it must not fall.  Alone, it says that the last row
        is that of the last element.
      cached_tot_size: the number of elements, or -1.

    Raises:
      FsaValueError: neither is given, they disagree, or one of them is not valid.

    Example:
      >>> create_ragged_shape2(row_ids=torch.tensor([0, 0, 2], dtype=torch.int32))
      [ [ x x ] [ ] [ x ] ]
    """
    if row_splits is not None:
        shape = CoreShape(row_splits.to(torch.int64))
    elif row_ids is not None:
        ids = row_ids.to(torch.int64)
        if ids.numel() and int(ids.min()) < 0:
            raise FsaValueError(f"row_ids: must not be negative, got {int(ids.min())}.")
        shape = CoreShape.from_sizes(torch.bincount(ids))
    else:
        raise FsaValueError("row_splits, row_ids: one of them is needed, both are None.")
    if row_ids is not None and not torch.equal(shape.row_ids(1), row_ids.to(torch.int64)):
        raise FsaValueError(
            "row_ids: must not fall, and must agree with row_splits; row_splits say "
            f"{shape.row_ids(1).tolist()[:10]}, row_ids are {row_ids.tolist()[:10]}."
        )
    if cached_tot_size not in (-1, shape.numel()):
        raise FsaValueError(f"cached_tot_size: is {cached_tot_size}, but has {shape.numel()}.")
    return k2_shape(shape)


def random_ragged_shape(
    set_row_ids: bool = False,
    min_num_axes: int = 2,
    max_num_axes: int = 4,
    min_num_elements: int = 0,
    max_num_elements: int = 2000,
) -> RaggedShape:
    """A random shape with numbers of axes and elements from these ranges, ends included.

    `set_row_ids` changes nothing here: row ids are made when they are asked for.
    """
    return k2_shape(
        core.random_ragged_shape(min_num_axes, max_num_axes, min_num_elements, max_num_elements)
    )


regular_ragged_shape = RaggedShape.regular_ragged_shape
