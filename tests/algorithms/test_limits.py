"""What an input can ask for beyond all bounds ends with a message, in little memory and time."""

from __future__ import annotations

import pytest
import torch

import wfst_entropy as we
from wfst_entropy import Fsa, FsaError
from wfst_entropy.algorithms import _surgery
from wfst_entropy.semirings import LogSemiring

# The tables of an operation may take 64 MB at least, so small limits of states leave that much.
SMALL = 1000


def make(arcs: list[list[int]], scores: list[float] | float = 0.0) -> Fsa:
    table = torch.tensor(arcs, dtype=torch.int32)
    if isinstance(scores, float):
        scores = [scores] * len(arcs)
    return Fsa.from_arcs(table, torch.tensor(scores), int(table[:, 1].max()) + 1)


def ring(num_states: int, label: int, score: float) -> Fsa:
    """A cycle through all states but the final one."""
    arcs = [[s, (s + 1) % num_states, label] for s in range(num_states)]
    return make([*arcs, [num_states - 1, num_states, -1]], score)


def nondeterministic(num_states: int) -> Fsa:
    """Four arcs with one label from each state to some others, and random scores."""
    generator = torch.Generator().manual_seed(0)
    source = torch.arange(num_states - 1).repeat_interleave(4)
    to = torch.randint(0, num_states - 1, source.shape, generator=generator)
    arcs = torch.stack([source, to, torch.ones_like(to)], 1).tolist()
    scores = torch.randn(len(arcs), generator=generator).sub(3).tolist()
    return make([*arcs, [num_states - 2, num_states - 1, -1]], [*scores, 0.0])


def test_sets_of_many_states_are_limited():
    with pytest.raises(FsaError, match=r"determinize: its tables outgrow .* MB") as error:
        we.determinize(nondeterministic(20_000), max_states=100_000)
    assert "leads to" in str(error.value)


@pytest.mark.parametrize("unique", [False, True])
def test_paths_without_end_are_limited(unique):
    loop = make([[0, 0, 1], [0, 0, 2], [0, 1, -1]])
    parameters = (2**31 - 1, unique)
    with pytest.raises(FsaError, match="n_shortest_paths: its tables outgrow the 64 MB"):
        _surgery.run("n_shortest_paths", loop, scores=True, parameters=parameters, max_states=SMALL)


def test_pairs_of_rivals_are_limited():
    with pytest.raises(FsaError, match=r"disambiguate: its tables outgrow the 64 MB"):
        we.disambiguate(nondeterministic(20_000), max_states=SMALL)


def test_epsilon_cycles_too_large_to_add_up_are_refused():
    with pytest.raises(FsaError, match="remove_epsilon: its tables outgrow"):
        we.remove_epsilon(ring(10_000, 0, -0.1), LogSemiring(), max_states=SMALL)


def test_lists_of_epsilons_are_limited():
    num_states = 1000
    arcs = [[s, s + 1, label] for s in range(num_states) for label in (0, 1)]
    with pytest.raises(FsaError, match="remove_epsilon: its tables outgrow"):
        we.remove_epsilon(make([*arcs, [num_states, num_states + 1, -1]]), max_states=SMALL)


def test_a_long_chain_of_epsilons_is_one_step():
    num_states = 200_000
    arcs = torch.stack([torch.arange(num_states), torch.arange(1, num_states + 1)], 1)
    labels = torch.zeros(num_states, 1, dtype=torch.int64)
    labels[-1] = -1
    fsa = Fsa.from_arcs(
        torch.cat([arcs, labels], 1).int(), torch.full((num_states,), -0.5), num_states + 1
    )
    removed = we.remove_epsilon(fsa)
    assert removed.labels.tolist() == [-1]
    assert removed.scores.tolist() == [-0.5 * num_states]


@pytest.mark.parametrize("operation", [we.shortest_path, we.prune])
def test_a_gain_somewhere_on_a_large_cycle_is_found_soon(operation):
    with pytest.raises(FsaError, match=r"cycle of states 0 -> 1 -> 2 .* positive score"):
        operation(ring(50_000, 1, 0.1))


def test_a_large_cycle_without_a_gain_has_a_best_path():
    path = we.shortest_path(ring(50_000, 1, -0.1))
    assert path.num_arcs == 50_000


def test_scores_that_overflow_are_refused():
    fsa = make([[0, 1, 1], [0, 2, 1], [1, 3, 2], [2, 3, 3], [3, 4, -1]]).to(torch.float64)
    huge = torch.tensor([1e308, -1e308, 1e308, -1e308, 1e308], dtype=torch.float64)
    with pytest.raises(FsaError, match="more than float64 holds"):
        we.determinize(fsa.with_scores(huge), LogSemiring())


def test_bounds_of_edit_counts_are_limited():
    lattice = make([*([s, s + 1, 1] for s in range(200)), [200, 201, -1]])
    with pytest.raises(FsaError, match=r"expected_edit_counts: its tables outgrow .* lattice 0"):
        we.expected_edit_counts(lattice, [[1] * 20_000], max_states=SMALL)


def test_both_operands_may_be_one_graph():
    fsa = make([[0, 1, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]], [0.5, -1.0, 0.25, 0.0])
    scores = fsa.scores.double().requires_grad_()

    def total(scores: torch.Tensor) -> torch.Tensor:
        one = fsa.to(torch.float64).with_scores(scores)
        return we.get_tot_scores(we.compose(one, one))

    assert torch.autograd.gradcheck(total, (scores,))
