#!/usr/bin/env python3
"""Makes LG.pt and HLG.pt of a lang directory.

Usage: compile_graphs.py --lang-dir data/lang_char --lm-order 3 --topology standard LG HLG

LG needs L_disambig.pt and G_N_gram.pt, HLG needs LG.pt.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from wfst_entropy.fsa import save_fsa
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.lang import LangDir, compile_hlg, compile_lg


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("graphs", choices=("LG", "HLG"), nargs="+")
    parser.add_argument("--lang-dir", type=Path, default=Path("data/lang_char"))
    parser.add_argument("--lm-order", type=int, default=3, help="LG: of G_(this)_gram.pt")
    parser.add_argument(
        "--topology", choices=("standard", "modified"), default="standard", help="HLG: of CTC"
    )
    return parser


def compile_graphs(args: argparse.Namespace) -> None:
    """Makes the graphs one after the other."""
    lang = LangDir(args.lang_dir)
    for name in args.graphs:
        if name == "LG":
            graph = compile_lg(lang.L_disambig, lang.G(args.lm_order), lang.vocab_size)
        else:
            graph = compile_hlg(lang.LG, lang.vocab_size, args.topology)
        save_fsa(graph, args.lang_dir / f"{name}.pt")
        logging.info("%s: %d states, %d arcs", name, graph.num_states, graph.num_arcs)


def main() -> int:
    """Makes the graphs; returns the exit code."""
    args = get_parser().parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    try:
        compile_graphs(args)
    except (FsaError, OSError) as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
