#!/usr/bin/env python3
"""Writes lhotse manifests of a corpus in LibriSpeech's layout, or takes cut sets of your own.

Usage:
  prepare_manifests.py --corpus-dir data/download --output-dir data/manifests
  prepare_manifests.py --cuts my_cuts.jsonl.gz --output-dir data/manifests
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from wfst_entropy.asr.data.manifest_files import excluded_file
from wfst_entropy.asr.data.manifests import (
    FULL_LIBRI_PARTS,
    PartSummary,
    find_corpus_root,
    find_parts,
    prepare_cuts,
    prepare_manifests,
    split_cuts,
)
from wfst_entropy.asr.options import str2bool
from wfst_entropy.fsa.errors import FsaError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--corpus-dir", type=Path, help="folder in LibriSpeech's layout")
    parser.add_argument("--output-dir", type=Path, default=Path("data/manifests"))
    parser.add_argument(
        "--parts", nargs="+", help="parts to take; by default all named train*, dev*, test*"
    )
    parser.add_argument(
        "--full-libri", type=str2bool, default=True, help=f"take {' and '.join(FULL_LIBRI_PARTS)}"
    )
    parser.add_argument(
        "--cuts",
        type=Path,
        help="one lhotse cut set; 5 %% of its sentences are drawn for dev and 5 %% for test",
    )
    for subset in ("train", "dev", "test"):
        parser.add_argument(f"--cuts-{subset}", type=Path, help=f"lhotse cut set for {subset}")
    return parser


def prepare(args: argparse.Namespace) -> list[PartSummary]:
    """Takes the route that the options ask for."""
    if args.cuts is not None:
        return split_cuts(args.cuts, args.output_dir)
    files = {name: getattr(args, f"cuts_{name}") for name in ("train", "dev", "test")}
    files = {name: path for name, path in files.items() if path is not None}
    if files:
        return prepare_cuts(files, args.output_dir)
    root = find_corpus_root(args.corpus_dir)
    parts = args.parts
    if parts is None:
        parts = [p for p in find_parts(root) if args.full_libri or p not in FULL_LIBRI_PARTS]
    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed} utterances"))
    with Progress(*columns, TimeElapsedColumn()) as progress:
        tasks: dict[str, object] = {}

        def on_progress(part: str, num: int) -> None:
            if part not in tasks:
                tasks[part] = progress.add_task(part, total=None)
            progress.update(tasks[part], advance=num)  # type: ignore[arg-type]

        return prepare_manifests(root, args.output_dir, parts, on_progress=on_progress)


def main() -> int:
    """Writes the manifests; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    split = [args.cuts_train, args.cuts_dev, args.cuts_test]
    if sum((args.corpus_dir is not None, args.cuts is not None, any(split))) != 1:
        logging.error(
            "give one of --corpus-dir, --cuts, or --cuts-train with --cuts-dev/--cuts-test"
        )
        return 2
    try:
        summaries = prepare(args)
    except (FsaError, OSError) as error:
        logging.error("%s", error)
        return 1
    for summary in summaries:
        logging.info(
            "%s: %d utterances, %.2f hours%s",
            summary.part,
            summary.num_utterances,
            summary.seconds / 3600,
            " (there already, skipping)" if summary.skipped else "",
        )
        if summary.num_excluded:
            where = excluded_file(args.output_dir, summary.part)
            logging.warning(
                "%s: %d left out, listed in %s", summary.part, summary.num_excluded, where
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
