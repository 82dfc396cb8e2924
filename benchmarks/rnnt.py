"""How long does RNN-T with the entropy of its alignments take, and how exact is it?

    python benchmarks/rnnt.py [--sizes 8 200 50 500] [--repeats 5] [--peers torchaudio k2] [--quick]

Rows are forward and backward passes; the yardstick is one copy of the logits, which they dwarf.
"nll + H" is the gradient of nll - 0.1 H. The tables of errors are on longer sequences, two of them
with scores that are hard for float32.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import torch
from measuring import Reference, Result, Row, Task, environment, parser, run, write_json
from peers import povey_rnnt, torchaudio_rnnt
from problems import Problem, Sizes, rnnt_problem
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.losses import rnnt_alignment, rnnt_grid_alignment, rnnt_loss

RNNT_TYPES = ("regular", "modified", "constrained")
SIZES = Sizes(8, 200, 50, 500)
TINY = Sizes(2, 12, 4, 9)


def copy(problem: Problem) -> Callable[[], Result]:
    return lambda: Result(None, None, problem.logits.clone())


def nll_alone(problem: Problem) -> Callable[[], Result]:
    leaf = problem.logits.detach().requires_grad_()

    def call() -> Result:
        nll = rnnt_loss(leaf, problem.targets, problem.frames, problem.labels, reduction="none")
        return Result(nll.detach(), None, torch.autograd.grad(nll.sum(), leaf)[0])

    return call


def both(
    problem: Problem,
    dtype: torch.dtype = torch.float32,
    rnnt_type: str = "regular",
    native: bool = True,
) -> Callable[[], Result]:
    leaf = problem.logits.detach().to(dtype).requires_grad_()
    rest = (problem.targets, problem.frames, problem.labels)

    def call() -> Result:
        with contextlib.nullcontext() if native else _native.disabled():
            out = rnnt_alignment(leaf, *rest, rnnt_type=rnnt_type)
            (gradient,) = torch.autograd.grad((out.nll - 0.1 * out.entropy).sum(), leaf)
        return Result(out.nll.detach(), out.entropy.detach(), gradient)

    return call


def planes(problem: Problem, dtype: torch.dtype) -> Tensor:
    """(2, N, T, U + 1): the log-probs of blank and of the next label at each node."""
    log_probs = problem.scores(dtype)
    index = torch.nn.functional.pad(problem.targets, (0, 1))[:, None, :, None]
    label = log_probs.gather(3, index.expand(-1, problem.sizes.t, -1, -1))[..., 0]
    return torch.stack([log_probs[..., 0], label])


def from_planes(problem: Problem) -> Callable[[], Result]:
    leaf = planes(problem, torch.float32).requires_grad_()

    def call() -> Result:
        out = rnnt_grid_alignment(leaf[0], leaf[1], problem.frames, problem.labels)
        (gradient,) = torch.autograd.grad((out.nll - 0.1 * out.entropy).sum(), leaf)
        return Result(out.nll.detach(), out.entropy.detach(), gradient)

    return call


def rows() -> list[Row]:
    def ours(
        name: str, reference: str = "regular", dtype: torch.dtype = torch.float32, **how: bool
    ) -> Row:
        prepare = functools.partial(both, dtype=dtype, rnnt_type=reference, **how)
        return Row(name, prepare, (1.0, -0.1), reference, dtype)

    return [
        Row("logits.clone()", copy),
        Row("rnnt_loss, nll", nll_alone, reference="regular"),
        ours("rnnt_alignment, nll + H"),
        *(ours(f"the same, {kind}", kind) for kind in RNNT_TYPES if kind != "regular"),
        ours("the same, bfloat16", dtype=torch.bfloat16),
        ours("the same, float16", dtype=torch.float16),
        ours("the same, torch engine", native=False),
        Row("rnnt_grid_alignment, nll + H, from planes", from_planes, (1.0, -0.1), "planes"),
        Row(
            "torchaudio.functional.rnnt_loss, nll",
            torchaudio_rnnt,
            reference="regular",
            package="torchaudio",
        ),
        *(
            Row(
                f"{package}.rnnt_loss, nll",
                functools.partial(povey_rnnt, package),
                reference="regular",
                package=package,
            )
            for package in ("k2", "fast_rnnt")
        ),
    ]


def reference(problem: Problem, key: str, dtype: torch.dtype) -> Reference:
    """The torch engine in float64, on the scores as the row had them."""
    scores = planes(problem, dtype) if key == "planes" else problem.logits.to(dtype)
    leaf = scores.double().requires_grad_()
    lengths = (problem.frames, problem.labels)
    with _native.disabled():
        if key == "planes":
            out = rnnt_grid_alignment(leaf[0], leaf[1], *lengths)
        else:
            out = rnnt_alignment(leaf, problem.targets, *lengths, rnnt_type=key)
    (d_nll,) = torch.autograd.grad(out.nll.sum(), leaf, retain_graph=True)
    (d_entropy,) = torch.autograd.grad(out.entropy.sum(), leaf)
    return Reference(out.nll.detach(), out.entropy.detach(), d_nll, d_entropy)


def cells(problem: Problem) -> int:
    return int((problem.frames * (problem.labels + 1)).sum())


TASK = Task("RNN-T", rows, rnnt_problem, reference, cells)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__, SIZES, 5).parse_args(arguments)
    torch.set_num_threads(1)
    print(environment() + "\n")
    hard = TINY if options.quick else Sizes(1, 1000, 100, 50)
    problems = {
        f"{hard}, normal logits": lambda: rnnt_problem(hard, 3),
        f"{hard}, logits x 20": lambda: rnnt_problem(hard, 3, 20.0),
        f"{hard}, logits x 20, one alignment + 60": lambda: rnnt_problem(hard, 3, 20.0, 60.0),
    }
    write_json(options, run(TASK, options, TINY, problems))


if __name__ == "__main__":
    main()
