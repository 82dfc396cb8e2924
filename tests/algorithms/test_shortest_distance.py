"""Recursions against the list of all paths, k2's numbers, and the edge cases."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from pathlib import Path

import pytest
import torch

from wfst_entropy import _native
from wfst_entropy.algorithms import (
    get_arc_post,
    get_backward_scores,
    get_forward_scores,
    get_tot_scores,
    path_entropy,
    shortest_distance,
)
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import CyclicFsaError, FsaError, FsaTypeError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    ConditionalKLSemiring,
    CountingSemiring,
    KBestTropicalSemiring,
    LogEntropySemiring,
    LogReverseKLSemiring,
    LogSemiring,
    ProductSemiring,
    RealSemiring,
    Semiring,
    TropicalSemiring,
    map_slots,
)

INF = float("inf")
ALL = slice(None)


class MatrixSemiring(Semiring):
    """2 x 2 real matrices: order matters, so arcs must be multiplied as the path runs."""

    zero_element, one_element = (0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0)
    commutative = False

    def plus(self, a, b):
        return map_slots(torch.add, a, b)

    def times(self, a, b):
        return (
            a[0] * b[0] + a[1] * b[2],
            a[0] * b[1] + a[1] * b[3],
            a[2] * b[0] + a[3] * b[2],
            a[2] * b[1] + a[3] * b[3],
        )

    def convert(self, log_weights):
        p = log_weights.exp()
        return p, 1 - p, p * p, torch.ones_like(p)


class WorkCounter(CountingSemiring):
    """Counts what a recursion costs."""

    def __init__(self):
        self.items, self.calls = 0, 0

    def times(self, a, b):
        self.items += b.numel()
        self.calls += 1
        return a * b

    def segment_sum(self, value, index, num_segments):
        self.calls += 1
        return super().segment_sum(value, index, num_segments)


SEMIRINGS = [
    LogSemiring(),
    TropicalSemiring(),
    LogEntropySemiring(),
    ConditionalEntropySemiring(),
    LogReverseKLSemiring(),
    ConditionalKLSemiring(),
    CountingSemiring(),
    RealSemiring(),
    KBestTropicalSemiring(3),
    ProductSemiring(LogSemiring(), TropicalSemiring()),
    MatrixSemiring(),
]
every = pytest.mark.parametrize("semiring", SEMIRINGS, ids=repr)


def slots(value):
    return value if isinstance(value, tuple) else (value,)


def same(got, expected):
    assert len(slots(got)) == len(slots(expected))
    for x, y in zip(slots(got), slots(expected)):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)


def scores_for(semiring, fsa):
    if not isinstance(semiring, (LogReverseKLSemiring, ConditionalKLSemiring)):
        return None
    return fsa.scores, fsa.scores.flip(0) * 0.7 - 0.2


def over_paths(semiring, weights, paths):
    """Plus over the paths of times over their arcs, one path after the other."""
    total = semiring.zero((), torch.float64)
    for path in paths:
        product = semiring.one((), torch.float64)
        for arc in path:
            product = semiring.times(product, map_slots(lambda w, a=arc: w[a], weights))
        total = semiring.plus(total, product)
    return total


@every
@pytest.mark.parametrize("seed", range(8))
def test_every_state_sums_its_paths(semiring, seed, random_acyclic, paths_between):
    fsa = random_acyclic(seed)
    scores = scores_for(semiring, fsa)
    weights = semiring.convert(fsa.scores if scores is None else scores)
    forward = shortest_distance(fsa, semiring, scores=scores)
    backward = shortest_distance(fsa, semiring, reverse=True, scores=scores)
    final = fsa.num_states - 1
    for state in range(fsa.num_states):
        at = lambda v, s=state: v[s]  # noqa: E731
        same(map_slots(at, forward), over_paths(semiring, weights, paths_between(fsa, 0, state)))
        same(
            map_slots(at, backward), over_paths(semiring, weights, paths_between(fsa, state, final))
        )
    total = get_tot_scores(fsa, semiring, scores=scores)
    same(total, map_slots(lambda v: v[final:], forward))
    same(total, map_slots(lambda v: v[:1], backward))


@every
def test_a_vector_is_its_members(semiring, random_acyclic):
    empty = Fsa.from_arcs([], torch.zeros(0, dtype=torch.float64))
    fsas = [random_acyclic(seed) for seed in range(20, 26)]
    fsas.insert(3, empty)
    vector = Fsa.from_fsas(fsas)
    scores = scores_for(semiring, vector)
    weights = [scores_for(semiring, fsa) for fsa in fsas]
    if scores is not None:  # the teacher of each member must be the one it has in the vector
        weights = list(zip([f.scores for f in fsas], scores[1].split([f.num_arcs for f in fsas])))
    for function in (get_tot_scores, get_forward_scores, get_backward_scores):
        alone = [function(f, semiring, scores=w) for f, w in zip(fsas, weights)]
        together = function(vector, semiring, scores=scores)
        same(together, map_slots(lambda *v: torch.cat(v), *alone))
    if semiring.has_divide:
        alone = [get_arc_post(f, semiring) for f in fsas]
        same(get_arc_post(vector, semiring), map_slots(lambda *v: torch.cat(v), *alone))


@pytest.mark.parametrize("seed", range(30, 36))
def test_log_and_tropical_gradients_are_those_of_the_path_list(seed, random_acyclic, paths_between):
    fsa = random_acyclic(seed).requires_grad_()
    paths = paths_between(fsa, 0, fsa.num_states - 1)
    log, best = get_tot_scores(fsa), get_tot_scores(fsa, TropicalSemiring())
    if not paths:
        assert log.item() == best.item() == -INF
        for total in (log, best):
            (gradient,) = torch.autograd.grad(total, fsa.scores)
            assert torch.equal(gradient, torch.zeros_like(gradient))
        return
    table = torch.zeros(len(paths), fsa.num_arcs, dtype=torch.float64)
    for row, path in enumerate(paths):
        table[row, path] = 1
    weights = table @ fsa.scores.detach()
    assert log.item() == pytest.approx(weights.logsumexp(0).item())
    assert best.item() == pytest.approx(weights.max().item())
    (gradient,) = torch.autograd.grad(log, fsa.scores)
    torch.testing.assert_close(gradient, weights.softmax(0) @ table)
    torch.testing.assert_close(get_arc_post(fsa).exp(), weights.softmax(0) @ table)
    (gradient,) = torch.autograd.grad(best, fsa.scores)
    assert torch.equal(gradient, table[weights.argmax()])
    through = torch.where(table.bool(), weights[:, None], -INF).amax(0)
    torch.testing.assert_close(get_arc_post(fsa, TropicalSemiring()), through - weights.max())


def test_twice_differentiable(random_acyclic):
    vector = Fsa.from_fsas([random_acyclic(seed, in_order=True) for seed in (40, 41, 42)])
    for semiring in (LogSemiring(), ConditionalEntropySemiring(), LogEntropySemiring()):

        def function(scores, semiring=semiring):
            value = get_tot_scores(vector, semiring, scores=scores)
            return tuple(slot[slot.isfinite()] for slot in slots(value))

        scores = vector.scores.clone().requires_grad_()
        assert torch.autograd.gradcheck(function, scores)
        assert torch.autograd.gradgradcheck(function, scores, fast_mode=True)
    finite = get_arc_post(vector).isfinite()
    posterior = lambda s: get_arc_post(vector, scores=s)[finite]  # noqa: E731
    assert torch.autograd.gradcheck(posterior, scores)


def close_to_k2(got, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    assert got.shape == expected.shape
    assert bool(((got == expected) | ((got - expected).abs() <= 2e-4 * (1 + expected.abs()))).all())


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_parity_with_k2(engine):
    with _native.disabled() if engine == "torch" else contextlib.nullcontext():
        check_parity_with_k2()


def check_parity_with_k2():
    file = Path(__file__).parents[1] / "golden" / "k2" / "total_scores.json"
    cases = json.loads(file.read_text())
    fsas = []
    for case in cases:
        parts = case["fsa"]
        scores = torch.tensor(parts["scores"], dtype=torch.float64)
        fsas.append(Fsa.from_arcs(parts["arcs"], scores, parts["num_states"]))
    vector = Fsa.from_fsas(fsas).requires_grad_()
    states, arcs = [f.num_states for f in fsas], [f.num_arcs for f in fsas]
    assert len(cases) >= 60
    for name, semiring in (("log", LogSemiring()), ("tropical", TropicalSemiring())):
        total = get_tot_scores(vector, semiring)
        (gradient,) = torch.autograd.grad(total.sum(), vector.scores)
        parts = {
            "tot": total.split(1),
            "grad": gradient.split(arcs),
            "forward": get_forward_scores(vector, semiring).split(states),
            "backward": get_backward_scores(vector, semiring).split(states),
        }
        for key, pieces in parts.items():
            for case, piece in zip(cases, pieces):
                close_to_k2(piece.detach(), case[name][key])
    for case, piece in zip(cases, get_arc_post(vector).split(arcs)):
        close_to_k2(piece.detach(), case["arc_post"])


def test_a_graph_without_a_path_has_gradient_zero_everywhere():
    dead_end = Fsa.from_arcs([[0, 1, 5], [2, 3, -1]], torch.tensor([-1.0, -2.0]), 4)
    blocked = Fsa.from_arcs([[0, 1, 5], [1, 2, -1]], torch.tensor([-INF, -2.0]))
    fine = Fsa.from_arcs([[0, 1, 5], [0, 1, 6], [1, 2, -1]], torch.tensor([-1.0, -INF, -2.0]))
    empty = Fsa.from_arcs([])
    vector = Fsa.from_fsas([dead_end, empty, blocked, fine]).requires_grad_()
    for semiring in (LogSemiring(), TropicalSemiring()):
        total = get_tot_scores(vector, semiring)
        assert total.tolist() == [-INF, -INF, -INF, -3.0]
        (gradient,) = torch.autograd.grad(total.sum(), vector.scores)
        assert gradient.tolist() == [0, 0, 0, 0, 1, 0, 1]
        post = get_arc_post(vector, semiring)
        assert post.tolist() == [-INF, -INF, -INF, -INF, 0, -INF, 0]
        (gradient,) = torch.autograd.grad(post.exp().sum(), vector.scores)
        assert gradient.tolist() == [0] * 7
    for kind, last in (("conditional", 0.0), ("raw", 3 * math.exp(-3))):
        entropy = path_entropy(vector, kind)
        assert entropy.tolist() == [0, 0, 0, pytest.approx(last)]
        (gradient,) = torch.autograd.grad(entropy.sum(), vector.scores)
        assert not gradient.isnan().any() and gradient[:4].tolist() == [0] * 4
        assert gradient[5] == 0


def test_no_graphs_at_all():
    nothing = Fsa.from_fsas([])
    assert get_tot_scores(nothing).shape == (0,)
    assert shortest_distance(nothing).shape == (0,)
    assert get_arc_post(nothing).shape == (0,)
    assert path_entropy(Fsa.from_arcs([])).tolist() == [0]
    assert [s.tolist() for s in get_tot_scores(Fsa.from_arcs([]), LogEntropySemiring())] == [
        [-INF],
        [-INF],
    ]


def test_operation_counts_of_the_full_grid():
    # The entropy-semiring paper's Figure 1: U = 3 labels over T = 4 frames on the full grid.
    arcs, place = [], {(t, u): 4 * t + u for t in range(5) for u in range(4)}
    for (t, u), state in place.items():
        arcs += [[state, place[t + 1, u], 0]] if t < 4 else []
        arcs += [[state, place[t, u + 1], u + 1]] if u < 3 else []
    assert len(arcs) == 31
    grid = Fsa.from_arcs([*arcs, [19, 20, -1]])
    assert get_tot_scores(grid, CountingSemiring()).tolist() == [35]


def test_work_is_linear_and_vectorised_by_level():
    # A chain whose every state is also reached from the start: levels at all distances.
    size = 400
    skips = [[0, s, 1] for s in range(2, size)]
    chain = [[s, s + 1, 2] for s in range(size - 1)]
    one = Fsa.from_arcs([*sorted(skips + chain), [size - 1, size, -1]])
    vector = Fsa.from_fsas([one] * 5)
    work = WorkCounter()
    assert get_tot_scores(vector, work).tolist() == [size - 1] * 5
    assert work.items == vector.num_arcs + vector.num_fsas  # each arc once, and each start
    assert work.calls <= 2 * (size + 2)  # one times and one merge a level, for all FSAs at once


def test_time_grows_linearly_with_length():
    def seconds(size: int) -> float:
        state = torch.arange(size).repeat_interleave(2)
        label = torch.where(state == size - 1, -1, 1)
        fsa = Fsa.from_arcs(torch.stack([state, state + 1, label], 1)).requires_grad_()
        best = INF
        for _ in range(3):
            begin = time.process_time()
            torch.autograd.grad(get_tot_scores(fsa), fsa.scores)
            best = min(best, time.process_time() - begin)
        return best

    assert seconds(1600) < 10 * seconds(400)  # a factor 4 if linear, 16 if quadratic


@pytest.mark.parametrize("reverse", [False, True])
def test_a_cycle_is_named(reverse):
    fine = Fsa.from_arcs([[0, 1, 1], [1, 2, -1]])
    cyclic = Fsa.from_arcs([[0, 1, 1], [1, 2, 1], [2, 3, 1], [3, 1, 2], [3, 4, 1], [4, 5, -1]])
    vector = Fsa.from_fsas([fine, cyclic])
    with pytest.raises(CyclicFsaError) as caught:
        shortest_distance(vector, reverse=reverse)
    text = str(caught.value)
    assert "FSA 1" in text and "acyclic" in text and "intersect_dense" in text
    cycle = text.split("cycle of states ")[1].split(" (")[0].split(" -> ")
    assert cycle[0] == cycle[-1] and sorted(cycle[1:]) == ["1", "2", "3"]
    assert ("1", "2") in itertools.pairwise(cycle)  # in the direction of the arcs
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, FsaError)


def test_a_self_loop_and_a_long_cycle_are_named():
    loop = Fsa.from_arcs([[0, 0, 1], [0, 1, -1]])
    with pytest.raises(CyclicFsaError, match=r"FSA 0 has the cycle of states 0 -> 0 \(label 1; "):
        get_tot_scores(loop)
    ring = Fsa.from_arcs([*[[s, (s + 1) % 50, 1] for s in range(50)], [49, 50, -1]])
    with pytest.raises(CyclicFsaError, match=r"(\d+ -> ){10}\.\.\. \(labels (1 ){10}\.\.\.; "):
        get_arc_post(ring)


def test_bad_scores_are_named():
    fsa = Fsa.from_fsas([Fsa.from_arcs([[0, 1, -1]]), Fsa.from_arcs([[0, 1, 7], [1, 2, -1]])])
    for bad, name in ((float("nan"), "nan"), (INF, "inf")):
        scores = torch.tensor([0.0, bad, 0.0])
        with pytest.raises(
            FsaValueError, match=rf"arc 1 \(FSA 1, state 0 to 1, label 7\) has the score {name}"
        ):
            get_tot_scores(fsa, scores=scores)
    with pytest.raises(FsaValueError, match=r"shape \(3,\), one per arc, got .*float32 \(2,\)"):
        get_tot_scores(fsa, scores=torch.zeros(2))
    with pytest.raises(FsaTypeError, match=r"scores: must be a tensor \(3,\), .* got list"):
        get_tot_scores(fsa, scores=[0.0, 0.0, 0.0])
    with pytest.raises(FsaValueError, match=r"at \[2\].*ConditionalEntropySemiring"):
        get_tot_scores(fsa, LogEntropySemiring(), scores=torch.tensor([0.0, -1.0, 0.5]))
    with pytest.raises(FsaTypeError, match=r"pass scores=\(student, teacher\)"):
        get_tot_scores(fsa, LogReverseKLSemiring())
    with pytest.raises(FsaTypeError, match=r"MatrixSemiring\(\) has none; use LogSemiring"):
        get_arc_post(fsa, MatrixSemiring())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_inputs_are_kept(dtype, random_acyclic):
    fsa = random_acyclic(50)
    scores = fsa.scores.to(dtype)
    before = scores.clone()
    for semiring in (LogSemiring(), TropicalSemiring(), ConditionalEntropySemiring()):
        for value in slots(shortest_distance(fsa, semiring, scores=scores)):
            assert value.dtype == dtype
        assert slots(get_arc_post(fsa, semiring, scores=scores))[0].dtype == dtype
    assert torch.equal(scores, before)
