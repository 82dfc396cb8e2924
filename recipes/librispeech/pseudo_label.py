#!/usr/bin/env python3
"""Transcribe training data with a trained model, for a student to learn from.

  ./pseudo_label.py --exp-dir exp/teacher --epoch 8 --avg 3
  ./pseudo_label.py --exp-dir exp/teacher --decoding-method modified_beam_search
  ./pseudo_label.py --exp-dir exp/teacher --manifest-dir data/unlabelled --output labels.jsonl

Every cut of the training parts gets a line, each copy of another speed too. Transcripts are not
looked at, so cuts may have none. --train-parts names some of the parts.

Writes exp-dir/pseudo-labels/(method)-(model)-(subset).jsonl with lines of id, text and confidence,
which train.py reads: --pseudo-labels FILE. The same command goes on after an interruption, and adds
cuts that have come since.
"""

from __future__ import annotations

import argparse
import logging
import sys

import torch

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.decode_setup import (
    data_options,
    decode_parser,
    progress_of,
    refuse_contradictions,
    start_log,
    tuned_scales,
)
from wfst_entropy.asr.decode.decoder import Decoder
from wfst_entropy.asr.decode.pseudo_label_run import LabelFile, LabelOptions, label_batches
from wfst_entropy.asr.options import from_args
from wfst_entropy.asr.search.method import SearchSetup
from wfst_entropy.asr.search.methods import make_method
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.asr.training.run_config import RunConfig, refuse_other_tokens
from wfst_entropy.fsa.errors import FsaError
from wfst_entropy.lang import LangDir


def label(args: argparse.Namespace) -> None:
    """Transcribe what has no row yet, and write the file."""
    options = from_args(args, DecodeOptions).resolved()
    trained = RunConfig.load(options.exp_dir).model
    options = options.for_model(trained)
    labelling, search = from_args(args, LabelOptions), from_args(args, SearchOptions)
    refuse_contradictions(args, trained)
    model, config = load_model(
        options.exp_dir, options.epoch, options.avg, options.use_averaged_model, options.iter
    )
    options.choose_chunks(model)
    data = data_options(args, config.data)
    start_log(options)
    tokenizer = load_tokenizer(data.lang_dir)
    refuse_other_tokens(options.exp_dir, data.lang_dir)
    decoder = Decoder(model, tokenizer, "cuda" if torch.cuda.is_available() else "cpu")
    scales = tuned_scales(options) | search.scales()
    setup = SearchSetup(tokenizer, LangDir(data.lang_dir), search, scales, decoder.transducer)
    decoder.method = make_method(options.decoding_method, setup)

    file = LabelFile(labelling.file_for(options))
    name = f"checkpoint-{options.iter}.pt" if options.iter else f"epoch-{options.epoch}.pt"
    file.claim(options, search, data, (options.exp_dir / name).stat().st_mtime)
    if file.rows:
        logging.info("%s: %d rows are there", file.path, len(file.rows))
    module = AsrDataModule(data, model.subsampling_factor)
    with progress_of(f"transcribing {labelling.subset}") as on_batch:
        batches = module.batches_to_label(labelling.subset, file.rows)
        failed = label_batches(decoder, batches, file, on_batch)
    file.finish()
    empty = sum(not row.text for row in file.rows.values())
    logging.info(
        "wrote %s: %d transcripts, %d of them empty; %d utterances without one",
        *(file.path, len(file.rows), empty, len(failed) + len(module.failed)),
    )
    if not file.rows:
        raise FsaError("no utterance could be transcribed; the log says why")


def main() -> None:
    """Read the command line and transcribe."""
    args = decode_parser(__doc__, LabelOptions, DecodeOptions, SearchOptions).parse_args()
    try:
        label(args)
    except (FsaError, OSError) as error:
        sys.exit(f"pseudo_label.py: error: {error}")
    except KeyboardInterrupt:
        sys.exit("pseudo_label.py: interrupted; the same command goes on")


if __name__ == "__main__":
    main()
