"""The arcs of an FSA as k2 lays them out: source, destination, label and the bits of the score."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ragged import RaggedShape as K2Shape
from wfst_entropy.compat.k2.ragged import core_shape, k2_shape
from wfst_entropy.fsa import Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaIndexError, FsaTypeError, FsaValueError


def as_int(scores: Tensor) -> Tensor:
    """The bits of a float32 tensor as int32; memory is shared.

    Example:
      >>> as_float(as_int(torch.tensor([1.5]))).tolist()
      [1.5]
    """
    return _view(scores, torch.float32, torch.int32)


def as_float(bits: Tensor) -> Tensor:
    """The float32 numbers whose bits an int32 tensor holds; memory is shared."""
    return _view(bits, torch.int32, torch.float32)


def _view(tensor: Tensor, old: torch.dtype, new: torch.dtype) -> Tensor:
    if tensor.dtype != old:
        raise FsaTypeError(f"must be a {old} tensor to be read as {new}, got {tensor.dtype}.")
    return tensor.detach().view(new)


class RaggedArc:
    """Arcs `[state][arc]` or `[fsa][state][arc]`; `values()` is int32 `(num_arcs, 4)`.

    Args:
      shape: the index structure, this package's or k2's.
      values: int32 `(num_arcs, 4)`: source, destination, label, bits of the float32 score.

    Raises:
      FsaTypeError, FsaValueError: a wrong dtype or shape of `values`.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> arcs = k2.Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2").arcs
      >>> arcs
      [ [ 0 1 5 0.5 ] [ 1 2 -1 0 ] [ ] ]
      >>> arcs.dim0(), arcs.num_axes(), arcs.values()[:, 2].tolist()
      (3, 2, [5, -1])
    """

    __slots__ = ("_shape", "_topology", "_values")

    def __init__(self, shape: RaggedShape | K2Shape, values: Tensor) -> None:
        shape = core_shape(shape)
        if values.dtype != torch.int32:
            raise FsaTypeError(f"values: must be int32 (num_arcs, 4), got {values.dtype}.")
        if values.shape != (shape.numel(), 4):
            raise FsaValueError(
                f"values: must have shape ({shape.numel()}, 4), got {tuple(values.shape)}."
            )
        self._shape = shape.to(values.device)
        self._values = values.contiguous()
        self._topology: tuple[int, Fsa] | None = None

    def values(self) -> Tensor:
        """The arcs, int32 `(num_arcs, 4)`; a change in place is a change of this object."""
        return self._values

    def core_shape(self) -> RaggedShape:
        """The index structure, of this package's class."""
        return self._shape

    def graph(self, scores: Tensor | None = None) -> Fsa:
        """This package's FSA of these arcs, without attributes.

        Args:
          scores: float32 `(num_arcs,)`, kept in the autograd graph; by default those in the bits.

        Raises:
          FsaValueError: the arcs break a rule of FSAs.
        """
        version = self._values._version
        if self._topology is None or self._topology[0] != version:
            self._topology = version, Fsa(self._shape, self._values[:, :3].contiguous())
        return self._topology[1].with_scores(
            self.column(3, torch.float32) if scores is None else scores
        )

    @classmethod
    def of(cls, graph: Fsa) -> RaggedArc:
        """The arcs of this package's FSA, scores made float32."""
        bits = as_int(graph.scores.to(torch.float32))
        return cls(graph.shape, torch.cat([graph.arcs, bits[:, None]], dim=1))

    def vector_shape(self) -> RaggedShape:
        """The shape `[fsa][state][arc]`, a single FSA seen as a vector of one."""
        if self._shape.num_axes == 3:
            return self._shape
        one = torch.tensor([0, self._shape.dim0], device=self._shape.device)
        return RaggedShape(one, self._shape.row_splits(1))

    def column(self, i: int, dtype: torch.dtype) -> Tensor:
        """Column `i` as a tensor that shares memory, but no autograd history, with `values()`."""
        values = self._values
        column = torch.empty(0, dtype=dtype, device=values.device)
        offset, rows = values.storage_offset() + i, values.shape[0]
        return column.set_(values.untyped_storage(), offset, (rows,), (4,))

    def shape(self) -> K2Shape:
        """The index structure."""
        return k2_shape(self._shape)

    def num_axes(self) -> int:
        """2 for one FSA, 3 for a vector."""
        return self._shape.num_axes

    def dim0(self) -> int:
        """Number of states of one FSA; number of FSAs of a vector."""
        return self._shape.dim0

    def num_elements(self) -> int:
        """Number of arcs."""
        return self._shape.numel()

    def tot_size(self, axis: int) -> int:
        """Number of elements on `axis`."""
        return self._shape.tot_size(axis)

    def row_splits(self, axis: int) -> Tensor:
        """Where rows begin on `axis`, int32."""
        return self._shape.row_splits(axis).to(torch.int32)

    def row_ids(self, axis: int) -> Tensor:
        """The row of each element of `axis`, int32."""
        return self._shape.row_ids(axis).to(torch.int32)

    def index(self, axis: int, i: int) -> tuple[RaggedArc, int]:
        """FSA `i` of a vector, and the number of its first arc; the memory is shared.

        Raises:
          FsaIndexError: this is not a vector, `axis` is not 0, or there is no FSA `i`.
        """
        if axis != 0 or self.num_axes() != 3:
            raise FsaIndexError(
                f"index(axis={axis}, i={i}): needs axis 0 of arcs with 3 axes; these have "
                f"{self.num_axes()}."
            )
        if not 0 <= i < self.dim0():
            raise FsaIndexError(f"index: there is no FSA {i} in a vector of {self.dim0()}.")
        begin, end = self._shape.value_range(i)
        return RaggedArc(self._shape[i], self._values[begin:end]), begin

    def to(self, device: torch.device | str) -> RaggedArc:
        """The same arcs on `device`."""
        return RaggedArc(self._shape, self._values.to(device))

    def clone(self) -> RaggedArc:
        """A copy with its own memory."""
        return RaggedArc(self._shape, self._values.clone())

    @property
    def device(self) -> torch.device:
        """Where the arcs are."""
        return self._values.device

    def __str__(self) -> str:
        scores = self.column(3, torch.float32).tolist()
        rows = zip(self._values[:, :3].tolist(), scores)
        items = [f"{src} {dst} {label} {score:.6g}" for (src, dst, label), score in rows]
        for axis in range(self.num_axes() - 1, 0, -1):
            splits = self._shape.row_splits(axis).tolist()
            items = [" ".join(["[", *items[b:e], "]"]) for b, e in pairwise(splits)]
        return " ".join(["[", *items, "]"])

    __repr__ = __str__
