"""How far two graphs go together: common labels, the longest common prefix, what one side needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wfst_entropy.algorithms import expand_ragged_attributes, intersect
from wfst_entropy.fsa import Fsa, RaggedTensor, SymbolTable
from wfst_entropy.inspection.reachability import useful_states
from wfst_entropy.inspection.symbols import tables_of

_MAX_STATES = 5_000_000
_MAX_PAIRS = 300_000


@dataclass(frozen=True)
class Side:
    """One graph of a composition, and its labels that have to match.

    Attributes:
      fsa: the graph.
      name: what to call it.
      labels: int64 `(num_arcs,)`, the labels that have to match.
      table: their symbols.
      other_labels: the other labels, those of the far side; None for an acceptor.
      other_table: their symbols.
      useful: bool `(num_arcs,)`: arcs on a successful path.
    """

    fsa: Fsa
    name: str
    labels: Tensor
    table: SymbolTable | None
    other_labels: Tensor | None
    other_table: SymbolTable | None
    useful: Tensor

    def swapped(self) -> Side:
        """The same graph with input and output exchanged; each keeps its table."""
        assert self.other_labels is not None
        return replace(self, labels=self.other_labels, other_labels=self.labels)

    def shifted(self, by: int) -> Side:
        """The same graph with all labels but epsilon and -1 larger by `by`; below 0 becomes 0."""
        moved = torch.where(self.labels > 0, (self.labels + by).clamp(min=0), self.labels)
        return replace(self, labels=moved)

    def used(self) -> set[int]:
        """The labels on successful paths, without epsilon and -1."""
        labels = self.labels[self.useful]
        return set(torch.unique(labels[labels > 0]).tolist())

    def acceptor(self) -> Fsa:
        """The graph with only the labels that have to match."""
        arcs = torch.cat([self.fsa.arcs[:, :2], self.labels[:, None].to(torch.int32)], 1)
        return Fsa(self.fsa.shape, arcs)


def side_of(fsa: Fsa, name: str, outputs: bool) -> Side:
    """A graph as the left (`outputs`) or the right operand of a composition."""
    if isinstance(fsa.attributes.get("aux_labels"), RaggedTensor):
        fsa = expand_ragged_attributes(fsa, ragged_attribute_names=["aux_labels"])
    fsa = fsa.detach().to("cpu")
    labels, aux = fsa.labels.long(), fsa.attributes.get("aux_labels")
    table, aux_table = tables_of(fsa)
    if isinstance(aux, Tensor):
        # Arcs into the final state stay those that have -1, whatever else they put out.
        aux = torch.where(labels == -1, -1, aux.long().clamp(min=0))
    useful = useful_states(fsa)
    arcs = useful[fsa.src_states()] & useful[fsa.dst_states()]
    if outputs and aux is not None:
        return Side(fsa, name, aux, aux_table, labels, table, arcs)
    return Side(fsa, name, labels, table, aux, aux_table, arcs)


def common_labels(a: Side, b: Side, epsilons: bool = True) -> set[int] | None:
    """The labels on strings that both accept; None if there is no such string.

    Args:
      a: the left operand.
      b: the right one.
      epsilons: whether label 0 is epsilon; else it is a label like others.

    Raises:
      FsaRuntimeError: the composition is too large to look at.
    """
    both = intersect(a.acceptor(), b.acceptor(), epsilons, max_states=_MAX_STATES)
    if not both.num_states:
        return None
    return set(torch.unique(both.labels[both.labels > 0]).tolist())


def needed_labels(side: Side, missing: set[int]) -> list[int]:
    """The labels of `missing` on the path that has fewest of them; [] if a path has none."""
    arcs = _arcs_by_state(side)
    final = side.fsa.num_states - 1
    best: dict[int, tuple[int, list[int]]] = {0: (0, [])}
    work: deque[int] = deque([0])
    done: set[int] = set()
    while work:
        state = work.popleft()
        if state in done:
            continue
        done.add(state)
        cost, labels = best[state]
        if state == final:
            return labels
        for label, target in arcs.get(state, ()):
            extra = int(label in missing)
            if target not in best or cost + extra < best[target][0]:
                best[target] = cost + extra, [*labels, label] if extra else labels
                (work.append if extra else work.appendleft)(target)
    return []


@dataclass(frozen=True)
class Prefix:
    """How far two graphs go together.

    Attributes:
      labels: the longest string, by the shortest way to each pair of states, that both can begin.
      a_next: the labels that `a` has arcs with after it; -1 if it can end there.
      b_next: the same of `b`.
      whole: False if there were too many pairs of states to look at all.
    """

    labels: list[int]
    a_next: set[int]
    b_next: set[int]
    whole: bool


def longest_prefix(a: Side, b: Side, epsilons: bool = True) -> Prefix:
    """Breadth-first search over pairs of states; the deepest pair that lacks a common arc."""
    a_arcs, b_arcs = _by_label(a), _by_label(b)
    origin: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
    frontier: list[tuple[int, int]] = [(0, 0)]
    seen = set(frontier)
    deepest = frontier
    while frontier and len(seen) < _MAX_PAIRS:
        # All pairs of one length: what epsilons lead to first, then the next label.
        work = deque(frontier)
        layer = []
        while work:
            pair = work.popleft()
            layer.append(pair)
            for target in _silent_moves(pair, a_arcs, b_arcs) if epsilons else ():
                if target not in seen:
                    seen.add(target)
                    origin[target] = pair, 0
                    work.append(target)
        deepest, frontier = layer, []
        for s, t in layer:
            mine, theirs = a_arcs.get(s, {}), b_arcs.get(t, {})
            for label in mine.keys() & theirs.keys() - ({0, -1} if epsilons else {-1}):
                for target in ((x, y) for x in mine[label] for y in theirs[label]):
                    if target not in seen:
                        seen.add(target)
                        origin[target] = (s, t), label
                        frontier.append(target)
    labels = _spelled(deepest[0], origin)
    deepest = [pair for pair in deepest if _spelled(pair, origin) == labels]
    silent = {0} if epsilons else set()
    return Prefix(
        labels,
        {label for s, _ in deepest for label in a_arcs.get(s, {})} - silent,
        {label for _, t in deepest for label in b_arcs.get(t, {})} - silent,
        not frontier,
    )


_Arcs = dict[int, dict[int, list[int]]]


def _silent_moves(pair: tuple[int, int], a: _Arcs, b: _Arcs) -> Iterable[tuple[int, int]]:
    s, t = pair
    yield from ((x, t) for x in a.get(s, {}).get(0, ()))
    yield from ((s, y) for y in b.get(t, {}).get(0, ()))


def _spelled(
    pair: tuple[int, int], origin: dict[tuple[int, int], tuple[tuple[int, int], int]]
) -> list[int]:
    labels = []
    while pair in origin:
        pair, label = origin[pair]
        if label:
            labels.append(label)
    return labels[::-1]


def _arcs_by_state(side: Side) -> dict[int, list[tuple[int, int]]]:
    """Label and destination of the useful arcs of each state."""
    found: dict[int, list[tuple[int, int]]] = {}
    ends = side.fsa.arcs[side.useful][:, :2].tolist()
    for (source, target), label in zip(ends, side.labels[side.useful].tolist()):
        found.setdefault(source, []).append((label, target))
    return found


def _by_label(side: Side) -> _Arcs:
    """The destinations of the useful arcs, by state and label."""
    found: _Arcs = {}
    for state, arcs in _arcs_by_state(side).items():
        labels = found.setdefault(state, {})
        for label, target in arcs:
            labels.setdefault(label, []).append(target)
    return found
