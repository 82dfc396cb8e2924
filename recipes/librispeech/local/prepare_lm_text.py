#!/usr/bin/env python3
"""Writes the text of the language model: training transcripts and given sentences, none held out.

Usage: prepare_lm_text.py --manifest-dir data/manifests --further clauses.txt --lm-dir data/lm

Writes lm_text.txt, its words and the list of its sources. The sentences of all dev and test parts
are left out, and the text is read again to see to it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from wfst_entropy.asr.data.lm_text import read_sentences, refuse_held_out, select_lm_text
from wfst_entropy.asr.data.manifest_files import is_newer
from wfst_entropy.asr.data.transcripts import transcript_files, transcripts
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--manifest-dir", type=Path, default=Path("data/manifests"))
    parser.add_argument(
        "--further", type=Path, nargs="*", default=[], help="further text, one sentence a line"
    )
    parser.add_argument("--lm-dir", type=Path, default=Path("data/lm"))
    return parser


def write_lines(path: Path, lines: list[str]) -> None:
    """Writes a whole file or nothing."""
    with replacing(path) as file:
        file.write("".join(line + "\n" for line in lines).encode("utf-8"))


def write_text(manifest_dir: Path, further: list[Path], lm_dir: Path) -> None:
    """Writes text and words, unless they are newer than their sources; checks them in any case."""
    output, words, sources = (lm_dir / f"lm_{name}.txt" for name in ("text", "words", "sources"))
    manifests = transcript_files(manifest_dir, "train")
    held_out_files = [
        file for subset in ("dev", "test") for file in transcript_files(manifest_dir, subset)
    ]
    held_out = list(transcripts(held_out_files))
    files = [*manifests, *held_out_files, *further]
    same = sources.is_file() and read_sentences(sources) == [str(file) for file in files]
    if same and is_newer(words, [output]) and is_newer(output, files):
        logging.info("%s exists, skipping", output)
    else:
        sentences = [line for path in further for line in read_sentences(path)]
        text = select_lm_text(transcripts(manifests), sentences, held_out)
        lm_dir.mkdir(parents=True, exist_ok=True)
        write_lines(output, text.sentences)
        write_lines(words, sorted({word for line in text.sentences for word in line.split()}))
        write_lines(sources, [str(file) for file in files])
        logging.info(
            "%s: %d transcripts and %d further sentences; %d sentences of dev and test left out",
            output,
            text.num_transcripts,
            text.num_added,
            text.num_left_out,
        )
    number = refuse_held_out(output, held_out)
    logging.info("%s has none of the %d sentences of dev and test", output, number)


def main() -> int:
    """Writes and checks the text; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        write_text(args.manifest_dir, args.further, args.lm_dir)
    except (FsaError, OSError) as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
