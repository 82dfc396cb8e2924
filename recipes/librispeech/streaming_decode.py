#!/usr/bin/env python3
"""Decode the test sets as streams: from audio, chunk by chunk, many utterances at a time.

Architecture and data are read from the run (exp-dir/config.yaml), which must have been trained with
--causal true. The methods are those of decode.py, but for those that need whole utterances; so are
their options, and the scales that decode.py --tune true has found.

  ./streaming_decode.py --exp-dir exp/lstm --epoch 8 --decoding-method greedy_search
  ./streaming_decode.py --exp-dir exp/conformer --epoch 8 --decoding-method modified_beam_search \\
    --chunk-size 16 --left-context-frames 64 --num-decode-streams 32
  ./streaming_decode.py --exp-dir exp/lstm --epoch 8 --check-simulated true

With --check-simulated true each test set is decoded as decode.py does as well, whole utterances
with the same chunks, features from audio; the script fails where the text of one utterance differs.

Writes below exp-dir/streaming/{decoding-method}/ what decode.py writes (recogs-, errs-,
wer-summary-, word-times-, summary-*) and latency-*.json: real-time factor, percentiles of the time
that a chunk takes, and of the latencies of words.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys

import torch

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.manifest_files import iter_cuts
from wfst_entropy.asr.data.manifests import PREFIX
from wfst_entropy.asr.decode.decode_results import write_test_set
from wfst_entropy.asr.decode.decode_setup import (
    data_options,
    decode_parser,
    progress_of,
    refuse_contradictions,
    start_log,
)
from wfst_entropy.asr.decode.decoded_utterance import TimeSpent
from wfst_entropy.asr.decode.decoder import Decoder, decode_test_set
from wfst_entropy.asr.options import from_args, save_config
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.streaming.recognizer import StreamingRecognizer
from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
from wfst_entropy.asr.streaming.stream_results import (
    Comparison,
    compare_texts,
    latency_summary,
    write_latencies,
)
from wfst_entropy.asr.streaming.stream_test_set import StreamedTestSet, stream_test_set
from wfst_entropy.asr.streaming.streaming_run import load_streaming_run
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.fsa.errors import FsaError


@dataclasses.dataclass
class Streaming:
    """What decodes streams, and what the same model decodes whole utterances with."""

    options: StreamDecodeOptions
    search: SearchOptions
    recognizer: StreamingRecognizer
    decoder: Decoder
    module: AsrDataModule

    def decode_set(self, part: str) -> tuple[StreamedTestSet, Comparison | None]:
        """Decode a test set, compare it where that is wanted, and write its files."""
        options, recognizer = self.options, self.recognizer
        cuts = iter_cuts(self.module.options.manifest_dir / f"{PREFIX}_cuts_{part}.jsonl.gz")
        recognizer.spent = TimeSpent()
        with progress_of(f"streaming {part}") as on_utterance:
            result = stream_test_set(recognizer, cuts, options.num_decode_streams, on_utterance)
        spent = recognizer.spent
        comparison = self.compare(part, result) if options.check_simulated else None
        summary = latency_summary(result, spent, options.num_decode_streams)
        write_test_set(
            *(options, part, result.decoded, result.not_loaded),
            scales=self.decoder.method.scales,
            spent=spent,
        )
        write_latencies(options, part, summary, comparison)
        logging.info(
            "[%s] %d utterances in %.1f s, real-time factor %.3f",
            *(part, len(result.decoded), result.seconds, summary["real_time_factor"] or 0.0),
        )
        return result, comparison

    def compare(self, part: str, result: StreamedTestSet) -> Comparison:
        """Decode whole utterances, and compare their texts with those of the streams."""
        with progress_of(f"whole utterances of {part}") as on_batch:
            simulated = decode_test_set(self.decoder, self.module.test_sets()[part], on_batch)
        comparison = compare_texts(result.decoded, simulated)
        if comparison.different:
            logging.error(
                "[%s] %d of %d texts differ from those of whole utterances; the first is %s",
                *(part, len(comparison.different), comparison.num_utterances, comparison.first),
            )
        else:
            logging.info(
                "[%s] all %d texts are those of whole utterances", part, comparison.num_utterances
            )
        return comparison


def set_up(args: argparse.Namespace) -> Streaming:
    """Load the model, and make its search."""
    options = from_args(args, StreamDecodeOptions).resolved()
    search = from_args(args, SearchOptions)
    trained = RunConfig.load(options.exp_dir)
    refuse_contradictions(args, trained.model)
    data = data_options(args, trained.data)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = load_streaming_run(options, search, lang_dir=data.lang_dir, device=device)
    start_log(run.options)
    # features of the audio on both sides: those in the archives are rounded
    data = dataclasses.replace(data, on_the_fly_feats=True, extractor=run.extractor)
    model = run.recognizer.model
    return Streaming(
        run.options,
        search,
        run.recognizer,
        Decoder(model, run.tokenizer, device, run.method),
        AsrDataModule(data, model.subsampling_factor),
    )


def decode(args: argparse.Namespace) -> list[str]:
    """Decode every test set; return what went wrong."""
    streaming = set_up(args)
    logging.info("streams, %s with %s", streaming.options.decoding_method, streaming.options.suffix)
    problems = []
    for part in streaming.module.parts("test"):
        result, comparison = streaming.decode_set(part)
        if all(each.failed for each in result.decoded):
            problems.append(f"no utterance of {part} could be decoded")
        if comparison and comparison.different:
            problems.append(
                f"{len(comparison.different)} of {comparison.num_utterances} texts of {part} "
                f"differ from those of whole utterances; {comparison.first}"
            )
    options = streaming.options
    # last: where it is, all test sets are decoded
    config_file = options.res_dir / f"config-{options.suffix}.yaml"
    save_config(config_file, options, streaming.search, streaming.module.options)
    print(f"wrote results to {options.res_dir}")
    return problems


def main() -> None:
    """Read the command line and decode."""
    args = decode_parser(__doc__, StreamDecodeOptions, SearchOptions).parse_args()
    try:
        problems = decode(args)
    except (FsaError, OSError) as error:
        sys.exit(f"streaming_decode.py: error: {error}")
    if problems:
        sys.exit(f"streaming_decode.py: error: {'; '.join(problems)}")


if __name__ == "__main__":
    main()
