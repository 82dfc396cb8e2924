"""Rescoring against every path of the lattice, scored anew in Python."""

from __future__ import annotations

import logging
import math
import random

import pytest
import torch
from small_lattices import (
    BackOffModel,
    all_paths,
    score_of,
    small_lattices,
    words_on,
)

from wfst_entropy import (
    Fsa,
    add_epsilon_self_loops,
    get_aux_labels,
    get_tot_scores,
    one_best_decoding,
    prune,
    rescore_with_n_best_list,
    rescore_with_whole_lattice,
    scaled_lattice,
)
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa import FsaValueError

SCALES = [0.3, 1.0, 2.5]


def acoustic(lattice):
    return lattice.with_scores(lattice.scores - lattice.lm_scores)


def best_rescored(lattice, model, scale, failure=True):
    """The best score and its words."""
    am = acoustic(lattice)
    return max(
        (score_of(am, path) + scale * lm, words_on(am, path))
        for path in all_paths(am)
        for lm in model.log_probs(words_on(am, path), failure)
    )


@pytest.mark.parametrize("backoff", ["failure", "epsilon"])
def test_whole_lattices(backoff):
    for seed in range(4):
        lattice, model = small_lattices(seed, (4, 3)), BackOffModel(random.Random(seed))
        before = lattice.scores.clone()
        found = rescore_with_whole_lattice(lattice, model.fsa(), SCALES, backoff=backoff)
        assert list(found) == ["lm_scale_0.3", "lm_scale_1.0", "lm_scale_2.5"]
        for scale, paths in zip(SCALES, found.values()):
            for one, path in zip(lattice, paths):
                score, words = best_rescored(one, model, scale, backoff == "failure")
                assert float(path.scores.sum()) == pytest.approx(score)
                assert get_aux_labels(path) == [list(words)]
        assert torch.equal(before, lattice.scores)
        assert "lm_scores" in lattice.attributes


def test_lists_of_all_sequences_give_what_whole_lattices_give():
    for seed in range(4):
        lattice, model = small_lattices(seed, (4, 3)), BackOffModel(random.Random(seed)).fsa()
        whole = rescore_with_whole_lattice(lattice, model, SCALES)
        lists = rescore_with_n_best_list(lattice, model, 1000, SCALES, exact=True)
        for key, paths in whole.items():
            assert get_aux_labels(paths) == get_aux_labels(lists[key])
            torch.testing.assert_close(get_tot_scores(paths), get_tot_scores(lists[key]))


def test_drawn_lists_choose_the_best_of_what_was_drawn():
    lattice, model = small_lattices(2, (4, 3)), BackOffModel(random.Random(2))
    whole = rescore_with_whole_lattice(lattice, model.fsa(), [1.0])["lm_scale_1.0"]
    drawn = rescore_with_n_best_list(lattice, model.fsa(), 200, [1.0], nbest_scale=0.1)
    few = rescore_with_n_best_list(lattice, model.fsa(), 2, [1.0])
    best, many, less = (
        get_tot_scores(x) for x in (whole, drawn["lm_scale_1.0"], few["lm_scale_1.0"])
    )
    assert bool((less <= many + 1e-9).all() and (many <= best + 1e-9).all())


def test_the_rescored_lattice_keeps_its_parts_and_gradients():
    lattice = small_lattices(3, (4, 3)).requires_grad_()
    model = BackOffModel(random.Random(3)).fsa().requires_grad_()
    rescored = rescore_with_whole_lattice(lattice, model)
    assert rescored.properties.top_sorted
    am = rescored.scores - rescored.lm_scores
    again = rescore_with_whole_lattice(rescored, model)
    torch.testing.assert_close(get_tot_scores(again), get_tot_scores(rescored))
    assert bool((am <= 1e-9).all())
    get_tot_scores(rescored).sum().backward()
    assert float(lattice.scores.grad[lattice.labels == -1].sum()) == pytest.approx(2.0)
    assert float(model.scores.grad[model.labels == -1].sum()) == pytest.approx(2.0)


def test_models_as_k2_wants_them_give_the_same():
    lattice, model = small_lattices(4, (4, 3)), BackOffModel(random.Random(4))
    looped = add_epsilon_self_loops(model.fsa(acceptor=True))
    assert looped.num_arcs > model.fsa().num_arcs
    for first, second in zip(
        rescore_with_whole_lattice(lattice, model.fsa(), SCALES).values(),
        rescore_with_whole_lattice(lattice, Fsa.from_fsas([looped]), SCALES).values(),
    ):
        assert get_aux_labels(first) == get_aux_labels(second)
        torch.testing.assert_close(get_tot_scores(first), get_tot_scores(second))


def test_what_the_model_refuses_keeps_its_scores(caplog):
    lattice = small_lattices(5, (4, 3))
    nothing = prune(lattice[0], state_threshold=0)
    batch = Fsa.from_fsas([lattice[0], nothing, lattice[1]])
    only_unknown = Fsa.from_str("0 1 77 0\n1 2 -1 0\n2", acceptor=True)
    first = one_best_decoding(batch)
    with caplog.at_level(logging.WARNING):
        whole = rescore_with_whole_lattice(batch, only_unknown, [0.5])["lm_scale_0.5"]
    assert "utterances [0, 2]" in caplog.text
    lists = rescore_with_n_best_list(batch, only_unknown, 50, [0.5], exact=True)["lm_scale_0.5"]
    for paths in (whole, lists):
        assert get_aux_labels(paths)[1] == []
        assert paths[1].num_states == 0
    assert get_aux_labels(lists) == get_aux_labels(first)
    halved = one_best_decoding(scaled_lattice(batch, lm_scale=0.5))
    assert get_aux_labels(whole) == get_aux_labels(halved)


def test_lattices_that_outgrow_the_limit_are_pruned_then_kept(caplog):
    lattice, model = small_lattices(6, (6, 4)), BackOffModel(random.Random(6)).fsa()
    full = rescore_with_whole_lattice(lattice, model)
    sizes = full.shape.row_splits(1).diff().tolist()
    with caplog.at_level(logging.WARNING):
        pruned = rescore_with_whole_lattice(lattice, model, max_states=max(sizes) // 2)
        kept = rescore_with_whole_lattice(lattice, model, max_states=2)
    assert "pruned to 4 nats" in caplog.text
    assert "its scores stay" in caplog.text
    assert 2 < pruned[0].num_states <= max(sizes) // 2
    torch.testing.assert_close(get_tot_scores(kept), get_tot_scores(lattice))


def test_scales_and_what_is_forbidden():
    lattice = small_lattices(7, (3,))
    scaled = scaled_lattice(lattice, am_scale=2.0, lm_scale=0.0)
    torch.testing.assert_close(scaled.scores, 2 * (lattice.scores - lattice.lm_scores))
    back = scaled_lattice(scaled_lattice(lattice, 2.0, 4.0), 0.5, 0.25)
    torch.testing.assert_close(back.scores, lattice.scores)
    torch.testing.assert_close(back.lm_scores, lattice.lm_scores)
    model = BackOffModel(random.Random(7)).fsa()
    forbidden = model.with_scores(model.scores.masked_fill(model.labels == 1, -torch.inf))
    without = rescore_with_whole_lattice(lattice, forbidden, [0.0, 1.0])
    assert all(1 not in get_aux_labels(path)[0] for path in without.values())
    nothing = forbidden.with_scores(torch.full_like(model.scores, -torch.inf))
    first = get_aux_labels(one_best_decoding(lattice))
    assert get_aux_labels(one_best_decoding(rescore_with_whole_lattice(lattice, nothing))) == first
    lists = rescore_with_n_best_list(lattice, nothing, 20, [0.0, 1.0])
    assert [get_aux_labels(path) for path in lists.values()] == [first, first]


def test_errors():
    lattice, model = small_lattices(1, (3,)), BackOffModel(random.Random(1)).fsa()
    with pytest.raises(FsaValueError, match="max_states: must be at least 1, got 0"):
        rescore_with_whole_lattice(lattice, model, max_states=0)
    for scale in (math.nan, math.inf, "1"):
        with pytest.raises(FsaValueError, match="lm_scale: must be a finite number, got"):
            rescore_with_whole_lattice(lattice, model, [scale])
    without = Fsa(lattice.shape, lattice.arcs, lattice.scores, lm_scores=lattice.lm_scores)
    with pytest.raises(DecodingError, match=r"needs words on its arcs.*lm_scores"):
        rescore_with_whole_lattice(without, model)
    without = Fsa(lattice.shape, lattice.arcs, lattice.scores, aux_labels=lattice.aux_labels)
    for rescore in (
        lambda x, g: rescore_with_whole_lattice(x, g),
        lambda x, g: rescore_with_n_best_list(x, g, 3, [1.0]),
    ):
        with pytest.raises(DecodingError, match="needs the attribute lm_scores"):
            rescore(without, model)
        with pytest.raises(DecodingError, match=r"G: must be one language model.*2 FSAs"):
            rescore(lattice, Fsa.from_fsas([model, model]))
