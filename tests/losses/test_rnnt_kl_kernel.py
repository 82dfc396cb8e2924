"""The C++ divergence of transducers: as the torch engine, accurate, and free of the batch."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from wfst_entropy import _native
from wfst_entropy.fsa.errors import FsaRuntimeError, FsaValueError
from wfst_entropy.losses import rnnt_alignment_kl, rnnt_grid_alignment_kl

INF = math.inf
TYPES = ("regular", "modified", "constrained")

pytestmark = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())


def random_models(seed, num_frames, num_labels, dtype=torch.float64, n=5, masked=0.0):
    """The (blank, label) planes of a student and of a teacher, some arcs of both masked."""
    generator = torch.Generator().manual_seed(seed)
    models = []
    for k in range(2):
        planes = []
        for width in (num_labels + 1, num_labels):
            x = 2 * torch.randn((n, num_frames, width), generator=generator, dtype=torch.float64)
            x[torch.rand(x.shape, generator=generator) < masked * (1 + 3 * k)] = (-INF, -1e30)[k]
            planes.append(x.to(dtype).requires_grad_())
        models.append(tuple(planes))
    return models


def gradients(out, models):
    loss = torch.where(out.kl < INF, out.kl, 0.0) + 0.3 * torch.where(out.nll < INF, out.nll, 0.0)
    return torch.autograd.grad(loss.sum(), [plane for model in models for plane in model])


@pytest.mark.parametrize("rnnt_type", TYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_torch_engine(rnnt_type, dtype):
    close = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    kls = []
    for seed, shape, masked in ((0, (12, 7), 0.0), (1, (6, 3), 0.02), (2, (4, 3), 0.1)):
        models = random_models(seed, *shape, dtype=dtype, masked=masked)
        num_frames, num_labels = shape
        lengths = [num_frames, num_frames - 1, num_frames, 2, 0], [num_labels, 2, 0, 2, 1]
        options = {"rnnt_type": rnnt_type, "teacher_grad": True, "reverse": seed == 1}
        out = rnnt_grid_alignment_kl(*models, *lengths, **options)
        with _native.disabled():
            wanted = rnnt_grid_alignment_kl(*models, *lengths, **options)
            wanted_grads = gradients(wanted, models)
        for got, exact in zip(out[:2], wanted[:2], strict=True):
            torch.testing.assert_close(got, exact, **close)
        assert torch.equal(out.valid, wanted.valid)
        for got, exact in zip(gradients(out, models), wanted_grads, strict=True):
            torch.testing.assert_close(got, exact, **close)
        kls.append(out.kl)
    values = torch.cat(kls)
    assert (
        (values == INF).any() and (values == 0).any() and (values.isfinite() & (values > 0)).any()
    )


def test_gradcheck():
    (blank, label), (teacher_blank, teacher_label) = random_models(3, 3, 2, n=2)

    def kl(*planes):
        out = rnnt_grid_alignment_kl(
            planes[:2], planes[2:], [3, 2], [2, 1], teacher_grad=True, rnnt_type="regular"
        )
        return out.kl, out.nll

    assert gradcheck(kl, (blank, label, teacher_blank, teacher_label))
    grads = torch.autograd.grad(kl(blank, label, teacher_blank, teacher_label)[0].sum(), blank,
                                create_graph=True)  # fmt: skip
    with pytest.raises(FsaRuntimeError, match="no second derivative"):
        grads[0].sum().backward()


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_float32_is_accurate_on_long_utterances(scale):
    generator = torch.Generator().manual_seed(0)
    num_frames, num_labels = 1000, 60
    teacher = scale * torch.randn((1, num_frames, num_labels + 1, 3), generator=generator)
    student = teacher + torch.randn(teacher.shape, generator=generator)
    batch = (torch.ones(1, num_labels, dtype=torch.int64), [num_frames], [num_labels])
    results = []
    for dtype in (torch.float32, torch.float64):
        logits = student.to(dtype).requires_grad_()
        out = rnnt_alignment_kl(logits, teacher.to(dtype), *batch)
        results.append((out.kl, torch.autograd.grad(out.kl.sum(), logits)[0].double()))
    (kl, grad), (exact, exact_grad) = results
    assert exact.item() > 1
    assert kl.item() == pytest.approx(exact.item(), rel=1e-5)
    assert (grad - exact_grad).abs().max() < 1e-4


def test_results_do_not_depend_on_threads_or_the_rest_of_the_batch():
    models = random_models(4, 11, 6, dtype=torch.float32)
    lengths = [11, 9, 7, 11, 3], [6, 2, 6, 0, 3]
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = rnnt_grid_alignment_kl(*models, *lengths, teacher_grad=True)
            results.append((out.kl, out.nll, *gradients(out, models)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*results, strict=True))
    for n, (t, u) in enumerate(zip(*lengths, strict=True)):
        own = [
            tuple(x.detach()[n : n + 1, :t, : u + 1 - k].clone().requires_grad_()
                  for k, x in enumerate(model))
            for model in models
        ]  # fmt: skip
        out = rnnt_grid_alignment_kl(*own, [t], [u], teacher_grad=True)
        grads = gradients(out, own)
        assert torch.equal(out.kl[0], results[0][0][n])
        for k, (mine, all_of_them) in enumerate(zip(grads, results[0][2:], strict=True)):
            assert torch.equal(mine[0], all_of_them[n, :t, : u + 1 - k % 2])


def test_a_bad_score_names_its_model():
    for model, name in enumerate(("student", "teacher")):
        for plane, what in enumerate(("blank", "label")):
            for reverse in (False, True):
                models = random_models(5, 4, 2)
                models[model][plane].data[3, 2, 1] = math.nan
                message = f"{name}'s {what}_scores: .* utterance 3, frame 2, after 1 labels, is nan"
                with pytest.raises(FsaValueError, match=message):
                    rnnt_grid_alignment_kl(*models, [4] * 5, [2] * 5, reverse=reverse)
