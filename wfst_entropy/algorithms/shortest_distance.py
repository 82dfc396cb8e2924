"""Forward and backward recursions over acyclic graphs, in any semiring, in plain torch.

States are grouped into levels by the longest path that leads to them, so all arcs into a level,
of all FSAs of a vector, are one vectorised call. Every arc and state is touched a constant number
of times, and nothing is written in place, so autograd works to any order and in linear time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaTypeError, FsaValueError
from wfst_entropy.semirings import LogSemiring, Semiring, Value, map_slots

_LOG = LogSemiring()


def shortest_distance(
    fsas: Fsa, semiring: Semiring = _LOG, *, reverse: bool = False, scores: Any = None
) -> Value:
    r"""The total of all paths from the start state to each state, in any semiring.

    :math:`d(s) = \bigoplus_{\pi: 0 \to s} \bigotimes_{a \in \pi} w(a)`, or with ``reverse`` the
    total of all paths from each state to the final state. Arc weights are
    ``semiring.convert(scores)``. With the log semiring these are k2's forward and backward scores
    (Mohri 2002, "Semiring frameworks and algorithms for shortest-distance problems", Section 4).

    Args:
        fsas: one FSA or a vector; acyclic, in any order of states.
        semiring: the algebra; see ``wfst_entropy.semirings.Semiring`` for writing your own.
        reverse: distances to the final state instead of from the start state.
        scores: what to convert instead of ``fsas.scores``: a Tensor (num_arcs,), or the tuple of
            such Tensors that the semiring's ``convert`` takes. Log-weights in nats, float32 or
            float64; the result has their dtype.

    Returns:
        A value whose slots have the shape (num_states,); zero for a state without a path.
        Differentiable, twice too.

    Raises:
        CyclicFsaError: naming a cycle of states.
        FsaValueError: a score is NaN or +inf, has the wrong shape, or lies outside what the
            semiring is defined for; the message names the arc.

    >>> fsa = Fsa.from_str("0 1 1 -1\n0 1 2 -2\n1 2 -1 -0.5\n2")
    >>> shortest_distance(fsa, reverse=True)
    tensor([-1.1867, -0.5000,  0.0000])
    """
    weights = _arc_weights(fsas, semiring, scores)
    schedule = _Schedule.make(fsas, _topological_levels(fsas), reverse)
    return _distances(schedule, semiring, weights, reverse)


def get_forward_scores(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    """``shortest_distance`` from the start states, under k2's name.

    >>> get_forward_scores(Fsa.from_str("0 1 1 -1\\n1 2 -1 -0.5\\n2"))
    tensor([ 0.0000, -1.0000, -1.5000])
    """
    return shortest_distance(fsas, semiring, scores=scores)


def get_backward_scores(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    """``shortest_distance`` to the final states, under k2's name.

    >>> get_backward_scores(Fsa.from_str("0 1 1 -1\\n1 2 -1 -0.5\\n2"))
    tensor([-1.5000, -0.5000,  0.0000])
    """
    return shortest_distance(fsas, semiring, reverse=True, scores=scores)


def get_tot_scores(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    r"""The total of all successful paths of each FSA, in any semiring.

    :math:`\bigoplus_\pi \bigotimes_{a \in \pi} w(a)`. The gradient with respect to the scores is
    the arc posteriors (log semiring) or 1 on one best path (tropical semiring), as in k2.

    Args:
        fsas: one FSA or a vector; acyclic.
        semiring: the algebra.
        scores: as in ``shortest_distance``.

    Returns:
        A value whose slots have the shape (num_fsas,), (1,) for one FSA; zero (-inf in the log
        semiring) with gradient 0 for an FSA without a successful path.

    Raises:
        CyclicFsaError, FsaValueError: as ``shortest_distance``.

    >>> from wfst_entropy.semirings import TropicalSemiring
    >>> fsa = Fsa.from_str("0 1 1 -1\n0 1 2 -2\n1 2 -1 -0.5\n2")
    >>> get_tot_scores(fsa), get_tot_scores(fsa, TropicalSemiring())
    (tensor([-1.1867]), tensor([-1.5000]))
    """
    return _at_states(fsas, semiring, shortest_distance(fsas, semiring, scores=scores))


def get_arc_post(fsas: Fsa, semiring: Semiring = _LOG, *, scores: Any = None) -> Value:
    r"""The share of each arc in the total of its FSA: log posteriors in the log semiring.

    :math:`\alpha(\mathrm{src}) \otimes w(a) \otimes \beta(\mathrm{dst})` divided by the total. In
    the log semiring this is :math:`\log \gamma_a \le 0`, in the tropical one the distance of the
    best path through the arc from the best path of all, both in nats as in k2; in
    ``ConditionalEntropySemiring`` the second slot is the mean surprisal of the paths through the
    arc less the entropy, so that the entropy's gradient is
    :math:`\gamma_a (\mathrm{slot}_1 - \log\gamma_a)`.

    Args:
        fsas: one FSA or a vector; acyclic.
        semiring: one with a division (``has_divide``).
        scores: as in ``shortest_distance``.

    Returns:
        A value whose slots have the shape (num_arcs,); -inf, with gradient 0, on arcs that are on
        no successful path.

    Raises:
        CyclicFsaError, FsaValueError: as ``shortest_distance``.
        FsaTypeError: the semiring has no division.

    >>> get_arc_post(Fsa.from_str("0 1 1 -1\n0 1 2 -2\n1 2 -1 -0.5\n2")).exp()
    tensor([0.7311, 0.2689, 1.0000])
    """
    if not semiring.has_divide:
        raise FsaTypeError(
            f"semiring: get_arc_post needs one with a division, {semiring!r} has none; use "
            "LogSemiring() for log posteriors"
        )
    weights = _arc_weights(fsas, semiring, scores)
    levels = _topological_levels(fsas)
    forward = _distances(_Schedule.make(fsas, levels, False), semiring, weights, False)
    backward = _distances(_Schedule.make(fsas, levels, True), semiring, weights, True)
    total = _at_states(fsas, semiring, forward)
    source, destination, owner = fsas.src_states(), fsas.dst_states(), fsas.arc_to_fsa()
    through = semiring.times(
        semiring.times(map_slots(lambda v: v.index_select(0, source), forward), weights),
        map_slots(lambda v: v.index_select(0, destination), backward),
    )
    return semiring.divide(through, map_slots(lambda v: v.index_select(0, owner), total))


def _at_states(fsas: Fsa, semiring: Semiring, distances: Value) -> Value:
    """Values at the final states; zero for an FSA without states."""
    states = fsas.final_states()
    has_states = states >= 0
    chosen = states[has_states]
    where = has_states.nonzero().squeeze(1)
    found = map_slots(lambda v: v.index_select(0, chosen), distances)
    slot = found[0] if isinstance(found, tuple) else found
    empty = semiring.zero((fsas.num_fsas,), slot.dtype, slot.device)
    return map_slots(lambda zero, v: zero.index_copy(0, where, v), empty, found)


def _arc_weights(fsas: Fsa, semiring: Semiring, scores: Any) -> Value:
    """The semiring's weights of all arcs, from checked scores."""
    if scores is None:
        scores = fsas.scores
    for part in scores if isinstance(scores, tuple) else (scores,):
        _check_scores(fsas, part)
    try:
        return semiring.convert(scores)
    except ValueError as error:
        raise FsaValueError(f"scores (one per arc): {error}") from error
    except TypeError as error:
        raise FsaTypeError(f"scores (one per arc): {error}") from error


def _check_scores(fsas: Fsa, scores: Any) -> None:
    if not isinstance(scores, Tensor):
        raise FsaTypeError(
            f"scores: must be a tensor ({fsas.num_arcs},), one number per arc, or the tuple of "
            f"tensors that the semiring takes, got {type(scores).__name__}"
        )
    if scores.shape != (fsas.num_arcs,) or not scores.is_floating_point():
        raise FsaValueError(
            f"scores: must be floating point of shape ({fsas.num_arcs},), one per arc, got "
            f"{scores.dtype} {tuple(scores.shape)}"
        )
    bad = scores.isnan() | (scores == float("inf"))
    if bool(bad.any()):
        arc = int(bad.nonzero()[0])
        first = int(fsas.src_states()[arc]) - int(fsas.arcs[arc, 0])
        source, destination, label = fsas.arcs[arc].tolist()
        raise FsaValueError(
            f"scores: arc {arc} (FSA {int(fsas.state_to_fsa()[first])}, state {source} to "
            f"{destination}, label {label}) has the score {scores[arc].item()}; needed are finite "
            "log-weights or -inf. Look for a division by zero or an overflow where it was computed"
        )


def _distances(schedule: _Schedule, semiring: Semiring, weights: Value, reverse: bool) -> Value:
    """The recursion: each level merges what has arrived and sends it along its arcs."""
    slot = weights[0] if isinstance(weights, tuple) else weights
    kind = {"dtype": slot.dtype, "device": slot.device}
    ones = semiring.one((schedule.num_starts,), **kind)
    weights = map_slots(
        lambda w, one: torch.cat([w, one]).index_select(0, schedule.arc_order), weights, ones
    )
    per_level = _split(weights, [level.num_leaving for level in schedule.levels])
    inbox: list[list[Value]] = [[] for _ in schedule.levels]
    values: list[Value] = [semiring.one((1,), **kind)]  # of the super-start, level 0
    for number, level in enumerate(schedule.levels):
        if number > 0:
            values.append(_merge(semiring, inbox[number], level, kind))
            inbox[number] = []
        if level.num_leaving == 0:
            continue
        source = map_slots(lambda v, at=level.source: v.index_select(0, at), values[number])
        weight = per_level[number]
        sent = semiring.times(weight, source) if reverse else semiring.times(source, weight)
        pieces = _split(sent, [count for _, count in level.destinations])
        for (destination, _), piece in zip(level.destinations, pieces, strict=True):
            inbox[destination].append(piece)
    return map_slots(lambda *v: torch.cat(v).index_select(0, schedule.state_place), *values)


def _merge(semiring: Semiring, pieces: list[Value], level: _Level, kind: dict[str, Any]) -> Value:
    if not pieces:
        return semiring.zero((level.num_states,), **kind)
    arrived = pieces[0] if len(pieces) == 1 else map_slots(lambda *p: torch.cat(p), *pieces)
    if level.arrival is not None:
        arrival = level.arrival
        arrived = map_slots(lambda v: v.index_select(0, arrival), arrived)
    return semiring.segment_sum(arrived, level.target, level.num_states)


def _split(value: Value, sizes: list[int]) -> list[Value]:
    """Consecutive pieces of a value; a Tensor's pieces share one node of the autograd graph."""
    if isinstance(value, tuple):
        return list(zip(*(slot.split(sizes) for slot in value), strict=True))
    return list(value.split(sizes))


@dataclass(frozen=True)
class _Level:
    """What happens at one level; all indexes count within the level."""

    num_states: int
    arrival: Tensor | None  # arrivals (concatenated by sending level) in the order of their target
    target: Tensor  # the state that each arrival goes to, ascending
    num_leaving: int
    source: Tensor  # the state that each leaving arc leaves, arcs ordered by destination level
    destinations: list[tuple[int, int]]  # (level, number of arcs) in that order


@dataclass(frozen=True)
class _Schedule:
    """The order of work on a graph: level 0 is a super-start with an arc to every start state."""

    levels: list[_Level]
    arc_order: Tensor  # leaving arcs by level, then destination; numbers >= num_arcs: super-start's
    num_starts: int
    state_place: Tensor  # where each state is found in the states ordered by level

    @classmethod
    def make(cls, fsas: Fsa, level: Tensor, reverse: bool) -> _Schedule:
        """The schedule of a graph, computed on the CPU, its indexes on the graph's device."""
        source, destination = fsas.src_states().cpu(), fsas.dst_states().cpu()
        starts = fsas.start_states()
        if reverse:
            source, destination, starts = destination, source, fsas.final_states()
            level = level.max() - level if level.numel() else level
        starts = starts[starts >= 0].cpu()
        num_states = fsas.num_states
        # The super-start is state 0 of level 0; the others move up by one level.
        level = torch.cat([level + 1, torch.zeros(1, dtype=torch.int64)])
        source = torch.cat([source, torch.full_like(starts, num_states)])
        destination = torch.cat([destination, starts])

        by_level = level.argsort(stable=True)
        place = torch.empty_like(by_level)
        place[by_level] = torch.arange(num_states + 1)
        sizes = torch.bincount(level)
        within = place - (sizes.cumsum(0) - sizes)[level]

        order = _stable_order(level[source] * (num_states + 1) + place[destination])
        levels = _levels(
            sizes, level[source][order], level[destination][order], within[source][order],
            within[destination][order], fsas.device,
        )  # fmt: skip
        return cls(levels, order.to(fsas.device), starts.numel(), place[:-1].to(fsas.device))


def _levels(
    sizes: Tensor, sender: Tensor, receiver: Tensor, source: Tensor, target: Tensor,
    device: torch.device,
) -> list[_Level]:  # fmt: skip
    """The levels from arcs ordered by sending level and destination."""
    num_levels = sizes.numel()
    leaving = torch.bincount(sender, minlength=num_levels).tolist()
    arriving = torch.bincount(receiver, minlength=num_levels)

    # Arrivals come by receiving level, then sending level; they are wanted by target.
    arrived = _stable_order(receiver)
    wanted = _stable_order(receiver[arrived] * (int(sizes.max()) + 1) + target[arrived])
    moved = torch.zeros(num_levels, dtype=torch.int64).index_add_(
        0, receiver[arrived], (wanted != torch.arange(wanted.numel())).long()
    )
    first = (arriving.cumsum(0) - arriving)[receiver[arrived]]
    arrivals = (wanted - first).to(device).split(arriving.tolist())
    targets = target[arrived][wanted].to(device).split(arriving.tolist())
    sources = source.to(device).split(leaving)

    pairs, counts = torch.unique_consecutive(sender * num_levels + receiver, return_counts=True)
    destinations: list[list[tuple[int, int]]] = [[] for _ in range(num_levels)]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        destinations[pair // num_levels].append((pair % num_levels, count))
    needs_moving = moved.tolist()
    return [
        _Level(size, arrivals[i] if needs_moving[i] else None, targets[i], leaving[i],
               sources[i], destinations[i])
        for i, size in enumerate(sizes.tolist())
    ]  # fmt: skip


def _stable_order(key: Tensor) -> Tensor:
    """A stable argsort that costs one comparison per item if the key is in order already."""
    if bool((key[1:] >= key[:-1]).all()):
        return torch.arange(key.numel())
    return key.argsort(stable=True)


def _topological_levels(fsas: Fsa) -> Tensor:
    """The length of the longest path to each state (Kahn's algorithm, one round per level).

    Raises:
        CyclicFsaError: naming a cycle of states.
    """
    source, destination = fsas.src_states().cpu(), fsas.dst_states().cpu()
    num_states = fsas.num_states
    waiting = torch.bincount(destination, minlength=num_states)
    fanout = torch.bincount(source, minlength=num_states)
    begin = fanout.cumsum(0) - fanout
    level = torch.full((num_states,), -1, dtype=torch.int64)
    ready = (waiting == 0).nonzero().squeeze(1)
    depth = 0
    while ready.numel():
        level[ready] = depth
        counts = fanout[ready]
        shift = torch.repeat_interleave(begin[ready] - counts.cumsum(0) + counts, counts)
        reached = destination[shift + torch.arange(shift.numel())]  # arcs are ordered by source
        waiting.index_add_(0, reached, torch.full_like(reached, -1))
        ready = reached[waiting[reached] == 0].unique()
        depth += 1
    left = level < 0
    if bool(left.any()):
        arcs = (left[source] & left[destination]).nonzero().squeeze(1)
        raise CyclicFsaError(
            _describe_cycle(fsas, source[arcs].tolist(), destination[arcs].tolist())
        )
    return level


def _describe_cycle(fsas: Fsa, sources: list[int], destinations: list[int]) -> str:
    """A message naming a cycle, from the arcs between states that all have a predecessor there."""
    predecessor = dict(zip(destinations, sources, strict=True))
    walk: dict[int, int] = {}  # state -> position
    state = destinations[0]
    while state not in walk:
        walk[state] = len(walk)
        state = predecessor[state]
    cycle = [state, *reversed(list(walk)[walk[state] :])]
    fsa = int(fsas.state_to_fsa()[state])
    first = int(fsas.start_states()[fsa])
    shown = " -> ".join(str(s - first) for s in (cycle if len(cycle) <= 10 else cycle[:10]))
    return (
        f"fsas: FSA {fsa} has the cycle of states {shown}{' -> ...' if len(cycle) > 10 else ''}; "
        "needed is an acyclic graph. Intersect it with frame scores first (intersect_dense), or "
        "remove the cycle"
    )
