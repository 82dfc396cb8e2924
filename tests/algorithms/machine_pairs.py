"""Random operands of operations on two graphs, and whether two results are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import random_machine

from wfst_entropy.fsa import Fsa

A_THOUSAND = pytest.mark.parametrize(
    "seeds",
    [range(250), pytest.param(range(250, 1000), marks=pytest.mark.slow)],
    ids=["250", "the other 750"],
)


def two_machines(seed: int, transducer: bool = False) -> list[Fsa]:
    """Two random machines of up to 7 states, from none to mostly epsilons, two thirds cyclic."""
    rng = np.random.default_rng(seed)
    size = {"num_states": int(rng.integers(2, 8)), "num_labels": 2}
    kind = {"epsilon_rate": float(rng.choice([0, 0.3, 0.6])), "cyclic": seed % 3 != 0}
    return [
        random_machine(
            rng, num_arcs=int(rng.integers(2, 17)), transducer=transducer, **size, **kind
        )
        for _ in range(2)
    ]


def alike(x: Fsa, y: Fsa) -> bool:
    """The same arcs, scores and tensor attributes, in the same order."""
    return (
        x.shape == y.shape
        and torch.equal(x.arcs, y.arcs)
        and torch.equal(x.scores, y.scores)
        and x.attributes.keys() == y.attributes.keys()
        and all(torch.equal(value, y.attributes[name]) for name, value in x.attributes.items())
    )
