"""Whether two graphs give every string the same weight: exactly, or at random strings."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TypeVar

import torch

from wfst_entropy.algorithms import _surgery
from wfst_entropy.algorithms._semirings import adds_logs
from wfst_entropy.algorithms.connect import connect
from wfst_entropy.algorithms.determinize import determinize
from wfst_entropy.algorithms.intersect import intersect
from wfst_entropy.algorithms.random_paths import random_paths
from wfst_entropy.algorithms.remove_epsilon import remove_epsilon
from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import Semiring, TropicalSemiring

_TROPICAL = TropicalSemiring()


def equivalent(
    a: Fsa,
    b: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    delta: float = 1e-4,
    max_states: int = _surgery.MAX_STATES,
) -> bool:
    """Whether two FSAs give every string the same weight; see `first_difference`.

    >>> a = Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2", acceptor=True)
    >>> b = Fsa.from_str("0 1 5 0\\n0 1 5 -3\\n1 2 -1 0.5\\n2", acceptor=True)
    >>> from wfst_entropy.semirings import LogSemiring
    >>> equivalent(a, b), equivalent(a, b, LogSemiring())
    (True, False)
    """
    return first_difference(a, b, semiring, delta=delta, max_states=max_states) is None


def first_difference(
    a: Fsa,
    b: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    delta: float = 1e-4,
    max_states: int = _surgery.MAX_STATES,
) -> tuple[list[int], float, float] | None:
    """A shortest string that two FSAs weigh differently, and its two weights.

    Epsilons are removed and both are determinised, then compared state by state from the start: so
    the answer is exact, but there is none where an FSA cannot be determinised (`is_rand_equivalent`
    needs no determinisation).  Labels alone count; to compare transducers, `encode` both first.

    Args:
      a, b: two FSAs, not vectors; cyclic or not.
      semiring: `TropicalSemiring()`, a string weighs as much as its best path, or `LogSemiring()`,
        as the sum over its paths.
      delta: weights differ if they do by more than this, in nats, relative where they are above 1.
      max_states: limit of each of the two determinised FSAs.

    Returns:
      None if there is no such string; else its labels, the weight in `a` and the weight in `b`;
      -inf where it is not accepted.

    Raises:
      FsaRuntimeError: an FSA cannot be determinised within the limit.
      CyclicFsaError: weights of epsilon cycles do not converge.
      FsaTypeError, FsaValueError: not an Fsa, a vector, another semiring, a negative `delta`, a
        score that is NaN or +inf.

    Source: OpenFst's `equivalent`, for deterministic acceptors.

    >>> a = Fsa.from_str("0 1 5 0.5\\n0 1 6 0\\n1 2 -1 0\\n2", acceptor=True)
    >>> b = Fsa.from_str("0 1 5 0\\n1 2 -1 0.5\\n2", acceptor=True)
    >>> first_difference(a, b)
    ([6], 0.0, -inf)
    """
    for name, fsa in (("a", a), ("b", b)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{name}: must be an Fsa, got {type(fsa).__name__}.")
        if fsa.num_axes != 2:
            raise FsaTypeError(f"{name}: must be one FSA, not a vector; compare {name}[i].")
    if not delta >= 0:
        raise FsaValueError(f"delta: must be 0 or a positive number, got {delta!r}.")
    one, other = (_Machine.make(fsa, semiring, max_states) for fsa in (a, b))
    for labels in _Comparison(one, other, delta).suspects():
        weights = one.weight(labels), other.weight(labels)
        if weights[0] != weights[1] and not math.isclose(*weights, rel_tol=delta, abs_tol=delta):
            return labels, *weights
    return None


def is_rand_equivalent(
    a: Fsa,
    b: Fsa,
    semiring: Semiring = _TROPICAL,
    *,
    beam: float = math.inf,
    treat_epsilons_specially: bool = True,
    delta: float = 1e-6,
    npath: int = 100,
    generator: torch.Generator | None = None,
) -> bool:
    """Whether two FSAs give the same weight to strings drawn from both at random.

    False is certain; True means that no difference was met.

    Args:
      a, b: FSAs, or vectors of equally many, which are compared one by one; cyclic or not.
      semiring: a string weighs as much as its best path in `TropicalSemiring()`, as the sum over
        its paths in `LogSemiring()`.
      beam: strings whose weight in both is lower than that of the best path (or the sum over all)
        by more than this are not compared; for graphs that were pruned.
      treat_epsilons_specially: whether label 0 is epsilon; else it is a label as any other.
      delta: weights differ if they do by more than this, in nats, relative where they are above 1.
      npath: how many paths are drawn from each pair.
      generator: of random numbers; by default one with seed 0.

    Raises:
      CyclicFsaError: weights of epsilon cycles do not converge.
      FsaTypeError, FsaValueError: not an Fsa, vectors of different lengths, another semiring, a
        score that is NaN or +inf.

    Source: k2, the operation of the same name.

    >>> a = Fsa.from_str("0 1 5 0.5\\n1 2 -1 0\\n2", acceptor=True)
    >>> b = Fsa.from_str("0 1 5 0\\n1 2 -1 0.5\\n2", acceptor=True)
    >>> is_rand_equivalent(a, b), is_rand_equivalent(a, b.with_scores(2 * b.scores))
    (True, False)
    """
    for name, fsa in (("a", a), ("b", b)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{name}: must be an Fsa, got {type(fsa).__name__}.")
    adds_logs(semiring, "is_rand_equivalent")
    if a.num_fsas != b.num_fsas:
        raise FsaValueError(
            f"b: must have as many FSAs as a, {a.num_fsas}, got {b.num_fsas}; stack them by "
            "Fsa.from_fsas."
        )
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    pairs = zip(_bare_fsas(a), _bare_fsas(b), strict=True)
    for one, other in pairs:
        strings = _strings(one, treat_epsilons_specially, (npath + 1) // 2, generator)
        strings |= _strings(other, treat_epsilons_specially, (npath + 1) // 2, generator)
        if not strings:
            continue
        linear = Fsa.from_fsas([_linear(labels) for labels in sorted(strings)])
        weights = torch.stack(
            [
                get_tot_scores(intersect(linear, fsa, treat_epsilons_specially), semiring)
                for fsa in (one, other)
            ]
        )
        totals = (
            [float(get_tot_scores(fsa, semiring)) for fsa in (one, other)]
            if (math.isfinite(beam))
            else [-math.inf, -math.inf]
        )
        compared = (weights[0] >= totals[0] - beam) | (weights[1] >= totals[1] - beam)
        # An infinite weight is close to nothing but itself: infinity would be within its own delta.
        both = weights.isfinite().all(0)
        scale = weights[0].abs().clamp(min=1)
        near = both & ((weights[0] - weights[1]).abs() <= delta * scale)
        close = (weights[0] == weights[1]) | near
        if not bool((close | ~compared).all()):
            return False
    return True


def _bare_fsas(fsas: Fsa) -> list[Fsa]:
    """Each FSA, connected, in float64 and without attributes."""
    bare = Fsa(fsas.shape, fsas.arcs, fsas.scores.detach().to(torch.float64)).to("cpu")
    return [connect(fsa) for fsa in (bare if bare.num_axes == 3 else [bare])]


def _strings(
    fsa: Fsa, drop_epsilons: bool, num_paths: int, generator: torch.Generator
) -> set[tuple[int, ...]]:
    """The strings of random paths, which take each arc of a state equally often."""
    fanout = torch.bincount(fsa.src_states(), minlength=fsa.num_states)[fsa.src_states()]
    # A little less than one in sum, so that paths that go round cycles for long are rare.
    even = fsa.with_scores(-fanout.to(torch.float64).log() - 0.1)
    (paths,) = random_paths(even, num_paths, generator=generator).tolist()
    labels = fsa.labels.tolist()
    lowest = 1 if drop_epsilons else 0
    return {tuple(labels[arc] for arc in path if labels[arc] >= lowest) for path in paths}


def _linear(labels: tuple[int, ...]) -> Fsa:
    arcs = [[i, i + 1, label] for i, label in enumerate((*labels, -1))]
    return Fsa.from_arcs(arcs, torch.zeros(len(arcs), dtype=torch.float64))


@dataclass(frozen=True)
class _Machine:
    """A connected deterministic FSA, as lists."""

    arcs: list[dict[int, tuple[int, float]]]  # of each state: label -> (destination, score)
    steps: dict[int, tuple[int, int]]  # state -> (label, next state) on a shortest way to the end

    @classmethod
    def make(cls, fsa: Fsa, semiring: Semiring, max_states: int) -> _Machine:
        bare = Fsa(fsa.shape, fsa.arcs, fsa.scores.detach().to(torch.float64)).to("cpu")
        fsa = determinize(remove_epsilon(bare, semiring), semiring, max_states=max_states)
        arcs: list[dict[int, tuple[int, float]]] = [{} for _ in range(fsa.num_states)]
        entering: dict[int, list[tuple[int, int]]] = defaultdict(list)
        rows = zip(fsa.arcs.tolist(), fsa.scores.tolist(), strict=True)
        for (source, destination, label), score in rows:
            arcs[source][label] = destination, score
            entering[destination].append((source, label))
        return cls(arcs, _steps_to([fsa.num_states - 1], entering))

    def weight(self, labels: list[int]) -> float:
        state, total = 0, 0.0
        for label in (*labels, -1):
            if not self.arcs or label not in self.arcs[state]:
                return -math.inf
            state, score = self.arcs[state][label]
            total += score
        return total

    def ending(self, state: int) -> list[int]:
        """The labels of a shortest way on."""
        return _labels(state, self.steps)


State = TypeVar("State", int, tuple[int, int])


def _steps_to(
    ends: list[State], entering: dict[State, list[tuple[State, int]]]
) -> dict[State, tuple[int, State]]:
    """The first step of a shortest way to one of the ends, from every other state that has one."""
    steps: dict[State, tuple[int, State]] = {}
    seen, queue = set(ends), deque(ends)
    while queue:
        state = queue.popleft()
        for source, label in entering[state]:
            if source not in seen:
                seen.add(source)
                steps[source] = label, state
                queue.append(source)
    return steps


def _labels(state: State, steps: dict[State, tuple[int, State]]) -> list[int]:
    labels = []
    while state in steps:
        label, state = steps[state]
        if label != -1:
            labels.append(label)
    return labels


class _Comparison:
    """Both machines read the same strings, all states that they reach together once.

    Where a string has led to a pair of states, the difference of its two weights is remembered.
    If the machines are equivalent, all strings to the pair have the same one.
    """

    def __init__(self, a: _Machine, b: _Machine, delta: float) -> None:
        self.a, self.b, self.delta = a, b, delta
        self.shortest = math.inf  # of the strings that surely differ, so far

    def suspects(self) -> list[list[int]]:
        """Strings, short ones first, one of which differs if any string does."""
        a, b = self.a, self.b
        if not a.arcs or not b.arcs:
            return [machine.ending(0) for machine in (a, b) if machine.arcs]
        found: list[list[int]] = []
        start = (0, 0)
        lead = {start: 0.0}  # weight in a less weight in b, of the string that found the pair
        before: dict[tuple[int, int], tuple[int, tuple[int, int]]] = {}
        entering: dict[tuple[int, int], list[tuple[tuple[int, int], int]]] = defaultdict(list)
        unequal, ends = [], []
        queue, depth = deque([start]), {start: 0}
        while queue:
            pair = queue.popleft()
            if depth[pair] > self.shortest:
                break
            arcs, other_arcs = a.arcs[pair[0]], b.arcs[pair[1]]
            for label in sorted(arcs.keys() ^ other_arcs.keys()):
                machine, arc = (a, arcs) if label in arcs else (b, other_arcs)
                rest = [] if label == -1 else [label, *machine.ending(arc[label][0])]
                self._add(found, _labels(pair, before)[::-1] + rest)
            for label in sorted(arcs.keys() & other_arcs.keys()):
                (p, score), (q, other_score) = arcs[label], other_arcs[label]
                difference = lead[pair] + score - other_score
                if label == -1:
                    ends.append(pair)
                    if abs(difference) > self.delta:
                        self._add(found, _labels(pair, before)[::-1])
                    continue
                entering[p, q].append((pair, label))
                if (p, q) not in lead:
                    lead[p, q] = difference
                    before[p, q] = label, pair
                    depth[p, q] = depth[pair] + 1
                    queue.append((p, q))
                elif abs(difference - lead[p, q]) > self.delta:
                    unequal.append((pair, label, (p, q)))
        steps = _steps_to(ends, entering)
        final = set(ends)
        for pair, label, to in unequal:
            if to in steps or to in final:
                rest = _labels(to, steps)
                found.append([*_labels(pair, before)[::-1], label, *rest])
                found.append(_labels(to, before)[::-1] + rest)
        return sorted(found, key=lambda labels: (len(labels), labels))

    def _add(self, found: list[list[int]], labels: list[int]) -> None:
        self.shortest = min(self.shortest, len(labels))
        found.append(labels)
