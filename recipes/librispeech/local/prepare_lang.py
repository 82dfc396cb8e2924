#!/usr/bin/env python3
"""Makes data/lang_char or data/lang_bpe_N from the transcripts of the training parts.

Usage:
  prepare_lang.py --manifest-dir data/manifests --data-dir data --token-type char
  prepare_lang.py --manifest-dir data/manifests --data-dir data --token-type bpe --vocab-size 200
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from wfst_entropy.asr.data.manifest_files import is_newer
from wfst_entropy.asr.data.prepare_lang import prepare_lang
from wfst_entropy.asr.data.transcripts import transcript_files, transcripts
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.lang import LangDir


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--manifest-dir", type=Path, default=Path("data/manifests"))
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="gets lang_*")
    parser.add_argument("--token-type", choices=("char", "bpe"), default="char")
    parser.add_argument("--vocab-size", type=int, default=200, help="number of word pieces")
    return parser


def main() -> int:
    """Makes the lang directory; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    bpe = args.token_type == "bpe"
    lang_dir = args.data_dir / (f"lang_bpe_{args.vocab_size}" if bpe else "lang_char")
    try:
        manifests = transcript_files(args.manifest_dir, "train")
        if lang_dir.exists():
            logging.info("%s exists, skipping", lang_dir)
            if not is_newer(lang_dir / "tokens.txt", manifests):
                logging.warning(
                    "%s is older than the manifests and may lack symbols of their transcripts; "
                    "delete it to make it again (models trained with it need it as it is)",
                    lang_dir,
                )
        else:
            size = args.vocab_size if bpe else None
            prepare_lang(transcripts(manifests), lang_dir, bpe_vocab_size=size)
        lang = LangDir(lang_dir)
        logging.info(
            "%s: %d tokens, %d entries in the lexicon", lang_dir, lang.vocab_size, len(lang.lexicon)
        )
    except (FsaError, OSError) as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
