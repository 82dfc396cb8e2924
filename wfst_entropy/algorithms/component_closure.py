"""Distances within a strongly connected component, by eliminating one state after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.semirings import Semiring, Value, map_slots


class DivergenceError(Exception):
    """The closure of a component does not exist; its states are in `states`."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def solve(semiring: Semiring, start: Value, matrix: Value, states: Tensor, flip: bool) -> Value:
    r"""The :math:`d` with :math:`d = b \oplus d A`, that is :math:`d = b A^*`.

    Each state in turn is taken out of the equations of the others: its own is
    :math:`d_k = (b_k \oplus \bigoplus_{i \ne k} d_i A_{ik}) A_{kk}^*`, which put into theirs
    gives :math:`A_{ij} \oplus A_{ik} A_{kk}^* A_{kj}`. What was taken out is then filled in, last
    first (Lehmann 1977, "Algebraic structures for transitive closure"; Gauss's elimination in a
    semiring). Nothing is written in place, so autograd works to any order.

    Args:
        semiring: with a star.
        start: what arrives from outside, slots (num_components, size).
        matrix: arcs inside, slots (num_components, size, size), from row to column.
        states: the states' numbers (num_components, size), for the error.
        flip: whether paths are written backward, so that factors come in the other order.

    Raises:
        DivergenceError: with the states of a component.
    """

    def times(a: Value, b: Value) -> Value:
        return semiring.times(b, a) if flip else semiring.times(a, b)

    size = states.shape[1]
    eliminated = []
    for k in range(size):
        first, rest = _first(start, 1), _rest(start, 1)
        pivot = _star(semiring, _first(_first(matrix, 1), 1), states)
        column = _first(_rest(matrix, 1), 2)
        eliminated.append((first, pivot, column))
        if k + 1 == size:
            break
        row = times(_unsqueeze(pivot, 1), _rest(_first(matrix, 1), 1))
        detour = times(_unsqueeze(column, 2), _unsqueeze(row, 1))
        matrix = semiring.plus(_rest(_rest(matrix, 1), 2), detour)
        start = semiring.plus(rest, times(_unsqueeze(first, 1), row))
    solved: Value = None
    for first, pivot, column in reversed(eliminated):
        if solved is not None:
            first = semiring.plus(first, semiring.sum(times(solved, column), 1))
        this = _unsqueeze(times(first, pivot), 1)
        solved = this if solved is None else map_slots(_join, this, solved)
    return solved


def _first(value: Value, dim: int) -> Value:
    return map_slots(lambda v: v.select(dim, 0), value)


def _rest(value: Value, dim: int) -> Value:
    return map_slots(lambda v: v.narrow(dim, 1, v.shape[dim] - 1), value)


def _unsqueeze(value: Value, dim: int) -> Value:
    return map_slots(lambda v: v.unsqueeze(dim), value)


def _join(first: Tensor, rest: Tensor) -> Tensor:
    return torch.cat([first, rest], 1)


def _star(semiring: Semiring, pivot: Value, states: Tensor) -> Value:
    try:
        return semiring.star(pivot)
    except (NotImplementedError, ValueError):
        for i, members in enumerate(states):
            try:
                semiring.star(map_slots(lambda p, i=i: p[i : i + 1], pivot))
            except (NotImplementedError, ValueError):
                raise DivergenceError(members) from None
        raise
