#!/usr/bin/env python3
"""Decode the test sets with a trained model.

Architecture and data are read from the run (exp-dir/config.yaml). A flag of train.py may be given
again; one that contradicts the run is refused.

  ./decode.py --exp-dir exp/tdnn --epoch 8 --avg 3
  ./decode.py --exp-dir exp/tdnn --epoch 8 --decoding-method 1best --tune true
  ./decode.py --exp-dir exp/tdnn --epoch 8 --decoding-method whole-lattice-rescoring
  ./decode.py --exp-dir exp/lstm-transducer --epoch 8 --decoding-method modified_beam_search
  ./decode.py --exp-dir exp/chunked --epoch 8 --chunk-size 16 --left-context-frames 64

A model may have a CTC head, a transducer head or both; each method reads one of them. With
--chunk-size a model that attends in chunks sees its utterances as a stream, chunk by chunk.

Graphs and language models lie in the lang directory, where prepare_lm.sh puts them. With --tune
true the dev sets are decoded first, with a grid of scales, and the best are kept in scales-*.json;
scales that are given by a flag come before them.

Writes below exp-dir/{decoding-method}/, for every test set: recogs-, errs- and wer-summary-*.txt,
entropy-*.tsv (entropies and confidence of each utterance), word-times-*.jsonl and summary-*.json;
for the run of this script config-*.yaml and the log log-decode-*.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule, DataOptions
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.decode_options import DecodeOptions
from wfst_entropy.asr.decode_results import write_test_set
from wfst_entropy.asr.decode_run import Decoder, TimeSpent, decode_test_set
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import (
    OptionError,
    add_arguments,
    flag_name,
    from_args,
    make_parser,
    save_config,
)
from wfst_entropy.asr.search.method import SearchSetup, setting_name
from wfst_entropy.asr.search.methods import make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.search.tuning import (
    read_scales,
    refuse_test_sets,
    scales_file,
    tune,
    write_scales,
)
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.lang import LangDir
from wfst_entropy.lang.symbols import is_disambiguation

console = Console()

# What the model is decoded with, one of what it was trained with.
OF_DECODING = ("chunk_size", "left_context_frames")


def get_parser() -> argparse.ArgumentParser:
    """The command line; flags of the run have no default here."""
    summary, usage = (__doc__ or "").split("\n\n", 1)
    parser = make_parser(summary, DecodeOptions, SearchOptions)
    parser.epilog = usage.replace("%", "%%")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for options_type in (DataOptions, ModelOptions):
        add_arguments(parser, options_type, skip=OF_DECODING)
        names = {field.name for field in dataclasses.fields(options_type)}.difference(OF_DECODING)
        parser.set_defaults(**dict.fromkeys(names))  # None: not given
    return parser


def refuse_contradictions(args: argparse.Namespace, model: ModelOptions) -> None:
    """Raise if a flag asks for another model than the one that was trained."""
    for field in dataclasses.fields(model):
        trained = getattr(model, field.name)
        asked = None if field.name in OF_DECODING else getattr(args, field.name, None)
        if asked is not None and asked != trained:
            raise OptionError(
                f"{flag_name(field.name)} {asked} contradicts the run in {args.exp_dir}, which was "
                f"trained with {trained}; leave the flag out, or give the folder of another run"
            )


def refuse_other_tokens(exp_dir: Path, lang_dir: Path) -> None:
    """Raise if the lang directory numbers tokens otherwise than the one that was trained with.

    Disambiguation symbols, which follow the tokens once there are graphs, do not count.
    """
    trained, here = (_token_lines(folder / "tokens.txt") for folder in (exp_dir, lang_dir))
    if trained != here:
        pairs = zip([*trained, "nothing"], [*here, "nothing"])
        before, now = next(pair for pair in pairs if pair[0] != pair[1])
        raise OptionError(
            f"--lang-dir {lang_dir}: its tokens.txt has '{now}' where the run in {exp_dir} was "
            f"trained with '{before}'; give the run's own lang directory, or train again"
        )


def _token_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not is_disambiguation(line.partition(" ")[0])]


def data_options(args: argparse.Namespace, trained: DataOptions) -> DataOptions:
    """The run's data options, with those given here in place of the run's."""
    asked = {field.name: getattr(args, field.name, None) for field in dataclasses.fields(trained)}
    given = {name: value for name, value in asked.items() if value is not None}
    return dataclasses.replace(trained, **given)


def start_log(options: DecodeOptions) -> Path:
    """Log to a file beside the results, and to the terminal."""
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
    with Progress(*columns, BarColumn(), TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(title, total=None)
        yield lambda number: progress.advance(task, number)


def tune_scales(
    options: DecodeOptions, decoder: Decoder, module: AsrDataModule
) -> dict[str, float]:
    """Decode the dev sets with a grid of scales; keep and return the best."""
    name, parts = decoder.method.name, module.parts("dev")
    refuse_test_sets(parts, module.parts("test"))
    dev = dataclasses.replace(module.options, test_parts=tuple(parts))
    sets = AsrDataModule(dev, decoder.model.subsampling_factor).test_sets()
    with progress_of(f"tuning on {', '.join(parts)}") as on_batch:
        tuning = tune(decoder, sets, on_batch)
    path = scales_file(options.res_dir, options.suffix)
    best = write_scales(path, tuning, name)
    for scales, stats in zip(tuning.grid, tuning.errors(), strict=True):
        logging.info("%s: %s", setting_name(name, scales), stats.summary())
    logging.info("best on dev: %s; wrote %s", setting_name(name, best), path)
    return dict(best)


def decode_sets(
    options: DecodeOptions, decoder: Decoder, module: AsrDataModule
) -> list[dict[str, Any]]:
    """Decode every test set and return the summaries."""
    summaries = []
    for name, batches in module.test_sets().items():
        started = time.monotonic()
        failed_before = set(module.failed)
        decoder.spent = TimeSpent()
        with progress_of(f"decoding {name}") as on_batch:
            decoded = decode_test_set(decoder, batches, on_batch)
        not_loaded = {k: v.cause for k, v in module.failed.items() if k not in failed_before}
        summaries.append(
            write_test_set(
                *(options, name, decoded, not_loaded),
                scales=decoder.method.scales,
                spent=decoder.spent,
            )
        )
        logging.info("[%s] decoded in %.1f s", name, time.monotonic() - started)
    return summaries


def decode(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Decode every test set, after tuning where that is wanted, and return the summaries."""
    options = from_args(args, DecodeOptions).resolved()
    trained = RunConfig.load(options.exp_dir).model
    options = options.for_model(trained)
    search = from_args(args, SearchOptions)
    log_file = start_log(options)
    refuse_contradictions(args, trained)
    model, config = load_model(
        options.exp_dir, options.epoch, options.avg, options.use_averaged_model, options.iter
    )
    options.choose_chunks(model)
    data = data_options(args, config.data)
    tokenizer = load_tokenizer(data.lang_dir)
    refuse_other_tokens(options.exp_dir, data.lang_dir)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = AsrDataModule(data, model.subsampling_factor)
    decoder = Decoder(model, tokenizer, device)
    setup = SearchSetup(
        tokenizer, LangDir(data.lang_dir), search, search.scales(), decoder.transducer
    )
    if search.tune:
        decoder.method = make_method(options.decoding_method, setup)
        tuned = tune_scales(options, decoder, module)
    else:
        tuned = tuned_scales(options)
    setup = dataclasses.replace(setup, scales=tuned | search.scales())
    decoder.method = make_method(options.decoding_method, setup)
    logging.info("%s with %s of %s", options.decoding_method, options.suffix, options.exp_dir)
    summaries = decode_sets(options, decoder, module)
    # last: where it is, all test sets are decoded
    save_config(options.res_dir / f"config-{options.suffix}.yaml", options, search, data)
    console.print(f"wrote results to {options.res_dir}, log {log_file.name}", soft_wrap=True)
    return summaries


def main() -> None:
    """Read the command line and decode."""
    args = get_parser().parse_args()
    try:
        summaries = decode(args)
    except FsaError as error:
        sys.exit(f"decode.py: error: {error}")
    nothing = [s["test_set"] for s in summaries if len(s["not_decoded"]) == s["num_utterances"]]
    if nothing:
        sys.exit(f"decode.py: error: no utterance of {', '.join(nothing)} could be decoded")


if __name__ == "__main__":
    main()
