"""k2's n-best lists and its reading of best paths."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.compat import k2
from wfst_entropy.fsa.errors import EmptyGraphError, FsaTypeError, FsaValueError

LATTICE = "0 1 1 10 0.1\n0 1 5 10 0.7\n0 1 2 20 0.2\n1 2 3 0 0.3\n1 2 4 40 0.4\n2 3 -1 -1 0.5\n3"


@pytest.fixture
def lattice() -> k2.Fsa:
    one = k2.Fsa.from_str(LATTICE, num_aux_labels=1)
    return k2.create_fsa_vec([one, k2.linear_fst([6], [60])]).requires_grad_(True)


@pytest.mark.parametrize("ragged", [False, True])
def test_from_lattice_keeps_one_path_per_word_sequence(lattice: k2.Fsa, ragged: bool):
    if ragged:
        lattice.convert_attr_to_ragged_("aux_labels")
    before = lattice.scores.tolist()
    nbest = k2.Nbest.from_lattice(lattice, num_paths=100, nbest_scale=0.5)
    assert lattice.scores.tolist() == before
    words = k2.get_aux_labels(nbest.fsa)
    assert sorted(words) == [[10], [10, 40], [20], [20, 40], [60]]
    assert nbest.shape.tot_sizes() == (2, 5) and "num_fsas:5" in str(nbest)
    assert nbest.kept_path is not None
    sums = [float(lattice.scores[arcs].detach().sum()) for arcs in nbest.kept_path.tolist()]
    torch.testing.assert_close(nbest.total_scores().values, torch.tensor(sums))
    nbest.fsa.scores.sum().backward()
    assert lattice.grad is not None and lattice.grad[5] == 4
    graphs = nbest.build_levenshtein_graphs()
    assert str(graphs) == str(k2.levenshtein_graph(words))


def test_top_k(lattice: k2.Fsa):
    fsas = k2.create_fsa_vec([k2.linear_fsa([i]) for i in range(1, 5)])
    fsas.scores = torch.tensor([3.0, 0, 5, 0, 4, 0, 1, 0])
    nbest = k2.Nbest(fsas, k2.RaggedShape("[ [x x x] [x] ]"))
    assert nbest.top_k(1).fsa.labels.tolist() == [2, -1, 4, -1]
    best = nbest.top_k(2)
    assert best.fsa.labels.tolist() == [2, -1, 3, -1, 4, -1, 4, -1]
    assert best.shape == k2.RaggedShape("[ [x x] [x x] ]")
    assert nbest.top_k(4).fsa.labels.tolist()[::2] == [2, 3, 1, 1, 4, 4, 4, 4]
    with pytest.raises(EmptyGraphError, match="utterance 1 has no path"):
        k2.Nbest(fsas, k2.RaggedShape("[ [x x x x] [] ]")).top_k(1)
    with pytest.raises(FsaValueError, match="one path for each"):
        k2.Nbest(fsas, k2.RaggedShape("[ [x x] ]"))


def test_intersection_with_lattices(lattice: k2.Fsa):
    tokens = k2.linear_fsa([[1, 3], [2, 4], [6]])
    nbest = k2.Nbest(tokens, k2.RaggedShape("[ [x x] [x] ]"))
    scored = nbest.intersect(lattice)
    want = [0.1 + 0.3 + 0.5, 0.2 + 0.4 + 0.5, 0]
    torch.testing.assert_close(scored.total_scores().values, torch.tensor(want))
    assert k2.get_aux_labels(scored.fsa) == [[10], [20, 40], [60]]


def test_whole_lattice_rescoring(lattice: k2.Fsa):
    lattice.requires_grad_(False)
    lattice.lm_scores = torch.full((lattice.num_arcs,), 0.05)
    model = k2.Fsa.from_str("0 0 0 0\n0 0 10 1\n0 0 40 2\n0 0 60 4\n0 1 -1 8\n1")
    model = k2.create_fsa_vec([k2.arc_sort(model)])
    model.lm_scores = model.scores.clone()
    rescored = k2.nbest.whole_lattice_rescoring(lattice, model)
    assert hasattr(lattice, "lm_scores")
    best = k2.one_best_decoding(rescored)
    assert k2.get_aux_labels(best) == [[10, 40], [60]]
    assert best[0].labels.tolist() == [5, 4, -1]
    assert best[0].lm_scores.sum() == 11
    torch.testing.assert_close(best[0].scores.sum(), torch.tensor(0.7 + 0.4 + 0.5 + 11 - 0.15))
    with pytest.raises(FsaValueError, match="lm_scores"):
        k2.nbest.whole_lattice_rescoring(k2.create_fsa_vec([k2.linear_fsa([1])]), model)


def test_generate_nbest_list(lattice: k2.Fsa):
    lattice.phones = lattice.labels.clone()
    nbest = k2.nbest.generate_nbest_list(lattice, num_paths=50)
    paths = [nbest.fsa[i].labels.tolist() for i in range(nbest.fsa.shape[0])]
    assert sorted(paths) == [
        [1, 3, -1], [1, 4, -1], [2, 3, -1], [2, 4, -1], [5, 3, -1], [5, 4, -1], [6, -1],
    ]  # fmt: skip
    del lattice.phones
    with pytest.raises(FsaValueError, match="tokens or phones"):
        k2.nbest.generate_nbest_list(lattice, 5)


def test_get_aux_labels_needs_a_vector():
    with pytest.raises(FsaTypeError, match="vector"):
        k2.get_aux_labels(k2.linear_fst([1], [2]))
