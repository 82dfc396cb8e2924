"""Paths drawn by their posterior probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wfst_entropy.algorithms.shortest_distance import get_arc_post
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import CyclicFsaError, FsaTypeError, FsaValueError


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
    vector = fsas if fsas.num_axes == 3 else Fsa.from_fsas([fsas])
    choices = _Choices.make(vector.detach().to("cpu"))
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
    low: Tensor  # the sum of the probabilities of the choices before
    high: Tensor  # that with this one

    @classmethod
    def make(cls, fsas: Fsa) -> _Choices:
        """Of a vector."""
        posterior = get_arc_post(fsas, scores=fsas.scores.to(torch.float64))
        arc = (posterior > -torch.inf).nonzero().squeeze(1)
        source = fsas.src_states()[arc]
        sizes = torch.bincount(source, minlength=fsas.num_states)
        begin = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        last = begin[source + 1] - 1
        # As in k2, also the order of operations: where positions fall on borders, it decides.
        prob = (posterior[arc] - _running(torch.logcumsumexp, posterior[arc], begin)[last]).exp()
        until = _running(torch.cumsum, prob, begin)
        high = until * (1 / until[last])
        first = torch.arange(arc.numel()) == begin[source]
        low = torch.where(first, 0.0, high.roll(1))
        high[last] = 1.0
        starts = fsas.start_states()
        has_path = (starts >= 0) & (sizes[starts] > 0) if fsas.num_states else starts >= 0
        return cls(has_path, starts, begin, arc, fsas.dst_states()[arc], low, high)

    def find(self, states: Tensor, positions: Tensor) -> Tensor:
        """The last choice of each state that begins at or before a position in [0, 1)."""
        first, last = self.begin[states], self.begin[states + 1] - 1
        while bool((first < last).any()):
            middle = (first + last + 1) // 2
            right = self.low[middle] <= positions
            first, last = torch.where(right, middle, first), torch.where(right, last, middle - 1)
        return first


def _running(sum_up: Callable[[Tensor, int], Tensor], values: Tensor, begin: Tensor) -> Tensor:
    """`sum_up` (as `torch.cumsum`) over each row of values, one value after the other.

    Sums that run on over all rows would lose digits. Rows of about the same length are padded to
    one matrix.
    """
    sizes = begin[1:] - begin[:-1]
    sums = torch.empty_like(values)
    width = 1
    while width < 2 * int(sizes.max() if sizes.numel() else 0):
        rows = ((sizes <= width) & (sizes > width // 2)).nonzero()
        within = torch.arange(width)
        place = begin[rows] + within
        inside = within < sizes[rows]
        padded = values[place.clamp(max=values.numel() - 1)]
        sums[place[inside]] = sum_up(padded, 1)[inside]
        width *= 2
    return sums


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
        positions = ((positions - low) / (high - low)).clamp(0, 1 - 2**-53)
        states = choices.destination[chosen]
        going = choices.begin[states + 1] > choices.begin[states]
        paths, states, positions = paths[going], states[going], positions[going]
    return torch.cat(walked), torch.cat(arcs)
