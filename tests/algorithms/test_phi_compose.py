"""Back-off arcs as failure arcs: each sentence scores what the language model says."""

from __future__ import annotations

import random

import pytest
import torch
from small_lattices import (
    BackOffModel,
    all_paths,
    ragged_words,
    score_of,
    small_lattices,
    words_on,
)
from torch.autograd import gradcheck

from wfst_entropy import Fsa, compose, get_tot_scores, phi_compose
from wfst_entropy.fsa import CyclicFsaError, FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.semirings import TropicalSemiring


def scores_of_paths(fsa):
    return sorted(score_of(fsa, path) for path in all_paths(fsa))


@pytest.mark.parametrize("backoff", ["failure", "epsilon"])
@pytest.mark.parametrize("ragged", [False, True])
def test_every_path_and_every_way_through_the_model(backoff, ragged):
    for seed in range(4):
        rng = random.Random(seed)
        lattice, model = small_lattices(seed, (3, 4)), BackOffModel(rng)
        if ragged:
            lattice = ragged_words(lattice, rng)
        composed = phi_compose(lattice, model.fsa(acceptor=seed % 2 == 0), backoff=backoff)
        for before, after in zip(lattice, composed):
            expected = sorted(
                score_of(before, path) + more
                for path in all_paths(before)
                for more in model.log_probs(words_on(before, path), backoff == "failure")
            )
            assert expected
            assert scores_of_paths(after) == pytest.approx(expected)


def test_as_epsilons_it_is_composition_and_failure_never_scores_more():
    exceeded = False
    for seed in range(6):
        model = BackOffModel(random.Random(seed)).fsa(acceptor=True)
        lattice = small_lattices(seed, (4, 3))
        epsilon = phi_compose(lattice, model, backoff="epsilon")
        plain = Fsa(  # words are labels, and no words are epsilons
            lattice.shape,
            torch.stack([*lattice.arcs.T[:2], lattice.aux_labels], 1),
            lattice.scores,
        )
        torch.testing.assert_close(get_tot_scores(epsilon), get_tot_scores(compose(plain, model)))
        best = [
            get_tot_scores(x, TropicalSemiring()) for x in (phi_compose(lattice, model), epsilon)
        ]
        assert bool((best[0] <= best[1] + 1e-9).all())
        exceeded |= bool((best[0] < best[1] - 1e-3).any())
    assert exceeded  # the two are not the same


def test_arc_maps_attributes_and_labels():
    lattice, model = small_lattices(1), BackOffModel(random.Random(1)).fsa()
    composed, a_map, b_map = phi_compose(lattice, model, ret_arc_maps=True)
    assert torch.equal(composed.labels, lattice.labels[a_map])
    assert torch.equal(composed.frame_idx, lattice.frame_idx[a_map])
    for arc, word in enumerate(composed.aux_labels.tolist()):
        read = [model.aux_labels[x].item() for x in b_map[arc].tolist()]
        assert [w for w in read if w] == ([word] if word else [])
        added = float(composed.scores[arc] - lattice.scores[a_map[arc]])
        assert added == pytest.approx(float(model.scores[b_map[arc]].sum()))


def test_unsorted_models_one_fsa_and_pairs():
    words = Fsa.from_str("0 1 7 0\n1 2 8 0\n2 3 -1 0\n3", acceptor=True)
    rows = "0 2 -1 -1\n0 1 7 -0.5\n0 0 8 -2\n1 2 -1 -0.25\n1 0 0 -3\n2"
    model = Fsa.from_str(rows, acceptor=True)
    assert not model.properties.arc_sorted
    one, _, arcs = phi_compose(words, model, ret_arc_maps=True)
    assert one.num_axes == 2
    assert arcs.tolist() == [[1], [4, 2], [0]]
    other = model.with_scores(2 * model.scores)
    both = phi_compose(words, Fsa.from_fsas([model, other]))
    assert get_tot_scores(both).tolist() == [-6.5, -13.0]
    unknown = Fsa.from_str("0 1 5 0\n1 2 -1 0\n2", acceptor=True)
    assert phi_compose(unknown, model).num_states == 0
    assert phi_compose(unknown, model, connect=False).num_states == 2
    empty = Fsa.from_fsas([words])[[]]
    assert len(phi_compose(empty, model)) == 0


def test_gradients_reach_both_operands():
    lattice, model = small_lattices(2, (3,)), BackOffModel(random.Random(2)).fsa()

    def total(a, b):
        return get_tot_scores(phi_compose(lattice.with_scores(a), model.with_scores(b)))

    parts = (lattice.scores.detach().clone(), model.scores.clone())
    assert gradcheck(total, tuple(part.requires_grad_() for part in parts), atol=1e-4)


def test_errors():
    words = Fsa.from_str("0 1 7 0\n1 2 -1 0\n2", acceptor=True)
    model = Fsa.from_str("0 1 5 0\n1 0 5 0\n0 2 -1 0\n2", acceptor=True)
    with pytest.raises(CyclicFsaError, match=r"back-off arcs \(label 5\).*cycle through state 0"):
        phi_compose(words, model, phi_label=5)
    with pytest.raises(FsaValueError, match="backoff must be 'failure' or 'epsilon', got 'phi'"):
        phi_compose(words, model, backoff="phi")
    with pytest.raises(FsaValueError, match=r"from 0 to 2\*\*31 - 1, got -1"):
        phi_compose(words, model, phi_label=-1)
    with pytest.raises(FsaValueError, match="a_fsa has the word 7, which is phi_label"):
        phi_compose(words, model, phi_label=7)
    two = Fsa.from_str("0 1 5 0 0\n0 1 6 0 0\n1 2 -1 -1 0\n2")
    with pytest.raises(FsaValueError, match=r"labels \[5, 6\].*Pass phi_label"):
        phi_compose(words, two)
    silent = Fsa.from_str("0 0 0 0\n0 1 0 0\n1 1 7 0\n1 2 -1 0\n2", acceptor=True)
    with pytest.raises(FsaValueError, match=r"arc 1 \[0, 1, 0\] of b_fsa.*phi_label 5"):
        phi_compose(words, silent, phi_label=5)
    assert phi_compose(words, silent).num_arcs == 2
    with pytest.raises(FsaTypeError, match="b_fsa must be an Fsa, got None"):
        phi_compose(words, None)
    with pytest.raises(FsaRuntimeError, match=r"phi_compose.*max_states"):
        phi_compose(small_lattices(1), BackOffModel(random.Random(1)).fsa(), max_states=10)
