#!/usr/bin/env python3
"""Write the report of a decoded run: tables, training curves, alignments with their entropy.

  ./report.py --exp-dir exp/tdnn

Where the model was decoded by several methods, a table compares them with greedy search; where it
was decoded as streams, another tells latencies.

Reads what train.py and decode.py left in exp-dir and writes exp-dir/report/report.md,
training_curves.png and alignment_{utterance}.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decoder import Decoder
from wfst_entropy.asr.options import OptionError, from_args, make_parser
from wfst_entropy.asr.report.method_table import method_tables, methods_decoded
from wfst_entropy.asr.report.plots import plot_training_curves
from wfst_entropy.asr.report.report import (
    draw_alignments,
    entropy_table,
    read_decode_config,
    read_history,
    read_summaries,
    render_report,
    training_table,
    typical_utterances,
    wer_table,
    word_time_table,
)
from wfst_entropy.asr.report.stream_table import stream_tables
from wfst_entropy.asr.report.table import Table
from wfst_entropy.asr.search.methods import METHODS, method_name
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

console = Console()


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    summary, usage = (__doc__ or "").split("\n\n", 1)
    parser = make_parser(summary, DecodeOptions)
    parser.epilog = usage.replace("%", "%%")
    parser.add_argument(
        "--num-alignments", type=int, default=3, help="Alignments to draw of each test set."
    )
    parser.add_argument(
        "--max-wer",
        nargs="+",
        default=[],
        metavar="[METHOD=]WER",
        help="Fail when a test set's WER by any method is above this, per cent; METHOD=WER is for "
        "one method.",
    )
    return parser


def wer_bounds(texts: list[str]) -> dict[str, float]:
    """The highest WER of each method; that of all others by the name "".

    Raises:
      OptionError: a bound is no number, or a method is unknown.
    """
    bounds = {}
    for text in texts:
        method, _, number = text.rpartition("=")
        name = method_name(method) if method else ""
        try:
            bounds[name] = float(number)
        except ValueError as error:
            raise OptionError(f"max_wer: needs numbers or METHOD=number, got {text!r}") from error
    return bounds


def show(table: Table) -> None:
    """Print a table on the terminal."""
    shown = RichTable(title=table.title, title_justify="left")
    for number, column in enumerate(table.columns):
        shown.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def report(
    asked: DecodeOptions, summaries: list[dict[str, Any]], num_alignments: int
) -> list[Path]:
    """Write the report and return its files."""
    options, data = read_decode_config(asked, summaries[0]["suffix"])
    history = read_history(options.exp_dir)
    report_dir = options.exp_dir / "report"
    report_dir.mkdir(exist_ok=True)
    for old in report_dir.glob("alignment_*.png"):
        old.unlink()

    model, config = load_model(
        options.exp_dir, options.epoch, options.avg, options.use_averaged_model, options.iter
    )
    sets = tuple(summary["test_set"] for summary in summaries)
    tables = [wer_table(summaries), *method_tables(options.exp_dir, options.suffix, sets)]
    tables += stream_tables(options.exp_dir, options.suffix, sets)
    tables.append(entropy_table(summaries))
    if any(summary["word_times"] for summary in summaries):
        tables.append(word_time_table(summaries))
    tables.append(training_table(config, history, model.num_parameters))
    for table in tables:
        show(table)

    pictures = [report_dir / "training_curves.png"]
    plot_training_curves(history, pictures[0], entropy_kind=config.train.entropy_kind)
    options.choose_chunks(model)
    tokenizer = load_tokenizer(data.lang_dir)
    decoder = Decoder(model, tokenizer, "cpu", rnnt_type=config.train.rnnt_type)
    decoder.method = decoder.greedy_method(METHODS[options.decoding_method].reads)
    data = dataclasses.replace(data, test_parts=sets)
    test_sets = AsrDataModule(data, model.subsampling_factor).test_sets()
    for summary in summaries:
        names = typical_utterances(options.res_dir, summary, num_alignments)
        pictures += draw_alignments(decoder, test_sets[summary["test_set"]], names, report_dir)

    kinds = ("not_loaded", "not_decoded", "not_aligned")
    problems = {name: cause for s in summaries for kind in kinds for name, cause in s[kind].items()}
    file = report_dir / "report.md"
    with replacing(file) as writer:
        writer.write(render_report(config, options, tables, problems, pictures).encode())
    return [file, *pictures]


def main() -> None:
    """Read the command line, report, and say where each file lies."""
    args = get_parser().parse_args()
    try:
        bounds = wer_bounds(args.max_wer)
        options = from_args(args, DecodeOptions)
        options = options.for_model(RunConfig.load(options.exp_dir).model)
        summaries = read_summaries(options)
        files = report(options, summaries, args.num_alignments)
        decoded = methods_decoded(options.exp_dir, summaries[0]["suffix"])
    except (FsaError, OSError) as error:
        sys.exit(f"report.py: error: {error}")
    for file in files:
        console.print(f"wrote {file}", highlight=False, soft_wrap=True)
    for method, summary in ((m, s) for m, found in decoded.items() for s in found):
        bound = bounds.get(method, bounds.get(""))
        if bound is not None and not summary["wer"] <= bound:
            sys.exit(
                f"report.py: error: {method}: the WER of {summary['test_set']} is "
                f"{summary['wer']:.2f} %, above the bound of {bound:g} %"
            )


if __name__ == "__main__":
    main()
