"""`remove_epsilon_local` keeps every path, and makes no graph larger."""

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, pair_weights, random_machine, string_weights

from wfst_entropy import Fsa, FsaError, connect, remove_epsilon_local


def num_epsilons(fsa):
    return int((fsa.labels == 0).sum())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("transducer", [False, True])
def test_weighs_all_strings_alike_and_never_grows(seed, transducer):
    rng = np.random.default_rng(seed)
    fsa = random_machine(
        rng, num_states=9, num_arcs=12, num_labels=2, epsilon_rate=0.5, transducer=transducer
    )
    weights = pair_weights if transducer else string_weights
    shorter, arc_map = remove_epsilon_local(fsa, ret_arc_map=True)
    for semiring in ("log", "tropical"):
        assert_same_weights(weights(shorter, 4, semiring, 2), weights(fsa, 4, semiring, 2))
    before = connect(fsa)
    assert shorter.num_arcs <= before.num_arcs
    assert num_epsilons(shorter) <= num_epsilons(before)
    sums = torch.stack([fsa.scores[row.long()].sum() for row in map(torch.tensor, arc_map.tolist())]
                       or [torch.zeros(0)])  # fmt: skip
    assert torch.allclose(shorter.scores, sums.reshape(-1).to(shorter.scores))


def test_back_off_arcs_to_a_shared_state_stay():
    # Two histories (1, 2) with followers of their own back off to state 3, which has two words.
    text = """
        0 1 1 1 0
        0 2 2 2 0
        1 2 2 2 0
        1 3 0 0 -1
        2 1 1 1 0
        2 3 0 0 -2
        3 1 1 1 -3
        3 2 2 2 -3
        3 4 -1 -1 0
        4
    """
    fsa = Fsa.from_str(text)
    shorter = remove_epsilon_local(fsa)
    assert num_epsilons(shorter) == 2
    assert shorter.num_arcs == fsa.num_arcs


def test_two_runs_through_one_state_do_not_multiply_what_follows():
    # Both epsilons go on over the only arc of state 3, behind which there are three arcs.
    text = "0 1 1 0\n0 2 2 0\n1 3 0 0\n2 3 0 0\n3 4 0 0\n4 5 3 0\n4 5 4 0\n4 5 5 0\n5 6 -1 0\n6"
    fsa = Fsa.from_str(text, acceptor=True)
    shorter = remove_epsilon_local(fsa)
    assert shorter.num_arcs == 6
    assert num_epsilons(shorter) == 0


def test_gradients_reach_every_joined_arc():
    fsa = Fsa.from_str("0 1 7 0 1\n1 2 0 9 2\n1 2 0 8 3\n2 3 -1 -1 0\n3")
    scores = fsa.scores.clone().requires_grad_()
    remove_epsilon_local(fsa.with_scores(scores)).scores.sum().backward()
    assert scores.grad.tolist() == [2, 1, 1, 1]


def test_a_long_chain_becomes_one_arc():
    size = 200_000
    states = torch.arange(size)
    labels = torch.zeros(size).index_fill(0, torch.tensor([size // 2]), 5)
    labels[-1] = -1
    arcs = torch.stack([states, states + 1, labels.long()], dim=1)
    shorter = remove_epsilon_local(Fsa.from_arcs(arcs))
    assert shorter.labels.tolist() == [5, -1]


def test_wrong_arguments():
    with pytest.raises(FsaError, match="remove_epsilon_local: needs an Fsa, got int"):
        remove_epsilon_local(3)
