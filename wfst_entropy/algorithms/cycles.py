"""Naming a cycle, where a graph has one that it should not have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.levels import longest_path_levels

_SHOWN = 10


def describe_cycle(fsas: Fsa, scores: Tensor | Sequence[Tensor], states: Tensor) -> str:
    """The words "FSA 1 has the cycle of states ...", with its labels and score.

    Args:
        fsas: one FSA or a vector.
        scores: log-weights of the arcs, (num_arcs,), of one model or several: the cycle is a heavy
            one of the model in which it is heaviest.
        states: the states of a strongly connected component, counted over the vector.

    >>> fsa = Fsa.from_str("0 1 3 0\\n1 1 4 0.5\\n1 2 -1 0\\n2")
    >>> describe_cycle(fsa, fsa.scores, torch.tensor([1]))
    'FSA 0 has the cycle of states 1 -> 1 (label 4; score 0.5)'
    """
    arcs: list[int] = []
    score = -float("inf")
    for model in [scores] if isinstance(scores, Tensor) else scores:
        weights = model.detach().cpu().double()
        found = _cycle(fsas, weights, states.cpu())
        total = float(weights[torch.tensor(found)].sum())
        if not arcs or total > score:
            score, arcs = total, found
    fsa = int(fsas.state_to_fsa()[int(states[0])])
    table = fsas.arcs[torch.tensor(arcs, device=fsas.device)].tolist()
    walk = [str(table[0][0]), *(str(destination) for _, destination, _ in table)]
    labels = [str(label) for _, _, label in table]
    plural = "label" if len(labels) == 1 else "labels"
    return (
        f"FSA {fsa} has the cycle of states {_shortened(walk, ' -> ')} "
        f"({plural} {_shortened(labels, ' ')}; score {score:g})"
    )


def _shortened(words: list[str], separator: str) -> str:
    return separator.join(words if len(words) <= _SHOWN + 1 else [*words[:_SHOWN], "..."])


def _cycle(fsas: Fsa, scores: Tensor, states: Tensor) -> list[int]:
    """The arcs of a cycle: one of positive score if there is one, else one that is heavy.

    Bellman and Ford's algorithm from all states of the component at once: while scores keep
    growing, following each state's best arc backward meets a cycle of positive score. If they stop
    growing, no cycle is positive, and their limits tell how much each arc loses against the best
    way to where it leads; a heavy cycle is one whose arcs lose little.
    """
    source, destination = fsas.src_states().cpu(), fsas.dst_states().cpu()
    member = torch.zeros(fsas.num_states, dtype=torch.bool)
    member[states] = True
    arcs = (member[source] & member[destination] & (scores > -float("inf"))).nonzero().squeeze(1)
    if bool((longest_path_levels(source[arcs], destination[arcs], fsas.num_states) >= 0).all()):
        # Every cycle has an arc of score -inf.
        arcs = (member[source] & member[destination]).nonzero().squeeze(1)
    place = torch.full((fsas.num_states,), -1)
    place[states] = torch.arange(states.numel())
    begin, end = place[source[arcs]], place[destination[arcs]]
    weights = scores[arcs].clamp(min=-1e30)
    best = torch.zeros(states.numel(), dtype=torch.float64)
    entering = torch.full((states.numel(),), -1)
    for round_number in range(states.numel() + 1):
        through = best[begin] + weights
        better = torch.full_like(best, -float("inf")).scatter_reduce(0, end, through, "amax")
        grows = better > best + 1e-12 * best.abs() + 1e-12
        if not bool(grows.any()):
            break
        winner = ((through == better[end]) & grows[end]).nonzero().squeeze(1)
        entering[end[winner]] = winner
        best = torch.where(grows, better, best)
        if round_number & (round_number + 1) == 0 or round_number == states.numel():
            found = _loop(entering, begin, int(grows.nonzero()[0]))
            if found:
                return arcs[torch.tensor(found)].tolist()
    return arcs[torch.tensor(_least_loss(begin, end, best[end] - best[begin] - weights))].tolist()


def _loop(entering: Tensor, begin: Tensor, state: int) -> list[int]:
    """The arcs of the cycle that following `entering` backward from a state runs into, if any."""
    walk: dict[int, int] = {}
    arcs: list[int] = []
    while state not in walk:
        walk[state] = len(arcs)
        arc = int(entering[state])
        if arc < 0:
            return []
        arcs.append(arc)
        state = int(begin[arc])
    return arcs[walk[state] :][::-1]


def _least_loss(begin: Tensor, end: Tensor, loss: Tensor) -> list[int]:
    """A cycle whose largest loss is least: with the fewest arcs, best first, that hold a cycle."""
    order = loss.argsort(stable=True)
    num_states = int(torch.maximum(begin, end).max()) + 1
    low, high = 1, order.numel()
    while low < high:
        middle = (low + high) // 2
        some = order[:middle]
        if bool((longest_path_levels(begin[some], end[some], num_states) < 0).any()):
            high = middle
        else:
            low = middle + 1
    closing = int(order[low - 1])
    leaving: dict[int, list[int]] = {}
    for arc in order[: low - 1].tolist():
        leaving.setdefault(int(begin[arc]), []).append(arc)
    return [closing, *_path(leaving, end, int(end[closing]), int(begin[closing]))]


def _path(leaving: dict[int, list[int]], end: Tensor, state: int, goal: int) -> list[int]:
    """Arcs from a state to the goal, by depth-first search."""
    entered: dict[int, list[int]] = {state: []}
    stack = [state]
    while goal not in entered:
        here = stack.pop()
        for arc in leaving.get(here, []):
            target = int(end[arc])
            if target not in entered:
                entered[target] = [here, arc]
                stack.append(target)
    arcs: list[int] = []
    while entered[goal]:
        goal, arc = entered[goal]
        arcs.append(arc)
    return arcs[::-1]
