"""Divergence of CTC alignments: definitions, laws, edge cases, engines, invariances, errors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaError, FsaRuntimeError, FsaTypeError, FsaValueError
from wfst_entropy.losses import ctc_alignment, ctc_alignment_kl

INF = math.inf
# maths: rows are frames
S = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]], dtype=torch.float64).log()
T = torch.tensor([[0.2, 0.7, 0.1], [0.3, 0.5, 0.2], [0.5, 0.25, 0.25]], dtype=torch.float64).log()

needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
directions = pytest.mark.parametrize("reverse", [False, True])


def random_pair(seed=0, n=4, num_frames=20, num_symbols=7, num_labels=5, dtype=torch.float64):
    """Student, teacher, and ragged transcripts with a repeated label; unnormalised scores."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, num_frames, num_symbols)
    models = [2 * torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2)]
    targets = torch.randint(1, num_symbols, (n, num_labels), generator=generator)
    targets[0, 1:2] = targets[0, 0]
    input_lengths = torch.randint(2 * num_labels, num_frames + 1, (n,), generator=generator)
    target_lengths = torch.randint(1, num_labels + 1, (n,), generator=generator)
    student, teacher = (x.requires_grad_() for x in models)
    return student, teacher, targets, input_lengths, target_lengths


def gradients(out, *inputs, by_nll=0.7):
    loss = torch.where(out.kl < INF, out.kl, 0.0) + by_nll * torch.where(out.nll < INF, out.nll, 0)
    return torch.autograd.grad(loss.sum(), inputs, materialize_grads=True)


def assert_same(a, b, tolerance=0.0):
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("labels", "nll", "raw", "forward", "backward"),
    [
        ([1], 1.1520130654, 0.3263658523, 0.3433333120, 0.3428081489),
        ([1, 2], 1.6820086053, 0.1454542279, 0.1660440772, 0.2171080635),
    ],
)
def test_exact_vectors(engine, labels, nll, raw, forward, backward):
    args = (S[None], T[None], torch.tensor([labels]), [3], [len(labels)])
    out = ctc_alignment_kl(*args)
    assert out.kl.item() == pytest.approx(forward, abs=1e-9)
    assert out.nll.item() == pytest.approx(nll, abs=1e-9)
    assert out.valid.item()
    assert ctc_alignment_kl(*args, reverse=True).kl.item() == pytest.approx(backward, abs=1e-9)
    assert ctc_alignment_kl(*args, kind="raw").kl.item() == pytest.approx(raw, abs=1e-9)
    for kind, divisor in (("per_frame", 3), ("per_label", len(labels))):
        kl = ctc_alignment_kl(*args, kind=kind).kl.item()
        assert kl == pytest.approx(forward / divisor, abs=1e-9)


@directions
@pytest.mark.parametrize("kind", ["conditional", "raw"])
def test_equals_enumeration_of_all_paths(engine, ctc_enumeration, divergences, reverse, kind):
    torch.manual_seed(1)
    labels, lengths = [[1, 2], [2, 2], [], [1, 1], [2]], [4, 3, 2, 2, 0]
    student, teacher = (
        (torch.randn(5, 4, 3, dtype=torch.float64) - 1).requires_grad_() for _ in range(2)
    )
    targets = torch.tensor([y + [0] * (2 - len(y)) for y in labels])
    counts = [len(y) for y in labels]
    out = ctc_alignment_kl(
        student, teacher, targets, lengths, counts, kind=kind, reverse=reverse, teacher_grad=True
    )
    kls, nlls = [], []
    for n, y in enumerate(labels):
        paths = [ctc_enumeration(x[n, : lengths[n]], y) for x in (student, teacher)]
        first, second = paths if reverse else reversed(paths)
        kls.append(divergences(first, second)[kind == "raw"])
        nlls.append(-paths[0].logsumexp(0))
    wanted = out._replace(kl=torch.stack(kls), nll=torch.stack(nlls))
    assert_same(out[:2], wanted[:2], 1e-9)
    assert out.valid.tolist() == [True, True, True, False, False]
    for x, y in zip(
        gradients(out, student, teacher), gradients(wanted, student, teacher), strict=True
    ):
        torch.testing.assert_close(x, y.nan_to_num(0.0), rtol=1e-9, atol=1e-9)


def test_student_gradient_is_the_difference_of_posteriors(engine):
    student, teacher, *labels = random_pair()
    posteriors = [
        -torch.autograd.grad(ctc_alignment(x, *labels).nll.sum(), x)[0] for x in (student, teacher)
    ]
    (grad,) = torch.autograd.grad(ctc_alignment_kl(student, teacher, *labels).kl.sum(), student)
    torch.testing.assert_close(grad, posteriors[0] - posteriors[1], rtol=1e-9, atol=1e-9)


@directions
def test_the_teacher_has_no_gradient_unless_wanted(engine, reverse):
    student, teacher, *labels = random_pair()
    out = ctc_alignment_kl(student, teacher, *labels, reverse=reverse)
    grad, nothing = torch.autograd.grad(out.kl.sum(), [student, teacher], allow_unused=True)
    assert nothing is None
    both = ctc_alignment_kl(student, teacher, *labels, reverse=reverse, teacher_grad=True)
    assert_same(both, out)
    same, other = torch.autograd.grad(both.kl.sum(), [student, teacher])
    torch.testing.assert_close(same, grad, rtol=1e-12, atol=1e-12)
    assert other.abs().max() > 0


def test_reverse_exchanges_the_models(engine):
    student, teacher, *labels = random_pair()
    one = ctc_alignment_kl(student, teacher, *labels, reverse=True)
    other = ctc_alignment_kl(teacher, student, *labels)
    assert torch.equal(one.kl, other.kl)
    assert torch.equal(one.nll, ctc_alignment_kl(student, student, *labels).nll)
    torch.testing.assert_close(one.nll, ctc_alignment(student, *labels).nll)


# --- laws


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_divergence_from_oneself(engine, dtype, reverse):
    student, _, *labels = random_pair(num_frames=60, dtype=dtype)
    teacher = student.detach().clone().requires_grad_()
    out = ctc_alignment_kl(student, teacher, *labels, reverse=reverse, teacher_grad=True)
    assert torch.equal(out.kl, torch.zeros_like(out.kl))
    for grad in gradients(out, student, teacher, by_nll=0.0):
        assert grad.abs().max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.01, 1.0, 20.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    reverse=st.booleans(),
)
def test_never_negative_and_free_of_the_normaliser(seed, scale, dtype, reverse):
    student, teacher, *labels = random_pair(seed, num_frames=12, dtype=dtype)
    student, teacher = scale * student.detach(), scale * teacher.detach()
    kl = ctc_alignment_kl(student, teacher, *labels, reverse=reverse).kl
    assert bool((kl >= 0).all())
    options = {"reverse": reverse, "fused_log_softmax": True}
    normalised = ctc_alignment_kl(student, teacher, *labels, **options).kl
    tolerance = 1e-9 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(kl, normalised, rtol=tolerance, atol=tolerance)


def test_fused_log_softmax(engine):
    student, teacher, *labels = random_pair()
    fused = ctc_alignment_kl(student, teacher, *labels, kind="raw", fused_log_softmax=True)
    models = student.log_softmax(2), teacher.log_softmax(2)
    apart = ctc_alignment_kl(*models, *labels, kind="raw")
    assert_same(fused, apart, 1e-12)
    assert_same(gradients(fused, student), gradients(apart, student), 1e-12)


def test_fused_log_softmax_reads_no_padding_and_names_the_model(engine):
    student, teacher, targets, frames, counts = random_pair()
    frames = torch.full_like(frames, 12)
    wanted = ctc_alignment_kl(student, teacher, targets, frames, counts, fused_log_softmax=True)
    padded = [x.detach().clone() for x in (student, teacher)]
    for x in padded:
        x[:, 12:] = math.nan
        x.requires_grad_()
    out = ctc_alignment_kl(
        *padded, targets, frames, counts, fused_log_softmax=True, teacher_grad=True
    )
    assert_same(out, wanted)
    grads = gradients(out, *padded)
    assert_same(grads[:1], gradients(wanted, student), 1e-12)
    assert grads[1][:, 12:].abs().max() == 0
    padded[1].data[1, 3, 2] = math.nan
    with pytest.raises(
        FsaValueError, match=r"teacher_log_probs: .* utterance 1, frame 3, symbol 2"
    ):
        ctc_alignment_kl(*padded, targets, frames, counts, fused_log_softmax=True)


# --- the table of edge cases


@directions
def test_where_one_of_the_models_has_no_path(engine, reverse):
    """Per utterance: all fine; lost one of two paths; nothing there; wholly lost; first none."""
    generator = torch.Generator().manual_seed(3)
    student, teacher = (
        torch.randn(5, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    first, second = (student, teacher) if reverse else (teacher, student)
    second[1, 1, 0] = -INF
    second[2, 0, 2] = -1e30  # no path begins with the second label
    second[3, 2, :2] = -INF
    first[4, 1] = -INF
    targets, lengths = torch.tensor([[1, 2]] * 3 + [[1, 0]] * 2), ([3] * 5, [2, 2, 2, 1, 1])
    models = (student.requires_grad_(), teacher.requires_grad_())
    out = ctc_alignment_kl(*models, targets, *lengths, reverse=reverse, teacher_grad=True)
    assert out.valid.tolist() == [True, False, True, False, False]
    assert [out.kl[n].item() for n in (1, 3, 4)] == [INF, INF, 0.0]
    plain = ctc_alignment(models[0], targets, *lengths)
    torch.testing.assert_close(out.nll, plain.nll, rtol=1e-12, atol=1e-12)
    for grad in torch.autograd.grad(
        torch.where(out.valid, out.kl, 0 * out.kl.detach().clamp(max=0)).sum(),
        models,
        retain_graph=True,
    ):
        assert bool(grad[[0, 2]].abs().amax((1, 2)).gt(0).all())
        assert grad[[1, 3, 4]].abs().max() == 0
    for grad in torch.autograd.grad(out.kl.sum(), models, retain_graph=True):
        assert grad[[1, 3, 4]].abs().max() == 0  # an infinite one in the sum does no harm
    (grad,) = torch.autograd.grad(out.nll.sum(), models[0])
    (wanted,) = torch.autograd.grad(plain.nll.sum(), models[0])
    torch.testing.assert_close(grad, wanted, rtol=1e-12, atol=1e-12)


@directions
def test_a_raw_divergence_stays_infinite_without_gradient(engine, reverse):
    student, teacher = S[None].clone(), T[None].clone()
    (teacher if reverse else student)[0, 1, 0] = -INF
    models = (student.requires_grad_(), teacher.requires_grad_())
    out = ctc_alignment_kl(
        *models, torch.tensor([[1]]), [3], [1], kind="raw", reverse=reverse, teacher_grad=True
    )
    assert out.kl.item() == INF
    assert not out.valid.item()
    for grad in torch.autograd.grad(out.kl.sum(), models):
        assert grad.abs().max() == 0


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_path_has_no_divergence_at_all(engine, dtype, reverse):
    student, teacher = (
        torch.randn(1, 80, 4, dtype=dtype, generator=torch.Generator().manual_seed(n))
        for n in range(2)
    )
    targets = torch.tensor([[1, 2, 3] * 26 + [1, 2]])
    models = (student.requires_grad_(), teacher.requires_grad_())
    out = ctc_alignment_kl(*models, targets, [80], [80], reverse=reverse, teacher_grad=True)
    assert out.kl.item() == 0
    assert out.valid.item()
    for grad in torch.autograd.grad(out.kl.sum(), models):
        tolerance = 0 if engine == "native" else 1e-12
        assert grad.abs().max() <= tolerance


def test_empty_transcripts_and_no_frames(engine):
    student, teacher = S[None].expand(2, -1, -1), T[None].expand(2, -1, -1)
    out = ctc_alignment_kl(student, teacher, torch.zeros(2, 0, dtype=torch.int64), [3, 0], [0, 0])
    assert out.kl.tolist() == [0, 0]
    assert out.valid.tolist() == [True, True]
    torch.testing.assert_close(out.nll, torch.stack([-S[:, 0].sum(), S.new_zeros(())]))


# --- engines


@needs_native
@directions
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("instruction_set", ["portable", "avx2", "avx512"])
def test_kernels_equal_their_torch_twin(instruction_set, dtype, tolerance, reverse):
    for seed in range(3):
        student, teacher, *labels = random_pair(seed, num_frames=60, num_labels=20, dtype=dtype)
        for x, every in ((student, 7), (teacher, 11)):  # some scores are no mass
            x.data.flatten()[seed::every] = -INF
        options = {"reverse": reverse, "teacher_grad": True}
        try:
            with _native.using_instruction_set(instruction_set):
                out = ctc_alignment_kl(student, teacher, *labels, **options)
                grads = gradients(out, student, teacher)
        except RuntimeError as error:
            pytest.skip(str(error))
        with _native.disabled():
            twin = ctc_alignment_kl(student, teacher, *labels, **options)
            twin_grads = gradients(twin, student, teacher)
        assert_same(out, twin, tolerance)
        assert_same(grads, twin_grads, tolerance)


@directions
@pytest.mark.parametrize("kind", ["conditional", "raw"])
def test_gradcheck(engine, kind, reverse):
    student, teacher, *labels = random_pair(n=2, num_frames=3, num_symbols=3, num_labels=1)

    def run(student, teacher):
        out = ctc_alignment_kl(
            student - 1, teacher - 1, *labels, kind=kind, reverse=reverse, teacher_grad=True
        )
        return out.kl, out.nll

    assert gradcheck(run, (student, teacher))
    if engine == "torch" and (kind == "raw") == reverse:
        assert gradgradcheck(run, (student, teacher), fast_mode=True)


@needs_native
def test_kernel_refuses_a_second_derivative():
    student, teacher, *labels = random_pair(n=2)
    kl = ctc_alignment_kl(student, teacher, *labels).kl.sum()
    (grad,) = torch.autograd.grad(kl, student, create_graph=True)
    with pytest.raises(FsaRuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(engine, dtype):
    student, teacher, *labels = random_pair(dtype=torch.float32)
    student, teacher = (x.detach().to(dtype) for x in (student, teacher))
    half = ctc_alignment_kl(student.requires_grad_(), teacher, *labels)
    full = student.detach().float().requires_grad_()
    wanted = ctc_alignment_kl(full, teacher.float(), *labels)
    assert_same(half, wanted)
    assert half.kl.dtype == torch.float32
    (grad,) = gradients(half, student)
    assert grad.dtype == dtype
    torch.testing.assert_close(grad, gradients(wanted, full)[0].to(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("aligned", [0.0, 60.0])
def test_float32_is_accurate_on_long_utterances(aligned):
    """Gradients of the teacher reach 150 between unlike models: their error is relative to that."""
    torch.manual_seed(3)
    num_frames, num_labels = 2000, 100
    targets = torch.randint(1, 50, (1, num_labels))
    place = torch.linspace(0, num_frames - 2, num_labels).long()
    student, teacher = (20 * torch.randn(1, num_frames, 50) for _ in range(2))
    for x in (student, teacher):
        x[0, :, 0] += aligned
        x[0, place, 0] -= aligned
        x[0, place, targets[0]] += aligned
        x.requires_grad_()
    labels = (targets, [num_frames], [num_labels])
    out = ctc_alignment_kl(student, teacher, *labels, teacher_grad=True)
    with _native.disabled():
        twin = ctc_alignment_kl(student.double(), teacher.double(), *labels, teacher_grad=True)
    torch.testing.assert_close(out.kl.double(), twin.kl, rtol=1e-6, atol=0)
    by_student, by_teacher = (
        (x - y).abs().max() / y.abs().max()
        for x, y in zip(
            gradients(out, student, teacher, by_nll=0.0),
            gradients(twin, student, teacher, by_nll=0.0),
            strict=True,
        )
    )
    assert by_student < 2e-6
    assert by_teacher < 3e-5


# --- invariances, bit by bit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_utterance_depends_on_neither_its_batch_nor_its_padding(engine, dtype):
    student, teacher, targets, frames, counts = random_pair(n=5, dtype=dtype)
    out = ctc_alignment_kl(student, teacher, targets, frames, counts, teacher_grad=True)
    grads = gradients(out, student, teacher)
    nan = torch.full((1, 9, 7), math.nan, dtype=dtype)
    for n in range(5):
        alone = [
            torch.cat([x.detach()[n : n + 1, : frames[n]], nan], 1).requires_grad_()
            for x in (student, teacher)
        ]
        one = ctc_alignment_kl(
            *alone, targets[n : n + 1, : counts[n]], frames[n : n + 1], counts[n : n + 1],
            teacher_grad=True,
        )  # fmt: skip
        assert_same(one, [field[n : n + 1] for field in out])
        for grad, wanted in zip(gradients(one, *alone), grads, strict=True):
            assert torch.equal(grad[0, : frames[n]], wanted[n, : frames[n]])
            assert grad[0, frames[n] :].abs().max() == 0


@needs_native
def test_results_do_not_depend_on_the_number_of_threads():
    student, teacher, *labels = random_pair(n=6, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = ctc_alignment_kl(student, teacher, *labels, teacher_grad=True)
            results.append((*out, *gradients(out, student, teacher)))
    finally:
        torch.set_num_threads(before)
    assert_same(*results)


def test_memory_order_of_the_scores_is_free(engine):
    student, teacher, *labels = random_pair()
    wanted = ctc_alignment_kl(student, teacher, *labels, teacher_grad=True)
    turned = [x.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0) for x in (student, teacher)]
    turned = [x.requires_grad_() for x in turned]
    out = ctc_alignment_kl(*turned, *labels, teacher_grad=True)
    assert_same(out, wanted)
    assert_same(gradients(out, *turned), gradients(wanted, student, teacher))


def test_scores_may_be_filled_anew_before_the_backward_call(engine):
    student, teacher, *labels = random_pair()
    wanted = gradients(ctc_alignment_kl(student, teacher, *labels), student)
    targets, frames, counts = (x.clone() for x in labels)
    out = ctc_alignment_kl(student, teacher, targets, frames, counts)
    for x in (targets, frames, counts):
        x.fill_(10**6)
    assert_same(gradients(out, student), wanted)


# --- errors


@directions
@pytest.mark.parametrize("value", [math.nan, INF, 1e9])
@pytest.mark.parametrize("model", [0, 1])
def test_a_score_that_is_no_number_is_named(engine, model, value, reverse):
    student, teacher, targets, frames, counts = random_pair()
    models = [student.detach(), teacher.detach()]
    models[model][2, 1, targets[2, 0]] = value
    name = ("student_log_probs", "teacher_log_probs")[model]
    message = f"{name}: the score of utterance 2, frame 1, symbol {targets[2, 0]} is"
    with pytest.raises(FsaValueError, match=message):
        ctc_alignment_kl(*models, targets, frames, counts, reverse=reverse)


def test_errors_say_what_and_where(engine):
    student, teacher, *labels = random_pair()
    with pytest.raises(FsaTypeError, match="teacher_log_probs: must be a floating-point tensor"):
        ctc_alignment_kl(student, teacher.long(), *labels)
    with pytest.raises(FsaValueError, match=r"teacher_log_probs: .*\(4, 20, 7\).*\(4, 20, 6\)"):
        ctc_alignment_kl(student, teacher[:, :, :6], *labels)
    with pytest.raises(FsaValueError, match="student_log_probs: must be batch-first"):
        ctc_alignment_kl(student[0], teacher[0], *labels)
    with pytest.raises(FsaValueError, match="kind: must be one of 'conditional'"):
        ctc_alignment_kl(student, teacher, *labels, kind="relative")
    big = (student.detach() + 100, teacher.detach() + 100)
    with pytest.raises(FsaError, match="overflows"):
        ctc_alignment_kl(*big, *labels, kind="raw")
    one_path = (torch.zeros(1, 0, dtype=torch.int64), [1], [0])
    with pytest.raises(FsaValueError, match="overflows"):  # within float64, but not within float32
        ctc_alignment_kl(torch.zeros(1, 1, 2), torch.full((1, 1, 2), 100.0), *one_path, kind="raw")
