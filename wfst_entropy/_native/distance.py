"""The kernels of distances over graphs: checks, and what goes to C++ and back, all in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.eager import eager
from wfst_entropy._native.surgery import InputError, LimitError


class GraphOrder:
    """The topological order of a graph's components for one direction, kept in C++.

    It owns copies, so that nothing done to the tensors later can lead a kernel astray.

    Args:
        source: int64 (num_arcs,), states counted over all FSAs; where paths come from.
        destination: int64 (num_arcs,).
        num_states: of all FSAs.
        starts: int64, the states where paths begin.
        ends: int64, the states where they finish.

    Raises:
        InputError: a state is out of range.
        LimitError: there are more states than 32-bit numbers can count.
    """

    @eager
    def __init__(
        self, source: Tensor, destination: Tensor, num_states: int, starts: Tensor, ends: Tensor
    ) -> None:
        self.num_states, self.num_arcs = num_states, source.numel()
        source = check(source, "source", torch.int64, (self.num_arcs,))
        destination = check(destination, "destination", torch.int64, (self.num_arcs,))
        starts = check(starts, "starts", torch.int64, (starts.numel(),))
        ends = check(ends, "ends", torch.int64, (ends.numel(),))
        for states in (starts, ends):
            if states.numel() and not 0 <= int(states.min()) <= int(states.max()) < num_states:
                raise InputError(f"starts, ends: must lie in 0..{num_states - 1}")
        self.native = _call(
            kernel("GraphOrder").make,
            num_states,
            self.num_arcs,
            source.data_ptr(),
            destination.data_ptr(),
            starts.data_ptr(),
            starts.numel(),
            ends.data_ptr(),
            ends.numel(),
        )

    def arcs(self, values: Tensor) -> Tensor:
        """One number per arc, as kernels read them."""
        return check(values.detach().to(torch.float64), "values", torch.float64, (self.num_arcs,))

    def states(self, values: Tensor) -> Tensor:
        """One number per state, as kernels read them."""
        return check(values.detach().to(torch.float64), "values", torch.float64, (self.num_states,))


class Divergence(Exception):
    """The closure of a component does not exist; `state` is one of its states."""

    def __init__(self, state: int) -> None:
        super().__init__()
        self.state = state


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except kernel("LimitError") as error:
        raise LimitError(str(error)) from None
    except kernel("InputError") as error:
        raise InputError(str(error)) from None


class Distances:
    """Distances in one semiring, and their gradient.

    Args:
        order: of the graph.
        connected: leave alone the cycles that are on no path from a start to an end.
    """

    num_slots: int

    def __init__(self, order: GraphOrder, connected: bool) -> None:
        self.order, self.connected = order, connected

    def forward(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The slots of the distances, float64 (num_states,), then what `backward` needs besides.

        Args:
            weights: the slots of the arcs' weights, (num_arcs,), float32 or float64.

        Raises:
            Divergence: a cycle that is reached has no closure.
            LimitError: a component is too large.
        """
        raise NotImplementedError

    def backward(
        self, weights: Sequence[Tensor], values: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradient of each slot of the weights, float64 (num_arcs,).

        Args:
            weights: as for `forward`.
            values: from `forward`.
            grads: of the slots of the distances.
        """
        raise NotImplementedError

    def _run(self, name: str, reads: Sequence[Tensor | None], num_writes: int) -> list[Tensor]:
        """Calls a kernel that fills one tensor per state (forward) or per arc (backward)."""
        forward = name.endswith("_forward")
        size = self.order.num_states if forward else self.order.num_arcs
        written = [torch.zeros(size, dtype=torch.float64) for _ in range(num_writes)]
        addresses = [0 if x is None else x.data_ptr() for x in (*reads, *written)]
        failed = _call(kernel(name), self.order.native, self.connected, *addresses)
        if forward and failed >= 0:
            raise Divergence(failed)
        return written


class LogDistances(Distances):
    """Log-masses."""

    num_slots = 1

    def forward(self, weights: Sequence[Tensor]) -> list[Tensor]:
        return self._run("log_forward", [self.order.arcs(weights[0])], 1)

    def backward(
        self, weights: Sequence[Tensor], values: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        states = [self.order.states(x) for x in (values[0], grads[0])]
        return self._run("log_backward", [self.order.arcs(weights[0]), *states], 1)


class EntropyDistances(Distances):
    """Log-masses and conditional entropies; the arcs' second slot is 0."""

    num_slots = 2

    def forward(self, weights: Sequence[Tensor]) -> list[Tensor]:
        return self._run("mean_forward", [self.order.arcs(weights[0]), None], 2)

    def backward(
        self, weights: Sequence[Tensor], values: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        states = [self.order.states(x) for x in (*values, *grads)]
        reads = [self.order.arcs(weights[0]), None, *states]
        gradient = self._run("mean_backward", reads, 2)[0]
        return [gradient, torch.zeros_like(gradient)]


class MeanDistances(Distances):
    """Log-masses and means of what adds up along paths."""

    num_slots = 2

    def forward(self, weights: Sequence[Tensor]) -> list[Tensor]:
        return self._run("mean_forward", [self.order.arcs(w) for w in weights], 2)

    def backward(
        self, weights: Sequence[Tensor], values: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        states = [self.order.states(x) for x in (*values, *grads)]
        return self._run("mean_backward", [*map(self.order.arcs, weights), *states], 2)


class KLDistances(Distances):
    """Log-masses of student and teacher and their divergence; the arcs' third slot is not read."""

    num_slots = 3

    def forward(self, weights: Sequence[Tensor]) -> list[Tensor]:
        return self._run("kl_forward", [self.order.arcs(w) for w in weights[:2]], 3)

    def backward(
        self, weights: Sequence[Tensor], values: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        states = [self.order.states(x) for x in (*values, *grads)]
        reads = [*(self.order.arcs(w) for w in weights[:2]), *states]
        student, teacher = self._run("kl_backward", reads, 2)
        return [student, teacher, torch.zeros_like(student)]


class BestDistances(Distances):
    """Log-weights of best paths."""

    num_slots = 1

    def forward(self, weights: Sequence[Tensor]) -> list[Tensor]:
        arcs = self.order.arcs(weights[0])
        finite = arcs[arcs.isfinite()].abs()
        scale = max(1.0, float(finite.max())) if finite.numel() else 1.0
        # A cycle of scores that cancel on paper may gain this much by their rounding.
        tolerance = 64 * torch.finfo(weights[0].dtype).eps * scale
        best = torch.zeros(self.order.num_states, dtype=torch.float64)
        best_arc = torch.zeros(self.order.num_states, dtype=torch.int64)
        addresses = (best.data_ptr(), best_arc.data_ptr())
        failed = _call(
            kernel("best_forward"), self.order.native, self.connected, arcs.data_ptr(), tolerance,
            *addresses,
        )  # fmt: skip
        if failed >= 0:
            raise Divergence(failed)
        return [best, best_arc]

    def backward(
        self, weights: Sequence[Tensor], values: Sequence[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        best_arc = check(values[1], "best_arc", torch.int64, (self.order.num_states,))
        grad = self.order.states(grads[0])
        written = torch.zeros(self.order.num_arcs, dtype=torch.float64)
        kernel("best_backward")(
            self.order.native, best_arc.data_ptr(), grad.data_ptr(), written.data_ptr()
        )
        return [written]
