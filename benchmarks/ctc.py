"""How long does CTC with the entropy of its alignments take, and how exact is it?

    python benchmarks/ctc.py [--sizes 16 500 50 500] [--repeats 9] [--peers optax k2] [--quick]

Rows are forward and backward passes; the yardstick is `torch.nn.functional.ctc_loss`. "nll + H" is
the gradient of nll - 0.1 H. The tables of errors are on longer sequences, two of them with scores
that are hard for float32.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import torch
from measuring import Reference, Result, Row, Task, environment, parser, run, write_json
from peers import gtn_ctc, k2_ctc, optax_ctc, struct_ctc
from problems import Problem, Sizes, ctc_problem
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.losses import ctc_alignment, ctc_loss

SIZES = Sizes(16, 500, 50, 500)
TINY = Sizes(2, 20, 4, 9)


def in_torch(problem: Problem, dtype: torch.dtype, normalised: bool = True) -> Callable[[], Result]:
    """torch's own loss, from log-probs with time first, as it likes them, or from logits."""
    scores = problem.scores(dtype, normalised)
    leaf = (scores.transpose(0, 1).contiguous() if normalised else scores).requires_grad_()

    def call() -> Result:
        log_probs = leaf if normalised else leaf.log_softmax(-1).transpose(0, 1)
        nll = torch.nn.functional.ctc_loss(
            log_probs, problem.targets, problem.frames, problem.labels, reduction="none"
        )
        return Result(nll.detach(), None, torch.autograd.grad(nll.sum(), leaf)[0])

    return call


def true_gradient(problem: Problem, gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """torch's gradient has exp(log-prob) added within the frames: right only below a softmax."""
    inside = torch.arange(problem.sizes.t) < problem.frames[:, None]
    return gradient.transpose(0, 1) - problem.scores(dtype).double().exp() * inside[:, :, None]


def nll_alone(problem: Problem) -> Callable[[], Result]:
    leaf = problem.scores(torch.float32).requires_grad_()

    def call() -> Result:
        nll = ctc_loss(leaf, problem.targets, problem.frames, problem.labels, reduction="none")
        return Result(nll.detach(), None, torch.autograd.grad(nll.sum(), leaf)[0])

    return call


def both(
    problem: Problem, dtype: torch.dtype, normalised: bool = True, native: bool = True
) -> Callable[[], Result]:
    leaf = problem.scores(dtype, normalised).requires_grad_()
    rest = (problem.targets, problem.frames, problem.labels)

    def call() -> Result:
        with contextlib.nullcontext() if native else _native.disabled():
            out = ctc_alignment(leaf, *rest, fused_log_softmax=not normalised)
        (gradient,) = torch.autograd.grad((out.nll - 0.1 * out.entropy).sum(), leaf)
        return Result(out.nll.detach(), out.entropy.detach(), gradient)

    return call


def rows() -> list[Row]:
    def torchs(name: str, dtype: torch.dtype) -> Row:
        prepare = functools.partial(in_torch, dtype=dtype)
        correct = functools.partial(true_gradient, dtype=dtype)
        return Row(name, prepare, reference="log_probs", dtype=dtype, true_gradient=correct)

    def ours(name: str, dtype: torch.dtype = torch.float32, **how: bool) -> Row:
        prepare = functools.partial(both, dtype=dtype, **how)
        reference = "log_probs" if how.get("normalised", True) else "logits"
        return Row(name, prepare, (1.0, -0.1), reference, dtype)

    softmax = functools.partial(in_torch, dtype=torch.float32, normalised=False)
    return [
        torchs("torch.nn.functional.ctc_loss", torch.float32),
        Row("log_softmax and torch's ctc_loss", softmax, reference="logits"),
        torchs("torch's ctc_loss, float64", torch.float64),
        Row("ctc_loss, nll", nll_alone, reference="log_probs"),
        ours("ctc_alignment, nll + H"),
        ours("the same, from logits", normalised=False),
        ours("the same, from logits, bfloat16", torch.bfloat16, normalised=False),
        ours("the same, from logits, float16", torch.float16, normalised=False),
        ours("the same, float64", torch.float64),
        ours("the same, torch engine", native=False),
        Row(
            "optax (JAX), nll, from logits",
            optax_ctc,
            (1.0, 0.0),
            "logits",
            package="optax",
            compiles=True,
        ),
        Row("k2.ctc_loss, nll", k2_ctc, reference="log_probs", package="k2"),
        Row("gtn, nll", gtn_ctc, reference="log_probs", package="gtn"),
        Row("torch_struct, nll + H", struct_ctc, (1.0, -0.1), "log_probs", package="torch_struct"),
    ]


def reference(problem: Problem, key: str, dtype: torch.dtype) -> Reference:
    """The torch engine in float64, on the scores as the row had them."""
    leaf = problem.scores(dtype, key == "log_probs").double().requires_grad_()
    with _native.disabled():
        out = ctc_alignment(
            leaf.log_softmax(-1) if key == "logits" else leaf,
            problem.targets,
            problem.frames,
            problem.labels,
        )
    (d_nll,) = torch.autograd.grad(out.nll.sum(), leaf, retain_graph=True)
    (d_entropy,) = torch.autograd.grad(out.entropy.sum(), leaf)
    return Reference(out.nll.detach(), out.entropy.detach(), d_nll, d_entropy)


def cells(problem: Problem) -> int:
    return int((problem.frames * (2 * problem.labels + 1)).sum())


TASK = Task("CTC", rows, ctc_problem, reference, cells)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__, SIZES, 9).parse_args(arguments)
    torch.set_num_threads(1)
    print(environment() + "\n")
    hard = TINY if options.quick else Sizes(1, 2000, 100, 50)
    problems = {
        f"{hard}, normal logits": lambda: ctc_problem(hard, 3),
        f"{hard}, logits x 20": lambda: ctc_problem(hard, 3, 20.0),
        f"{hard}, logits x 20, one alignment + 60": lambda: ctc_problem(hard, 3, 20.0, 60.0),
    }
    write_json(options, run(TASK, options, TINY, problems))


if __name__ == "__main__":
    main()
