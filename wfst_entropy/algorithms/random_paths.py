"""Paths drawn by their posterior probability."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.algorithms.shortest_distance import shortest_distance
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import CyclicFsaError, FsaTypeError, FsaValueError
from wfst_entropy.semirings import LogSemiring


def random_paths(
    fsas: Fsa, num_paths: int, *, generator: torch.Generator | None = None
) -> RaggedTensor:
    r"""Paths through each FSA, as often as they are likely.

    With a generator they are independent samples of :math:`p(\pi) = e^{w(\pi)} / Z`. Without one
    they are k2's, which are not random: path :math:`i` of :math:`n` is the one at
    :math:`(i + 1/2) / n` of the unit interval when each path has, in the order of its arcs, a part
    of it as long as it is probable (as in arithmetic coding). So they are spread evenly.

    Args:
      fsas: an FSA or a vector of them; cyclic only with a generator.
      num_paths: how many for each FSA, at least 1.
      generator: a CPU generator, for instance `torch.Generator().manual_seed(0)`.

    Returns:
      Ragged int64 `[fsa][path][arc]`, arc numbers of `fsas`; `[1][path][arc]` for one FSA. An FSA
      without a successful path has no paths.

    Raises:
      CyclicFsaError: the weights of cycles do not converge, or there are cycles and no generator.
      FsaTypeError, FsaValueError: not an Fsa, `num_paths` below 1, a score that is NaN or +inf.

    Source: k2, the operation of the same name.

    >>> fsa = Fsa.from_str("0 1 1 0\n0 1 2 0\n1 2 -1 0\n2", acceptor=True)
    >>> random_paths(fsa, 2)
    [[[0, 2], [1, 2]]]
    """
    if not isinstance(fsas, Fsa):
        raise FsaTypeError(f"random_paths: needs an Fsa, got {type(fsas).__name__}.")
    if isinstance(num_paths, bool) or not isinstance(num_paths, int) or num_paths < 1:
        raise FsaValueError(f"num_paths: must be an integer of at least 1, got {num_paths!r}.")
    if generator is None and not fsas.properties.acyclic:
        raise CyclicFsaError(
            "random_paths: fsas has a cycle; needed is an acyclic graph where no generator is "
            "given. Pass generator=torch.Generator().manual_seed(0) for random samples."
        )
    device = fsas.device
    choices = _Choices.make(fsas.detach().to("cpu"))
    per_fsa = torch.where(choices.has_path, num_paths, 0)
    starts = choices.start_states[choices.has_path].repeat_interleave(num_paths)
    if generator is None:
        positions = ((torch.arange(num_paths) + 0.5) / num_paths).to(torch.float64)
        walked = _walk(choices, starts, positions.repeat(int(choices.has_path.sum())), None)
    else:
        walked = _walk(choices, starts, torch.empty(starts.numel()), generator)
    paths, arcs = walked
    order = paths.argsort(stable=True)
    lengths = RaggedShape.from_sizes(torch.bincount(paths, minlength=starts.numel()))
    shape = RaggedShape.from_sizes(per_fsa).compose(lengths)
    return RaggedTensor(shape, arcs[order]).to(device)


@dataclass(frozen=True)
class _Choices:
    """At each state, the arcs that lead on, and where the probabilities of each begin."""

    has_path: Tensor  # (num_fsas,)
    start_states: Tensor  # (num_fsas,)
    begin: Tensor  # (num_states + 1,), into the following
    arc: Tensor
    destination: Tensor
    low: Tensor  # the sum of the probabilities of the arcs before
    high: Tensor  # and with it

    @classmethod
    def make(cls, fsas: Fsa) -> _Choices:
        scores = fsas.scores.to(torch.float64)
        onward = shortest_distance(fsas, LogSemiring(), reverse=True, scores=scores)
        source, destination = fsas.src_states(), fsas.dst_states()
        log_prob = scores + onward[destination] - onward[source]
        prob = torch.where(onward[source] > -torch.inf, log_prob, -torch.inf).exp()
        arc = (prob > 0).nonzero().squeeze(1)
        prob, source, destination = prob[arc], source[arc], destination[arc]
        counts = torch.bincount(source, minlength=fsas.num_states)
        begin = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        total = prob.new_zeros(fsas.num_states).index_add(0, source, prob)
        before = prob.cumsum(0) - prob
        low = (before - before[begin[source]]) / total[source]
        last = torch.arange(arc.numel()) + 1 == begin[source + 1]
        high = torch.where(last, 1.0, low.roll(-1))
        starts = fsas.start_states()
        has_path = starts >= 0
        has_path[has_path.clone()] = onward[starts[has_path]] > -torch.inf
        return cls(has_path, starts, begin, arc, destination, low, high)

    def find(self, states: Tensor, positions: Tensor) -> Tensor:
        """The last choice of each state that begins at or before a position in [0, 1)."""
        first, last = self.begin[states], self.begin[states + 1] - 1
        while bool((first < last).any()):
            middle = (first + last + 1) // 2
            right = self.low[middle] <= positions
            first, last = torch.where(right, middle, first), torch.where(right, last, middle - 1)
        return first


def _walk(
    choices: _Choices, states: Tensor, positions: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """All paths go one step at a time; returns which path took which arc, step by step."""
    paths = torch.arange(states.numel())
    walked, arcs = [paths[:0]], [paths[:0]]
    # Only the final state has no way on: all others reached are coaccessible.
    while paths.numel():
        if generator is not None:
            positions = torch.rand(paths.numel(), dtype=torch.float64, generator=generator)
        chosen = choices.find(states, positions)
        walked.append(paths)
        arcs.append(choices.arc[chosen])
        low, high = choices.low[chosen], choices.high[chosen]
        positions = ((positions - low) / (high - low)).clamp(0, 1)
        states = choices.destination[chosen]
        going = choices.begin[states + 1] > choices.begin[states]
        paths, states, positions = paths[going], states[going], positions[going]
    return torch.cat(walked), torch.cat(arcs)
