#!/usr/bin/env python3
"""Makes the embedded corpus: synthetic speech in LibriSpeech's layout.

Usage: make_mini_corpus.py --output-dir data/download --hours 3 --seed 0
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from wfst_entropy.asr.data.mini_corpus import MiniCorpusOptions, generate_mini_corpus
from wfst_entropy.fsa.errors import FsaError

CLAUSES = Path(__file__).resolve().parent.parent / "mini_corpus" / "clauses.txt"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--output-dir", type=Path, default=Path("data/download"))
    parser.add_argument("--hours", type=float, default=3.0, help="hours of training speech")
    parser.add_argument("--num-dev", type=int, default=200, help="utterances in dev-clean-2")
    parser.add_argument("--num-test", type=int, default=200, help="utterances in test-clean-2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--clauses", type=Path, default=CLAUSES, help="one clause a line")
    return parser


def main() -> int:
    """Makes the corpus; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    options = MiniCorpusOptions(args.hours, args.num_dev, args.num_test, args.seed)
    start = time.monotonic()
    lock = threading.Lock()
    seconds_made = 0.0
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn()) as progress:
        task = progress.add_task("synthesis", total=options.train_hours * 3600)

        def on_progress(part: str, seconds: float) -> None:
            nonlocal seconds_made
            with lock:
                seconds_made += seconds
            progress.update(task, advance=seconds, description=f"synthesis of {part}")

        try:
            root = generate_mini_corpus(
                args.output_dir,
                args.clauses,
                options,
                num_jobs=args.num_jobs,
                on_progress=on_progress,
            )
        except (FsaError, OSError) as error:
            logging.error("%s", error)
            return 1
        progress.update(task, completed=options.train_hours * 3600, description="synthesis")
    if seconds_made == 0:
        logging.info("%s is complete already, skipping", root)
    else:
        elapsed = time.monotonic() - start
        logging.info("%s: %.2f hours of speech in %.0f s", root, seconds_made / 3600, elapsed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
