"""connect, top_sort and arc_sort of a graph with a million arcs, against pynini and kaldifst.

    python benchmarks/graph_surgery.py

The graph is random from a seed: 250,000 states in no order, acyclic, some of them unreachable or
leading nowhere, four arcs each with labels below 1,000. All engines run in one process on one
thread, and the best of several runs counts. OpenFst's operations change their operand, so each of
their runs gets a copy of its own, made before the clock starts; ours make a new graph, with scores
and an attribute that follow their arcs. kaldifst has no topological sort.

Needs pynini and kaldifst (`pip install .[dev]`).
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import kaldifst
import pynini
import torch

from wfst_entropy import Fsa, arc_sort, connect, top_sort

NUM_LABELS = 1000
BAR = 0.2  # seconds, of each operation


def random_graph(num_states: int, num_arcs: int) -> Fsa:
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, (num_arcs,), generator=generator)

    final = num_states - 1
    source = draw(0, final)
    destination = (source + draw(1, 50)).clamp(max=final)
    label = draw(0, NUM_LABELS).masked_fill(destination == final, -1)
    inner = torch.randperm(num_states - 2, generator=generator) + 1
    order = torch.cat([torch.tensor([0]), inner, torch.tensor([final])])
    arcs = torch.stack([order[source], order[destination], label], dim=1)
    arcs = arcs[arcs[:, 0].argsort(stable=True)]
    scores = torch.randn(num_arcs, generator=generator)
    return Fsa.from_arcs(arcs, scores, num_states, tag=torch.arange(num_arcs))


def fill(fsa: Fsa, twin: Any, add_arc: Callable[[int, int, float, int], None]) -> Any:
    """Adds states and arcs to an OpenFst machine; arcs into the final state end there."""
    for _ in range(fsa.num_states - 1):
        twin.add_state()
    for (source, destination, label), score in zip(fsa.arcs.tolist(), fsa.scores.tolist()):
        if label == -1:
            twin.set_final(source, -score)
        else:
            add_arc(source, label, -score, destination)
    return twin


def in_pynini(fsa: Fsa) -> Any:
    fst = pynini.Fst()
    fill(fsa, fst, lambda s, i, w, d: fst.add_arc(s, pynini.Arc(i, i, w, d)))
    return fst.set_start(0)


def in_kaldifst(fsa: Fsa) -> Any:
    fst = kaldifst.StdVectorFst()
    fill(fsa, fst, lambda s, i, w, d: fst.add_arc(s, kaldifst.StdArc(i, i, w, d)))
    fst.start = 0
    return fst


def unshared(fst: Any) -> Any:
    """A copy that will not be copied again at the first change, inside the clock."""
    copy = fst.copy()
    copy.set_start(copy.start())
    return copy


def unshared_kaldifst(fst: Any) -> Any:
    copy = kaldifst.StdVectorFst(fst)
    copy.start = copy.start
    return copy


def seconds(operation: Callable[[Any], Any], operand: Callable[[], Any], num_runs: int) -> float:
    best = float("inf")
    for _ in range(num_runs):
        machine = operand()
        start = time.perf_counter()
        result = operation(machine)
        best = min(best, time.perf_counter() - start)
        del machine, result
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--states", type=int, default=250_000)
    parser.add_argument("--arcs", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()

    torch.set_num_threads(1)
    fsa = random_graph(args.states, args.arcs)
    fst, kaldi = in_pynini(fsa), in_kaldifst(fsa)
    kaldi_arc_sort = functools.partial(kaldifst.arcsort, sort_type="ilabel")
    rows = (
        ("connect", connect, lambda f: f.connect(), kaldifst.connect),
        ("top_sort", top_sort, lambda f: f.topsort(), None),
        ("arc_sort", arc_sort, lambda f: f.arcsort("ilabel"), kaldi_arc_sort),
    )
    print(f"{args.states} states, {args.arcs} arcs; seconds, best of {args.runs}; ratio to ours")
    print(f"{'':10}{'ours':>8}{'bar':>7}{'pynini':>9}{'ratio':>7}{'kaldifst':>10}{'ratio':>7}")
    for name, ours, in_place, kaldi_in_place in rows:
        own = seconds(ours, lambda: fsa, args.runs)
        peer = seconds(in_place, lambda: unshared(fst), args.runs)
        line = f"{name:10}{own:8.3f}{BAR:7.1f}{peer:9.3f}{peer / own:7.2f}"
        if kaldi_in_place is not None:
            peer = seconds(kaldi_in_place, lambda: unshared_kaldifst(kaldi), args.runs)
            line += f"{peer:10.3f}{peer / own:7.2f}"
        print(line + ("" if own < BAR else "  over the bar"))


if __name__ == "__main__":
    main()
