"""Divergence of the alignments of any graphs: all paths one by one, the CTC loss, errors."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.algorithms import intersect_dense_tot_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaValueError
from wfst_entropy.losses import ctc_alignment_kl, fsa_alignment, fsa_alignment_kl
from wfst_entropy.semirings import ConditionalKLSemiring
from wfst_entropy.topologies import ctc_graph

INF = math.inf
LENGTHS = torch.tensor([4, 3, 1, 0])

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())


def random_graph(seed, num_states=5, num_arcs=12):
    """Loops, arcs backwards, parallel arcs, dead ends, two ways to end; float64 scores."""
    rng = random.Random(seed)
    inner = range(num_states - 1)
    arcs = [(rng.choice(inner), rng.choice(inner), rng.randrange(4)) for _ in range(num_arcs)]
    arcs += [arcs[0], (rng.choice(inner), num_states - 1, -1), (0, num_states - 1, -1)]
    scores = torch.tensor([rng.gauss(0, 1) for _ in arcs], dtype=torch.float64)
    return Fsa.from_arcs(sorted(arcs), scores, num_states)


def path_weights(graph, graph_scores, scores):
    """The log-weight of each path of one graph over scores (T, C), by following arcs."""
    weights, partial = [], [(0, 0, scores.new_zeros(()))]
    while partial:
        state, t, weight = partial.pop()
        for a, (src, dst, label) in enumerate(graph.arcs.tolist()):
            if src != state or (label < 0) != (t == len(scores)):
                continue
            if label < 0:
                weights.append(weight + graph_scores[a])
            else:
                partial.append((dst, t + 1, weight + graph_scores[a] + scores[t, label]))
    return torch.stack(weights) if weights else scores.new_zeros(0)


def random_models(seed=0, n=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(n, 5, 4, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)
    ]


def dense(scores, lengths=LENGTHS):
    return DenseFsaVec.from_lengths(scores, lengths)


@pytest.mark.parametrize("teacher_grad", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_equals_enumeration_of_all_paths(engine, divergences, shared, reverse, teacher_grad):
    graphs = [random_graph(1 if shared else seed) for seed in range(4)]
    graph = graphs[0] if shared else Fsa.from_fsas(graphs)
    graph = graph.with_scores(graph.scores.clone().requires_grad_())
    student, teacher = random_models()
    out = fsa_alignment_kl(
        graph, dense(student), dense(teacher), reverse=reverse, teacher_grad=teacher_grad
    )
    kls, nlls, exists, first_arc = [], [], [], 0
    for n, single in enumerate(graphs):
        own = graph.scores if shared else graph.scores[first_arc : first_arc + single.num_arcs]
        first_arc += single.num_arcs
        taught = own if teacher_grad else own.detach()
        models = [(own, student), (taught, teacher if teacher_grad else teacher.detach())]
        paths = [path_weights(single, w, x[n, : LENGTHS[n]]) for w, x in models]
        first, second = paths if reverse else reversed(paths)
        kls.append(divergences(first, second)[0])
        nlls.append(-paths[0].logsumexp(0))
        exists.append(len(first) > 0)
    wanted = out._replace(kl=torch.stack(kls), nll=torch.stack(nlls))
    torch.testing.assert_close(out.kl, wanted.kl, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.nll, wanted.nll, rtol=1e-9, atol=1e-9)
    inputs = [student, graph.scores, *([teacher] if teacher_grad else [])]
    for field in ("kl", "nll"):
        finite = torch.isfinite(getattr(wanted, field).detach())
        grads = (
            torch.autograd.grad(
                getattr(x, field)[finite].sum(), inputs, retain_graph=True, materialize_grads=True
            )
            for x in (out, wanted)
        )
        for x, y in zip(*grads, strict=True):
            torch.testing.assert_close(x, y.nan_to_num(0.0), rtol=1e-9, atol=1e-9)
    assert out.valid.tolist() == exists
    assert any(exists)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["conditional", "raw", "per_frame", "per_label"])
def test_a_ctc_graph_gives_the_ctc_divergence(engine, kind, dtype):
    student, teacher = random_models(dtype=dtype)
    targets, counts = torch.tensor([[1, 1], [2, 3], [3, 0], [1, 0]]), torch.tensor([2, 2, 1, 1])
    graph = ctc_graph([y[:c].tolist() for y, c in zip(targets, counts, strict=True)])
    models = (dense(student), dense(teacher))
    out = fsa_alignment_kl(graph, *models, counts, kind=kind, teacher_grad=True)
    wanted = ctc_alignment_kl(
        student, teacher, targets, LENGTHS, counts, kind=kind, teacher_grad=True
    )
    tolerance = 1e-9 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(out, wanted, rtol=tolerance, atol=tolerance)
    grads = (torch.autograd.grad(x.kl.sum(), [student, teacher]) for x in (out, wanted))
    for x, y in zip(*grads, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def masked_models(seed, dtype):
    """Graphs and models with scores that are no mass, and sequences that share frames."""
    generator = torch.Generator().manual_seed(seed)
    graph = Fsa.from_fsas([random_graph(seed + n) for n in range(4)])
    scores = graph.scores.to(dtype)
    scores[torch.rand(scores.shape, generator=generator) < 0.1] = -1e30
    models = [4 * x.detach() for x in random_models(seed, dtype=dtype)]
    for x in models:
        x[torch.rand(x.shape, generator=generator) < 0.1] = -INF
    inputs = [x.requires_grad_() for x in (*models, scores)]
    segments = torch.tensor([[0, 0, 4], [1, 1, 3], [1, 0, 4], [3, 2, 0]])
    return graph, inputs, segments


def totals_and_gradients(graph, inputs, segments, **options):
    models = (DenseFsaVec(x, segments) for x in inputs[:2])
    out = fsa_alignment_kl(graph.with_scores(inputs[2]), *models, teacher_grad=True, **options)
    loss = torch.where(out.kl < INF, out.kl, 0.0) + 0.7 * torch.where(out.nll < INF, out.nll, 0.0)
    return (*out, *torch.autograd.grad(loss.sum(), inputs))


@needs_native
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("instruction_set", ["portable", "avx2", "avx512"])
def test_kernels_equal_their_torch_twin(instruction_set, dtype, tolerance, reverse):
    infinite = 0
    for seed in range(4):
        case = masked_models(seed, dtype)
        try:
            with _native.using_instruction_set(instruction_set):
                out = totals_and_gradients(*case, reverse=reverse)
        except RuntimeError as error:
            pytest.skip(str(error))
        with _native.disabled():
            twin = totals_and_gradients(*case, reverse=reverse)
        infinite += int((out[0] == INF).sum())
        for x, y in zip(out, twin, strict=True):
            torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)
    assert 0 < infinite < 16


@needs_native
def test_a_sequence_depends_on_neither_its_batch_nor_the_threads():
    graph, inputs, segments = masked_models(0, torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(totals_and_gradients(graph, inputs, segments))
    finally:
        torch.set_num_threads(before)
    for x, y in zip(*results, strict=True):
        assert torch.equal(x, y)
    first = 0
    for s in range(4):
        one = graph[s : s + 1]
        own = inputs[2].detach()[first : first + one.num_arcs].clone().requires_grad_()
        first += one.num_arcs
        alone = totals_and_gradients(one, [*inputs[:2], own], segments[s : s + 1])
        for x, y in zip(alone[:3], results[0][:3], strict=True):
            assert torch.equal(x[0], y[s])


@needs_native
def test_kernel_refuses_a_second_derivative():
    student, teacher = random_models()
    kl = fsa_alignment_kl(random_graph(1), dense(student), dense(teacher)).kl.sum()
    (grad,) = torch.autograd.grad(kl, student, create_graph=True)
    with pytest.raises(FsaRuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_gradcheck(engine):
    graph = random_graph(1)
    inputs = [x.detach()[:1].clone().requires_grad_() for x in random_models()]
    inputs.append(graph.scores.clone().requires_grad_())

    def run(student, teacher, scores):
        models = (dense(x, torch.tensor([2])) for x in (student, teacher))
        return fsa_alignment_kl(graph.with_scores(scores), *models, teacher_grad=True)[:2]

    assert gradcheck(run, inputs)
    if engine == "torch":
        assert gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("reverse", [False, True])
def test_where_one_of_the_models_has_no_path(engine, reverse):
    """Per sequence: all fine; lost one path; wholly lost; the first model has none."""
    graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    student, teacher = (x.detach() for x in random_models())
    first, second = (student, teacher) if reverse else (teacher, student)
    second[1, 1, 0] = -INF
    second[2, 2, :2] = -1e30
    first[3, 0] = -INF
    student.requires_grad_(), teacher.requires_grad_()
    lengths = torch.tensor([4] * 4)
    models = (dense(student, lengths), dense(teacher, lengths))
    out = fsa_alignment_kl(graph, *models, reverse=reverse, teacher_grad=True)
    assert out.valid.tolist() == [True, False, False, False]
    assert out.kl[1:].tolist() == [INF, INF, 0.0]
    for grad in torch.autograd.grad(out.kl.sum(), [student, teacher], retain_graph=True):
        assert grad[1:].abs().max() == 0
        assert grad[0].abs().max() > 0
    plain = fsa_alignment(graph, models[0])
    torch.testing.assert_close(out.nll, plain.nll, rtol=1e-9, atol=1e-9)
    (grad,) = torch.autograd.grad(out.nll.sum(), student)
    (wanted,) = torch.autograd.grad(plain.nll.sum(), student)
    torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-9)


def test_a_semiring_over_two_models_takes_a_tuple(engine):
    graph = random_graph(1)
    student, teacher = random_models()
    models = (dense(student), dense(teacher))
    value = intersect_dense_tot_scores(graph, models, ConditionalKLSemiring())
    out = fsa_alignment_kl(graph, *models)
    torch.testing.assert_close((-value[0], value[2]), (out.nll, out.kl), rtol=1e-9, atol=1e-9)
    twice = intersect_dense_tot_scores(
        Fsa.from_fsas([graph, graph]), models, ConditionalKLSemiring(), a_to_b_map=[1, 1]
    )
    torch.testing.assert_close(twice[2], value[2][[1, 1]], rtol=1e-9, atol=1e-9)


def test_sequences_may_be_cut_from_different_utterances(engine):
    graph = random_graph(1)
    student, teacher = random_models()
    segments = torch.tensor([[0, 1, 3], [2, 0, 2]]), torch.tensor([[3, 2, 3], [0, 3, 2]])
    models = [DenseFsaVec(x, s) for x, s in zip((student, teacher), segments, strict=True)]
    out = fsa_alignment_kl(graph, *models)
    for s in range(2):
        alone = [dense(model[s][None], torch.tensor([len(model[s])])) for model in models]
        one = fsa_alignment_kl(graph, *alone)
        torch.testing.assert_close(out.kl[s], one.kl[0], rtol=1e-9, atol=1e-9)


def test_errors_say_what_and_where(engine):
    graph = random_graph(1)
    student, teacher = random_models()
    with pytest.raises(FsaValueError, match=r"teacher_dense: must have sequences as long as"):
        fsa_alignment_kl(graph, dense(student), dense(teacher, LENGTHS.flip(0)))
    with pytest.raises(FsaValueError, match="target_lengths: kind="):
        fsa_alignment_kl(graph, dense(student), dense(teacher), kind="per_label")
    with pytest.raises(FsaValueError, match="labels lie in"):
        fsa_alignment_kl(graph, dense(student), dense(teacher[:, :, :2]))
    teacher.data[1, 0] = math.nan
    with pytest.raises(FsaValueError, match="teacher_dense: the score of utterance 1, frame 0"):
        fsa_alignment_kl(graph, dense(student), dense(teacher))
