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
import dataclasses
import logging
import sys
import time
from typing import Any

import torch
from rich.console import Console

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decode_results import write_test_set
from wfst_entropy.asr.decode.decode_setup import (
    data_options,
    decode_parser,
    progress_of,
    refuse_contradictions,
    start_log,
    tuned_scales,
)
from wfst_entropy.asr.decode.decoded_utterance import TimeSpent
from wfst_entropy.asr.decode.decoder import Decoder, decode_test_set
from wfst_entropy.asr.decode.tuning import (
    refuse_test_sets,
    scales_file,
    tune,
    write_scales,
)
from wfst_entropy.asr.options import (
    from_args,
    save_config,
)
from wfst_entropy.asr.search.method import SearchSetup, setting_name
from wfst_entropy.asr.search.methods import make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.asr.training.run_config import RunConfig, refuse_other_tokens
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.lang import LangDir

console = Console()


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
    decoder = Decoder(model, tokenizer, device, rnnt_type=config.train.rnnt_type)
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
    unused = [name for name in search.scales() if name not in decoder.method.scales]
    if unused:
        logging.warning("%s has no %s", options.decoding_method, " and no ".join(unused))
    logging.info("%s with %s of %s", options.decoding_method, options.suffix, options.exp_dir)
    summaries = decode_sets(options, decoder, module)
    # last: where it is, all test sets are decoded
    save_config(options.res_dir / f"config-{options.suffix}.yaml", options, search, data)
    console.print(f"wrote results to {options.res_dir}, log {log_file.name}", soft_wrap=True)
    return summaries


def main() -> None:
    """Read the command line and decode."""
    args = decode_parser(__doc__, DecodeOptions, SearchOptions).parse_args()
    try:
        summaries = decode(args)
    except (FsaError, OSError) as error:
        sys.exit(f"decode.py: error: {error}")
    nothing = [s["test_set"] for s in summaries if len(s["not_decoded"]) == s["num_utterances"]]
    if nothing:
        sys.exit(f"decode.py: error: no utterance of {', '.join(nothing)} could be decoded")


if __name__ == "__main__":
    main()
