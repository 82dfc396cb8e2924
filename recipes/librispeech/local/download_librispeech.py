#!/usr/bin/env python3
"""Downloads LibriSpeech through lhotse; parts that are there are kept.

Usage: download_librispeech.py --output-dir data/download --full-libri false
"""

from __future__ import annotations

import argparse
import logging
import sys
import tarfile
from pathlib import Path

from lhotse.recipes import download_librispeech

from wfst_entropy.asr.data.manifests import FULL_LIBRI_PARTS
from wfst_entropy.asr.options import str2bool

EVALUATION_PARTS = ("dev-clean", "dev-other", "test-clean", "test-other")
TRAIN_PARTS = ("train-clean-100",)


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--output-dir", type=Path, default=Path("data/download"))
    parser.add_argument(
        "--full-libri", type=str2bool, default=False, help=f"also {', '.join(FULL_LIBRI_PARTS)}"
    )
    parser.add_argument("--parts", nargs="+", help="these parts instead")
    return parser


def main() -> int:
    """Downloads the parts; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    parts = args.parts or [
        *EVALUATION_PARTS,
        *TRAIN_PARTS,
        *(FULL_LIBRI_PARTS if args.full_libri else ()),
    ]
    for part in parts:
        if (args.output_dir / "LibriSpeech" / part).is_dir():
            logging.info("%s is there already, skipping", part)
            continue
        try:
            download_librispeech(args.output_dir, dataset_parts=[part])
        except (OSError, tarfile.TarError) as error:
            logging.error(
                "%s could not be downloaded from openslr.org: %s. Where the network refuses, fetch "
                "%s.tar.gz by other means, unpack it, and give the folder LibriSpeech with "
                "--corpus-dir; or use --corpus mini, which needs no download.",
                part,
                error,
                part,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
