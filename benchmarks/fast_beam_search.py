"""Fast beam search of a transducer over graphs, beside its modified beam search: frames a second.

    python benchmarks/fast_beam_search.py
    python benchmarks/fast_beam_search.py --lg data/lang_char/LG.pt --batches 8 --limits 4 32

The model is that of `transducer_search.py`: made from a seed, a joiner of `--width` and `--symbols`
symbols, blank in about four of five frames. The graphs are `trivial_graph` and an LG with back-off
arcs; by default that of `decoding_problem.py`, 20,000 words and 260,000 bigrams, whose making
(minutes, once) is not measured. The frames are random, which keeps the beam fuller than speech
does. All searches run in one process on one thread and take turns; the best of the repeats counts,
in processor time, from the encoder's output to the best path.

"C++" is the share of the time in the extension (arcs, pruning, the lattice), "model" that in the
joiner and the predictor; the rest is Python and the small tensors between them. "lattice" is the
time of making the lattices of all utterances afterwards, in percent of the search's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transducer_search import Model, problem

from wfst_entropy import DecodingGraph, FastBeamSearch, Fsa, ModifiedBeamSearch, load_fsa
from wfst_entropy.topologies import trivial_graph


class Measured(NamedTuple):
    seconds: float
    model: float  # seconds of them in the joiner and the predictor
    native: float  # in the extension
    lattice: float  # and how long lattices take afterwards
    found: list[list[int]]


class Clock:
    """Wraps functions and adds up the time that they take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - started

        return timed


class TimedModel:
    """The methods of a model, timed."""

    def __init__(self, model: Model, clock: Clock) -> None:
        self.context_size = model.context_size
        for name in ("project_encoder", "contexts", "start", "step", "join"):
            setattr(self, name, clock.wrap(getattr(model, name)))


def measure(make: Callable[[Any], Any], model: Model, encoder_out: Tensor) -> Measured:
    """One run of a search on whole utterances of equal length."""
    in_model, in_native = Clock(), Clock()
    search = make(TimedModel(model, in_model))
    if isinstance(search, FastBeamSearch):
        native: Any = search._search
        native.advance = in_native.wrap(native.advance)
        native.contexts = in_native.wrap(native.contexts)
    lengths = torch.full((len(encoder_out),), encoder_out.shape[1])
    in_model.seconds = 0.0
    started = time.process_time()
    states = search.advance(encoder_out, lengths, [search.start()] * len(encoder_out))
    found = [result.tokens for result in search.results(states)]
    seconds = time.process_time() - started
    if isinstance(search, FastBeamSearch):
        search.lattice(states)
    lattice = time.process_time() - started - seconds
    return Measured(seconds, in_model.seconds, in_native.seconds, lattice, found)


def searches_of(
    graphs: dict[str, DecodingGraph], limits: list[tuple[int, int]], beams: list[int]
) -> dict[str, Callable[[Any], Any]]:
    """By name what makes a search of a model."""
    rows: dict[str, Callable[[Any], Any]] = {}
    for name, graph in graphs.items():
        for contexts, states in limits:
            rows[f"{name}, {contexts} contexts, {states} states"] = _fast(graph, contexts, states)
    for size in beams:
        rows[f"modified beam search, {size}"] = _modified(size)
    return rows


def _fast(graph: DecodingGraph, contexts: int, states: int) -> Callable[[Any], Any]:
    return lambda model: FastBeamSearch(model, graph, max_contexts=contexts, max_states=states)


def _modified(size: int) -> Callable[[Any], Any]:
    return lambda model: ModifiedBeamSearch(model, size)


def default_lg(symbols: int) -> Fsa:
    """The LG of `decoding_problem.py`, whose back-off arcs get label 0."""
    from decoding_problem import Sizes, make_graphs

    return make_graphs(Sizes(20_000, 260_000, symbols, 1, 1)).lg


def main() -> None:
    parser = argparse.ArgumentParser(description="Fast beam search over graphs.")
    parser.add_argument("--lg", type=Path, help="a graph of tokens below --symbols")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--limits", type=int, nargs="+", default=[4, 32, 8, 64],
                        help="pairs of --max-contexts and --max-states")  # fmt: skip
    parser.add_argument("--beams", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, encoder_out = problem(args.symbols, args.width, max(args.batches), args.frames)
    lg = default_lg(args.symbols) if args.lg is None else load_fsa(args.lg)
    graphs = {
        "any labels": DecodingGraph(trivial_graph(args.symbols - 1), epsilon_label=0),
        "LG": DecodingGraph(lg, epsilon_label=0),
    }
    limits = list(zip(args.limits[::2], args.limits[1::2], strict=True))
    rows = searches_of(graphs, limits, args.beams)
    print(f"{args.frames} frames an utterance, {args.symbols} symbols, width {args.width};")
    print(f"LG: {lg.num_states} states, {lg.num_arcs} arcs")
    for batch in args.batches:
        print(f"\nbatch {batch:3}{'frames/s':>38}{'C++':>7}{'model':>7}{'lattice':>9}")
        best: dict[str, Measured] = {}
        for _ in range(args.repeats):
            for name, make in rows.items():
                run = measure(make, model, encoder_out[:batch])
                if name not in best or run.seconds < best[name].seconds:
                    best[name] = run
        for name, run in best.items():
            rate = batch * args.frames / run.seconds
            shares = [x / run.seconds for x in (run.native, run.model, run.lattice)]
            fast = "modified" not in name
            cpp, lattice = (f"{shares[i]:.0%}" if fast else "" for i in (0, 2))
            print(f"{name:36}{rate:11.0f}{cpp:>7}{shares[1]:7.0%}{lattice:>9}")


if __name__ == "__main__":
    main()
