"""k2's score methods against enumeration, and what they remember."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.compat import k2

GRAPH = """
    0 1 1 0.5
    0 2 2 -0.25
    1 2 3 1.5
    1 3 -1 0.75
    2 3 -1 -0.5
    3
"""
PATHS = [[0, 2, 4], [0, 3], [1, 4]]  # arc numbers


@pytest.fixture
def vec() -> k2.Fsa:
    """The graph twice, so that arcs and states of the second count on."""
    one = k2.Fsa.from_str(GRAPH)
    return k2.create_fsa_vec([one, k2.linear_fsa([1]), one]).requires_grad_(True)


@pytest.mark.parametrize("use_double_scores", [False, True])
@pytest.mark.parametrize("log_semiring", [False, True])
def test_totals_and_posteriors_by_enumeration(
    vec: k2.Fsa, log_semiring: bool, use_double_scores: bool
):
    flags = (use_double_scores, log_semiring)
    dtype = torch.float64 if use_double_scores else torch.float32
    scores = vec.scores.detach().to(dtype)[:5].requires_grad_(True)
    weights = torch.stack([scores[path].sum() for path in PATHS])
    total = weights.logsumexp(0) if log_semiring else weights.max()
    got = vec.get_tot_scores(*flags)
    assert got.dtype == dtype
    torch.testing.assert_close(got, torch.stack([total, total.new_zeros(()), total]))
    (want,) = torch.autograd.grad(total, scores, retain_graph=True)
    (grad,) = torch.autograd.grad(got[2], vec.scores, retain_graph=True)
    torch.testing.assert_close(grad[7:], want.float())
    assert not grad[:7].any()

    through = []
    for arc in range(5):
        over = torch.stack([w for w, path in zip(weights, PATHS) if arc in path])
        through.append(over.logsumexp(0) if log_semiring else over.max())
    post = vec.get_arc_post(*flags)
    torch.testing.assert_close(post[:5], torch.stack(through).detach() - total.detach())
    factors = torch.arange(5, dtype=dtype)
    (want,) = torch.autograd.grad(((torch.stack(through) - total) * factors).sum(), scores)
    (grad,) = torch.autograd.grad((post[:5] * factors).sum(), vec.scores)
    torch.testing.assert_close(grad[:5], want.float(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("log_semiring", [False, True])
def test_forward_and_backward_meet(vec: k2.Fsa, log_semiring: bool):
    forward = vec.get_forward_scores(True, log_semiring)
    backward = vec.get_backward_scores(True, log_semiring)
    total = vec.get_tot_scores(True, log_semiring)
    assert forward[[0, 4, 7]].tolist() == [0, 0, 0] == backward[[3, 6, 10]].tolist()
    torch.testing.assert_close(forward[[3, 6, 10]], total)
    torch.testing.assert_close(backward[[0, 4, 7]], total)
    torch.autograd.gradcheck(
        lambda s: _with(vec, s).get_forward_scores(True, log_semiring),
        vec.scores.detach().double().requires_grad_(True),
        eps=1e-2, atol=1e-3, rtol=1e-2,
    )  # fmt: skip


def _with(vec: k2.Fsa, scores: torch.Tensor) -> k2.Fsa:
    fsa = vec.clone()
    fsa.scores = scores.float()
    return fsa


def test_answers_are_remembered_until_scores_or_labels_change(vec: k2.Fsa):
    vec.requires_grad_(False)
    first = vec._get_tot_scores(True, True)
    assert vec._get_tot_scores(True, True) is first
    for ask in (vec._get_forward_scores, vec._get_backward_scores, vec._get_arc_post):
        assert ask(False, True) is ask(False, True)
    vec._get_entering_arcs(True)
    vec._get_state_batches()
    assert {"tot_scores_double_log", "arc_post_float_log", "state_batches"} <= vec._cache.keys()
    vec.scores *= 2
    assert set(vec._cache) == {"state_batches"}
    assert vec._get_tot_scores(True, True)[0] > first[0]
    vec.labels = vec.labels.clone()
    assert not vec._cache


def test_inner_workings(vec: k2.Fsa):
    assert vec._get_dest_states().tolist() == [1, 2, 2, 3, 3, 5, 6, 8, 9, 9, 10, 10]
    incoming = vec._get_incoming_arcs()
    assert incoming.tolist()[0] == [[], [0], [1, 2], [3, 4]]
    batches = vec._get_state_batches()
    assert batches.tolist() == [
        [[0], [4], [7]], [[1], [5], [8]], [[2], [6], [9]], [[3], [], [10]],
    ]  # fmt: skip
    entering, leaving = vec._get_entering_arc_batches(), vec._get_leaving_arc_batches()
    assert entering.num_axes == leaving.num_axes == 4
    assert entering.tolist()[2] == [[[1, 2]], [[6]], [[8, 9]]]
    assert leaving.tolist()[0] == [[[0, 1]], [[5]], [[7, 8]]]
    post = vec.get_arc_post(True, True).exp().detach()
    cdf = vec._get_arc_cdf(True, True)
    torch.testing.assert_close(cdf[:4], torch.stack(
        [post[0] * 0, post[0] / (post[0] + post[1]), post[0] * 0, post[2] / (post[2] + post[3])]
    ))  # fmt: skip
    assert vec._get_entering_arcs(True).tolist()[:4] == [-1, 0, 2, 4]


def test_batches_of_states_have_no_arc_within():
    torch.manual_seed(0)
    vec = k2.random_fsa_vec(4, 4, min_num_arcs=1, max_num_arcs=40)
    batch_of = {
        state: number
        for number, batch in enumerate(vec._get_state_batches().tolist())
        for states in batch
        for state in states
    }
    sources = vec.arcs.row_ids(2).tolist()
    assert len(batch_of) == vec.arcs.tot_size(1)
    assert all(batch_of[s] < batch_of[d] for s, d in zip(sources, vec._get_dest_states().tolist()))


def test_without_a_path():
    dead = k2.Fsa.from_str("0 1 5 0\n2 3 -1 0\n3")
    vec = k2.create_fsa_vec([dead, k2.Fsa.from_str("")]).requires_grad_(True)
    total = vec.get_tot_scores(True, True)
    assert total.tolist() == [-torch.inf, -torch.inf]
    assert vec._get_entering_arcs(True).tolist() == [-1, 0, -1, -1]
    torch.where(total.isfinite(), total, 0).sum().backward()
    assert not vec.grad.any()


@pytest.mark.parametrize("num_fsas", [1, 3])
def test_vectors_of_empty_fsas_have_no_path(num_fsas: int):
    graphs = k2.ctc_graph([[1, 1, 1]] * num_fsas)  # needs five frames
    scores = torch.zeros(num_fsas, 2, 3, requires_grad=True)
    segments = torch.tensor([[i, 0, 2] for i in range(num_fsas)], dtype=torch.int32)
    lattice = k2.intersect_dense(graphs, k2.DenseFsaVec(scores, segments), 10.0)
    assert lattice.shape == (num_fsas, None, None) and lattice.num_arcs == 0
    total = lattice.get_tot_scores(use_double_scores=True, log_semiring=True)
    assert total.tolist() == [-torch.inf] * num_fsas
    total.sum().backward()
    assert scores.grad is not None and not scores.grad.any()
    assert lattice._get_state_batches().shape.tot_sizes() == (0, 0, 0)
    assert k2.get_aux_labels(k2.shortest_path(lattice, True)) == [[]] * num_fsas
