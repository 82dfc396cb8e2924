"""Facts about the states and labels of an Fsa, computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from wfst_entropy.fsa.levels import longest_path_levels
from wfst_entropy.fsa.ragged import RaggedShape

_T = TypeVar("_T")

_NAMES = (
    "top_sorted",
    "acyclic",
    "arc_sorted",
    "deterministic",
    "epsilon_free",
    "accessible",
    "coaccessible",
    "connected",
)


class Properties:
    """What is known of an FSA, or of all FSAs of a vector together.

    Each member is computed at its first use and remembered; `known(name)` looks without computing,
    and gives None for a property nobody has asked for.  All are True for an empty FSA.

    Args:
      shape: `[state][arc]` or `[fsa][state][arc]`.
      arcs: int32 `(num_arcs, 3)`, valid for `shape`.

    Example:
      >>> from wfst_entropy.fsa import Fsa
      >>> properties = Fsa.from_str("0 1 5 0\\n1 1 0 0\\n1 2 -1 0\\n2").properties
      >>> properties.known("acyclic") is None
      True
      >>> properties.acyclic, properties.connected, properties.known("acyclic")
      (False, True, False)
    """

    __slots__ = ("_arcs", "_known", "_remembered", "_shape")

    def __init__(self, shape: RaggedShape, arcs: Tensor) -> None:
        self._shape = shape
        self._arcs = arcs
        self._known: dict[str, bool] = {}
        self._remembered: dict[str, Any] = {}

    def known(self, name: str) -> bool | None:
        """The property `name` if it has been computed, else None."""
        return self._known.get(name)

    @property
    def top_sorted(self) -> bool:
        """Every arc goes to a state with a larger number; such an FSA is acyclic."""
        return self._get("top_sorted", lambda: _all(self._arcs[:, 1] > self._arcs[:, 0]))

    @property
    def acyclic(self) -> bool:
        """No state can be reached from itself, not even over epsilons."""
        return self._get("acyclic", lambda: self.top_sorted or self._drains())

    @property
    def arc_sorted(self) -> bool:
        """The arcs of each state are ordered by label, then destination; -1 is after all labels."""
        return self._get("arc_sorted", self._is_arc_sorted)

    @property
    def deterministic(self) -> bool:
        """No state has two arcs with one label; epsilon counts as a label."""
        return self._get("deterministic", self._is_deterministic)

    @property
    def epsilon_free(self) -> bool:
        """No label is 0."""
        return self._get("epsilon_free", lambda: _all(self._arcs[:, 2] != 0))

    @property
    def accessible(self) -> bool:
        """Every state can be reached from the start state of its FSA."""
        return self._get("accessible", lambda: _all(self.accessible_states()))

    @property
    def coaccessible(self) -> bool:
        """The final state of its FSA can be reached from every state."""
        return self._get("coaccessible", lambda: _all(self.coaccessible_states()))

    @property
    def connected(self) -> bool:
        """Every state is on a path from the start to the final state."""
        return self._get("connected", lambda: self.accessible and self.coaccessible)

    def accessible_states(self) -> Tensor:
        """Which states can be reached from the start state of their FSA: bool `(num_states,)`."""
        return self._reached(self._src(), self._dst(), True)

    def coaccessible_states(self) -> Tensor:
        """Which states can reach the final state of their FSA: bool `(num_states,)`."""
        return self._reached(self._dst(), self._src(), False)

    def remember(self, name: str, compute: Callable[[], _T]) -> _T:
        """What `compute` gave when this name was first asked for.

        For what an algorithm derives from the structure alone and wants to keep for its next call;
        an FSA with other scores (`with_scores`) shares it.
        """
        if name not in self._remembered:
            self._remembered[name] = compute()
        result: _T = self._remembered[name]
        return result

    def __repr__(self) -> str:
        known = (f"{name}={self._known.get(name, 'unknown')}" for name in _NAMES)
        return f"Properties({', '.join(known)})"

    def _get(self, name: str, compute: Callable[[], bool]) -> bool:
        if name not in self._known:
            self._known[name] = compute()
        return self._known[name]

    def _num_states(self) -> int:
        return self._shape.tot_size(self._shape.num_axes - 2)

    def _src(self) -> Tensor:
        return self._shape.row_ids(self._shape.num_axes - 1)

    def _dst(self) -> Tensor:
        dst = self._arcs[:, 1].to(torch.int64)
        if self._shape.num_axes == 2:
            return dst
        return dst + self._shape.row_splits(1)[self._shape.row_ids(1)[self._src()]]

    def _sort_keys(self) -> tuple[Tensor, Tensor]:
        """The label of each arc, -1 made larger than all others, and its destination."""
        label = self._arcs[:, 2].to(torch.int64)
        return torch.where(label < 0, 2**31, label), self._arcs[:, 1].to(torch.int64)

    def _is_arc_sorted(self) -> bool:
        state, (label, dst) = self._src(), self._sort_keys()
        other_state = state[1:] != state[:-1]
        ordered = (label[1:] > label[:-1]) | ((label[1:] == label[:-1]) & (dst[1:] >= dst[:-1]))
        return _all(other_state | ordered)

    def _is_deterministic(self) -> bool:
        # Labels are below 2^31 and there are fewer than 2^31 states: pairs fit into an int64.
        keys = self._src() * (2**31 + 1) + self._sort_keys()[0]
        keys = keys.sort().values
        return _all(keys[1:] != keys[:-1])

    def _drains(self) -> bool:
        return _all(longest_path_levels(self._src(), self._dst(), self._num_states()) >= 0)

    def _reached(self, origin: Tensor, target: Tensor, from_start: bool) -> Tensor:
        """Breadth-first search over arcs `origin -> target`, from all starts or finals at once."""
        num_states = self._num_states()
        order = torch.argsort(origin, stable=True)
        sizes = torch.bincount(origin, minlength=num_states)
        leaving, target = RaggedShape.from_sizes(sizes), target[order]
        if self._shape.num_axes == 3:
            splits = self._shape.row_splits(1)
            frontier = (splits[:-1] if from_start else splits[1:] - 1)[splits[1:] > splits[:-1]]
        else:
            states = [0] if from_start else [num_states - 1]
            frontier = torch.tensor(states[:num_states], dtype=torch.int64, device=origin.device)
        seen = torch.zeros(num_states, dtype=torch.bool, device=origin.device)
        while frontier.numel():
            seen[frontier] = True
            frontier = torch.unique(target[leaving.index(frontier)[1]])
            frontier = frontier[~seen[frontier]]
        return seen


def _all(holds: Tensor) -> bool:
    return bool(holds.all())
