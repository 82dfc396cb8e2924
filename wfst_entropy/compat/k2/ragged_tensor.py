"""k2's RaggedTensor: this package's, with k2's dtypes, arguments and return values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged_shape import RaggedShape, core_shape, k2_shape
from wfst_entropy.fsa import RaggedShape as CoreShape
from wfst_entropy.fsa import RaggedTensor as CoreTensor
from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.ragged_lists import format_rows

_DTYPES = (torch.int32, torch.float32, torch.float64)


class RaggedTensor:
    """A list of lists (of lists ...) of int32, float32 or float64 numbers.

    Args:
      data: nested lists; k2's text form (also by the name `s`); an ordinary tensor (also `tensor`),
        whose memory is shared if it is contiguous; or a `RaggedShape` (also `shape`).
      dtype: of the values; by default int32 if all are integers, else float32.  After a shape, the
        values themselves (also `value`).
      device: of the result.

    Raises:
      FsaTypeError, FsaValueError, FsaFormatError: not such lists, text, dtype or values.

    Example:
      >>> RaggedTensor([[1, 2], []])
      RaggedTensor([[1, 2],
                    []], dtype=torch.int32)
      >>> RaggedTensor("[ [1. 2] [] ]").dtype
      torch.float32
      >>> RaggedTensor(RaggedShape("[ [x] [x x] ]"), torch.tensor([0.5, 1, 2])).tolist()
      [[0.5], [1.0, 2.0]]
    """

    __slots__ = ("_core",)

    def __init__(
        self,
        data: Any = None,
        dtype: torch.dtype | Tensor | None = None,
        device: torch.device | str | None = None,
        *,
        s: str | None = None,
        tensor: Tensor | None = None,
        shape: RaggedShape | None = None,
        value: Tensor | None = None,
    ) -> None:
        source = next((x for x in (data, s, tensor, shape) if x is not None), None)
        if isinstance(source, (RaggedShape, CoreShape)):
            values = dtype if isinstance(dtype, Tensor) else value
            if values is None:
                raise FsaTypeError("value: needed beside a shape, a tensor of its elements.")
            self._core = CoreTensor(core_shape(source), _check_dtype(values))
            return
        if isinstance(dtype, Tensor) or (dtype is not None and dtype not in _DTYPES):
            raise FsaTypeError(f"dtype: must be one of {_DTYPES}, got {dtype!r}.")
        if isinstance(source, Tensor):
            self._core = CoreTensor.from_tensor(_check_dtype(source).contiguous())
        elif isinstance(source, str):
            self._core = _narrow(CoreTensor.from_str(source, dtype, device))
        elif isinstance(source, (list, tuple)):
            self._core = _narrow(CoreTensor.from_lists(source, dtype, device))
        else:
            raise FsaTypeError(
                f"data: must be lists, a str, a tensor or a RaggedShape, got {source!r}."
            )

    @property
    def shape(self) -> RaggedShape:
        """The index structure."""
        return k2_shape(self._core.shape)

    @property
    def values(self) -> Tensor:
        """The numbers, flat; a change of them is a change of this object."""
        return self._core.values

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the values."""
        return self._core.dtype

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self._core.device

    @property
    def is_cuda(self) -> bool:
        """Whether the values are on a GPU."""
        return self.values.is_cuda

    @property
    def num_axes(self) -> int:
        """Number of axes, at least 2."""
        return self._core.num_axes

    @property
    def dim0(self) -> int:
        """Number of rows of axis 0."""
        return self._core.dim0

    @property
    def grad(self) -> Tensor | None:
        """The gradient of the values."""
        return self._core.grad

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows the values."""
        return self._core.requires_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self._core.requires_grad_(requires_grad)

    def requires_grad_(self, requires_grad: bool = True) -> RaggedTensor:
        """Lets autograd follow the values, in place, and returns this object."""
        self._core.requires_grad_(requires_grad)
        return self

    def numel(self) -> int:
        """Number of values."""
        return self._core.numel()

    def tot_size(self, axis: int) -> int:
        """Number of elements on `axis`."""
        return self._core.tot_size(axis)

    def tolist(self) -> list[Any]:
        """The nested Python lists."""
        return self._core.tolist()

    def clone(self) -> RaggedTensor:
        """A copy with values of its own."""
        return k2_ragged(self._core.clone())

    def to(
        self, target: torch.device | str | torch.dtype | None = None, **named: Any
    ) -> RaggedTensor:
        """The same lists on a device (None: the CPU), or of another dtype.

        `target` may be given by the names `device` and `dtype`.
        """
        target = named.get("dtype", named.get("device", target))
        if isinstance(target, torch.dtype) and target not in _DTYPES:
            raise FsaTypeError(f"dtype: must be one of {_DTYPES}, got {target}.")
        return k2_ragged(self._core.to("cpu" if target is None else target))

    @overload
    def __getitem__(self, i: int) -> RaggedTensor | Tensor: ...
    @overload
    def __getitem__(self, i: slice | Tensor) -> RaggedTensor: ...
    def __getitem__(self, i: int | slice | Tensor) -> RaggedTensor | Tensor:
        picked = self._core[i]
        return picked if isinstance(picked, Tensor) else k2_ragged(picked)

    @overload
    def index(self, indexes: RaggedTensor) -> RaggedTensor: ...
    @overload
    def index(
        self, indexes: Tensor, axis: int = 0, need_value_indexes: bool = False
    ) -> tuple[RaggedTensor, Tensor | None]: ...
    def index(
        self, indexes: RaggedTensor | Tensor, axis: int = 0, need_value_indexes: bool = False
    ) -> RaggedTensor | tuple[RaggedTensor, Tensor | None]:
        """Picks rows by a ragged tensor, or elements of `axis` by a tensor.

        Args:
          indexes: int32; with axis 0, -1 stands for an empty row.
          axis: the axis that is indexed.
          need_value_indexes: also give the int32 positions of the new values in the old ones.

        Returns:
          For ragged `indexes` a ragged tensor with more axes; for a tensor a pair of the ragged
          tensor and the positions, or None.

        Example:
          >>> r = RaggedTensor([[1, 2], [3]])
          >>> r.index(torch.tensor([1, -1]), axis=0, need_value_indexes=True)
          (RaggedTensor([[3],
                         []], dtype=torch.int32), tensor([2], dtype=torch.int32))
        """
        if isinstance(indexes, RaggedTensor):
            return k2_ragged(self._core.index(indexes._core))
        shape, positions = self._core.shape.index(indexes, axis)
        picked = k2_ragged(CoreTensor(shape, self.values[positions]))
        return picked, positions.to(torch.int32) if need_value_indexes else None

    def arange(self, axis: int, begin: int, end: int) -> RaggedTensor:
        """Elements `begin` to `end - 1` of an axis, without the axes before it; shares memory."""
        return k2_ragged(self._core.arange(axis, begin, end))

    def remove_axis(self, axis: int) -> RaggedTensor:
        """Without one axis: the first drops the outer list, another joins its rows."""
        return k2_ragged(self._core.remove_axis(axis))

    def remove_values_eq(self, target: float) -> RaggedTensor:
        """Without the values equal to `target`."""
        return k2_ragged(self._core.remove_values_eq(target))

    def remove_values_leq(self, cutoff: float) -> RaggedTensor:
        """Without the values of at most `cutoff`."""
        return k2_ragged(self._core.remove_values_leq(cutoff))

    def sum(self, initial_value: float = 0) -> Tensor:
        """Sum of each sublist of the last axis, plus `initial_value`."""
        return self._core.sum(initial_value)

    def logsumexp(self, initial_value: float = -math.inf) -> Tensor:
        """Log of the sum of exponentials of each sublist; `initial_value` for an empty one."""
        return self._core.logsumexp(initial_value)

    def max(self, initial_value: float | None = None) -> Tensor:
        """Maximum of each sublist and `initial_value`, by default the lowest finite number."""
        lowest = _limits(self.dtype).min if initial_value is None else initial_value
        return self._core.max(lowest)

    def min(self, initial_value: float | None = None) -> Tensor:
        """Minimum of each sublist and `initial_value`, by default the largest finite number."""
        highest = _limits(self.dtype).max if initial_value is None else initial_value
        return self._core.min(highest)

    def argmax(self, initial_value: float | None = None) -> Tensor:
        """Where in `values` the maximum of each sublist is, int32; -1 if there is none.

        Example:
          >>> RaggedTensor([[3, 5, 1], [], [8, 2]]).argmax(initial_value=6)
          tensor([-1, -1,  3], dtype=torch.int32)
        """
        return self._core.argmax(initial_value).to(torch.int32)

    def normalize(self, use_log: bool) -> RaggedTensor:
        """Each sublist so that it (or, with `use_log`, its exponentials) sums to one."""
        return k2_ragged(self._core.normalize(use_log))

    def add(self, value: Tensor, alpha: float) -> RaggedTensor:
        """`alpha * value[i]` added to sublist `i` of the last axis."""
        return k2_ragged(self._core.add(value, alpha))

    def pad(self, mode: Literal["constant", "replicate"], padding_value: float) -> Tensor:
        """An ordinary tensor `(dim0, longest)` of two axes; see `wfst_entropy.RaggedTensor.pad`."""
        return self._core.pad(mode, padding_value)

    def sort_(self, descending: bool = False, need_new2old_indexes: bool = False) -> Tensor | None:
        """Sorts each sublist of the last axis, in place; int32 old positions if asked for."""
        order = self._core.sort_(descending)
        return order.to(torch.int32) if need_new2old_indexes else None

    def unique(
        self, need_num_repeats: bool = False, need_new2old_indexes: bool = False
    ) -> tuple[RaggedTensor, RaggedTensor | None, Tensor | None]:
        """The distinct sublists of the last axis, within each list of them.

        They are ordered by length and then by their values.  (k2 orders them by a hash, and takes
        sublists of equal hash for equal; here all distinct ones are kept.)

        Returns:
          The distinct sublists; if asked for, how often each occurs, and the int32 number of its
          first occurrence.
        """
        sublists, repeats, new2old = self._core.unique()
        return (
            k2_ragged(sublists),
            k2_ragged(repeats) if need_num_repeats else None,
            new2old.to(torch.int32) if need_new2old_indexes else None,
        )

    @staticmethod
    def cat(srcs: Sequence[RaggedTensor], axis: int) -> RaggedTensor:
        """Ragged tensors one after the other (axis 0), or row by row (axis 1).

        Raises:
          FsaTypeError: their dtypes differ.
          FsaValueError: there are none, or their axes or rows do not fit.
        """
        dtypes = sorted({str(src.dtype) for src in srcs})
        if len(dtypes) > 1:
            raise FsaTypeError(f"srcs: must have one dtype, got {', '.join(dtypes)}.")
        return k2_ragged(CoreTensor.cat([src._core for src in srcs], axis))

    def to_str_simple(self) -> str:
        """The text form on one line."""
        return self._core.to_str_simple()

    def __str__(self) -> str:
        prefix = "RaggedTensor("
        device = f", device='{self.device}'" if self.is_cuda else ""
        rows = format_rows(self.tolist(), ",\n" + " " * (len(prefix) + 1))
        return f"{prefix}{rows}{device}, dtype={self.dtype})"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return self._core == other._core if isinstance(other, RaggedTensor) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> tuple[Any, ...]:
        """k2's: for each axis from 1 on its int32 row splits and a placeholder; then the values."""
        state: list[Any] = []
        for axis in range(1, self.num_axes):
            state += [self.shape.row_splits(axis), f"row_ids{axis}"]
        return (*state, self.values)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if len(state) < 3 or len(state) % 2 == 0 or not all(map(torch.is_tensor, state[::2])):
            raise FsaFormatError(
                "state of a RaggedTensor: needed (row_splits1, 'row_ids1', ..., values), got "
                f"{len(state)} entries."
            )
        *splits, values = state[::2]
        self._core = CoreTensor(CoreShape(*(s.to(torch.int64) for s in splits)), values)


def k2_ragged(ragged: CoreTensor) -> RaggedTensor:
    """k2's view of a ragged tensor; other integers become int32.

    Raises:
      FsaValueError: a value does not fit int32.
    """
    new = RaggedTensor.__new__(RaggedTensor)
    new._core = _narrow(ragged)
    return new


def core_ragged(ragged: RaggedTensor) -> CoreTensor:
    """This package's ragged tensor of k2's; values are shared."""
    return ragged._core


def _narrow(ragged: CoreTensor) -> CoreTensor:
    if ragged.dtype in _DTYPES:
        return ragged
    if ragged.dtype.is_floating_point:
        raise FsaTypeError(f"dtype: must be one of {_DTYPES}, got {ragged.dtype}.")
    limits = torch.iinfo(torch.int32)
    values = ragged.values
    if values.numel() and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
        raise FsaValueError(
            f"values: must fit int32, got from {int(values.min())} to {int(values.max())}."
        )
    return ragged.to(torch.int32)


def _check_dtype(values: Tensor) -> Tensor:
    if values.dtype not in _DTYPES:
        raise FsaTypeError(f"values: their dtype must be one of {_DTYPES}, got {values.dtype}.")
    return values


def _limits(dtype: torch.dtype) -> torch.iinfo | torch.finfo:
    return torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)


class _WrittenByK2:
    """Stands for k2's class in files that k2 wrote."""

    def __new__(cls) -> Any:
        return RaggedTensor.__new__(RaggedTensor)


_WrittenByK2.__module__ = "_k2.ragged"
_WrittenByK2.__name__ = _WrittenByK2.__qualname__ = "RaggedTensor"

# So that torch.load(weights_only=True) reads ragged tensors, also out of files that k2 wrote.
torch.serialization.add_safe_globals([RaggedTensor, _WrittenByK2])
