"""What a graph says, worked out string by string; random graphs; and OpenFst's twin of a graph.

Nothing here uses the package's algorithms: weights of strings come from products of matrices, one
per label, with epsilon cycles summed exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from wfst_entropy.fsa import Fsa

SemiringName = Literal["log", "tropical"]
Weights = dict[Any, float]

# (source, destination, input label, output label, score); label 0 is epsilon.
_Arc = tuple[int, int, int, int, float]


def random_machine(
    rng: np.random.Generator,
    *,
    num_states: int = 6,
    num_arcs: int = 14,
    num_labels: int = 2,
    epsilon_rate: float = 0.3,
    cyclic: bool = True,
    transducer: bool = False,
    score_range: tuple[float, float] = (-2.0, 0.0),
) -> Fsa:
    """A random machine with float64 scores; states may be unreachable or lead nowhere.

    With `cyclic`, arcs may go anywhere and the weights of the arcs that leave a state are scaled
    down so that they add up to 0.9 at most: then every sum over paths converges, whatever epsilon
    cycles there are. Otherwise the machine is acyclic, but its states are in no order.
    Labels are 1 to `num_labels`, or 0 with probability `epsilon_rate` (each side on its own).
    """
    final = num_states - 1
    order = np.concatenate([[0], rng.permutation(np.arange(1, final)), [final]]).astype(int)
    arcs = []
    for _ in range(num_arcs):
        if cyclic:
            source, destination = int(rng.integers(final)), int(rng.integers(num_states))
        else:
            low, high = sorted(rng.choice(num_states, 2, replace=False).tolist())
            source, destination = int(order[low]), int(order[high])
        arcs.append((source, destination))
    arcs.sort(key=lambda arc: arc[0])

    def label(destination: int) -> int:
        if destination == final:
            return -1
        return 0 if rng.random() < epsilon_rate else int(rng.integers(1, num_labels + 1))

    labels = [label(destination) for _, destination in arcs]
    aux_labels = [label(destination) for _, destination in arcs]
    scores = rng.uniform(*score_range, size=num_arcs)
    if cyclic:
        sources = np.array([source for source, _ in arcs], dtype=int)
        total = np.bincount(sources, np.exp(scores), num_states)
        scores = scores - np.log(np.maximum(total / 0.9, 1))[sources]
    attributes = {}
    if transducer:
        attributes["aux_labels"] = torch.tensor(aux_labels, dtype=torch.int32)
    table = [[s, d, i] for (s, d), i in zip(arcs, labels)]
    return Fsa.from_arcs(
        torch.tensor(table, dtype=torch.int32).reshape(-1, 3),
        torch.tensor(scores, dtype=torch.float64),
        num_states,
        **attributes,
    )


def string_weights(
    fsa: Fsa, max_length: int, semiring: SemiringName = "log", num_labels: int | None = None
) -> dict[tuple[int, ...], float]:
    """The exact weight of every string of labels 1 to `num_labels` up to `max_length`.

    Strings that are not accepted are left out. `num_labels` is by default the largest label.
    """
    arcs, num_states = _arcs(fsa, None)
    if num_labels is None:
        num_labels = max((arc[2] for arc in arcs), default=0)
    weights = _weights(arcs, num_states, fsa.num_states - 1, semiring, (max_length, 0), num_labels)
    return {string: weight for (string, _), weight in weights.items()}


def pair_weights(
    fst: Fsa,
    max_length: int,
    semiring: SemiringName = "log",
    num_labels: int | None = None,
    *,
    aux_labels: str = "aux_labels",
) -> dict[tuple[tuple[int, ...], tuple[int, ...]], float]:
    """The exact weight of every pair (input, output), both up to `max_length` labels long.

    Output labels may be a tensor or a ragged tensor; -1, on arcs into the final state, is none.
    """
    arcs, num_states = _arcs(fst, aux_labels)
    if num_labels is None:
        num_labels = max((max(arc[2], arc[3]) for arc in arcs), default=0)
    longest = (max_length, max_length)
    return _weights(arcs, num_states, fst.num_states - 1, semiring, longest, num_labels)


def assert_same_weights(a: Weights, b: Weights, tol: float = 1e-4) -> None:
    """Both accept the same strings (or pairs) with the same weights, up to `tol` nats."""
    for string in sorted(a.keys() | b.keys()):
        left, right = a.get(string, -math.inf), b.get(string, -math.inf)
        assert left == right or abs(left - right) <= tol * max(1, abs(right)), (
            f"string {string}: {left} and {right}"
        )


def to_pynini(fsa: Fsa, semiring: SemiringName = "log") -> Any:
    """The same machine in OpenFst, in double precision for "log"; needs pynini.

    Arcs into the final state become weights of final states (several from one state: their sum).
    """
    import pynini

    assert fsa.num_axes == 2
    kind = "log64" if semiring == "log" else "tropical"
    twin = pynini.Fst(arc_type="log64" if semiring == "log" else "standard")
    twin.add_states(max(fsa.num_states - 1, 0))
    if fsa.num_states < 2:
        return twin
    twin.set_start(0)
    outputs = fsa.attributes.get("aux_labels", fsa.labels).tolist()
    for (source, destination, label), out, score in zip(
        fsa.arcs.tolist(), outputs, fsa.scores.tolist()
    ):
        weight = pynini.Weight(kind, -score)
        if destination < fsa.num_states - 1:
            twin.add_arc(source, pynini.Arc(label, out, weight, destination))
        else:
            twin.set_final(source, pynini.plus(twin.final(source), weight))
    return twin


def from_pynini(fst: Any) -> Fsa:
    """The same machine as an Fsa in float64, the start state moved to 0 and a final one added.

    Has `aux_labels` if an output label differs from its input label. Scores have the digits that
    OpenFst prints, about ten.
    """
    if fst.start() < 0:
        return Fsa.from_arcs([], torch.empty(0, dtype=torch.float64), 0)
    final = fst.num_states()
    order = [fst.start(), *(s for s in range(final) if s != fst.start())]
    number = {old: new for new, old in enumerate(order)}
    table, outputs, scores = [], [], []
    for old in order:
        for arc in fst.arcs(old):
            table.append([number[old], number[arc.nextstate], arc.ilabel])
            outputs.append(arc.olabel)
            scores.append(-float(arc.weight))
        if (cost := float(fst.final(old))) != math.inf:
            table.append([number[old], final, -1])
            outputs.append(-1)
            scores.append(-cost)
    arcs = torch.tensor(table, dtype=torch.int32).reshape(-1, 3)
    attributes = {}
    if outputs != arcs[:, 2].tolist():
        attributes["aux_labels"] = torch.tensor(outputs, dtype=torch.int32)
    return Fsa.from_arcs(arcs, torch.tensor(scores, dtype=torch.float64), final + 1, **attributes)


def _arcs(fsa: Fsa, output: str | None) -> tuple[list[_Arc], int]:
    """Arcs with one output label each; more than one make a chain through new states."""
    assert fsa.num_axes == 2, "one FSA at a time"
    aux: list[Any] = [0] * fsa.num_arcs
    if output is not None:
        aux = fsa.attributes[output].tolist()
    num_states, arcs = fsa.num_states, []
    for (source, destination, label), out, score in zip(
        fsa.arcs.tolist(), aux, fsa.scores.double().tolist()
    ):
        outs = [o for o in (out if isinstance(out, list) else [out]) if o > 0] or [0]
        label = max(label, 0)
        for o in outs[:-1]:
            arcs.append((source, num_states, label, o, score))
            source, label, score = num_states, 0, 0.0
            num_states += 1
        arcs.append((source, destination, label, outs[-1], score))
    return arcs, num_states


def _weights(
    arcs: list[_Arc],
    num_states: int,
    final: int,
    semiring: SemiringName,
    longest: tuple[int, int],
    num_labels: int,
) -> Weights:
    """Dynamic programming over pairs (input, output), all pairs of two lengths at a time.

    The arrays (inputs, outputs, states) hold the total of the paths from the start that read and
    write them, trailing epsilons included. A string's number is that of its prefix times
    `num_labels`, plus its last label less one.
    """
    if num_states == 0:
        return {}
    algebra = _ALGEBRAS[semiring]
    steps = _step_matrices(algebra, _useful_arcs(arcs, final), num_states)
    closure = algebra.closure(steps.pop((0, 0), np.full((num_states,) * 2, algebra.zero)))
    start = np.full((1, 1, num_states), algebra.zero)
    start[0, 0, 0] = algebra.one
    totals: dict[tuple[int, int], np.ndarray] = {}
    weights: Weights = {}
    for lengths in np.ndindex(longest[0] + 1, longest[1] + 1):
        shape = (num_labels ** lengths[0], num_labels ** lengths[1], num_states)
        arrived = start if lengths == (0, 0) else np.full(shape, algebra.zero)
        for (i, o), matrix in steps.items():
            before = totals.get((lengths[0] - (i > 0), lengths[1] - (o > 0)))
            if before is not None:
                ending = (_ends_with(i, num_labels), _ends_with(o, num_labels))
                sent = algebra.product(before, matrix)
                arrived[ending] = algebra.plus(arrived[ending], sent)
        totals[lengths] = algebra.product(arrived, closure)
        inputs, outputs = (list(_strings(num_labels, length)) for length in lengths)
        at_final = algebra.log(totals[lengths][:, :, final])
        for x, y in np.argwhere(at_final > -math.inf).tolist():
            weights[inputs[x], outputs[y]] = float(at_final[x, y])
    return weights


def _strings(num_labels: int, length: int) -> Iterator[tuple[int, ...]]:
    return itertools.product(range(1, num_labels + 1), repeat=length)


def _ends_with(label: int, num_labels: int) -> slice:
    return slice(label - 1, None, num_labels) if label else slice(None)


def _useful_arcs(arcs: list[_Arc], final: int) -> list[_Arc]:
    """The arcs on paths from state 0 to the final one: the others' cycles need not converge."""
    for origin, target, root in ((0, 1, 0), (1, 0, final)):
        seen, grown = {root}, True
        while grown:
            reached = {arc[target] for arc in arcs if arc[origin] in seen} - seen
            seen, grown = seen | reached, bool(reached)
        arcs = [arc for arc in arcs if arc[0] in seen and arc[1] in seen]
    return arcs


def _step_matrices(
    algebra: _Algebra, arcs: list[_Arc], num_states: int
) -> dict[tuple[int, int], np.ndarray]:
    """For each pair (input label, output label), the total of the arcs between two states."""
    steps: dict[tuple[int, int], np.ndarray] = {}
    for source, destination, i, o, score in arcs:
        matrix = steps.setdefault((i, o), np.full((num_states, num_states), algebra.zero))
        old = matrix[source, destination]
        matrix[source, destination] = algebra.plus(old, algebra.weight(score))
    return steps


class _Algebra(NamedTuple):
    zero: float
    one: float
    weight: Callable[[float], float]
    plus: Callable[[Any, Any], Any]
    product: Callable[[np.ndarray, np.ndarray], np.ndarray]  # (inputs, outputs, states) x matrix
    closure: Callable[[np.ndarray], np.ndarray]
    log: Callable[[np.ndarray], np.ndarray]


def _probability_closure(matrix: np.ndarray) -> np.ndarray:
    """I + E + E^2 + ... = (I - E)^-1."""
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    assert radius < 1, f"the weights of epsilon cycles do not converge: spectral radius {radius}"
    exact = np.linalg.inv(np.eye(len(matrix)) - matrix)
    # Rounding must not make paths where there are none.
    count = np.linalg.matrix_power((matrix > 0).astype(float) + np.eye(len(matrix)), len(matrix))
    return np.where(count > 0, exact, 0.0)


def _best_closure(matrix: np.ndarray) -> np.ndarray:
    """The best paths between all states (Floyd and Warshall)."""
    best = matrix.copy()
    np.fill_diagonal(best, np.maximum(best.diagonal(), 0))
    for middle in range(len(best)):
        best = np.maximum(best, best[:, middle, None] + best[None, middle, :])
    assert best.diagonal().max() <= 1e-9, "an epsilon cycle has a positive score"
    return best


def _best_product(totals: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (totals[:, :, :, None] + matrix).max(axis=2)


def _log(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


_ALGEBRAS: dict[str, _Algebra] = {
    "log": _Algebra(0.0, 1.0, math.exp, np.add, np.matmul, _probability_closure, _log),
    "tropical": _Algebra(
        -math.inf, 0.0, float, np.maximum, _best_product, _best_closure, np.asarray
    ),
}
