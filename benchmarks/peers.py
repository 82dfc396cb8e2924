"""Other projects' implementations of the same losses, where they can be imported.

Each function gets a problem and returns the call to be measured; it raises `Absent` where its
package is missing or the problem too large. Graphs, dtypes and memory orders that a package wants
are prepared before the clock starts. Every call gives values per utterance and the gradient of
their sum. One cannot be
compared at large sizes: torch_struct multiplies a dense matrix per frame.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from measuring import Absent, Result
from problems import Problem
from torch import Tensor

from wfst_entropy.fsa import Fsa

TOO_LARGE = 2**31  # bytes
NEVER = -1e9


def imported(name: str) -> Any:
    """A package.

    Raises:
        Absent: it is not installed, or does not load (torchaudio's wheels for CUDA: OSError).
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise Absent(f"{type(error).__name__}: {error}".splitlines()[0]) from None


def optax_ctc(problem: Problem) -> Callable[[], Result]:
    """`optax.ctc_loss`, compiled, from logits."""
    # one thread, as for all others; read when JAX is imported first
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ.setdefault("XLA_FLAGS", flags)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax, optax = imported("jax"), imported("optax")

    def padding(lengths: Tensor, size: int) -> Any:
        return jax.numpy.asarray((torch.arange(size) >= lengths[:, None]).float().numpy())

    logits = jax.numpy.asarray(problem.logits.numpy())
    fixed = (
        padding(problem.frames, problem.sizes.t),
        jax.numpy.asarray(problem.targets.numpy()),
        padding(problem.labels, problem.sizes.u),
    )

    def total(scores: Any, *rest: Any) -> tuple[Any, Any]:
        nll = optax.ctc_loss(scores, *rest)
        return nll.sum(), nll

    step = jax.jit(jax.value_and_grad(total, has_aux=True))

    def call() -> Result:
        (_, nll), gradient = jax.block_until_ready(step(logits, *fixed))
        return Result(nll, None, gradient)

    return call


def _ctc_graph_in_gtn(gtn: Any, labels: list[int]) -> Any:
    graph = gtn.Graph(False)
    states = [0] + [symbol for label in labels for symbol in (label, 0)]
    for i, symbol in enumerate(states):
        graph.add_node(i == 0, i >= len(states) - 2)
        graph.add_arc(i, i, symbol)
        if i > 0:
            graph.add_arc(i - 1, i, symbol)
        if i > 2 and symbol != 0 and symbol != states[i - 2]:
            graph.add_arc(i - 2, i, symbol)
    graph.arc_sort(False)
    return graph


def _in_gtn(gtn: Any, fsa: Fsa) -> Any:
    """A graph whose arcs into the final state weigh nothing: gtn has no weights there."""
    graph = gtn.Graph(False)
    arcs, scores = fsa.arcs.tolist(), fsa.scores.tolist()
    accepting = {source for source, _, label in arcs if label == -1}
    for state in range(fsa.num_states - 1):
        graph.add_node(state == 0, state in accepting)
    for (source, destination, label), score in zip(arcs, scores):
        if label != -1:
            graph.add_arc(source, destination, label, label, score)
    graph.arc_sort(False)
    return graph


def gtn_ctc(problem: Problem) -> Callable[[], Result]:
    """`gtn.forward_score` of the intersection of emissions with the graph of each transcript."""
    gtn = imported("gtn")
    rows = zip(problem.targets, problem.labels)
    return _gtn(gtn, problem, [_ctc_graph_in_gtn(gtn, row[:n].tolist()) for row, n in rows])


def gtn_shared(problem: Problem, fsa: Fsa) -> Callable[[], Result]:
    """The same with one graph for all utterances."""
    gtn = imported("gtn")
    return _gtn(gtn, problem, [_in_gtn(gtn, fsa)] * problem.sizes.n)


def _gtn(gtn: Any, problem: Problem, graphs: list[Any]) -> Callable[[], Result]:
    log_probs = problem.scores(torch.float32).contiguous()

    def call() -> Result:
        gradient = torch.zeros_like(log_probs)
        nlls = []
        for n, graph in enumerate(graphs):
            frames = int(problem.frames[n])
            emissions = gtn.linear_graph(frames, problem.sizes.v, True)
            emissions.set_weights(log_probs[n].data_ptr())
            nll = gtn.negate(gtn.forward_score(gtn.intersect(emissions, graph)))
            gtn.backward(nll)
            part = torch.from_numpy(emissions.grad().weights_to_numpy())
            gradient[n, :frames] = part.view(frames, -1)
            nlls.append(nll.item())
        return Result(torch.tensor(nlls), None, gradient)

    return call


def k2_ctc(problem: Problem) -> Callable[[], Result]:
    """k2's total score of `intersect_dense`, which is its `ctc_loss`; the beam prunes nothing."""
    k2 = imported("k2")
    rows = zip(problem.targets, problem.labels)
    graphs = k2.ctc_graph([row[:length].tolist() for row, length in rows])
    return _k2(k2, problem, graphs)


def k2_shared(problem: Problem, fsa: Fsa) -> Callable[[], Result]:
    """The same with one graph for all utterances, of which k2 wants as many copies."""
    k2 = imported("k2")
    graphs = k2.create_fsa_vec([k2.Fsa.from_str(fsa.to_str())] * problem.sizes.n)
    return _k2(k2, problem, graphs)


def _k2(k2: Any, problem: Problem, graphs: Any) -> Callable[[], Result]:
    log_probs = problem.scores(torch.float32).requires_grad_()
    zeros = torch.zeros_like(problem.frames)
    segments = torch.stack([torch.arange(len(zeros)), zeros, problem.frames], 1).int()

    def call() -> Result:
        dense = k2.DenseFsaVec(log_probs, segments)
        lattice = k2.intersect_dense(graphs, dense, output_beam=1e6)
        nll = -lattice.get_tot_scores(log_semiring=True, use_double_scores=True)
        return Result(nll.detach(), None, torch.autograd.grad(nll.sum(), log_probs)[0])

    return call


def _chain(
    problem: Problem, log_probs: Tensor, states: Tensor, allowed: Tensor, steps: Tensor
) -> Tensor:
    """The CTC lattice as potentials (N, T - 1, next state, state) of a linear chain."""
    emission = log_probs.gather(2, states[:, None].expand(-1, problem.sizes.t, -1))
    chain = emission[:, 1:, :, None] + allowed[:, None]
    start = torch.full_like(states, NEVER, dtype=emission.dtype)
    start[:, :2] = 0.0
    end = torch.full_like(start, NEVER)
    for n, length in enumerate(problem.labels.tolist()):
        end[n, max(2 * length - 1, 0) : 2 * length + 1] = 0.0
    first = (steps == 0)[None, :, None, None] * (emission[:, 0] + start)[:, None, None, :]
    is_last = steps[None] == problem.frames[:, None] - 2
    return chain + first + is_last[:, :, None, None] * end[:, None, :, None]


def struct_ctc(problem: Problem, divergence: bool = False) -> Callable[[], Result]:
    """torch_struct's `LinearChainCRF` over the states of CTC: its partition and its entropy.

    With `divergence` its `kl` of the teacher's chain from the student's, in the entropy's place.
    """
    struct = imported("torch_struct")
    warnings.filterwarnings("ignore", module="torch_struct")
    num_states = 2 * problem.sizes.u + 1
    size = 2 * problem.sizes.n * problem.sizes.t * num_states**3
    if size > TOO_LARGE:
        raise Absent(f"its first products of matrices would take {size / 2**30:.0f} GiB")
    states = torch.zeros(problem.sizes.n, num_states, dtype=torch.int64)
    states[:, 1::2] = problem.targets
    # [n, next, state]: stay, go on, or skip the blank between two different labels
    ahead = torch.arange(num_states)[:, None] - torch.arange(num_states)
    differs = (states[:, :, None] != states[:, None, :]) & (states[:, :, None] != 0)
    possible = (ahead == 0) | (ahead == 1) | ((ahead == 2) & differs)
    allowed = torch.where(possible, 0.0, NEVER)
    steps = torch.arange(problem.sizes.t - 1)
    log_probs = problem.scores(torch.float32).requires_grad_()

    def chain(scores: Tensor) -> Any:
        potentials = _chain(problem, scores, states, allowed, steps)
        return struct.LinearChainCRF(potentials, lengths=problem.frames)

    def call() -> Result:
        student = chain(log_probs)
        nll = -student.partition
        if divergence:
            extra = chain(problem.scores(torch.float32, teacher=True)).kl(student)
            gradient = torch.autograd.grad(extra.sum(), log_probs)[0]
        else:
            extra = student.entropy
            gradient = torch.autograd.grad((nll - 0.1 * extra).sum(), log_probs)[0]
        return Result(nll.detach(), extra.detach(), gradient)

    return call


def torchaudio_rnnt(problem: Problem) -> Callable[[], Result]:
    """`torchaudio.functional.rnnt_loss`, softmax fused."""
    rnnt_loss = imported("torchaudio.functional").rnnt_loss
    logits = problem.logits.detach().requires_grad_()
    rest = (problem.targets.int(), problem.frames.int(), problem.labels.int())

    def call() -> Result:
        nll = rnnt_loss(logits, *rest, blank=0, reduction="none")
        return Result(nll.detach(), None, torch.autograd.grad(nll.sum(), logits)[0])

    return call


def povey_rnnt(package: str, problem: Problem) -> Callable[[], Result]:
    """`rnnt_loss` of k2 or of fast_rnnt, which took it from there."""
    rnnt_loss = imported(package).rnnt_loss
    logits = problem.logits.detach().requires_grad_()
    zeros = torch.zeros_like(problem.frames)
    boundary = torch.stack([zeros, zeros, problem.labels, problem.frames], 1)

    def call() -> Result:
        nll = rnnt_loss(logits, problem.targets, 0, boundary=boundary, reduction="none")
        return Result(nll.detach(), None, torch.autograd.grad(nll.sum(), logits)[0])

    return call
