"""Searching an HLG of 20,000 words: one-best against kaldi-decoder, lattices, streams, threads.

    python benchmarks/decoding.py

All rows search the same scores with the same beam; one frame is taken to be 40 ms. Time is
processor time of one thread, rows taking turns, minima and medians of the repeats; that of two
threads is on the wall. A search error is an utterance whose best path scores worse than that of a
search with a much wider beam.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from decoding_problem import Graphs, Sizes, best_score, blank_share, make_graphs, make_scores
from measuring import Absent, chosen, environment
from peers import imported
from torch import Tensor

from wfst_entropy import (
    DecodingGraph,
    DenseFsaVec,
    Fsa,
    OnlineDenseIntersecter,
    beam_search_best_path,
    edit_distance,
    intersect_dense_pruned,
    one_best_decoding,
    to_kaldifst,
)
from wfst_entropy.fsa import RaggedTensor

FRAME_SHIFT = 0.04  # seconds
OUTPUT_BEAM = 6.0
MIN_ACTIVE = 20
CHUNK = 16  # frames
TINY = Sizes(300, 2000, 100, 40, 3)


class Problem(NamedTuple):
    sizes: Sizes
    graphs: Graphs
    log_probs: Tensor
    texts: list[list[int]]

    @property
    def dense(self) -> DenseFsaVec:
        lengths = torch.full((self.sizes.utterances,), self.sizes.frames)
        return DenseFsaVec.from_lengths(self.log_probs, lengths)


class Beams(NamedTuple):
    beam: float
    max_active: int


class Found(NamedTuple):
    """Best paths; the arcs of a lattice, if there is one."""

    scores: list[float]
    words: list[list[int]]
    arcs: int = 0


class Row(NamedTuple):
    """`prepare` does what needs no clock; its result searches, and that one's tells what came."""

    name: str
    prepare: Callable[[Problem, Beams], Callable[[], Callable[[], Found]]]
    package: str = ""


def make_problem(sizes: Sizes, seed: int = 1) -> Problem:
    graphs = make_graphs(sizes)
    return Problem(sizes, graphs, *make_scores(sizes, graphs, seed))


def of_paths(paths: Fsa, arcs: int = 0) -> Found:
    each = [paths[i] for i in range(paths.num_fsas)]
    words = [[w for w in path.aux_labels.tolist() if w > 0] for path in each]
    return Found([best_score(path.scores) for path in each], words, arcs)


def graph_of(problem: Problem, implied: bool) -> DecodingGraph:
    if implied:
        return DecodingGraph(problem.graphs.lg, topology="standard")
    return DecodingGraph(problem.graphs.hlg, epsilon_label=problem.sizes.vocab)


def best_paths(problem: Problem, beams: Beams, implied: bool = False) -> Any:
    graph, dense = graph_of(problem, implied), problem.dense
    options = {"search_beam": beams.beam, "max_active_states": beams.max_active}

    def call() -> Callable[[], Found]:
        paths = beam_search_best_path(graph, dense, min_active_states=MIN_ACTIVE, **options)
        return lambda: of_paths(paths)

    return call


def lattices(problem: Problem, beams: Beams, implied: bool = False) -> Any:
    graph, dense = graph_of(problem, implied), problem.dense
    options = {"search_beam": beams.beam, "max_active_states": beams.max_active}
    options |= {"output_beam": OUTPUT_BEAM, "min_active_states": MIN_ACTIVE}

    def call() -> Callable[[], Found]:
        lattice = intersect_dense_pruned(graph, dense, **options)
        return lambda: of_paths(one_best_decoding(lattice), lattice.num_arcs)

    return call


def streams(problem: Problem, beams: Beams) -> Any:
    """Chunk by chunk with the best path so far, and the lattice at the end."""
    graph, sizes = graph_of(problem, implied=False), problem.sizes
    number, rest = sizes.utterances, (OUTPUT_BEAM, MIN_ACTIVE, beams.max_active)
    search = OnlineDenseIntersecter(graph, number, beams.beam, *rest)

    def call() -> Callable[[], Found]:
        states: list[Any] = [None] * number
        for t in range(0, sizes.frames, CHUNK):
            size = min(CHUNK, sizes.frames - t)
            segments = torch.tensor([[n, t, size] for n in range(number)])
            states = search.advance(DenseFsaVec(problem.log_probs, segments), states)
            search.best_path(states)
        lattice = search.lattice(states)
        return lambda: of_paths(one_best_decoding(lattice), lattice.num_arcs)

    return call


def kaldi_row(problem: Problem, beams: Beams) -> Any:
    """FasterDecoder on the same HLG: labels one higher, and 0 on arcs that consume no frame."""
    kaldi_decoder, kaldifst = imported("kaldi_decoder"), imported("kaldifst")
    hlg, vocab = problem.graphs.hlg, problem.sizes.vocab
    labels = torch.where(hlg.labels == vocab, 0, hlg.labels + (hlg.labels >= 0))
    arcs = torch.cat([hlg.arcs[:, :2], labels[:, None].int()], dim=1)
    fst = to_kaldifst(Fsa(hlg.shape, arcs, hlg.scores, aux_labels=hlg.aux_labels))
    options = kaldi_decoder.FasterDecoderOptions(
        beam=beams.beam, max_active=beams.max_active, min_active=MIN_ACTIVE
    )
    decoder = kaldi_decoder.FasterDecoder(fst, options)
    frames = [kaldi_decoder.DecodableCtc(scores.numpy()) for scores in problem.log_probs]

    def call(kept: Any = fst) -> Callable[[], Found]:  # the decoder only refers to it
        paths = []
        for scores in frames:
            decoder.decode(scores)
            paths.append(decoder.get_best_path()[1])

        def tell() -> Found:
            read = [kaldifst.get_linear_symbol_sequence(path) for path in paths]
            return Found(
                [-w.value1 - w.value2 for *_, w in read], [words for _, _, words, _ in read]
            )

        return tell

    return call


def rows() -> list[Row]:
    def implied(function: Any) -> Any:
        return lambda problem, beams: function(problem, beams, implied=True)

    return [
        Row("kaldi-decoder, FasterDecoder, HLG", kaldi_row, "kaldi_decoder"),
        Row("beam_search_best_path, HLG", best_paths),
        Row("beam_search_best_path, LG", implied(best_paths)),
        Row("intersect_dense_pruned, HLG", lattices),
        Row("intersect_dense_pruned, LG", implied(lattices)),
        Row(f"OnlineDenseIntersecter, {CHUNK} frames each", streams),
    ]


def measure(
    problem: Problem, wanted: list[Row], beams: Beams, repeats: int
) -> tuple[dict[str, list[float]], dict[str, Found], dict[str, str]]:
    """Seconds of every repeat, what was found, and why rows are missing."""
    seconds: dict[str, list[float]] = {}
    found: dict[str, Found] = {}
    missing: dict[str, str] = {}
    calls = {}
    for row in wanted:
        try:
            calls[row.name] = row.prepare(problem, beams)
            found[row.name] = calls[row.name]()()
        except Absent as error:
            calls.pop(row.name, None)
            missing[row.name] = str(error)
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.process_time()
            result = call()
            seconds.setdefault(name, []).append(time.process_time() - begin)
            del result
    return seconds, found, missing


def word_errors(problem: Problem, found: Found) -> float:
    """The share of the words of the transcripts."""
    hyps, refs = (
        RaggedTensor.from_lists(x, dtype=torch.int32) for x in (found.words, problem.texts)
    )
    return float(edit_distance(hyps, refs).sum()) / sum(map(len, problem.texts))


def table(
    problem: Problem, wanted: list[Row], beams: Beams, repeats: int, best: list[float]
) -> list[dict[str, Any]]:
    seconds, found, missing = measure(problem, wanted, beams, repeats)
    audio = problem.sizes.utterances * problem.sizes.frames * FRAME_SHIFT
    first = next(iter(seconds.values()))
    print(f"\nsearch beam {beams.beam:g}, at most {beams.max_active} active states")
    print(
        f"{'':42}{'min s':>8}{'median':>8}{'ratio':>8}{'RTF':>9}{'search errors':>15}{'WER':>8}",
        end="",
    )
    print(f"{'arcs':>9}")
    lines = []
    for name, times in seconds.items():
        line: dict[str, Any] = {
            "name": name,
            "min_s": min(times),
            "median_s": statistics.median(times),
            "ratio_of_mins": min(times) / min(first),
            "real_time_factor": min(times) / audio,
            "search_errors": sum(s < b - 0.01 for s, b in zip(found[name].scores, best)),
            "wer": word_errors(problem, found[name]),
            "arcs": found[name].arcs,
        }
        lines.append(line)
        text = f"{name:42}{line['min_s']:8.3f}{line['median_s']:8.3f}{line['ratio_of_mins']:8.3f}"
        text += f"{line['real_time_factor']:9.5f}{line['search_errors']:15}{line['wer']:8.1%}"
        print(text + (f"{line['arcs']:9}" if line["arcs"] else ""))
    for name, reason in missing.items():
        print(f"absent: {name}: {reason}")
    return lines


def threads_table(problem: Problem, beams: Beams, repeats: int) -> list[dict[str, Any]]:
    """Wall time of all utterances on one thread and on two."""
    print(f"\nwall time, one thread and two, search beam {beams.beam:g}")
    lines = []
    for name, prepare in (
        ("beam_search_best_path, HLG", best_paths),
        ("intersect_dense_pruned, HLG", lattices),
    ):
        call, seconds = prepare(problem, beams), {1: [], 2: []}
        for _ in range(repeats + 1):
            for number in (1, 2):
                torch.set_num_threads(number)
                begin = time.perf_counter()
                call()
                seconds[number].append(time.perf_counter() - begin)
        torch.set_num_threads(1)
        one, two = min(seconds[1]), min(seconds[2])
        lines.append({"name": name, "one_s": one, "two_s": two, "speedup": one / two})
        print(f"{name:42}{one:8.3f}{two:8.3f}   {one / two:.2f} times as fast")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = tuple(name.upper() for name in Sizes._fields)
    default = Sizes(20_000, 260_000, 500, 500, 16)
    parser.add_argument("--sizes", type=int, nargs=5, metavar=names, default=default)
    parser.add_argument("--beams", type=float, nargs="+", default=[10.0, 13.0, 15.0])
    parser.add_argument("--max-active", type=int, default=7000)
    parser.add_argument("--wide-beam", type=float, default=20.0, help="what search errors refer to")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", nargs="*", metavar="PACKAGE", help="only these; none without")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = TINY if args.quick else Sizes(*args.sizes)
    repeats = 1 if args.quick else args.repeats
    problem = make_problem(sizes)
    graphs = problem.graphs
    print(environment())
    print(
        f"{sizes.words} words, {graphs.source}; LG {graphs.lg.num_arcs:,} arcs, HLG "
        f"{graphs.hlg.num_states:,} states, {graphs.hlg.num_arcs:,} arcs; {sizes.utterances} "
        f"utterances of {sizes.frames} frames, {blank_share(problem.log_probs):.0%} blank"
    )
    best = best_paths(problem, Beams(args.wide_beam, 10 * args.max_active))()().scores
    wanted = chosen(rows(), args.peers)
    tables = []
    for beam in args.beams:
        beams = Beams(beam, args.max_active)
        tables.append(
            {"title": f"beam {beam:g}", "rows": table(problem, wanted, beams, repeats, best)}
        )
    lines = threads_table(problem, Beams(args.beams[-1], args.max_active), repeats)
    tables.append({"title": "threads", "rows": lines})
    if args.json is not None:
        content = {"environment": environment(), "command": sys.argv, "tables": tables}
        args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
