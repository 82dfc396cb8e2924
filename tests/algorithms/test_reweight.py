"""Reweighting: totals stay, scores are those of OpenFst, gradients of both arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, random_machine, string_weights, to_pynini

from wfst_entropy import Fsa, FsaError, connect, isomorphic, push, reweight, shortest_distance


@pytest.mark.parametrize("to_final", [False, True])
def test_every_string_keeps_its_weight(to_final):
    rng = np.random.default_rng(0)
    for i in range(40):
        fsa = random_machine(rng, cyclic=i % 2 == 0)
        potentials = torch.from_numpy(rng.standard_normal(fsa.num_states))
        new = reweight(fsa, potentials, to_final)
        assert torch.equal(new.arcs, fsa.arcs)
        assert_same_weights(string_weights(new, 4), string_weights(fsa, 4), tol=1e-9)


@pytest.mark.parametrize("to_final", [False, True])
def test_openfst_moves_the_same_scores(to_final):
    """On machines whose start no arc enters; else OpenFst adds a start state."""
    pynini = pytest.importorskip("pynini")
    from oracles import from_pynini

    rng, num_machines = np.random.default_rng(1), 0
    while num_machines < 15:
        fsa = connect(random_machine(rng, cyclic=num_machines % 2 == 0))
        if not fsa.num_states or bool((fsa.dst_states() == 0).any()):
            continue
        # One arc from a state into the final one, as OpenFst has only one weight there.
        finals = fsa.src_states()[fsa.labels == -1]
        if finals.unique().numel() < finals.numel():
            continue
        num_machines += 1
        potentials = torch.from_numpy(rng.standard_normal(fsa.num_states))
        twin = to_pynini(fsa)
        costs = [pynini.Weight("log64", -v) for v in potentials[:-1].tolist()]
        twin.reweight(costs, "to_final" if to_final else "to_initial")
        assert isomorphic(reweight(fsa, potentials, to_final), from_pynini(twin), 1e-6)


@pytest.mark.parametrize("to", ["initial", "final"])
def test_pushing_is_reweighting_by_distances(to):
    fsa = random_machine(np.random.default_rng(2))
    distance = shortest_distance(fsa, reverse=to == "initial")
    expected = reweight(fsa, distance, to == "final").scores
    torch.testing.assert_close(push(fsa, to=to).scores, expected)


@pytest.mark.parametrize("to_final", [False, True])
def test_gradients(to_final):
    rng = np.random.default_rng(3)
    fsa = random_machine(rng, num_arcs=20)
    potentials = torch.from_numpy(rng.standard_normal(fsa.num_states))
    potentials[2] = -torch.inf
    potentials.requires_grad_()

    def scores(values, finite):
        there = torch.where(potentials.isfinite(), finite, potentials.detach())
        return reweight(fsa.with_scores(values), there, to_final).scores

    values = fsa.scores.clone().requires_grad_()
    finite = torch.randn(fsa.num_states, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scores, (values, finite))


def test_arcs_of_a_state_with_minus_infinity_keep_their_scores():
    fsa = Fsa.from_str("0 1 5 1\n0 2 6 2\n1 3 -1 3\n2 3 -1 4\n3", acceptor=True)
    new = reweight(fsa, torch.tensor([0, -torch.inf, 9.0, 0]))
    assert new.scores.tolist() == [1, 11, 3, -5]


def test_vector_is_each_fsa_alone():
    rng = np.random.default_rng(4)
    fsas = [random_machine(rng), Fsa.from_arcs([], torch.empty(0).double(), 0), random_machine(rng)]
    parts = [torch.from_numpy(rng.standard_normal(fsa.num_states)) for fsa in fsas]
    vector = reweight(Fsa.from_fsas(fsas), torch.cat(parts))
    for new, fsa, potentials in zip(vector, fsas, parts, strict=True):
        assert torch.equal(new.scores, reweight(fsa, potentials).scores)


def test_errors():
    fsa = Fsa.from_arcs([[0, 1, -1]])
    with pytest.raises(FsaError, match="potentials: must have one number for each of 2 states"):
        reweight(fsa, torch.zeros(3))
    with pytest.raises(FsaError, match=r"floating-point tensor, got torch\.int64"):
        reweight(fsa, torch.tensor([1, 2]))
    with pytest.raises(FsaError, match="potentials: state 1 has nan"):
        reweight(fsa, torch.tensor([0, torch.nan]))
