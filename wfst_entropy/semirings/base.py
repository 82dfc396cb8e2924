"""The interface of a semiring, with working defaults for everything but four operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Value: TypeAlias = Any
"""A semiring value: one Tensor, or a tuple of ``num_slots`` equally shaped Tensors."""


def map_slots(function: Callable[..., Tensor], *values: Value) -> Value:
    """Apply ``function`` slot by slot to one or several values of the same semiring.

    Args:
        function: takes one Tensor of each value, returns one Tensor.
        values: values with the same number of slots.

    Returns:
        A Tensor if the values are Tensors, a tuple if they are tuples.

    >>> map_slots(torch.neg, (torch.tensor([1.0]), torch.tensor([2.0])))
    (tensor([-1.]), tensor([-2.]))
    """
    if isinstance(values[0], tuple):
        return tuple(function(*slots) for slots in zip(*values, strict=True))
    return function(*values)


def _first_slot(value: Value) -> Tensor:
    slot: Tensor = value[0] if isinstance(value, tuple) else value
    return slot


class Semiring(ABC):
    r"""A set with ``plus`` (merge alternatives) and ``times`` (extend a path).

    The laws, tested for every built-in semiring from the properties it declares:
    :math:`\oplus` is associative and commutative with identity :math:`\bar 0`; :math:`\otimes`
    is associative with identity :math:`\bar 1`; :math:`\otimes` distributes over :math:`\oplus`;
    :math:`\bar 0` annihilates (Mohri 2002, "Semiring frameworks and algorithms for
    shortest-distance problems", Section 2).

    A new semiring is one class: set ``zero_element`` and ``one_element`` (one number per slot)
    and write ``plus``, ``times`` and ``convert``. Every recursion of the package then accepts it.
    A value is a Tensor (one slot) or a tuple of equally shaped Tensors (several slots); all
    operations act elementwise. Values of any floating dtype and on any device are accepted.

    Attributes:
        zero_element: the number that fills each slot of the zero.
        one_element: the number that fills each slot of the one.
        commutative: whether ``times`` is commutative.
        idempotent: whether ``plus(a, a) == a``.
        path: whether ``plus(a, b)`` is always ``a`` or ``b``.
        has_star: whether ``star`` is defined.
        has_divide: whether ``divide`` is defined.

    >>> class RealSemiring(Semiring):
    ...     zero_element, one_element = (0.0,), (1.0,)
    ...     def plus(self, a, b): return a + b
    ...     def times(self, a, b): return a * b
    ...     def convert(self, log_weights): return log_weights.exp()
    >>> RealSemiring().segment_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 0, 2]), 3)
    tensor([3., 0., 4.])
    """

    # Of the class, or of the instance where they depend on its arguments.
    zero_element: tuple[float, ...]
    one_element: tuple[float, ...]
    commutative: bool = True
    idempotent: bool = False
    path: bool = False
    has_star: bool = False
    has_divide: bool = False

    @property
    def num_slots(self) -> int:
        """The number of Tensors that make up one value."""
        return len(self.zero_element)

    @abstractmethod
    def plus(self, a: Value, b: Value) -> Value:
        """Merge two alternatives, elementwise."""

    @abstractmethod
    def times(self, a: Value, b: Value) -> Value:
        """Extend ``a`` by ``b``, elementwise."""

    @abstractmethod
    def convert(self, log_weights: Any) -> Value:
        """Turn log-weights of arcs (nats, larger is better) into values.

        Args:
            log_weights: a Tensor of any shape; a semiring over several models (see
                ``LogReverseKLSemiring``) takes a tuple of equally shaped Tensors.
        """

    def zero(
        self,
        shape: Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Value:
        """The identity of ``plus``, filled into ``shape``."""
        return self._full(self.zero_element, shape, dtype, device)

    def one(
        self,
        shape: Sequence[int],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Value:
        """The identity of ``times``, filled into ``shape``."""
        return self._full(self.one_element, shape, dtype, device)

    def star(self, value: Value) -> Value:
        """The closure ``one + a + a*a + ...``, elementwise.

        Raises:
            NotImplementedError: if the semiring has none (``has_star`` is False).
            ValueError: if the series diverges for an element.
        """
        raise NotImplementedError(f"{type(self).__name__} has no star")

    def divide(self, a: Value, b: Value) -> Value:
        """The ``x`` with ``times(x, b) == a``, elementwise; zero where ``b`` is zero.

        Raises:
            NotImplementedError: if the semiring has none (``has_divide`` is False).
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no division; for arc posteriors use LogSemiring()"
        )

    def sum(self, value: Value, dim: int) -> Value:
        """Merge along one dimension; an empty dimension gives zero."""
        return self._reduce(self.plus, self.zero_element, value, dim)

    def prod(self, value: Value, dim: int) -> Value:
        """Multiply along one dimension in its order; an empty dimension gives one."""
        return self._reduce(self.times, self.one_element, value, dim)

    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        r"""Merge ragged groups: :math:`\mathrm{out}_s = \bigoplus_{i: \mathrm{index}_i = s} v_i`.

        This default needs only ``plus``: neighbours of one group are merged in pairs, so a group
        of n takes ceil(log2 n) rounds, each round one vectorised call for all groups.

        Args:
            value: slots of shape (num_items, ...).
            index: the group of every item, int64 (num_items,), in ascending order.
            num_segments: the number of groups; a group without items gives zero.

        Returns:
            Slots of shape (num_segments, ...).

        Raises:
            ValueError: if ``index`` is not in ascending order.
        """
        if bool((index[1:] < index[:-1]).any()):
            raise ValueError(
                "index must be in ascending order, so that the items of a group are neighbours; "
                "sort index and reorder value with it"
            )
        while True:
            sizes = torch.bincount(index, minlength=num_segments)
            if index.numel() == 0 or int(sizes.max()) < 2:
                break
            value, index = self._merge_neighbours(value, index, sizes)
        slot = _first_slot(value)
        empty = self.zero((num_segments, *slot.shape[1:]), slot.dtype, slot.device)
        return map_slots(lambda zero, v: zero.index_copy(0, index, v), empty, value)

    def _merge_neighbours(self, value: Value, index: Tensor, sizes: Tensor) -> tuple[Value, Tensor]:
        """One round of ``segment_sum``: items 0 and 1, 2 and 3, ... of every group become one."""
        item = torch.arange(index.numel(), device=index.device)
        position = item - (sizes.cumsum(0) - sizes)[index]
        even = position % 2 == 0
        has_partner = even & (position + 1 < sizes[index])
        left = item[has_partner]
        single = item[even & ~has_partner]
        merged = self.plus(
            map_slots(lambda v: v.index_select(0, left), value),
            map_slots(lambda v: v.index_select(0, left + 1), value),
        )
        rest = map_slots(lambda v: v.index_select(0, single), value)
        order = torch.cat([left, single]).argsort()
        value = map_slots(lambda m, r: torch.cat([m, r]).index_select(0, order), merged, rest)
        return value, index[even]

    def _reduce(
        self,
        operation: Callable[[Value, Value], Value],
        identity: tuple[float, ...],
        value: Value,
        dim: int,
    ) -> Value:
        """Reduce ``dim`` by rounds of pairs, keeping the order of the factors."""
        value = map_slots(lambda v: v.movedim(dim, 0), value)
        slot = _first_slot(value)
        size = slot.shape[0]
        if size == 0:
            return self._full(identity, slot.shape[1:], slot.dtype, slot.device)
        while size > 1:
            even = size - size % 2
            pairs = operation(
                map_slots(lambda v, n=even: v[0:n:2], value),
                map_slots(lambda v, n=even: v[1:n:2], value),
            )
            value = map_slots(lambda p, v, n=even: torch.cat([p, v[n:]]), pairs, value)
            size -= even // 2
        return map_slots(lambda v: v[0], value)

    def _full(
        self,
        element: tuple[float, ...],
        shape: Sequence[int],
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Value:
        slots = tuple(torch.full(tuple(shape), x, dtype=dtype, device=device) for x in element)
        return slots if len(slots) > 1 else slots[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
