#!/usr/bin/env python3
"""Writes a text in the tokens of a lang directory, for a language model of tokens.

Usage: write_lm_tokens.py --lang-dir data/lang_char --text lm_text.txt --output lm_tokens.txt

Each word becomes its entry in the lexicon; sentences with a word that has none are left out.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from wfst_entropy.asr.data.lm_text import read_sentences
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.lang import LangDir


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--lang-dir", type=Path, default=Path("data/lang_char"))
    parser.add_argument("--text", type=Path, default=Path("data/lm/lm_text.txt"))
    parser.add_argument("--output", type=Path, default=Path("data/lang_char/lm_tokens.txt"))
    return parser


def write_tokens(lang_dir: Path, text: Path, output: Path) -> None:
    """Writes the tokens of every sentence, one sentence a line."""
    lang = LangDir(lang_dir)
    sentences = read_sentences(text)
    unknown = set(lang.oov_words(sentences))
    spelled = [line for line in sentences if unknown.isdisjoint(line.split())]
    with replacing(output) as file:
        for ids in lang.texts_to_token_ids(spelled):
            file.write((" ".join(lang.tokens[i] for i in ids) + "\n").encode("utf-8"))
    logging.info(
        "%s: %d sentences in tokens, %d with unknown words left out",
        *(output, len(spelled), len(sentences) - len(spelled)),
    )


def main() -> int:
    """Writes the tokens; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        write_tokens(args.lang_dir, args.text, args.output)
    except (FsaError, OSError) as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
