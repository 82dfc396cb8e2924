"""k2's pruned search: what goes through to this package's own, and k2's ways around it."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy import beam_search_best_path
from wfst_entropy.compat import k2

BEAMS = (1e4, 1e4, 0, 1000)


@pytest.fixture
def graphs() -> k2.Fsa:
    graphs = k2.ctc_graph([[1, 2], [2, 2]])
    graphs.tokens = graphs.aux_labels.clone()
    graphs.kept = "as it is"
    return graphs


@pytest.fixture
def log_probs() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 6, 3).log_softmax(-1).requires_grad_()


def dense_of(log_probs: torch.Tensor, *lengths: int) -> k2.DenseFsaVec:
    segments = [[i, 0, length] for i, length in enumerate(lengths)]
    return k2.DenseFsaVec(log_probs, torch.tensor(segments, dtype=torch.int32))


def test_wide_beams_give_what_intersect_dense_gives(graphs, log_probs):
    graphs.requires_grad_(True)
    names = {"seqframe_idx_name": "row", "frame_idx_name": "frame"}
    dense = dense_of(log_probs, 6, 5)
    exact = k2.intersect_dense(graphs, dense, 1e4, **names)
    lattice = k2.intersect_dense_pruned(graphs, dense, *BEAMS, **names)
    assert lattice.num_arcs == exact.num_arcs and lattice.kept == "as it is"
    names = {name for name, _ in lattice.named_tensor_attr()}
    assert names == {name for name, _ in exact.named_tensor_attr()}
    for name in ("row", "frame", "tokens", "aux_labels", "labels"):
        assert sorted(getattr(lattice, name).tolist()) == sorted(getattr(exact, name).tolist())
    gradients = []
    for fsa in (lattice, exact):
        total = fsa.get_tot_scores(use_double_scores=True, log_semiring=True)
        gradients.append(
            torch.autograd.grad(total.sum(), (log_probs, graphs.scores), retain_graph=True)
        )
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other)


def test_scores_that_change_are_seen(log_probs):
    graph = k2.create_fsa_vec([k2.ctc_topo(2)])

    def total() -> float:
        lattice = k2.intersect_dense_pruned(graph, dense_of(log_probs, 6, 5), *BEAMS)
        return float(lattice.get_tot_scores(True, True).sum().detach())

    first = total()
    graph.scores[:] = -1.0  # in place: 6 and 5 frames, and the final arcs
    assert total() == pytest.approx(first - 13)
    graph.scores = graph.scores * 2
    assert total() == pytest.approx(first - 26)


def test_partial_lattices(graphs, log_probs):
    # one frame is too short for two tokens
    dense = dense_of(log_probs, 1, 6)
    empty = k2.intersect_dense_pruned(graphs, dense, *BEAMS)
    assert empty[0].num_arcs == 0 and empty[1].num_arcs > 0
    partial = k2.intersect_dense_pruned(graphs, dense, *BEAMS, allow_partial=True)
    assert partial[0].labels.tolist() == [0, 1, -1, -1]
    assert partial[0].tokens.tolist() == [0, 1, -1, -1] or partial[0].tokens.tolist() == [
        0,
        1,
        0,
        0,
    ]


def test_get_lattice_and_its_best_path(log_probs):
    graph = k2.create_fsa_vec([k2.ctc_topo(2)])
    lattice = k2.get_lattice(log_probs, torch.tensor([6, 7]), graph, subsampling_factor=4)
    best = k2.one_best_decoding(lattice)
    path = beam_search_best_path(graph.bare(), dense_of(log_probs, 6, 6).core)
    assert best.labels.tolist() == path.labels.tolist()


def test_chunks_of_streams_give_the_whole(log_probs):
    graph = k2.create_fsa_vec([k2.ctc_topo(2)])
    search = k2.OnlineDenseIntersecter(graph, 2, *BEAMS)
    _, (first,) = search.decode(dense_of(log_probs[:1, :2], 2), [None])
    assert isinstance(first, k2.DecodeStateInfo)
    both = torch.stack([log_probs[0, 2:5], log_probs[1, :3]])
    _, states = search.decode(dense_of(both, 3, 3), [first, None])
    lattice, _ = search.decode(
        dense_of(torch.stack([log_probs[0, 5:6], log_probs[1, 3:4]]), 1, 1), states
    )
    whole = k2.intersect_dense_pruned(graph, dense_of(log_probs, 6, 4), *BEAMS, allow_partial=True)
    assert torch.equal(lattice.arcs.values(), whole.arcs.values())
    assert torch.equal(lattice.aux_labels, whole.aux_labels)
