#!/usr/bin/env python3
"""Export a trained model: parameters, TorchScript, ONNX, torch.export.

  ./export.py --exp-dir exp/lstm --epoch 6 --avg 2
  ./export.py --exp-dir exp/conformer --avg 9 --chunk-size 16 --left-context-frames 64 --int8 true

exp-dir (or --export-dir) receives pretrained.pt, jit_script.pt, and model-*.onnx of a CTC head,
{encoder,decoder,joiner}-*.onnx of a transducer; of a causal model also streaming files, with
-chunk-C-left-L in their names. Then the test sets are decoded with PyTorch and with every exported
file, chunk by chunk where it is a streaming one, and export-parity-*.json tells the largest
difference of each output and which texts are others; there must be none (--check-on none leaves
this out). docs/export.md tells more.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys

from rich.console import Console
from rich.progress import Progress

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.export.export_options import ExportOptions
from wfst_entropy.asr.export.parity import Parity, parity_table
from wfst_entropy.asr.export.run import Exported, check_export, export_model, load_for_export
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.options import add_arguments, from_args, make_parser
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.fsa.errors import FsaError

console = Console()


def get_parser() -> argparse.ArgumentParser:
    """The command line; flags of the data have no default here."""
    summary, usage = (__doc__ or "").split("\n\n", 1)
    parser = make_parser(summary, DecodeOptions, ExportOptions, SearchOptions)
    parser.epilog = usage.replace("%", "%%")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_arguments(parser, DataOptions)
    parser.set_defaults(**{field.name: None for field in dataclasses.fields(DataOptions)})
    return parser


def check(
    args: argparse.Namespace,
    model: AsrModel,
    exported: Exported,
    options: DecodeOptions,
    data: DataOptions,
) -> list[Parity]:
    """Compare texts, print the tables, and return what was found."""
    export, search = from_args(args, ExportOptions), from_args(args, SearchOptions)
    with Progress(console=console) as progress:
        task = progress.add_task(f"checking on {export.check_on}", total=None)
        found, path = check_export(
            *(model, exported, options, export, data, search),
            on_batch=lambda number: progress.advance(task, number),
        )
    for name, parities in found.items():
        console.print(parity_table(name, parities))
    console.print(f"wrote {path}", soft_wrap=True)
    return [parity for parities in found.values() for parity in parities]


def export(args: argparse.Namespace) -> list[Parity]:
    """Export, check, and return what the check found."""
    options = from_args(args, DecodeOptions).resolved()
    wanted = from_args(args, ExportOptions)
    model, config = load_for_export(options)
    given = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(DataOptions)
        if getattr(args, field.name, None) is not None
    }
    exported = export_model(model, config, options, wanted)
    for path in exported.paths:
        console.print(f"wrote {path} ({path.stat().st_size:,} bytes)", soft_wrap=True)
    if wanted.check_on == "none":
        return []
    return check(args, model, exported, options, dataclasses.replace(config.data, **given))


def main() -> None:
    """Read the command line and export."""
    args = get_parser().parse_args()
    try:
        found = export(args)
    except (FsaError, OSError) as error:
        sys.exit(f"export.py: error: {error}")
    wrong = [f"{p.name} ({p.head})" for p in found if p.exact and not p.same_texts]
    if wrong:
        sys.exit(f"export.py: error: other texts than PyTorch: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
