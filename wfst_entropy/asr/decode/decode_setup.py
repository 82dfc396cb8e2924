"""What the scripts share that decode with a run: its options, its checks, its log."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.tuning import read_scales, scales_file
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import OptionError, add_arguments, flag_name, make_parser

# What the model is decoded with, one of what it was trained with.
OF_DECODING = ("chunk_size", "left_context_frames")


def decode_parser(description: str | None, *options_types: type) -> argparse.ArgumentParser:
    """The command line of a script; flags of the run have no default here.

    Args:
      description: the script's docstring, a summary and then its usage.
      options_types: the script's own options.

    >>> parser = decode_parser("Decode.\\n\\nLike this.", DecodeOptions)
    >>> args = parser.parse_args(["--epoch", "3"])
    >>> args.epoch, args.encoder
    (3, None)
    """
    summary, usage = (description or "").split("\n\n", 1)
    parser = make_parser(summary, *options_types)
    parser.epilog = usage.replace("%", "%%")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for options_type in (DataOptions, ModelOptions):
        add_arguments(parser, options_type, skip=OF_DECODING)
        names = {field.name for field in dataclasses.fields(options_type)}.difference(OF_DECODING)
        parser.set_defaults(**dict.fromkeys(names))  # None: not given
    return parser


def refuse_contradictions(args: argparse.Namespace, model: ModelOptions) -> None:
    """Refuses a flag that asks for another model than the one that was trained.

    Raises:
      OptionError: with the flag, and what the run has.
    """
    for field in dataclasses.fields(model):
        trained = getattr(model, field.name)
        asked = None if field.name in OF_DECODING else getattr(args, field.name, None)
        if asked is not None and asked != trained:
            raise OptionError(
                f"{flag_name(field.name)} {asked} contradicts the run in {args.exp_dir}, which was "
                f"trained with {trained}; leave the flag out, or give the folder of another run"
            )


def data_options(args: argparse.Namespace, trained: DataOptions) -> DataOptions:
    """The run's data options, with those given here in place of the run's.

    Args:
      args: of the command line.
      trained: the run's.
    """
    asked = {field.name: getattr(args, field.name, None) for field in dataclasses.fields(trained)}
    given = {name: value for name, value in asked.items() if value is not None}
    return dataclasses.replace(trained, **given)


def start_log(options: DecodeOptions) -> Path:
    """Logs to a file beside the results, which is returned, and to the terminal."""
    options.res_dir.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
    path = options.res_dir / f"log-decode-{options.suffix}-{stamp}"
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler()],
        force=True,
    )
    return path


def tuned_scales(options: DecodeOptions) -> dict[str, float]:
    """The scales of an earlier tuning on dev, if there was one."""
    path = scales_file(options.res_dir, options.suffix)
    scales = read_scales(path)
    if scales:
        logging.info("scales tuned on dev: %s, from %s", scales, path)
    return scales


@contextlib.contextmanager
def progress_of(title: str) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal that is told how many more utterances are done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, BarColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task(title, total=None)
        yield lambda number: progress.advance(task, number)
