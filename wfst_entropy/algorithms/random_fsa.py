"""Random FSAs, for tests and experiments."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError


def random_fsa(
    acyclic: bool = True,
    max_symbol: int = 50,
    min_num_arcs: int = 0,
    max_num_arcs: int = 1000,
    generator: torch.Generator | None = None,
) -> Fsa:
    """A random FSA with normally distributed float32 scores.

    States may be unreachable or lead nowhere; see `connect`. Labels are uniform from 0 (epsilon) to
    `max_symbol`.

    Args:
      acyclic: whether every arc goes to a larger state; if not, there may be cycles, also of
        epsilons.
      max_symbol: the largest label, at least 0.
      min_num_arcs: the smallest number of arcs; with 0 arcs the FSA is empty.
      max_num_arcs: the largest.
      generator: of torch, on the CPU; torch's default one if None.

    Raises:
      FsaValueError: a bound is negative, or the smallest is above the largest.

    Source: k2, the operation of the same name.

    >>> fsa = random_fsa(min_num_arcs=20, max_num_arcs=30)
    >>> 20 <= fsa.num_arcs <= 30, fsa.properties.acyclic
    (True, True)
    """
    _check_bounds("num_arcs", min_num_arcs, max_num_arcs, 0)
    if not 0 <= max_symbol < 2**31 - 1:
        raise FsaValueError(f"max_symbol: must be from 0 to 2**31 - 2, got {max_symbol}.")

    def draw(low: int, high: int, size: int = 1) -> Tensor:
        return torch.randint(low, high + 1, (size,), generator=generator)

    num_arcs = int(draw(min_num_arcs, max_num_arcs))
    if num_arcs == 0:
        return Fsa.from_arcs([], num_states=0)
    num_states = int(draw(2, max(2, num_arcs)))
    source, destination = draw(0, num_states - 2, num_arcs), draw(1, num_states - 1, num_arcs)
    if acyclic:
        # Two different states, the smaller one first.
        destination = torch.where(destination > source, destination, source + 1)
    else:
        destination = draw(0, num_states - 1, num_arcs)
    source, order = source.sort(stable=True)
    destination = destination[order]
    label = draw(0, max_symbol, num_arcs).masked_fill(destination == num_states - 1, -1)
    scores = torch.randn(num_arcs, generator=generator)
    return Fsa.from_arcs(torch.stack([source, destination, label], dim=1), scores, num_states)


def random_fsa_vec(
    min_num_fsas: int = 1,
    max_num_fsas: int = 1000,
    acyclic: bool = True,
    max_symbol: int = 50,
    min_num_arcs: int = 0,
    max_num_arcs: int = 1000,
    generator: torch.Generator | None = None,
) -> Fsa:
    """A vector of FSAs that `random_fsa` makes.

    Args:
      min_num_fsas: the smallest number of FSAs, at least 1.
      max_num_fsas: the largest.
      acyclic, max_symbol, min_num_arcs, max_num_arcs, generator: as in `random_fsa`, of each FSA.

    Raises:
      FsaValueError: as `random_fsa`.

    Source: k2, the operation of the same name.

    >>> random_fsa_vec(3, 3).num_fsas
    3
    """
    _check_bounds("num_fsas", min_num_fsas, max_num_fsas, 1)
    num_fsas = int(torch.randint(min_num_fsas, max_num_fsas + 1, (1,), generator=generator))
    return Fsa.from_fsas(
        [
            random_fsa(acyclic, max_symbol, min_num_arcs, max_num_arcs, generator)
            for _ in range(num_fsas)
        ]
    )


def _check_bounds(name: str, low: int, high: int, least: int) -> None:
    if not least <= low <= high:
        raise FsaValueError(
            f"min_{name}, max_{name}: needed is {least} <= min_{name} <= max_{name}, got {low} and "
            f"{high}."
        )
