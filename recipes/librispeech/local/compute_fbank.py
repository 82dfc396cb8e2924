#!/usr/bin/env python3
"""Computes filter bank features of every part, of the training parts at three speeds.

Usage: compute_fbank.py --manifest-dir data/manifests --output-dir data/fbank --perturb-speed true
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import get_args

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.fbank import ExtractorName, compute_fbank
from wfst_entropy.asr.data.manifest_files import excluded_file
from wfst_entropy.asr.data.manifests import PREFIX, PartSummary, subset_of
from wfst_entropy.asr.options import str2bool
from wfst_entropy.fsa.errors import FsaError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--manifest-dir", type=Path, default=Path("data/manifests"))
    parser.add_argument("--output-dir", type=Path, default=Path("data/fbank"))
    parser.add_argument("--extractor", choices=get_args(ExtractorName), default="lhotse")
    parser.add_argument("--num-mel-bins", type=int, default=80)
    parser.add_argument(
        "--perturb-speed",
        type=str2bool,
        default=True,
        help="add the training utterances at 0.9 and 1.1 times their speed",
    )
    parser.add_argument("--num-jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the training cuts")
    return parser


def find_parts(manifest_dir: Path) -> list[str]:
    """Returns the parts that have manifests, small ones (dev, test) first."""
    parts = {
        path.name.removesuffix(".jsonl.gz").removeprefix(f"{PREFIX}_{kind}_")
        for kind in ("supervisions", "cuts")
        for path in manifest_dir.glob(f"{PREFIX}_{kind}_*.jsonl.gz")
    }
    if not parts:
        raise DataError(
            f"{manifest_dir}: no manifests {PREFIX}_*.jsonl.gz; run prepare.sh --stage 1 "
            "--stop-stage 1"
        )
    return sorted(parts, key=lambda part: (subset_of(part) == "train", part))


def compute(args: argparse.Namespace) -> list[PartSummary]:
    """Computes the features of every part."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    summaries = []
    with Progress(*columns, TimeElapsedColumn()) as progress:
        for part in find_parts(args.manifest_dir):
            task = progress.add_task(f"fbank of {part}", total=None)
            start = time.monotonic()

            def on_progress(part: str, done: int, total: int, task: object = task) -> None:
                progress.update(task, completed=done, total=total)  # type: ignore[arg-type]

            summary = compute_fbank(
                args.manifest_dir,
                args.output_dir,
                part,
                extractor=args.extractor,
                num_mel_bins=args.num_mel_bins,
                perturb_speed=args.perturb_speed and subset_of(part) == "train",
                num_jobs=args.num_jobs,
                seed=args.seed,
                on_progress=on_progress,
            )
            if summary.skipped:
                progress.update(task, completed=1, total=1)
            logging.info(
                "%s: features of %d cuts, %.2f hours, %s",
                part,
                summary.num_utterances,
                summary.seconds / 3600,
                "there already, skipping"
                if summary.skipped
                else f"{time.monotonic() - start:.0f} s",
            )
            summaries.append(summary)
    return summaries


def main() -> int:
    """Computes the features; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        summaries = compute(args)
    except (FsaError, OSError) as error:
        logging.error("%s", error)
        return 1
    for summary in summaries:
        if summary.num_excluded:
            where = excluded_file(args.output_dir, summary.part)
            logging.warning(
                "%s: %d left out, listed in %s", summary.part, summary.num_excluded, where
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
