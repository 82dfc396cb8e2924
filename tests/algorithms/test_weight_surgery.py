"""Laws of the operations that add weights up: gradients, vectors, attributes, limits, messages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import assert_same_weights, pair_weights, random_machine, string_weights
from torch.autograd import gradcheck

import wfst_entropy as we
from wfst_entropy import Fsa, FsaError, LogEntropySemiring, LogSemiring, TropicalSemiring

GOLDEN = Path(__file__).parents[1] / "golden" / "k2"
TROPICAL, LOG = TropicalSemiring(), LogSemiring()

# Two states reached by one string, whose cycles with one label have different scores.
NO_TWINS = "0 1 7 0\n0 2 7 0\n1 1 5 -1\n2 2 5 -2\n1 3 8 0\n2 3 9 0\n3 4 -1 0\n4"


def acceptor(text):
    return Fsa.from_str(text, acceptor=True).to(torch.float64)


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def golden_fsa(case):
    fsa = case["fsa"]
    scores = torch.tensor(fsa["scores"], dtype=torch.float32)
    return Fsa.from_arcs(fsa["arcs"], scores, max(d for _, d, _ in fsa["arcs"]) + 1)


def string_set(fsa):
    return string_weights(fsa, fsa.num_states, "tropical", int(max(fsa.labels.max(), 1)))


@pytest.mark.parametrize("case", golden("remove_epsilon"), ids=range(40))
def test_remove_epsilon_of_k2s_data(case):
    fsa = golden_fsa(case)
    removed = we.remove_epsilon(fsa)
    assert removed.properties.epsilon_free
    assert_same_weights(string_set(removed), string_set(fsa))
    assert float(we.get_tot_scores(removed, TROPICAL)) == pytest.approx(
        *case["tot_tropical"], abs=1e-4
    )


@pytest.mark.parametrize("case", golden("determinize"), ids=range(40))
def test_determinize_of_k2s_data(case):
    fsa = golden_fsa(case)
    new = we.determinize(we.remove_epsilon(fsa))
    assert new.properties.epsilon_free and new.properties.deterministic
    assert_same_weights(string_set(new), string_set(fsa))
    assert float(we.get_tot_scores(new)) == pytest.approx(*case["tot_log"], abs=1e-4)


@pytest.mark.parametrize("case", golden("shortest_path"), ids=range(40))
def test_shortest_path_of_k2s_data(case):
    best = we.shortest_path(golden_fsa(case))
    assert float(best.scores.sum()) == pytest.approx(case["score"], rel=2e-4, abs=2e-4)
    assert best.labels.tolist() == case["labels"]


OPERATIONS = {
    "remove_epsilon": we.remove_epsilon,
    "remove_epsilon-log": lambda f: we.remove_epsilon(f, LOG),
    "remove_epsilon_and_add_self_loops": we.remove_epsilon_and_add_self_loops,
    "determinize": lambda f: we.determinize(we.remove_epsilon(f)),
    "determinize-tropical": lambda f: we.determinize(we.remove_epsilon(f), TROPICAL, "tropical"),
    "determinize-log": lambda f: we.determinize(we.remove_epsilon(f), TROPICAL, "log"),
    "determinize-logs": lambda f: we.determinize(we.remove_epsilon(f, LOG), LOG),
    "minimize": lambda f: we.minimize(we.determinize(we.remove_epsilon(f))),
    "push": we.push,
    "push-tropical-final": lambda f: we.push(f, TROPICAL, to="final"),
    "disambiguate": we.disambiguate,
    "prune": lambda f: we.prune(f, 1.5),
    "prune_on_arc_post": lambda f: we.prune_on_arc_post(f, 0.05),
    "shortest_path": we.shortest_path,
}


@pytest.fixture(params=OPERATIONS)
def operation(request):
    return OPERATIONS[request.param]


def test_gradients(operation):
    rng = np.random.default_rng(3)
    for _ in range(3):
        fsa = random_machine(rng, cyclic=False, num_states=6, num_arcs=12)
        scores = fsa.scores.clone().requires_grad_()
        gradcheck(lambda s, fsa=fsa: operation(fsa.with_scores(s)).scores, (scores,))


def test_a_vector_is_each_alone(operation):
    rng = np.random.default_rng(4)
    fsas = [random_machine(rng, cyclic=False, transducer=True) for _ in range(5)]
    fsas.insert(
        2,
        Fsa.from_arcs([[0, 0, 1]], num_states=2, aux_labels=torch.ones(1, dtype=torch.int32)).to(
            torch.float64
        ),
    )
    vector = operation(Fsa.from_fsas(fsas))
    assert vector.num_axes == 3
    for new, fsa in zip(vector, fsas, strict=True):
        alone = operation(fsa)
        assert alone.num_axes == 2
        assert torch.equal(new.arcs, alone.arcs) and torch.equal(new.scores, alone.scores)
        assert new.aux_labels.tolist() == alone.aux_labels.tolist()


def test_empty_vectors_and_fsas(operation):
    empty = Fsa.from_arcs([], num_states=0)
    assert operation(Fsa.from_fsas([])).num_fsas == 0
    assert operation(empty).num_states == 0
    assert operation(Fsa.from_fsas([empty, empty])).num_fsas == 2


def test_operands_do_not_change_and_dtypes_stay(operation):
    fsa = random_machine(np.random.default_rng(5), cyclic=False, transducer=True).to(torch.float32)
    before = fsa.clone()
    assert operation(fsa).scores.dtype == torch.float32
    assert torch.equal(fsa.scores, before.scores) and torch.equal(fsa.arcs, before.arcs)
    assert torch.equal(fsa.aux_labels, before.aux_labels)


def test_nan_and_infinite_scores_are_named(operation):
    for wrong in (math.nan, math.inf):
        fsa = Fsa.from_arcs([[0, 1, 3], [1, 2, -1]], torch.tensor([wrong, 0.0]))
        with pytest.raises(FsaError, match=r"arc 0 \(FSA 0, state 0 to 1, label 3\) has the score"):
            operation(fsa)


def test_an_arc_without_weight_is_no_path(operation):
    fsa = Fsa.from_arcs(
        [[0, 1, 3], [0, 2, 4], [1, 3, -1], [2, 3, -1]], torch.tensor([-math.inf, -1, 0, 0])
    )
    weights = {
        s: w for s, w in string_weights(operation(fsa), 2, "tropical", 4).items() if w > -math.inf
    }
    assert weights == pytest.approx({(4,): -1.0})


def test_only_fsas_and_known_semirings_are_taken():
    for name in (
        "remove_epsilon",
        "determinize",
        "minimize",
        "push",
        "disambiguate",
        "prune",
        "shortest_path",
    ):
        with pytest.raises(FsaError, match=f"{name}: needs an Fsa, got str"):
            getattr(we, name)("0 1 -1 0")
    fsa = acceptor("0 1 -1 0\n1")
    for name in ("remove_epsilon", "determinize", "minimize", "push"):
        with pytest.raises(FsaError, match=r"knows TropicalSemiring.. and LogSemiring.., got"):
            getattr(we, name)(fsa, LogEntropySemiring())


# Positive cycles


@pytest.mark.parametrize(
    "name", ["shortest_path", "prune", "n_shortest_paths", "unique", "push", "minimize"]
)
def test_a_cycle_with_a_gain_is_named(name):
    fsa = acceptor("0 1 1 0\n1 2 2 0.5\n1 4 -1 0\n2 1 3 -0.25\n3 1 1 0\n4")
    run = {
        "n_shortest_paths": lambda f: we.n_shortest_paths(f, 2),
        "unique": lambda f: we.n_shortest_paths(f, 2, unique=True),
        "push": lambda f: we.push(f, TROPICAL),
        "minimize": lambda f: we.minimize(f, TROPICAL),
    }
    with pytest.raises(we.FsaError, match=r"1 -> 2 -> 1|2 -> 1 -> 2"):
        run.get(name, getattr(we, name, None))(fsa)


def test_a_cycle_with_a_gain_that_no_path_takes_does_no_harm():
    fsa = acceptor("0 3 1 0\n0 1 1 0\n1 1 2 5\n2 2 2 5\n2 3 1 0\n3 4 -1 0\n4")
    assert we.shortest_path(fsa).labels.tolist() == [1, -1]
    assert we.prune(fsa).num_states == 3


def test_cycles_whose_gain_is_rounding_end():
    """0.1 + 0.2 - 0.3 is above 0, in float32 and in float64."""
    fsa = acceptor("0 1 1 0.1\n1 2 2 0.2\n2 0 3 -0.3\n1 3 -1 0\n3")
    assert we.shortest_path(fsa).labels.tolist() == [1, -1]
    (paths,) = we.n_shortest_paths(fsa, 3, unique=True).tolist()
    assert [len(path) for path in paths] == [2, 5, 8]
    epsilons = acceptor("0 1 0 0.1\n1 2 0 0.2\n2 0 0 -0.3\n1 3 -1 0\n3")
    assert we.remove_epsilon(epsilons).scores.tolist() == pytest.approx([0.1])


def test_epsilon_cycles_that_diverge_are_named():
    fsa = acceptor("0 1 1 0\n1 2 0 0.5\n2 1 0 0.1\n2 3 -1 0\n3")
    with pytest.raises(FsaError, match=r"FSA 0, cycle of states .* positive score 0.6"):
        we.remove_epsilon(fsa)
    with pytest.raises(
        FsaError, match="1 or more, so that the sum over all ways round them is inf"
    ):
        we.remove_epsilon(fsa, LOG)
    # In the tropical semiring a cycle of score 0 is idle, in the log semiring its sum diverges.
    idle = acceptor("0 0 0 0\n0 1 -1 -1\n1")
    assert we.remove_epsilon(idle).scores.tolist() == [-1.0]
    with pytest.raises(FsaError, match="cycle of states 0 -> 0"):
        we.remove_epsilon(idle, LOG)


# Epsilon removal


def test_epsilon_cycles_add_up_in_the_log_semiring():
    """A loop of weight p is taken any number of times: 1 / (1 - p)."""
    fsa = acceptor(f"0 0 0 {math.log(0.25)}\n0 1 -1 0\n1")
    assert we.remove_epsilon(fsa, LOG).scores.tolist() == pytest.approx([-math.log(0.75)])
    scores = fsa.scores.clone().requires_grad_()
    gradcheck(lambda s: we.remove_epsilon(fsa.with_scores(s), LOG).scores, (scores,))


def test_gradients_through_epsilon_cycles():
    rng = np.random.default_rng(8)
    for semiring in (TROPICAL, LOG):
        fsa = random_machine(rng, cyclic=True, epsilon_rate=0.6)
        scores = fsa.scores.clone().requires_grad_()
        gradcheck(
            lambda s, f=fsa, k=semiring: we.remove_epsilon(f.with_scores(s), k).scores, (scores,)
        )


def test_attributes_follow_the_epsilons():
    fst = Fsa.from_str("0 1 0 40 1\n1 2 5 50 2\n2 3 0 0 4\n3 4 -1 -1 8\n4", num_aux_labels=1)
    fst.set_attribute_("cost", torch.tensor([1.0, 2.0, 4.0, 8.0]))
    new, lists = we.remove_epsilon(fst, ret_arc_map=True)
    assert new.aux_labels.tolist() == [[40, 50], []]
    assert new.cost.tolist() == [3.0, 12.0] == new.scores.tolist()
    assert lists.tolist() == [[0, 1], [2, 3]]


# Determinisation


def test_words_come_out_where_paths_agree():
    """A small lexicon: two words with a common beginning, and silence that may be skipped."""
    lexicon = Fsa.from_str(
        "0 1 1 100 0\n0 3 1 200 -1\n1 2 2 0 0\n2 5 -1 -1 0\n3 4 3 0 0\n4 5 -1 -1 0\n5",
        num_aux_labels=1,
    )
    new, lists = we.determinize(lexicon, ret_arc_map=True)
    assert new.labels.tolist() == [1, 2, 3, -1, -1]
    assert new.aux_labels.tolist() == [[], [100], [200], [], []]
    assert new.scores.tolist() == [0.0, 0.0, -1.0, 0.0, 0.0]
    assert lists.tolist() == [[], [0, 2], [1, 4], [3], [5]]


@pytest.mark.parametrize("pushing", ["none", "tropical", "log"])
def test_transducers_keep_the_output_of_the_best_path(pushing):
    rng = np.random.default_rng(9)
    for _ in range(15):
        fst = random_machine(rng, cyclic=False, transducer=True, epsilon_rate=0.3)
        fst = we.remove_epsilon(fst)
        new = we.determinize(fst, TROPICAL, pushing)
        best: dict[tuple[int, ...], tuple[float, tuple[int, ...]]] = {}
        for (x, y), weight in pair_weights(fst, 6, "tropical", 2).items():
            best[x] = max(best.get(x, (-math.inf, ())), (weight, y))
        found = {
            x: (pytest.approx(w), y) for (x, y), w in pair_weights(new, 6, "tropical", 2).items()
        }
        assert best == found


def test_scores_are_sums_over_the_lists():
    rng = np.random.default_rng(10)
    for _ in range(20):
        fsa = we.remove_epsilon(random_machine(rng, cyclic=False))
        new, lists = we.determinize(fsa, ret_arc_map=True)
        sums = [float(fsa.scores[arcs].sum()) for arcs in lists]
        assert new.scores.tolist() == pytest.approx(sums)


@pytest.mark.parametrize("semiring", [TROPICAL, LOG])
def test_gradients_of_totals_go_through_cyclic_determinisation(semiring):
    fsa = acceptor("0 1 1 -1\n0 2 1 -2\n1 1 2 -1\n2 2 2 -1\n1 3 3 0\n2 3 3 -1\n3 4 -1 0\n4")
    new = we.determinize(fsa, semiring)
    assert new.num_states == 4
    scores = fsa.scores.clone().requires_grad_()
    direct = we.get_tot_scores(fsa.with_scores(scores), semiring)
    through = we.get_tot_scores(we.determinize(fsa.with_scores(scores), semiring), semiring)
    (expected,) = torch.autograd.grad(direct.sum(), scores)
    (found,) = torch.autograd.grad(through.sum(), scores)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("semiring", [TROPICAL, LOG])
def test_gradients_of_totals_of_random_cyclic_machines(semiring):
    rng, ended = np.random.default_rng(16), 0
    for _ in range(25):
        fsa = random_machine(rng, epsilon_rate=0, num_states=5, num_arcs=9)
        scores = fsa.scores.clone().requires_grad_()
        try:
            new = we.determinize(fsa.with_scores(scores), semiring, max_states=100)
        except FsaError:
            continue
        if new.num_states == 0:
            continue
        ended += 1
        direct = we.get_tot_scores(fsa.with_scores(scores), semiring)
        through = we.get_tot_scores(new, semiring)
        (expected,) = torch.autograd.grad(direct.sum(), scores)
        (found,) = torch.autograd.grad(through.sum(), scores)
        assert torch.allclose(found, expected)
    assert ended > 15


@pytest.mark.parametrize("attributes", [False, True])
def test_determinisation_without_end_stops_and_says_why(attributes):
    fsa = acceptor(NO_TWINS)
    if attributes:
        fsa.set_attribute_("aux_labels", torch.tensor([0, 0, 50, 51, 0, 0, -1], dtype=torch.int32))
    with pytest.raises(FsaError) as error:
        we.determinize(fsa, max_states=3000)
    for part in (
        "max_states=3000",
        "... 5 5 5",
        "of FSA 0 leads to 2 states, among them 2 and,",
        "better, 1.",
        "The last 1 label, 5, led from the same states to themselves",
        "shifted the difference by 1.000000",
        "no twins property",
        "disambiguation symbols",
    ):
        assert part in str(error.value)
    assert ("still to be written" in str(error.value)) == attributes


def test_long_lists_count_as_arcs():
    fsa = acceptor(NO_TWINS)
    with pytest.raises(FsaError, match=r"lists of old arcs .* outgrow max_arcs/4"):
        we.determinize(fsa, ret_arc_map=True, max_arcs=100_000)


def test_determinize_checks_its_arguments():
    fsa = acceptor("0 1 -1 0\n1")
    with pytest.raises(
        FsaError, match="weight_pushing: must be 'none', 'tropical' or 'log', got 'x'"
    ):
        we.determinize(fsa, weight_pushing="x")
    with pytest.raises(FsaError, match="weight_pushing: must be 'log' in the log semiring"):
        we.determinize(fsa, LOG, "none")
    with pytest.raises(FsaError, match="delta: must be a positive number"):
        we.determinize(fsa, delta=0)


# Minimisation, pushing, disambiguation


def test_minimize_wants_a_deterministic_fsa():
    fsa = acceptor("0 1 5 0\n0 2 5 0\n1 3 -1 0\n2 3 -1 0\n3")
    with pytest.raises(
        FsaError, match=r"FSA 0, state 0 has two arcs with label 5.*arcs 0 and 1.*determinize"
    ):
        we.minimize(fsa)


def test_minimize_tells_outputs_apart():
    text = "0 1 1 {} 0\n0 2 2 {} 0\n1 3 3 2 2\n2 3 3 {} 5\n3 4 -1 -1 0\n4"
    one = Fsa.from_str(text.format(1, 2, 2), num_aux_labels=1)
    other = Fsa.from_str(text.format(1, 2, 3), num_aux_labels=1)
    assert we.minimize(one).num_states == 4
    assert we.minimize(other).num_states == 5
    assert_same_weights(
        pair_weights(we.minimize(one), 2, "tropical"), pair_weights(one, 2, "tropical")
    )


def test_minimize_a_start_state_like_another():
    fsa = acceptor("0 1 1 -1\n0 2 -1 -5\n1 1 1 -1\n1 2 -1 -3\n2")
    assert we.minimize(fsa).num_states == 3
    fsa = acceptor("0 1 1 -1\n0 2 -1 -3\n1 1 1 -1\n1 2 -1 -3\n2")
    assert we.minimize(fsa).num_states == 2


def test_pushed_arcs_are_probabilities():
    rng = np.random.default_rng(11)
    for i in range(20):
        fsa = we.connect(random_machine(rng, cyclic=bool(i % 2)))
        if fsa.num_states == 0:
            continue
        pushed = we.push(fsa)
        sums = torch.zeros(fsa.num_states, dtype=torch.float64)
        sums.index_add_(0, fsa.src_states(), pushed.scores.exp())
        inner = list(range(1, fsa.num_states - 1))
        if not bool((fsa.dst_states() == 0).any()):
            assert sums[inner].tolist() == pytest.approx([1.0] * len(inner))
            assert float(sums[0].log()) == pytest.approx(float(we.get_tot_scores(fsa)))


def test_disambiguation_ends_where_determinisation_does_not():
    fsa = acceptor(NO_TWINS)
    assert we.disambiguate(fsa).to_str() == fsa.to_str()
    ambiguous = acceptor(NO_TWINS.replace("2 3 9", "2 3 8"))
    with pytest.raises(
        FsaError, match=r"outgrows max_states=1000.*States . and . of FSA 0 are reached by the same"
    ):
        we.disambiguate(ambiguous, max_states=1000)


# Best and random paths


def test_unique_paths_of_equal_strings():
    fsa = acceptor("0 1 0 0\n0 1 1 -1\n1 2 1 0\n1 2 0 -1\n2 3 -1 0\n3")
    (paths,) = we.n_shortest_paths(fsa, 10).tolist()
    assert len(paths) == 4
    (paths,) = we.n_shortest_paths(fsa, 10, unique=True).tolist()
    assert [fsa.labels[path].tolist() for path in paths] == [[0, 1, -1], [0, 0, -1], [1, 1, -1]]
    with pytest.raises(FsaError, match="n: must be an integer from 1"):
        we.n_shortest_paths(fsa, 0)


def test_random_paths_are_those_of_k2():
    """The paths that k2's own test expects, of graphs of its kind."""
    doubles = "0 1 1 1\n0 1 2 1\n1 2 3 1\n1 2 4 1\n2 3 -1 1\n2 3 -1 1\n3"
    fans = ("0 1", 4), ("1 2", 3), ("2 3", 2)
    lines = [f"{arc} {label} 1" for arc, count in fans for label in range(1, count + 1)]
    fan = "\n".join([*lines, "3 4 -1 1", "4"])
    fsas = Fsa.from_fsas([Fsa.from_str(text, acceptor=True) for text in (doubles, fan)])
    assert we.random_paths(fsas, 1).tolist() == [[[1, 2, 4]], [[8, 10, 13, 15]]]
    assert we.random_paths(fsas, 2).tolist() == [
        [[0, 3, 4], [1, 3, 4]],
        [[7, 10, 13, 15], [9, 10, 13, 15]],
    ]
    assert we.random_paths(fsas, 4).tolist() == [
        [[0, 2, 5], [0, 3, 5], [1, 2, 5], [1, 3, 5]],
        [[6, 11, 13, 15], [7, 11, 13, 15], [8, 11, 13, 15], [9, 11, 13, 15]],
    ]


@pytest.mark.parametrize("seed", [None, 0])
def test_random_paths_come_as_often_as_they_are_likely(seed):
    fsa = acceptor(
        "0 1 1 -0.5\n0 2 2 0.25\n1 2 3 1\n1 3 -1 0\n2 3 -1 -1\n0 0 4 -9\n3"
        if seed is not None
        else "0 1 1 -0.5\n0 2 2 0.25\n1 2 3 1\n1 3 -1 0\n2 3 -1 -1\n3"
    )
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    (paths,) = we.random_paths(fsa, 4000, generator=generator).tolist()
    total = float(we.get_tot_scores(fsa))
    for path in {tuple(path) for path in paths}:
        share = sum(tuple(p) == path for p in paths) / len(paths)
        expected = math.exp(float(fsa.scores[list(path)].sum()) - total)
        assert share == pytest.approx(expected, abs=0.001 if seed is None else 0.03)


def test_random_paths_of_hopeless_and_cyclic_graphs():
    hopeless = Fsa.from_arcs([[0, 1, 1]], num_states=3)
    good = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]])
    fsas = Fsa.from_fsas([hopeless, good])
    assert we.random_paths(fsas, 2).tolist() == [[], [[1, 2], [1, 2]]]
    with pytest.raises(FsaError, match="Pass generator="):
        we.random_paths(Fsa.from_arcs([[0, 0, 1], [0, 1, -1]]), 1)
    with pytest.raises(FsaError, match="num_paths: must be an integer of at least 1, got 0"):
        we.random_paths(good, 0)


def test_pruning_by_posteriors_is_pruning_by_enumeration():
    rng = np.random.default_rng(12)
    for _ in range(20):
        fsa = random_machine(rng, cyclic=False)
        post = we.get_arc_post(fsa).exp()
        new, arc_map = we.prune_on_arc_post(fsa, 0.2, ret_arc_map=True)
        assert bool((post[arc_map] >= 0.2).all())
        only = fsa.with_scores(torch.where(post >= 0.2, fsa.scores, -math.inf))
        kept = {s: w for s, w in string_weights(only, 6, "log", 2).items() if w > -math.inf}
        assert_same_weights(string_weights(new, 6, "log", 2), kept, 1e-9)
    with pytest.raises(FsaError, match="threshold_prob: must be a probability"):
        we.prune_on_arc_post(fsa, 1.0)


# Equivalence


@pytest.mark.parametrize("name", ["tropical", "log"])
def test_first_difference_is_a_shortest_string_that_differs(name):
    semiring = {"tropical": TROPICAL, "log": LOG}[name]
    rng = np.random.default_rng(13)
    differed = 0
    for i in range(60):
        fsa = random_machine(rng, cyclic=bool(i % 3), epsilon_rate=0.2, num_arcs=9)
        change = rng.normal(size=fsa.num_arcs) * (rng.random(fsa.num_arcs) < 0.3)
        other = fsa.with_scores(fsa.scores - torch.tensor(np.abs(change)))
        try:
            found = we.first_difference(fsa, we.push(other, semiring), semiring, max_states=200)
        except FsaError:
            continue
        a, b = (string_weights(f, 6, name, 2) for f in (fsa, other))
        differ = sorted(
            (s for s in a.keys() | b.keys() if abs(a.get(s, -99) - b.get(s, -99)) > 1e-3), key=len
        )
        assert we.equivalent(fsa, other, semiring, max_states=200) == (found is None)
        if found is None or (len(found[0]) > 6 and not differ):
            assert not differ
            continue
        differed += 1
        labels, weight_a, weight_b = found
        assert len(labels) <= len(differ[0]) if differ else True
        assert weight_a == pytest.approx(a.get(tuple(labels), -math.inf), abs=1e-6)
        assert weight_b == pytest.approx(b.get(tuple(labels), -math.inf), abs=1e-6)
        assert weight_a != weight_b
    assert differed > 10


def test_first_difference_of_structure():
    a = acceptor("0 1 1 0\n1 1 2 -1\n1 2 3 0\n2 3 -1 0\n3")
    b = acceptor("0 1 1 0\n1 2 2 -1\n2 1 2 -1\n1 3 3 0\n3 4 -1 0\n4")
    assert we.first_difference(a, b) == ([1, 2, 3], -1.0, -math.inf)
    nothing = Fsa.from_arcs([], num_states=0)
    assert we.first_difference(nothing, nothing) is None
    assert we.first_difference(nothing, a) == ([1, 3], -math.inf, 0.0)
    with pytest.raises(FsaError, match=r"b: must be one FSA, not a vector; compare b\[i\]"):
        we.first_difference(a, Fsa.from_fsas([a]))


@pytest.mark.parametrize("semiring", [TROPICAL, LOG])
def test_random_equivalence(semiring):
    rng = np.random.default_rng(14)
    noticed = 0
    for i in range(12):
        fsa = random_machine(rng, cyclic=bool(i % 2), epsilon_rate=0.3)
        same = we.push(we.remove_epsilon(fsa, semiring), semiring)
        assert we.is_rand_equivalent(fsa, same, semiring)
        other = fsa.with_scores(fsa.scores - 0.01 * (torch.arange(fsa.num_arcs) % 5 == 0))
        equal = string_weights(fsa, 5, "log", 2) == string_weights(other, 5, "log", 2)
        noticed += not equal and not we.is_rand_equivalent(fsa, other, semiring)
    assert noticed > 5
    looped = we.add_epsilon_self_loops(same)
    if semiring is TROPICAL:
        assert we.is_rand_equivalent(same, looped)
        assert not we.is_rand_equivalent(same, looped, treat_epsilons_specially=False)


def test_random_equivalence_within_a_beam_and_of_vectors():
    a = acceptor("0 1 1 0\n0 1 2 -20\n1 2 -1 0\n2")
    b = acceptor("0 1 1 0\n1 2 -1 0\n2")
    assert not we.is_rand_equivalent(a, b)
    assert we.is_rand_equivalent(a, b, beam=10)
    assert we.is_rand_equivalent(Fsa.from_fsas([a, b]), Fsa.from_fsas([a, b]))
    assert not we.is_rand_equivalent(Fsa.from_fsas([a, b]), Fsa.from_fsas([b, b]))
    with pytest.raises(FsaError, match="b: must have as many FSAs as a, 2, got 1"):
        we.is_rand_equivalent(Fsa.from_fsas([a, b]), b)


def test_pruning_checks_its_arguments():
    fsa = acceptor("0 1 -1 0\n1")
    for wrong in (-1, math.nan, "3"):
        with pytest.raises(FsaError, match="weight_threshold: must be 0 or a positive number"):
            we.prune(fsa, wrong)
    with pytest.raises(FsaError, match="state_threshold: must not be negative, got -1"):
        we.prune(fsa, 1, -1)
