"""How long do graphs against frame scores take, compared with torch's CTC loss?

    python benchmarks/dense.py [--symbols 500] [--repeats 10] [--skip-slow]

Each row is a forward and a backward pass over the same scores, on one thread: first the graphs of
CTC transcripts, where `torch.nn.functional.ctc_loss` is the yardstick, then one ergodic bigram
graph that all sequences share (a denominator), with the torch engine of this package beside it.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import wfst_entropy
from wfst_entropy import _native
from wfst_entropy.algorithms import (
    get_tot_scores,
    intersect_dense,
    intersect_dense_tot_scores,
)
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.losses import ctc_alignment, fsa_alignment, fsa_loss
from wfst_entropy.topologies import ctc_graph


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def bigram_graph(num_words: int) -> Fsa:
    """Every word after every word, with random scores: num_words**2 arcs that consume a frame."""
    arcs = [(0, w, w) for w in range(1, num_words + 1)]
    arcs += [(v, w, w) for v in range(1, num_words + 1) for w in range(1, num_words + 1)]
    arcs += [(v, num_words + 1, -1) for v in range(1, num_words + 1)]
    return Fsa.from_arcs(sorted(arcs), torch.randn(len(arcs)))


def measure(rows: dict[str, Callable[[], object]], repeats: int) -> None:
    """Runs the rows in turn and prints milliseconds of processor time and ratios to the first."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(repeats + 1):
        for name, run in rows.items():
            start = time.process_time()
            run()
            if repeat:  # the first one warms up
                times[name].append(1e3 * (time.process_time() - start))
    base = next(iter(times.values()))
    print(f"{'':44}{'min ms':>9}{'median':>9}{'ratio of mins':>15}{'of medians':>12}")
    for name, row in times.items():
        low, middle = min(row), statistics.median(row)
        ratios = (low / min(base), middle / statistics.median(base))
        print(f"{name:44}{low:9.2f}{middle:9.2f}{ratios[0]:15.3f}{ratios[1]:12.3f}")


def gradient(total: torch.Tensor, *inputs: torch.Tensor) -> None:
    torch.autograd.grad(total, inputs)


def ctc_rows(num_symbols: int, lattice: bool) -> dict[str, Callable[[], object]]:
    n, num_frames, num_labels = 16, 500, 50
    scores = torch.randn(n, num_frames, num_symbols).log_softmax(-1).requires_grad_()
    time_major = scores.detach().transpose(0, 1).contiguous().requires_grad_()
    targets = torch.randint(1, num_symbols, (n, num_labels))
    lengths = (torch.full((n,), num_frames), torch.full((n,), num_labels))
    graph = ctc_graph(targets.tolist())
    weighted = graph.with_scores(graph.scores.clone().requires_grad_())
    dense = DenseFsaVec.from_lengths(scores, lengths[0])

    def peer() -> None:
        loss = torch.nn.functional.ctc_loss(time_major, targets, *lengths, reduction="sum")
        gradient(loss, time_major)

    def nll_and_entropy() -> None:
        out = fsa_alignment(graph, dense)
        gradient((out.nll - 0.1 * out.entropy).sum(), scores)

    def both_gradients() -> None:
        out = fsa_alignment(weighted, dense)
        gradient((out.nll - 0.1 * out.entropy).sum(), scores, weighted.scores)

    def ctc_kernel() -> None:
        out = ctc_alignment(scores, targets, *lengths)
        gradient((out.nll - 0.1 * out.entropy).sum(), scores)

    def of_lattice() -> None:
        gradient(get_tot_scores(intersect_dense(graph, dense)).sum(), scores)

    rows: dict[str, Callable[[], object]] = {
        "torch.nn.functional.ctc_loss": peer,
        "fsa_loss": lambda: gradient(fsa_loss(graph, dense, reduction="sum"), scores),
        "fsa_alignment, NLL and entropy": nll_and_entropy,
        "the same, gradient of the graph too": both_gradients,
        "intersect_dense_tot_scores": lambda: gradient(
            intersect_dense_tot_scores(graph, dense).sum(), scores
        ),
        "ctc_alignment, NLL and entropy": ctc_kernel,
    }
    if lattice:
        rows["intersect_dense, the lattice alone"] = lambda: intersect_dense(graph, dense)
        rows["get_tot_scores(intersect_dense(...))"] = of_lattice
    return rows


def bigram_rows(num_words: int, slow: bool) -> dict[str, Callable[[], object]]:
    n, num_frames = 4, 500
    scores = torch.randn(n, num_frames, num_words + 1).log_softmax(-1).requires_grad_()
    graph = bigram_graph(num_words)
    weighted = graph.with_scores(graph.scores.clone().requires_grad_())
    dense = DenseFsaVec.from_lengths(scores, torch.full((n,), num_frames))

    def entropy() -> None:
        out = fsa_alignment(graph, dense)
        gradient((out.nll - 0.1 * out.entropy).sum(), scores)

    def on_torch() -> None:
        with _native.disabled():
            total = intersect_dense_tot_scores(graph, dense)
        gradient(total.sum(), scores)

    rows: dict[str, Callable[[], object]] = {
        "intersect_dense_tot_scores": lambda: gradient(
            intersect_dense_tot_scores(graph, dense).sum(), scores
        ),
        "fsa_alignment, NLL and entropy": entropy,
        "fsa_loss, gradient of the graph too": lambda: gradient(
            fsa_loss(weighted, dense, reduction="sum"), scores, weighted.scores
        ),
    }
    if slow:
        rows["intersect_dense_tot_scores in torch"] = on_torch
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[500, 100])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--skip-slow", action="store_true", help="no lattices, no torch engine")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{processor()}, one thread, kernels for {_native.instruction_set()}")
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, wfst_entropy "
        f"{wfst_entropy.__version__}, {options.repeats} repeats in turn\n"
    )
    for num_symbols in options.symbols:
        print(f"16 CTC graphs of 50 labels, 500 frames, {num_symbols} symbols")
        measure(ctc_rows(num_symbols, not options.skip_slow), options.repeats)
        print()
    print("4 sequences of 500 frames, one shared bigram graph of 45 words, 2,115 arcs")
    measure(bigram_rows(45, not options.skip_slow), min(options.repeats, 3))


if __name__ == "__main__":
    main()
