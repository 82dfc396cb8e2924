"""How long do graphs against frame scores take, compared with torch's CTC loss?

    python benchmarks/dense.py [--sizes 16 500 50 500] [--repeats 9] [--peers k2 gtn] [--quick]

Each row is a forward and a backward pass over the same scores, on one thread: first the graphs of
CTC transcripts, where `torch.nn.functional.ctc_loss` is the yardstick, then one ergodic bigram
graph that all sequences share (a denominator), with the torch engine of this package beside it.
"nll + H" is the gradient of nll - 0.1 H.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
from ctc import cells, in_torch
from ctc import reference as ctc_reference
from measuring import Reference, Result, Row, Task, environment, parser, run, write_json
from peers import gtn_ctc, gtn_shared, k2_ctc, k2_shared
from problems import Problem, Sizes, ctc_problem
from torch import Tensor

from wfst_entropy import _native
from wfst_entropy.algorithms import get_tot_scores, intersect_dense, intersect_dense_tot_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.losses import ctc_alignment, fsa_alignment, fsa_loss
from wfst_entropy.topologies import ctc_graph

SIZES = Sizes(16, 500, 50, 500)
TINY = Sizes(2, 20, 4, 9)
NUM_WORDS = 45


def transcripts(problem: Problem) -> Fsa:
    rows = zip(problem.targets, problem.labels)
    return ctc_graph([row[:length].tolist() for row, length in rows])


def bigram(num_words: int) -> Fsa:
    """Every word after every word, with random scores: num_words**2 arcs that consume a frame."""
    words = range(1, num_words + 1)
    arcs = [(0, w, w) for w in words] + [(v, w, w) for v in words for w in words]
    arcs = sorted(arcs + [(v, num_words + 1, -1) for v in words])
    scores = torch.randn(len(arcs), generator=torch.Generator().manual_seed(0))
    scores[[label == -1 for *_, label in arcs]] = 0.0  # gtn has no weights of final states
    return Fsa.from_arcs(arcs, scores)


def shared(problem: Problem) -> Fsa:
    return bigram(problem.sizes.v - 1)


Graphs = Callable[[Problem], Fsa]


def prepared(
    problem: Problem,
    graphs: Graphs,
    compute: Callable[[Fsa, DenseFsaVec], tuple[Tensor, Tensor | None]],
    native: bool = True,
    graph_too: bool = False,
) -> Callable[[], Result]:
    """`compute` gives the nll and, or not, the entropy."""
    leaf = problem.scores(torch.float32).requires_grad_()
    graph = graphs(problem)
    inputs = [leaf]
    if graph_too:
        inputs.append(graph.scores.clone().requires_grad_())
        graph = graph.with_scores(inputs[1])

    def call() -> Result:
        with contextlib.nullcontext() if native else _native.disabled():
            nll, entropy = compute(graph, DenseFsaVec.from_lengths(leaf, problem.frames))
            total = nll if entropy is None else nll - 0.1 * entropy
            gradient = torch.autograd.grad(total.sum(), inputs)[0]
        return Result(nll.detach(), None if entropy is None else entropy.detach(), gradient)

    return call


def nll_alone(graph: Fsa, dense: DenseFsaVec) -> tuple[Tensor, None]:
    return fsa_loss(graph, dense, reduction="none"), None


def nll_and_entropy(graph: Fsa, dense: DenseFsaVec) -> tuple[Tensor, Tensor]:
    out = fsa_alignment(graph, dense)
    return out.nll, out.entropy


def total_score(graph: Fsa, dense: DenseFsaVec) -> tuple[Tensor, None]:
    return -intersect_dense_tot_scores(graph, dense), None


def of_lattice(graph: Fsa, dense: DenseFsaVec) -> tuple[Tensor, None]:
    return -get_tot_scores(intersect_dense(graph, dense)), None


def ctc_kernel(problem: Problem) -> Callable[[], Result]:
    leaf = problem.scores(torch.float32).requires_grad_()

    def call() -> Result:
        out = ctc_alignment(leaf, problem.targets, problem.frames, problem.labels)
        (gradient,) = torch.autograd.grad((out.nll - 0.1 * out.entropy).sum(), leaf)
        return Result(out.nll.detach(), out.entropy.detach(), gradient)

    return call


def _ours(name: str, graphs: Graphs, compute: Callable[..., Any], **how: bool) -> Row:
    prepare = functools.partial(prepared, graphs=graphs, compute=compute, **how)
    weights = (1.0, -0.1) if compute is nll_and_entropy else (1.0, 0.0)
    return Row(name, prepare, weights, "graph" if graphs is shared else "log_probs")


def ctc_rows() -> list[Row]:
    ours = functools.partial(_ours, graphs=transcripts)
    return [
        Row("torch.nn.functional.ctc_loss", functools.partial(in_torch, dtype=torch.float32)),
        ours("fsa_loss, nll", compute=nll_alone),
        ours("fsa_alignment, nll + H", compute=nll_and_entropy),
        ours("the same, gradient of the graph too", compute=nll_and_entropy, graph_too=True),
        ours("intersect_dense_tot_scores", compute=total_score),
        ours("get_tot_scores(intersect_dense(...))", compute=of_lattice),
        ours("fsa_alignment, torch engine", compute=nll_and_entropy, native=False),
        Row("ctc_alignment, nll + H", ctc_kernel, (1.0, -0.1), "log_probs"),
        Row("k2, intersect_dense", k2_ctc, reference="log_probs", package="k2"),
        Row("gtn, forward_score(intersect(...))", gtn_ctc, reference="log_probs", package="gtn"),
    ]


def with_bigram(peer: Callable[[Problem, Fsa], Callable[[], Result]], problem: Problem) -> Any:
    return peer(problem, shared(problem))


def bigram_rows() -> list[Row]:
    ours = functools.partial(_ours, graphs=shared)
    k2_row, gtn_row = (functools.partial(with_bigram, peer) for peer in (k2_shared, gtn_shared))
    return [
        ours("fsa_loss, nll", compute=nll_alone),
        ours("fsa_alignment, nll + H", compute=nll_and_entropy),
        ours("fsa_loss, gradient of the graph too", compute=nll_alone, graph_too=True),
        ours("fsa_loss, torch engine", compute=nll_alone, native=False),
        Row("k2, intersect_dense", k2_row, reference="graph", package="k2"),
        Row("gtn, forward_score(intersect(...))", gtn_row, reference="graph", package="gtn"),
    ]


def bigram_reference(problem: Problem, key: str, dtype: torch.dtype) -> Reference:
    """The torch engine in float64, on the scores as the row had them."""
    leaf = problem.scores(dtype).double().requires_grad_()
    with _native.disabled():
        dense = DenseFsaVec.from_lengths(leaf, problem.frames)
        out = fsa_alignment(shared(problem).to(torch.float64), dense)
        (d_nll,) = torch.autograd.grad(out.nll.sum(), leaf, retain_graph=True)
        (d_entropy,) = torch.autograd.grad(out.entropy.sum(), leaf)
    return Reference(out.nll.detach(), out.entropy.detach(), d_nll, d_entropy)


def bigram_cells(problem: Problem) -> int:
    return int(problem.frames.sum()) * (problem.sizes.v - 1)


CTC = Task("CTC graphs", ctc_rows, ctc_problem, ctc_reference, cells)
BIGRAM = Task("One bigram graph", bigram_rows, ctc_problem, bigram_reference, bigram_cells)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__, SIZES, 9).parse_args(arguments)
    torch.set_num_threads(1)
    print(environment() + "\n")
    hard = TINY if options.quick else Sizes(1, 1000, 100, 50)
    scales = {f"{hard}, normal logits": 1.0, f"{hard}, logits x 20": 20.0}
    problems = {name: functools.partial(ctc_problem, hard, 3, x) for name, x in scales.items()}
    tables = run(CTC, options, TINY, problems)
    options.sizes, options.repeats = Sizes(4, options.sizes[1], 1, 1 + NUM_WORDS), 3
    hard = TINY if options.quick else Sizes(1, 500, 1, 1 + NUM_WORDS)
    scales = {f"{hard}, normal logits": 1.0, f"{hard}, logits x 20": 20.0}
    problems = {name: functools.partial(ctc_problem, hard, 3, x) for name, x in scales.items()}
    write_json(options, tables + run(BIGRAM, options, TINY, problems))


if __name__ == "__main__":
    main()
