"""Many cuts in little memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from lhotse import MonoCut


class PackedCuts(Sequence[MonoCut]):
    """A list of cuts that keeps them as bytes, and makes the objects when they are asked for.

    The 840,000 training cuts of LibriSpeech at three speeds take a gigabyte instead of several, and
    the processes that load batches share it: they would each copy a list of objects, because
    counting references writes to it.

    Args:
      cuts: read once; not more than one at a time is in memory as an object.

    Example:
      >>> cuts = PackedCuts(MonoCut(name, 0.0, 1.0, 0) for name in "abc")
      >>> len(cuts), cuts[1].id, [cut.id for cut in cuts.reordered([2, 0])]
      (3, 'b', ['c', 'a'])
    """

    def __init__(self, cuts: Iterable[MonoCut]) -> None:
        self._bytes = bytearray()
        ends = [0]
        for cut in cuts:
            self._bytes += pickle.dumps(cut, protocol=pickle.HIGHEST_PROTOCOL)
            ends.append(len(self._bytes))
        self._starts = np.array(ends[:-1], dtype=np.int64)
        self._ends = np.array(ends[1:], dtype=np.int64)

    def reordered(self, order: Sequence[int] | np.ndarray) -> PackedCuts:
        """The cuts at the given places, in that order; the bytes are shared."""
        other = object.__new__(PackedCuts)
        other._bytes = self._bytes
        other._starts, other._ends = self._starts[order], self._ends[order]
        return other

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[MonoCut]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> MonoCut: ...

    @overload
    def __getitem__(self, index: slice) -> PackedCuts: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self.reordered(np.arange(len(self))[index])
        return pickle.loads(memoryview(self._bytes)[self._starts[index] : self._ends[index]])
