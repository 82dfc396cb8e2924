#!/usr/bin/env python3
"""Measure how sure and how peaky a trained model's alignments of the test sets' texts are.

Architecture and data are read from the run (exp-dir/config.yaml). Writes for every test set
exp-dir/alignments/alignments-*.json: likelihood, conditional entropy of the alignments, and how
many frames tokens stand, for each output of the model (CTC, transducer).
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from wfst_entropy.asr.data.asr_datamodule import AsrDataModule
from wfst_entropy.asr.data.tokenizer import load_tokenizer
from wfst_entropy.asr.experiments.alignment_measures import (
    AlignmentMeasure,
    measure_batch,
    summarise_measures,
)
from wfst_entropy.asr.options import from_args, make_parser, option
from wfst_entropy.asr.training.checkpoint import load_model
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError


@dataclasses.dataclass
class MeasureOptions:
    """Which model is measured."""

    exp_dir: Path = option(Path("exp"), "Folder of the run.")
    epoch: int = option(1, "Measure epoch-(this).pt.")
    avg: int = option(1, "Epochs to average.")
    use_averaged_model: bool = option(True, "Average over all batches of these epochs.")


def measure(options: MeasureOptions) -> list[dict[str, Any]]:
    """Measure all test sets and return what was written."""
    model, config = load_model(
        options.exp_dir, options.epoch, options.avg, options.use_averaged_model
    )
    tokenizer = load_tokenizer(config.data.lang_dir)
    module = AsrDataModule(config.data, config.model.subsampling_factor)
    folder = options.exp_dir / "alignments"
    folder.mkdir(exist_ok=True)
    written = []
    for test_set, batches in module.test_sets().items():
        found: dict[str, list[AlignmentMeasure | None]] = {}
        for batch in batches:
            measured = measure_batch(model, batch, tokenizer, config.train.rnnt_type)
            for name, measures in measured.items():
                found.setdefault(name, []).extend(measures)
        content = {
            "test_set": test_set,
            "num_parameters": model.num_parameters,
            "seconds_per_frame": model.subsampling_factor / 100,
            "outputs": {name: summarise_measures(values) for name, values in found.items()},
        }
        with replacing(folder / f"alignments-{test_set}.json") as file:
            file.write(json.dumps(content, indent=1).encode())
        written.append(content)
    return written


def main() -> None:
    """Read the command line and measure."""
    args = make_parser(__doc__ or "", MeasureOptions).parse_args()
    try:
        for content in measure(from_args(args, MeasureOptions)):
            print(json.dumps(content, indent=1))
    except (FsaError, OSError) as error:
        sys.exit(f"measure_alignments.py: error: {error}")


if __name__ == "__main__":
    main()
