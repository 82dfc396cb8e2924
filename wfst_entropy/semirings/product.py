"""The product of two semirings: both totals in one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings.base import Semiring, Value


class ProductSemiring(Semiring):
    """Pairs of values of two semirings, each computed with its own operations.

    The slots of the first are followed by those of the second. The product has a star, a division,
    idempotence and commutativity where both have.

    Args:
        first: a semiring.
        second: another one, or the same.

    >>> import torch
    >>> from wfst_entropy.semirings import LogSemiring, TropicalSemiring
    >>> semiring = ProductSemiring(LogSemiring(), TropicalSemiring())
    >>> semiring.sum(semiring.convert(torch.tensor([-1.0, -2.0])), 0)
    (tensor(-0.6867), tensor(-1.))
    """

    def __init__(self, first: Semiring, second: Semiring) -> None:
        self.first = first
        self.second = second
        self.zero_element = first.zero_element + second.zero_element
        self.one_element = first.one_element + second.one_element
        self.commutative = first.commutative and second.commutative
        self.idempotent = first.idempotent and second.idempotent
        self.has_star = first.has_star and second.has_star
        self.has_divide = first.has_divide and second.has_divide

    def split(self, value: Value) -> tuple[Value, Value]:
        """The value of the first semiring and that of the second.

        >>> from wfst_entropy.semirings import ConditionalEntropySemiring, LogSemiring
        >>> ProductSemiring(LogSemiring(), ConditionalEntropySemiring()).split((1, 2, 3))
        (1, (2, 3))
        """
        head, tail = value[: self.first.num_slots], value[self.first.num_slots :]
        return head if len(head) > 1 else head[0], tail if len(tail) > 1 else tail[0]

    def _both(self, operation: str, *values: Value, **arguments: Any) -> Value:
        """Apply a method of both to their parts, and join the results."""
        results: list[Any] = []
        for semiring, parts in zip(
            (self.first, self.second), zip(*(self.split(v) for v in values), strict=True)
        ):
            result = getattr(semiring, operation)(*parts, **arguments)
            results.extend(result if isinstance(result, tuple) else (result,))
        return tuple(results)

    @override
    def plus(self, a: Value, b: Value) -> Value:
        return self._both("plus", a, b)

    @override
    def times(self, a: Value, b: Value) -> Value:
        return self._both("times", a, b)

    @override
    def convert(self, log_weights: Any) -> Value:
        """Both values from one Tensor, or from a pair with what each semiring converts.

        Args:
            log_weights: a Tensor, given to both; or a pair, whose members are given to the first
                and to the second and may be tuples themselves.

        Raises:
            TypeError: if neither a Tensor nor a pair.
        """
        if isinstance(log_weights, Tensor):
            log_weights = (log_weights, log_weights)
        if not (isinstance(log_weights, tuple) and len(log_weights) == 2):
            raise TypeError(
                "ProductSemiring: log_weights must be a Tensor for both semirings or a pair (for "
                f"{self.first!r}, for {self.second!r}), got {type(log_weights).__name__}"
            )
        parts = (self.first.convert(log_weights[0]), self.second.convert(log_weights[1]))
        return tuple(s for part in parts for s in (part if isinstance(part, tuple) else (part,)))

    @override
    def star(self, value: Value) -> Value:
        return self._both("star", value) if self.has_star else super().star(value)

    @override
    def divide(self, a: Value, b: Value) -> Value:
        return self._both("divide", a, b) if self.has_divide else super().divide(a, b)

    @override
    def sum(self, value: Value, dim: int) -> Value:
        return self._both("sum", value, dim=dim)

    @override
    def prod(self, value: Value, dim: int) -> Value:
        return self._both("prod", value, dim=dim)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        return self._both("segment_sum", value, index=index, num_segments=num_segments)

    def __repr__(self) -> str:
        return f"ProductSemiring({self.first!r}, {self.second!r})"
