"""Random FSAs keep their bounds and repeat from a seed."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import Fsa, FsaError, random_fsa, random_fsa_vec


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("acyclic", [True, False])
def test_bounds(acyclic):
    cycles = 0
    for seed in range(50):
        fsa = random_fsa(acyclic, 3, 5, 20, seeded(seed))
        Fsa(fsa.shape, fsa.arcs, fsa.scores)  # checks everything
        assert 5 <= fsa.num_arcs <= 20 and fsa.labels.max() <= 3
        assert not acyclic or fsa.properties.acyclic
        cycles += not fsa.properties.acyclic
    assert acyclic or cycles > 20
    assert random_fsa(acyclic, max_num_arcs=0).num_states == 0


def test_a_seed_says_it_all():
    a, b = (random_fsa_vec(2, 5, generator=seeded(7), max_num_arcs=30) for _ in range(2))
    assert torch.equal(a.arcs, b.arcs) and torch.equal(a.scores, b.scores) and 2 <= len(a) <= 5


def test_bounds_must_be_bounds():
    with pytest.raises(FsaError, match="0 <= min_num_arcs <= max_num_arcs, got 5 and 4"):
        random_fsa(min_num_arcs=5, max_num_arcs=4)
    with pytest.raises(FsaError, match="1 <= min_num_fsas"):
        random_fsa_vec(0)
    with pytest.raises(FsaError, match="max_symbol"):
        random_fsa(max_symbol=-1)
