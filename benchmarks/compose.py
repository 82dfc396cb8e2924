"""Composition of a 20,000-word lexicon with a bigram grammar, against kaldifst (OpenFst).

    python benchmarks/compose.py

Lexicon and grammar are generated from a seed: pronunciations of 2 to 10 phones with disambiguation
symbols and optional silence, as Kaldi's `make_lexicon_fst.py` makes them; a bigram of 260,000 arcs,
back-off arcs included. Each engine runs in its own process, on one thread, and reports the best
time of several runs, that of the first, and how much its memory grew during the first composition
beyond what it had with the operands in memory. kaldifst gets its operands sorted beforehand;
sorting is part of the time of the other.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUM_WORDS = 20_000
NUM_PHONES = 40
NUM_GRAMMAR_ARCS = 260_000
NUM_RUNS = 7

# Source, destination, input, output, cost; a destination of None is the end.
Arc = tuple[int, int | None, int, int, float]


def lexicon(rng: random.Random) -> list[Arc]:
    """L: words leave the loop state 1 and come back to it, directly or through silence (2)."""
    silence, first_disambig, backoff = NUM_PHONES, NUM_PHONES + 1, NUM_WORDS + 1
    arcs: list[Arc] = [(0, 1, 0, 0, 0.7), (0, 2, 0, 0, 0.7), (2, 1, silence, 0, 0.0)]
    # The grammar's back-off symbol passes through the lexicon, as #0 does.
    arcs += [(1, 1, first_disambig, backoff, 0.0), (1, None, 0, 0, 0.0)]
    num_states, homophones = 3, {}
    for word in range(1, NUM_WORDS + 1):
        phones = [rng.randrange(1, NUM_PHONES) for _ in range(rng.randint(2, 10))]
        count = homophones[tuple(phones)] = homophones.get(tuple(phones), 0) + 1
        if count > 1:
            phones.append(first_disambig + count)
        source = 1
        for i, phone in enumerate(phones[:-1]):
            arcs.append((source, num_states, phone, word if i == 0 else 0, 0.0))
            source, num_states = num_states, num_states + 1
        arcs += [(source, 1, phones[-1], 0, 0.7), (source, 2, phones[-1], 0, 0.7)]
    return arcs


def grammar(rng: random.Random, backoff: int) -> list[Arc]:
    """G: state 0 is the start, state w the history w, the last one the back-off state."""
    unigram = NUM_WORDS + 1
    arcs: list[Arc] = [(unigram, word, word, word, 9.0) for word in range(1, NUM_WORDS + 1)]
    arcs += [(history, unigram, backoff, 0, rng.uniform(0, 2)) for history in range(NUM_WORDS + 1)]
    arcs += [(unigram, None, 0, 0, 9.0)]
    seen = set()
    while len(arcs) < NUM_GRAMMAR_ARCS:
        # Frequent words have more followers, as in text.
        history = int(NUM_WORDS * rng.random() ** 2)
        word = 1 + int(NUM_WORDS * rng.random() ** 2)
        if (history, word) not in seen:
            seen.add((history, word))
            arcs.append((history, word, word, word, rng.uniform(1, 6)))
    return arcs


def with_one_end(arcs: list[Arc]) -> tuple[list[Arc], int]:
    """The arcs ordered by their source, and the number of states, of which the last is the end."""
    end = 1 + max(max(source, destination or 0) for source, destination, *_ in arcs)
    return sorted(arcs, key=lambda arc: arc[0]), end + 1


def ours(l_arcs: list[Arc], g_arcs: list[Arc]) -> tuple[Callable[[], Any], Callable[[Any], tuple]]:
    import torch

    from wfst_entropy import Fsa, compose

    torch.set_num_threads(1)

    def build(arcs: list[Arc]) -> Fsa:
        arcs, num_states = with_one_end(arcs)
        rows = [(s, num_states - 1, -1) if d is None else (s, d, i) for s, d, i, _, _ in arcs]
        outputs = [-1 if d is None else o for _, d, _, o, _ in arcs]
        return Fsa.from_arcs(
            torch.tensor(rows, dtype=torch.int32),
            torch.tensor([-cost for *_, cost in arcs]),
            num_states,
            aux_labels=torch.tensor(outputs, dtype=torch.int32),
        )

    l_fst, g_fst = build(l_arcs), build(g_arcs)
    return lambda: compose(l_fst, g_fst), lambda fst: (fst.num_states - 1, fst.num_arcs)


def kaldifst(
    l_arcs: list[Arc], g_arcs: list[Arc]
) -> tuple[Callable[[], Any], Callable[[Any], tuple]]:
    import kaldifst

    def build(arcs: list[Arc]) -> Any:
        fst = kaldifst.StdVectorFst()
        for _ in range(with_one_end(arcs)[1] - 1):
            fst.add_state()
        fst.start = 0
        for source, destination, i, o, cost in arcs:
            if destination is None:
                fst.set_final(source, cost)
            else:
                fst.add_arc(source, kaldifst.StdArc(i, o, cost, destination))
        return fst

    l_fst, g_fst = build(l_arcs), build(g_arcs)
    kaldifst.arcsort(l_fst, "olabel")
    kaldifst.arcsort(g_fst, "ilabel")

    def size(fst: Any) -> tuple[int, int]:
        finals = sum(math.isfinite(fst.final(s).value) for s in range(fst.num_states))
        return fst.num_states, sum(fst.num_arcs(s) for s in range(fst.num_states)) + finals

    return lambda: kaldifst.compose(l_fst, g_fst), size


def memory(field: str) -> float:
    """VmRSS or VmHWM (its peak) of this process, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def measure(engine: str, backoff: int) -> dict[str, Any]:
    """Builds the operands and composes them, in this process."""
    rng = random.Random(1)
    l_arcs, g_arcs = lexicon(rng), grammar(rng, backoff)
    run, size = {"wfst_entropy": ours, "kaldifst": kaldifst}[engine](l_arcs, g_arcs)
    l_size, g_size = len(l_arcs), len(g_arcs)
    del l_arcs, g_arcs
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory("VmRSS")
    times = []
    begin = time.perf_counter()
    composed = run()
    times.append(time.perf_counter() - begin)
    growth = memory("VmHWM") - before
    for _ in range(NUM_RUNS - 1):
        composed = None
        begin = time.perf_counter()
        composed = run()
        times.append(time.perf_counter() - begin)
    states, arcs = size(composed)
    return {
        "seconds": min(times),
        "first": times[0],
        "growth": growth,
        "states": states,
        "arcs": arcs,
        "l_arcs": l_size,
        "g_arcs": g_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=["wfst_entropy", "kaldifst"], help=argparse.SUPPRESS)
    parser.add_argument("--backoff", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        print(json.dumps(measure(args.engine, args.backoff)))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, backoff in (("a symbol (#0)", NUM_WORDS + 1), ("epsilon", 0)):
        found = {}
        for engine in ("wfst_entropy", "kaldifst"):
            command = [sys.executable, __file__, "--engine", engine, "--backoff", str(backoff)]
            output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            found[engine] = json.loads(output.stdout)
        first = found["wfst_entropy"]
        print(f"L: {first['l_arcs']} arcs, G: {first['g_arcs']} arcs, back-off arcs read {name}")
        print(f"{'':14}{'seconds':>10}{'first run':>10}{'MB':>8}{'states':>10}{'arcs':>10}")
        for engine, r in found.items():
            times = f"{r['seconds']:10.3f}{r['first']:10.3f}"
            print(f"{engine:14}{times}{r['growth']:8.1f}{r['states']:10}{r['arcs']:10}")
        ratios = [first[key] / found["kaldifst"][key] for key in ("seconds", "first", "growth")]
        print(f"{'ratio':14}{ratios[0]:10.2f}{ratios[1]:10.2f}{ratios[2]:8.2f}\n")


if __name__ == "__main__":
    main()
