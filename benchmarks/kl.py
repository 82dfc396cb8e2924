"""How long does the divergence of alignments from a teacher's take, and how exact is it?

    python benchmarks/kl.py [--sizes 16 500 50 500] [--rnnt-sizes 8 200 50 500] [--repeats 9]
                            [--peers torch_struct] [--quick]

Rows are forward and backward passes with the student's gradient; the yardsticks are torch's
`ctc_loss` for CTC and for graphs, and a copy of the logits for RNN-T. The divergence of softmaxes
frame by frame, which is another quantity, stands beside them: what is often distilled with instead.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
from ctc import cells as ctc_cells
from ctc import in_torch
from measuring import Reference, Result, Row, Task, environment, parser, run, write_json
from peers import struct_ctc
from problems import Problem, Sizes, ctc_problem, rnnt_problem, with_teacher
from rnnt import cells as rnnt_cells
from rnnt import copy
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.fsa import DenseFsaVec
from wfst_entropy.losses import AlignmentKL, ctc_alignment_kl, fsa_alignment_kl, rnnt_alignment_kl
from wfst_entropy.topologies import ctc_graph

CTC_SIZES, RNNT_SIZES = Sizes(16, 500, 50, 500), Sizes(8, 200, 50, 500)
TINY = Sizes(2, 20, 4, 9)

Divergence = Callable[..., AlignmentKL]


def ctc_kl(problem: Problem, student: Tensor, teacher: Tensor, **how: bool) -> AlignmentKL:
    rest = (problem.targets, problem.frames, problem.labels)
    return ctc_alignment_kl(student, teacher, *rest, **how)


def rnnt_kl(problem: Problem, student: Tensor, teacher: Tensor, **how: bool) -> AlignmentKL:
    rest = (problem.targets, problem.frames, problem.labels)
    return rnnt_alignment_kl(student, teacher, *rest, **how)


def graph_kl(
    graph: Any, problem: Problem, student: Tensor, teacher: Tensor, **how: bool
) -> AlignmentKL:
    models = (DenseFsaVec.from_lengths(scores, problem.frames) for scores in (student, teacher))
    return fsa_alignment_kl(graph, *models, **how)


def prepared(
    problem: Problem,
    divergence: Divergence,
    dtype: torch.dtype = torch.float32,
    normalised: bool = True,
    native: bool = True,
    **how: bool,
) -> Callable[[], Result]:
    student = problem.scores(dtype, normalised).requires_grad_()
    teacher = problem.scores(dtype, normalised, teacher=True)
    if how.get("teacher_grad"):
        teacher.requires_grad_()

    def call() -> Result:
        with contextlib.nullcontext() if native else _native.disabled():
            out = divergence(problem, student, teacher, **how)
            wanted = [score for score in (student, teacher) if score.requires_grad]
            gradient = torch.autograd.grad(out.kl.sum(), wanted)
        return Result(out.nll.detach(), out.kl.detach(), gradient[0])

    return call


def with_graph(problem: Problem, **how: Any) -> Callable[[], Result]:
    rows = zip(problem.targets, problem.labels)
    graph = ctc_graph([row[:length].tolist() for row, length in rows])
    return prepared(problem, functools.partial(graph_kl, graph), **how)


def frame_kl(problem: Problem) -> Callable[[], Result]:
    student = problem.scores(torch.float32).requires_grad_()
    teacher = problem.scores(torch.float32, teacher=True)

    def call() -> Result:
        kl = torch.nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
        return Result(None, kl.detach(), torch.autograd.grad(kl, student)[0])

    return call


def _ours(name: str, prepare: Callable[..., Any], reference: str, **how: Any) -> Row:
    partial = functools.partial(prepare, **how)
    dtype = how.get("dtype", torch.float32)
    return Row(name, partial, (0.0, 1.0), reference, dtype)


def ctc_rows() -> list[Row]:
    ours = functools.partial(_ours, prepare=functools.partial(prepared, divergence=ctc_kl))
    peer = functools.partial(struct_ctc, divergence=True)
    log_probs, back = "ctc log_probs", "ctc log_probs reversed"
    torchs = functools.partial(in_torch, dtype=torch.float32)
    return [
        Row("torch.nn.functional.ctc_loss (nll)", torchs),
        Row("torch.nn.functional.kl_div (of softmaxes)", frame_kl),
        ours("ctc_alignment_kl", reference=log_probs),
        ours("the same, reverse", reference=back, reverse=True),
        ours("the same, teacher's gradient too", reference=log_probs, teacher_grad=True),
        ours("the same, float64", reference=log_probs, dtype=torch.float64),
        ours("the same, torch engine", reference=log_probs, native=False),
        _ours("fsa_alignment_kl, CTC graphs", with_graph, log_probs),
        _ours("fsa_alignment_kl, torch engine", with_graph, log_probs, native=False),
        Row("torch_struct", peer, (0.0, 1.0), log_probs, package="torch_struct"),
    ]


def rnnt_rows() -> list[Row]:
    ours = functools.partial(_ours, prepare=functools.partial(prepared, divergence=rnnt_kl))
    return [
        Row("logits.clone()", copy),
        ours("rnnt_alignment_kl", reference="rnnt", normalised=False),
        ours("the same, reverse", reference="rnnt reversed", normalised=False, reverse=True),
        ours("the same, bfloat16", reference="rnnt", normalised=False, dtype=torch.bfloat16),
        ours("the same, torch engine", reference="rnnt", normalised=False, native=False),
    ]


def reference(problem: Problem, key: str, dtype: torch.dtype) -> Reference:
    """The torch engine in float64, on the scores as the row had them."""
    topology, *rest = key.split()
    scores = functools.partial(problem.scores, dtype, "log_probs" in rest)
    leaf, teacher = scores().double().requires_grad_(), scores(teacher=True).double()
    divergence = ctc_kl if topology == "ctc" else rnnt_kl
    with _native.disabled():
        out = divergence(problem, leaf, teacher, reverse="reversed" in rest)
    (d_nll,) = torch.autograd.grad(out.nll.sum(), leaf, retain_graph=True)
    (d_kl,) = torch.autograd.grad(out.kl.sum(), leaf)
    return Reference(out.nll.detach(), out.kl.detach(), d_nll, d_kl)


make_ctc = functools.partial(with_teacher, ctc_problem)
make_rnnt = functools.partial(with_teacher, rnnt_problem)
CTC = Task("CTC divergence", ctc_rows, make_ctc, reference, ctc_cells, "KL")
RNNT = Task("RNN-T divergence", rnnt_rows, make_rnnt, reference, rnnt_cells, "KL")


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__, CTC_SIZES, 9)
    options.add_argument(
        "--rnnt-sizes", type=int, nargs=4, metavar=("B", "T", "U", "V"), default=RNNT_SIZES
    )
    options = options.parse_args(arguments)
    torch.set_num_threads(1)
    print(environment() + "\n")
    tables = []
    for task, sizes, hard in (
        (CTC, options.sizes, Sizes(1, 1000, 100, 50)),
        (RNNT, options.rnnt_sizes, Sizes(1, 400, 50, 50)),
    ):
        options.sizes = sizes
        at = TINY if options.quick else hard
        problems = {
            f"{at}, normal logits": functools.partial(task.problem, at, 3),
            f"{at}, logits x 20": functools.partial(task.problem, at, 3, 20.0),
        }
        tables += run(task, options, TINY, problems)
    write_json(options, tables)


if __name__ == "__main__":
    main()
