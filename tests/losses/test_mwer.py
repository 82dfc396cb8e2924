"""Minimum risk: the definition, whole lattices against lists of all their paths, samples."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.algorithms import intersect_dense, num_paths
from wfst_entropy.compat import k2
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedTensor
from wfst_entropy.fsa.errors import FsaError, FsaTypeError, FsaValueError
from wfst_entropy.losses import MWERLoss, lattice_mwer_loss, mwer_loss, sampled_mwer_loss
from wfst_entropy.topologies import ctc_topo

INF = math.inf
REFS = [[1, 2], [2], [1, 1]]


def edit_distance(hyp, ref):
    row = list(range(len(ref) + 1))
    for i, token in enumerate(hyp, 1):
        row, last = [i], row
        for j, wanted in enumerate(ref, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (token != wanted)))
    return row[-1]


def lattices(seed=0):
    """Of three utterances of three frames over all token sequences; the third has none."""
    torch.manual_seed(seed)
    scores = torch.randn(3, 3, 3, dtype=torch.float64)
    dense = DenseFsaVec.from_lengths(scores, torch.tensor([3, 2, 3]))
    topo = ctc_topo(2)
    never = topo.with_scores(topo.scores - INF)
    lattice = intersect_dense(Fsa.from_fsas([topo, topo, never]), dense)
    return lattice.with_scores(lattice.scores.detach().double().requires_grad_())


def all_paths(lattice):
    """Log-weights and errors of every path of each lattice, by following arcs."""
    found = []
    for fsa, ref in zip(lattice, REFS):
        rows, done = list(zip(fsa.arcs.tolist(), fsa.aux_labels.tolist())), []
        partial = [(0, fsa.scores.new_zeros(()), ())] if fsa.num_states else []
        while partial:
            state, weight, tokens = partial.pop()
            for a, ((src, dst, label), token) in enumerate(rows):
                if src == state:
                    path = (dst, weight + fsa.scores[a], tokens + ((token,) if token > 0 else ()))
                    done.append(path[1:]) if label < 0 else partial.append(path)
        found.append([(weight, edit_distance(tokens, ref)) for weight, tokens in done])
    return found


def expected(rows, temperature=1.0):
    weights = torch.stack([weight for weight, _ in rows]) / temperature
    risks = weights.new_tensor([errors for _, errors in rows])
    return (weights.softmax(0) * risks).sum()


def test_lists_follow_the_definition():
    log_probs = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -INF, -3.0]], dtype=torch.float64)
    log_probs.requires_grad_()
    risks = torch.tensor([[1, 0, 3], [4, 9, 2]])
    first = (log_probs[0] / 2).softmax(0) @ risks[0].double()
    each = mwer_loss(log_probs, risks, "none", temperature=2.0)
    torch.testing.assert_close(each, torch.stack([first, torch.tensor(3.0).double()]))
    centred = mwer_loss(log_probs, risks, "none", temperature=2.0, subtract_mean=True)
    torch.testing.assert_close(centred, each - each.new_tensor([4 / 3, 3.0]))
    grads = [torch.autograd.grad(x.sum(), log_probs)[0] for x in (each, centred)]
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0][1, 1] == 0 and grads[0].isfinite().all()
    # lists are normalised: what is added to all log-probabilities does not matter
    torch.testing.assert_close(mwer_loss(log_probs - 7.0, risks, "none", temperature=2.0), each)
    assert mwer_loss(log_probs, risks, "sum", temperature=2.0) == each.sum()
    module = MWERLoss("mean", temperature=2.0)
    assert module(log_probs, risks) == each.mean() and "temperature=2.0" in repr(module)


def test_ragged_and_padded_lists_are_the_same():
    ragged = RaggedTensor.from_lists([[-1.0, -2.0], [], [-0.5]], torch.float64)
    risks = RaggedTensor.from_lists([[1.0, 3.0], [], [2.0]], torch.float64)
    padded = torch.tensor([[-1.0, -2.0], [-INF, -INF], [-0.5, -INF]], dtype=torch.float64)
    numbers = torch.tensor([[1.0, 3.0], [INF, math.nan], [2.0, INF]])  # read where a hypothesis is
    for loss in (mwer_loss, lambda *args: sampled_mwer_loss(*args, baseline=False)):
        torch.testing.assert_close(loss(ragged, risks, "none"), loss(padded, numbers, "none"))
        assert loss(ragged, risks, "none")[1] == 0


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_lattices_are_lists_of_all_their_paths(temperature):
    lattice = lattices()
    rows = all_paths(lattice)
    assert num_paths(lattice).tolist() == [27, 9, 0] == [len(x) for x in rows]
    wanted = torch.stack([expected(x, temperature) for x in rows[:2]])
    for count in (None, 30):
        found = lattice_mwer_loss(lattice, REFS, count, "none", temperature=temperature)
        torch.testing.assert_close(found[:2], wanted)
        assert found[2] == 2  # recognises nothing: two deletions
        grads = [torch.autograd.grad(x[:2].sum(), lattice.scores, retain_graph=True)[0]
                 for x in (found, wanted)]  # fmt: skip
        torch.testing.assert_close(*grads)
    best = [sorted(x, key=lambda row: -float(row[0].detach()))[:4] for x in rows[:2]]
    found = lattice_mwer_loss(lattice, REFS, 4, "none", temperature=temperature)
    torch.testing.assert_close(found[:2], torch.stack([expected(x, temperature) for x in best]))


def test_tokens_may_be_labels_and_lists():
    lattice = Fsa.from_str("0 1 1 0\n0 1 2 0.5\n1 2 3 0\n2 3 -1 0\n3", acceptor=True)
    lists = RaggedTensor.from_lists([[1, 2], [], [3], [-1]], torch.int32)
    lattice = lattice.with_scores(lattice.scores.double())
    lattice.set_attribute_("words", lists)
    p = torch.tensor([0.0, 0.5], dtype=torch.float64).softmax(0)
    for count in (None, 2):
        by_label = lattice_mwer_loss(lattice, [[1, 3]], count, tokens="labels")
        torch.testing.assert_close(by_label, p[1])
        by_word = lattice_mwer_loss(lattice, [[3]], count, tokens="words")
        torch.testing.assert_close(by_word, 2 * p[0])


@pytest.mark.parametrize("baseline, count", [(True, 2), (True, 3), (False, 1), (False, 2)])
def test_the_estimate_is_right_on_average(baseline, count):
    """The expectation over all draws, one by one, of value and gradient."""
    scores = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64).requires_grad_()
    risks = torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64)
    log_probs = scores.log_softmax(0)
    draws = torch.tensor(list(itertools.product(range(3), repeat=count)))
    chances = log_probs.detach()[draws].sum(1).exp()
    losses = sampled_mwer_loss(log_probs[draws], risks[draws], "none", baseline=baseline)
    wanted = (log_probs.exp() * risks).sum()
    torch.testing.assert_close((chances * losses).sum(), wanted)
    found = (chances * losses).sum()
    grads = [torch.autograd.grad(x, scores, retain_graph=True)[0] for x in (found, wanted)]
    torch.testing.assert_close(*grads)


def test_samples_of_a_lattice():
    lattice = lattices()
    exact = lattice_mwer_loss(lattice, REFS, None, "sum")
    sampled = lattice_mwer_loss(
        lattice, REFS, 4000, "sum", generator=torch.Generator().manual_seed(0)
    )
    assert abs(sampled - exact) < 0.1 and sampled != exact
    by_exact, by_sampled = (torch.autograd.grad(x, lattice.scores)[0] for x in (exact, sampled))
    torch.testing.assert_close(by_sampled, by_exact, rtol=0, atol=0.05)
    cold = lattice_mwer_loss(
        lattice, REFS, 3, "none", temperature=1e-4, generator=torch.Generator().manual_seed(0)
    )
    best = lattice_mwer_loss(lattice, REFS, 1, "none")
    torch.testing.assert_close(cold, best)  # only the best path is left


def test_k2s_loss_is_that_of_its_list():
    lattice = lattices()[:2]
    graph = k2.Fsa.from_core(lattice.with_scores(lattice.scores.detach().float()))
    nbest = k2.Nbest.from_lattice(graph, 50, True, 1.0)
    utterances = nbest.shape.row_ids(1).tolist()
    weights, errors = [[], []], [[], []]
    for n, path in zip(utterances, nbest.fsa.core):
        weights[n].append(float(path.scores.sum()))
        tokens = [token for token in path.aux_labels.tolist() if token > 0]
        errors[n].append(edit_distance(tokens, REFS[n]))
    lists = [RaggedTensor.from_lists(x, torch.float32) for x in (weights, errors)]
    found = mwer_loss(*lists, "sum", temperature=1.5)
    wanted = k2.mwer_loss(graph, REFS[:2], nbest_scale=1.0, num_paths=50, temperature=1.5)
    torch.testing.assert_close(found, wanted.float())


def test_gradients_of_gradients():
    risks = torch.tensor([[1.0, 0.0, 2.0]])
    log_probs = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: mwer_loss(x, risks, temperature=1.3), log_probs)
    assert gradgradcheck(lambda x: mwer_loss(x, risks, temperature=1.3), log_probs, fast_mode=True)
    lattice = lattices()
    for count in (None, 30):

        def loss(scores, count=count):
            return lattice_mwer_loss(lattice.with_scores(scores), REFS, count, temperature=1.3)

        assert gradcheck(loss, lattice.scores, fast_mode=True)
        with _native.disabled():
            assert gradgradcheck(loss, lattice.scores, fast_mode=True)


PAIR = torch.zeros(1, 2)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: mwer_loss(PAIR, torch.zeros(1, 3)), FsaValueError, "risks: must have one number"),
        (lambda: mwer_loss(PAIR[0], PAIR[0]), FsaValueError, r"log_probs: must be \(N, K\)"),
        (lambda: mwer_loss([0.0], PAIR), FsaTypeError, "log_probs: must be a tensor"),
        (lambda: mwer_loss(PAIR.long(), PAIR), FsaTypeError, "must be floating point"),
        (
            lambda: mwer_loss(torch.tensor([[0.0, math.nan]]), PAIR),
            FsaValueError,
            "log_probs: hypothesis 1 of utterance 0 has nan",
        ),
        (
            lambda: mwer_loss(PAIR, torch.tensor([[INF, 0.0]])),
            FsaValueError,
            "risks: hypothesis 0 of utterance 0 has inf",
        ),
        (lambda: mwer_loss(PAIR, PAIR, temperature=0.0), FsaValueError, "temperature: must be"),
        (lambda: mwer_loss(PAIR, PAIR, "average"), FsaValueError, "reduction: must be one of"),
        (lambda: mwer_loss(PAIR[:0], PAIR[:0]), FsaValueError, "no utterances"),
        (
            lambda: sampled_mwer_loss(PAIR[:, :1], PAIR[:, :1]),
            FsaValueError,
            "utterance 0 has a single sample",
        ),
        (
            lambda: lattice_mwer_loss(lattices(), REFS, generator=torch.Generator()),
            FsaValueError,
            "num_paths: a generator",
        ),
        (
            lambda: lattice_mwer_loss(lattices(), REFS[:2], 3),
            FsaError,
            "one list for each of the 3",
        ),
        (lambda: lattice_mwer_loss(lattices(), REFS, 0), FsaError, "must be an integer from 1"),
        (
            lambda: lattice_mwer_loss(lattices(), REFS, 3, tokens="words"),
            FsaError,
            "'words' is not on the arcs",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
