"""Transducers whose states remember labels that are still to be read or written."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native.distance import Divergence
from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._native_distances import kernel_distances
from wfst_entropy.algorithms.components import components_of
from wfst_entropy.algorithms.connect import connect
from wfst_entropy.algorithms.cycles import describe_cycle
from wfst_entropy.algorithms.expand_ragged_attributes import expand_aux_labels
from wfst_entropy.fsa import Fsa, RaggedShape
from wfst_entropy.fsa.errors import FsaRuntimeError
from wfst_entropy.semirings import TropicalSemiring

Labels = tuple[int, ...]


class Step(NamedTuple):
    """An arc of the new transducer."""

    to: Hashable | None
    """The state that it leads to; None is the final one."""
    label: int
    output: int
    sources: tuple[int, ...]
    """The old arcs that it stands for."""


class OldArc(NamedTuple):
    """An arc of the old transducer; states are counted over the vector."""

    number: int
    to: int
    label: int
    output: int

    @property
    def reads(self) -> Labels:
        """Its input label, if it has one."""
        return (self.label,) if self.label > 0 else ()

    @property
    def writes(self) -> Labels:
        """Its output label, if it has one."""
        return (self.output,) if self.output > 0 else ()


class Transducer:
    """A connected transducer with one output label per arc, on the CPU, and its arcs as lists."""

    def __init__(self, fsa: Fsa) -> None:
        linear, chains = expand_aux_labels(fsa)
        connected, kept = connect(linear, ret_arc_map=True)
        self.arc_map = chains[kept]
        """The arc of the operand that each arc stands for, or -1."""
        self.fsa = connected
        columns = (
            connected.dst_states().tolist(), connected.labels.tolist(),
            connected.aux_labels.tolist(),
        )  # fmt: skip
        self._arcs = [OldArc(number, *arc) for number, arc in enumerate(zip(*columns))]
        self._splits = connected.shape.row_splits(connected.num_axes - 1).tolist()

    def leaving(self, state: int) -> list[OldArc]:
        """The arcs that leave a state."""
        return self._arcs[self._splits[state] : self._splits[state + 1]]

    def growth(self) -> Tensor:
        """How many more labels each arc writes than it reads: float64 `(num_arcs,)`."""
        fsa = self.fsa
        return ((fsa.aux_labels > 0).double() - (fsa.labels > 0).double()).cpu()

    def growing_cycle(self, growth: Tensor) -> str | None:
        """Describes a cycle over which `growth` adds up to more than 0, if there is one."""
        fsa = self.fsa.detach().to("cpu")
        try:
            # No gradient is taken, so nothing is computed in torch.
            kernel_distances(
                fsa, TropicalSemiring(), growth, reverse=False, connected=False,
                in_torch=lambda weights: weights,
            )  # fmt: skip
        except Divergence as error:
            component = components_of(fsa).component
            states = (component == component[error.state]).nonzero().squeeze(1)
            return describe_cycle(fsa, growth, states)
        return None


class Explored(NamedTuple):
    """The new transducer."""

    result: _surgery.Result
    outputs: Tensor
    """int32 `(num_arcs,)`."""
    sources: list[tuple[int, ...]]
    """The old arcs of each new one."""


def explore(
    operation: str,
    starts: Sequence[Hashable | None],
    leaving: Callable[[Any], Iterable[Step]],
    max_states: int,
    max_arcs: int,
) -> Explored:
    """Makes the states that can be reached, numbered as they are met.

    Args:
      operation: its name, for messages.
      starts: the start state of each FSA, None for an empty one; states are any hashable objects.
      leaving: the arcs that leave a state.
      max_states, max_arcs: limits over all FSAs.

    Raises:
      FsaRuntimeError: the result outgrows a limit.
      KeyboardInterrupt: Ctrl-C; the message says how far the operation was.
    """
    new = _Growing(operation, max_states, max_arcs)
    try:
        for start in starts:
            if start is None:
                new.fsa_sizes.append(0)
            else:
                new.grow(start, leaving)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{operation}: interrupted, with {new.size()} so far") from None
    table = torch.tensor(new.arcs, dtype=torch.int32).reshape(-1, 4)
    shape = RaggedShape.from_sizes(torch.tensor(new.fsa_sizes, dtype=torch.int64)).compose(
        RaggedShape.from_sizes(torch.tensor(new.state_sizes, dtype=torch.int64))
    )
    return Explored(_surgery.Result(shape, table[:, :3], ()), table[:, 3], new.sources)


class _Growing:
    """A vector that is being made, as lists."""

    def __init__(self, operation: str, max_states: int, max_arcs: int) -> None:
        self.operation, self.max_states, self.max_arcs = operation, max_states, max_arcs
        self.num_states = 0
        self.fsa_sizes: list[int] = []
        self.state_sizes: list[int] = []
        self.arcs: list[list[int]] = []
        self.sources: list[tuple[int, ...]] = []

    def size(self) -> str:
        return f"{self.num_states} states and {len(self.arcs)} arcs"

    def grow(self, start: Hashable, leaving: Callable[[Any], Iterable[Step]]) -> None:
        """Adds one FSA."""
        numbers: dict[Hashable, int] = {start: 0}
        queue, first_arc = [start], len(self.arcs)
        self.num_states += 2  # the start and the final state
        for source, state in enumerate(queue):  # which grows meanwhile
            before = len(self.arcs)
            for step in leaving(state):
                to = -1 if step.to is None else numbers.setdefault(step.to, len(numbers))
                if to == len(queue):
                    queue.append(step.to)
                    self.num_states += 1
                self.arcs.append([source, to, step.label, step.output])
                self.sources.append(step.sources)
                self.check_limits()
            self.state_sizes.append(len(self.arcs) - before)
        for arc in self.arcs[first_arc:]:
            arc[1] = len(queue) if arc[1] < 0 else arc[1]
        self.state_sizes.append(0)
        self.fsa_sizes.append(len(queue) + 1)

    def check_limits(self) -> None:
        for name, count in (("max_states", self.num_states), ("max_arcs", len(self.arcs))):
            if count > getattr(self, name):
                raise FsaRuntimeError(
                    f"{self.operation}: the result outgrows {name}={getattr(self, name)}, with "
                    f"{self.size()} so far: many different labels wait to be read or written. "
                    "Raise the limit if it is meant to be so large."
                )
