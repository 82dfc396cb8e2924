"""Whether two FSAs differ in nothing but the numbers of states and the order of arcs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa, RaggedTensor
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaTypeError

_MAX_TRIES = 1000


def isomorphic(a: Fsa, b: Fsa, delta: float = 1 / 1024) -> bool:
    """Whether the states of `a` can be renumbered so that its arcs are those of `b`.

    Labels, `aux_labels` and scores count, other attributes do not. Non-deterministic FSAs are fine.
    States are told apart by what they are connected to, round by round (colour refinement); where
    that leaves a choice, each is tried.

    Args:
      a: an FSA or a vector of them.
      b: likewise; vectors are compared FSA by FSA.
      delta: how far scores of arcs that correspond may be apart, in nats.

    Raises:
      FsaTypeError: an operand is no Fsa.
      FsaRuntimeError: so many states look alike that no answer was found in 1000 tries.

    Source: OpenFst, the operation of the same name (for deterministic FSAs); Weisfeiler and Leman
    1968 on the refinement.

    >>> a = Fsa.from_str("0 1 5 0\\n0 2 6 0\\n1 3 -1 0\\n2 3 -1 1\\n3", acceptor=True)
    >>> b = Fsa.from_str("0 1 6 0\\n0 2 5 0\\n1 3 -1 1\\n2 3 -1 0\\n3", acceptor=True)
    >>> isomorphic(a, b), isomorphic(a, b.with_scores(b.scores + 1))
    (True, False)
    """
    for name, fsa in (("a", a), ("b", b)):
        if not isinstance(fsa, Fsa):
            raise FsaTypeError(f"{name}: must be an Fsa, got {type(fsa).__name__}.")
    if a.num_axes != b.num_axes:
        return False
    if a.num_axes == 3:
        return len(a) == len(b) and all(isomorphic(x, y, delta) for x, y in zip(a, b))
    if a.num_states != b.num_states or a.num_arcs != b.num_arcs:
        return False
    return a.num_states == 0 or _Search(a.to("cpu").detach(), b.to("cpu").detach(), delta).run()


class _Search:
    """Both FSAs in one: the states of `b` are numbered after those of `a`."""

    def __init__(self, a: Fsa, b: Fsa, delta: float) -> None:
        self.num_states = a.num_states
        self.delta = delta
        self.source = torch.cat([a.src_states(), b.src_states() + a.num_states])
        self.destination = torch.cat([a.dst_states(), b.dst_states() + a.num_states])
        self.scores = torch.cat([a.scores.double(), b.scores.double()])
        self.labels = _label_numbers(a, b)
        # Scores closer than delta must not tell states apart, so numbers change only at gaps.
        ordered, order = self.scores.sort()
        steps = torch.zeros(ordered.numel(), dtype=torch.int64)
        steps[1:] = ordered[1:] - ordered[:-1] > delta
        group = torch.empty_like(order).scatter_(0, order, steps.cumsum(0))
        self.kind = _number(self.labels, group)
        self.num_tries = 0

    def run(self) -> bool:
        colours = torch.zeros(2 * self.num_states, dtype=torch.int64)
        for first in (0, self.num_states):
            colours[first], colours[first + self.num_states - 1] = 1, 2
        choices = [iter([self._without_twins(self._refined(colours))])]
        while choices:
            chosen = next(choices[-1], None)
            if chosen is None:
                choices.pop()
                continue
            colours = self._refined(chosen)
            count_a = torch.bincount(colours[: self.num_states], minlength=int(colours.max()) + 1)
            count_b = torch.bincount(colours[self.num_states :], minlength=count_a.numel())
            if not torch.equal(count_a, count_b):
                continue
            several = torch.nonzero(count_a > 1)
            if not several.numel():
                if self._corresponds(colours):
                    return True
                continue
            choices.append(self._choices(colours, int(several[0])))
        return False

    def _without_twins(self, colours: Tensor) -> Tensor:
        """Sets states with exactly the same neighbours apart by their order, which is arbitrary.

        They can change places without any arc changing, so nothing is lost.
        """
        states = torch.arange(colours.numel())
        out = self._neighbours(self.source, self.destination, states)
        into = self._neighbours(self.destination, self.source, states)
        # Of the two sides, twins of one must not be counted with those of the other.
        side = (states >= self.num_states).to(torch.int64)
        group = _number(_number(_number(colours, out), into), side)
        order = group.argsort(stable=True)
        first = torch.searchsorted(group[order], group[order])
        rank = torch.empty_like(order).scatter_(0, order, states - first)
        return _number(colours, rank)

    def _choices(self, colours: Tensor, colour: int) -> Iterator[Tensor]:
        """One state of `a` with this colour, and each of `b` with it, set apart from the rest."""
        state, *_ = torch.nonzero(colours[: self.num_states] == colour).flatten().tolist()
        others = torch.nonzero(colours[self.num_states :] == colour).flatten() + self.num_states
        for other in others.tolist():
            self.num_tries += 1
            if self.num_tries > _MAX_TRIES:
                raise FsaRuntimeError(
                    f"isomorphic: {self.num_states} states, so many of them alike that no answer "
                    f"was found in {_MAX_TRIES} tries. Minimise both FSAs first."
                )
            choice = colours.clone()
            choice[[state, other]] = int(colours.max()) + 1
            yield choice

    def _refined(self, colours: Tensor) -> Tensor:
        """Splits colours by those of the neighbours until nothing changes."""
        num_colours = 0
        while (now := int(colours.unique().numel())) > num_colours:
            num_colours = now
            out = self._neighbours(self.source, self.destination, colours)
            into = self._neighbours(self.destination, self.source, colours)
            colours = _number(_number(colours, out), into)
        return colours

    def _neighbours(self, at: Tensor, other: Tensor, colours: Tensor) -> Tensor:
        """A number for each state, equal where the multisets of (arc, neighbour's colour) are.

        The sum of pseudo-random numbers of the members; an accident could join two colours, which
        `_corresponds` would find out.
        """
        member = _number(self.kind, colours[other])
        if not member.numel():
            return torch.zeros_like(colours)
        generator = torch.Generator().manual_seed(1)
        words = torch.randint(-(2**62), 2**62, (int(member.max()) + 1,), generator=generator)
        sums = torch.zeros(colours.numel(), dtype=torch.int64).index_add_(0, at, words[member])
        return sums.unique(return_inverse=True)[1]

    def _corresponds(self, colours: Tensor) -> bool:
        """Whether the arcs are the same when states with one colour are taken for one."""
        ends = _number(_number(colours[self.source], colours[self.destination]), self.labels)
        half = ends.numel() // 2
        sides = []
        for part in (slice(None, half), slice(half, None)):
            by_score = self.scores[part].argsort(stable=True)
            order = by_score[ends[part][by_score].argsort(stable=True)]
            sides.append((ends[part][order], self.scores[part][order]))
        (ends_a, scores_a), (ends_b, scores_b) = sides
        near = (scores_a - scores_b).abs() <= self.delta
        return torch.equal(ends_a, ends_b) and bool((near | (scores_a == scores_b)).all())


def _number(first: Tensor, second: Tensor) -> Tensor:
    """Numbers the distinct pairs."""
    second = second.unique(return_inverse=True)[1]
    factor = int(second.max()) + 1 if second.numel() else 1
    first = first.unique(return_inverse=True)[1]
    return (first * factor + second).unique(return_inverse=True)[1]


def _label_numbers(a: Fsa, b: Fsa) -> Tensor:
    """A number for each pair of input label and output labels, the same in both."""
    inputs = torch.cat([a.labels, b.labels])
    if "aux_labels" not in a.attributes and "aux_labels" not in b.attributes:
        return inputs.unique(return_inverse=True)[1]
    numbers: dict[tuple[int, ...], int] = {}
    outputs = []
    for fsa in (a, b):
        aux = fsa.attributes.get("aux_labels", fsa.labels)
        lists = aux.tolist() if isinstance(aux, RaggedTensor) else [[x] for x in aux.tolist()]
        for labels, is_final in zip(lists, (fsa.labels == -1).tolist()):
            key = tuple(x for x in labels if x > 0 or (x == 0 and not is_final)) or (0,)
            outputs.append(numbers.setdefault(key, len(numbers)))
    return _number(inputs, torch.tensor(outputs, dtype=torch.int64))
