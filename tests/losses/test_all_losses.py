"""The laws that every public loss obeys, whatever it computes.

There is no GPU where these run, and tensors without storage (device "meta") have no lengths to
check, so nothing here proves anything about devices other than the CPU.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loss_table import LABELS, NUM_SYMBOLS, TABLE, Labels
from torch.autograd import gradcheck, gradgradcheck

import wfst_entropy
from wfst_entropy import _native, losses
from wfst_entropy.losses.ctc_recursion import sum_over_states
from wfst_entropy.losses.rnnt_recursion import sum_over_band
from wfst_entropy.semirings import ConditionalEntropySemiring, LogReverseKLSemiring, LogSemiring

ROOT = Path(wfst_entropy.__file__).parents[1]
needs_native = pytest.mark.skipif(not _native.is_available(), reason=_native.why_not())
every_loss = pytest.mark.parametrize("loss", TABLE, ids=lambda loss: loss.name)


def value_and_gradients(loss, inputs, labels=LABELS):
    """Of each utterance, and of a sum in which all count differently."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    value = loss.function(inputs, labels, "none")
    weights = 2.0 ** torch.arange(len(value), dtype=value.dtype)  # scales without rounding
    return value.detach(), torch.autograd.grad((value * weights).sum(), inputs)


def poisoned(loss, inputs):
    """The same scores with NaN wherever no utterance reads."""
    with_nan = [torch.full_like(x, math.nan) for x in inputs]
    for n in range(3):
        for x, part in zip(loss.one(with_nan, n), loss.one(inputs, n), strict=True):
            x.copy_(part.detach())
    return with_nan


def test_the_table_has_every_loss():
    source = (Path(__file__).parent / "loss_table.py").read_text()
    functions = [
        name
        for name in losses.__all__
        if name.islower() and ("loss" in name or "distillation" in name or "consistency" in name)
    ]
    assert len(functions) > 15
    inside_others = {"full_sum_distillation", "ctc_consistency"}
    missing = [f for f in functions if f"losses.{f}" not in source and f not in inside_others]
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss", [loss for loss in TABLE if not loss.surrogate], ids=lambda loss: loss.name
)
def test_first_and_second_derivatives_of_the_torch_engine(loss):
    labels = Labels(LABELS.targets[1:], [3, 2], [1, 0])
    inputs = [x[1:, :4].detach().requires_grad_() for x in loss.random_inputs()]
    with _native.disabled():
        assert gradcheck(lambda *x: loss.function(list(x), labels, "none"), inputs)
        assert gradgradcheck(
            lambda *x: loss.function(list(x), labels, "none"), inputs, fast_mode=True
        )


@needs_native
@every_loss
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_kernels_equal_the_torch_engine(loss, dtype, tolerance):
    inputs = loss.random_inputs(dtype)
    value, grads = value_and_gradients(loss, inputs)
    with _native.disabled():
        twin, twin_grads = value_and_gradients(loss, inputs)
    close = {"rtol": tolerance, "atol": tolerance}
    assert value.dtype == dtype
    torch.testing.assert_close(value, twin, **close)
    torch.testing.assert_close(grads, twin_grads, **close)


@every_loss
def test_reductions(loss):
    inputs = loss.random_inputs()
    none, total, mean = (loss.function(inputs, LABELS, r) for r in ("none", "sum", "mean"))
    assert none.shape == (3,) and total.shape == mean.shape == ()
    assert none.isfinite().all()
    torch.testing.assert_close(total, none.sum())
    torch.testing.assert_close(mean, (none / torch.tensor(loss.divisors())).mean())


@every_loss
def test_batch_and_padding_change_no_bit(loss):
    """And what stands in the padding is not read, nor does it get a gradient."""
    inputs = loss.random_inputs(torch.float32)
    value, grads = value_and_gradients(loss, inputs)
    n = 1  # of middle length, so that it is padded in the batch
    if not loss.mixes_batch:
        alone, alone_grads = value_and_gradients(loss, loss.one(inputs, n), LABELS.one(n))
        assert torch.equal(alone[0], value[n])
        for mine, whole in zip(alone_grads, loss.one(list(grads), n), strict=True):
            assert torch.equal(mine, whole / 2)
    with_nan = poisoned(loss, inputs)
    again, again_grads = value_and_gradients(loss, with_nan)
    assert torch.equal(again, value)
    for mine, whole, x in zip(again_grads, grads, with_nan, strict=True):
        assert torch.equal(mine, whole)
        assert not mine[x.isnan()].any()


@every_loss
def test_the_torch_engine_reads_no_padding_either(loss):
    inputs = loss.random_inputs(torch.float32)
    with _native.disabled():
        wanted = value_and_gradients(loss, inputs)
        found = value_and_gradients(loss, poisoned(loss, inputs))
    torch.testing.assert_close(found, wanted)


@pytest.mark.slow
@every_loss
def test_threads_change_no_bit(loss):
    inputs = loss.random_inputs(torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(value_and_gradients(loss, inputs))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


@every_loss
def test_under_autocast(loss):
    """Half-precision scores of a model: a float32 loss, and gradients that reach the model."""
    torch.manual_seed(0)
    model = torch.nn.Linear(NUM_SYMBOLS, NUM_SYMBOLS)
    features = [x.detach() for x in loss.random_inputs(torch.float32)]
    with torch.autocast("cpu", torch.bfloat16):
        scores = [model(x) for x in features]
        value = loss.function(scores, LABELS, "sum")
    assert all(x.dtype == torch.bfloat16 for x in scores)
    assert value.dtype == torch.float32
    value.backward()
    plain = loss.function([x.detach().float() for x in scores], LABELS, "sum")
    torch.testing.assert_close(value.detach(), plain, rtol=1e-5, atol=1e-5)
    assert model.weight.grad.isfinite().all() and model.weight.grad.any()


@pytest.fixture
def quiet():
    """The compiler logs every instruction at a level that pytest's own handler records."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def training_step(loss, dtype=torch.float32):
    """A model and what a step of training computes: the loss and the gradient of a parameter."""
    torch.manual_seed(0)
    model = torch.nn.Linear(NUM_SYMBOLS, NUM_SYMBOLS, dtype=dtype)
    features = [x.detach() for x in loss.random_inputs(dtype)]

    def step():
        scores = [model(x) for x in features]
        value = loss.function(scores, LABELS, "sum")
        value.backward()
        return value

    def result(function):
        model.zero_grad()
        value = function()
        return value.detach(), model.weight.grad.clone()

    return step, result


COMPILED = (
    "ctc + entropy",
    "ctc kl of logits",
    "ctc soft",
    "cr-ctc",
    "rnnt + entropy",
    "rnnt kl",
    "rnnt soft, collapsed",
    "rnnt smoothed",
    "rnnt pruned",
    "fsa kl",
    "asg",
    "mwer of lattices",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"),
    [*((name, "native") for name in COMPILED), ("ctc + entropy", "torch"), ("rnnt", "torch")],
)
def test_a_compiled_step_is_the_same(name, engine, quiet):
    """One of each kind; graphs break where lengths are checked and where kernels are called."""
    step, result = training_step(next(loss for loss in TABLE if loss.name == name))
    torch._dynamo.reset()
    with _native.disabled() if engine == "torch" else contextlib.nullcontext():
        wanted = result(step)
        compiled = torch.compile(step, backend="aot_eager")
        torch.testing.assert_close(result(compiled), wanted)
        torch.testing.assert_close(result(compiled), wanted)  # from the cache


@pytest.mark.slow
def test_the_recursions_compile_as_one_graph(quiet):
    """No value decides what the torch engine does next, in any semiring."""
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 2, 5, dtype=torch.float64).log_softmax(3)
    last = torch.tensor([4, 2, 0])
    skips = torch.tensor([False, False, False, True, False]).expand(3, -1)
    for semiring in (LogSemiring(), ConditionalEntropySemiring(), LogReverseKLSemiring()):
        weights = semiring.convert((x, y) if semiring.num_slots == 4 else x)
        weights = weights if isinstance(weights, tuple) else (weights,)
        leaves = [slot.detach().requires_grad_() for slot in weights]

        def sums(*weights, semiring=semiring):
            weights = weights if semiring.num_slots > 1 else weights[0]
            ctc = sum_over_states(weights, skips, last, semiring)
            rnnt = sum_over_band(weights, weights, last, semiring)
            slots = (ctc, rnnt) if semiring.num_slots == 1 else (*ctc, *rnnt)
            return torch.stack(slots).exp().sum()

        torch._dynamo.reset()
        compiled = torch.compile(sums, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(*leaves), sums(*leaves))
        found, wanted = (torch.autograd.grad(f(*leaves), leaves) for f in (compiled, sums))
        torch.testing.assert_close(found, wanted)


# Run by torchrun with two processes; one launch serves all losses.
SCRIPT = """
import sys

import torch
import torch.distributed
from loss_table import LABELS, NUM_SYMBOLS, TABLE
from torch.nn.parallel import DistributedDataParallel


def gradient(loss, utterances, wrap):
    torch.manual_seed(0)
    model = wrap(torch.nn.Linear(NUM_SYMBOLS, NUM_SYMBOLS, dtype=torch.float64))
    scores = [model(x.detach()[utterances]) for x in loss.random_inputs()]
    loss.function(scores, LABELS.some(utterances), "sum").backward()
    return next(model.parameters()).grad


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    shares = [[0, 2], [1]]
    found = {loss.name: gradient(loss, shares[rank], DistributedDataParallel) for loss in TABLE}
    if rank == 0:
        torch.save(found, sys.argv[1])
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_find_the_gradient_of_the_joint_batch(tmp_path):
    """DistributedDataParallel averages what the two find on their shares."""
    script, result = tmp_path / "ddp_script.py", tmp_path / "gradients.pt"
    script.write_text(SCRIPT)
    table = Path(__file__).parent
    torchrun = subprocess.Popen(
        [
            *[sys.executable, "-m", "torch.distributed.run", "--standalone"],
            *["--nproc-per-node", "2", script, result],
        ],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{table}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = torchrun.communicate(timeout=120)
    finally:
        torchrun.terminate()  # it ends its processes, which a kill would leave behind
    assert torchrun.returncode == 0, output
    namespace = {"__name__": "ddp_script"}
    exec(compile(SCRIPT, str(script), "exec"), namespace)
    found = torch.load(result)
    for loss in TABLE:
        if not loss.mixes_batch:
            joint = namespace["gradient"](loss, [0, 1, 2], lambda model: model)
            assert joint.abs().max() > 1e-3
            torch.testing.assert_close(2 * found[loss.name], joint, msg=loss.name)
