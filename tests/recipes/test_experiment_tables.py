"""The tables of experiments ask the recipe's scripts for what they know."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.decode.decode_options import DecodeOptions
from wfst_entropy.asr.decode.pseudo_label_run import LabelOptions
from wfst_entropy.asr.experiments.table import read_table
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import from_args, make_parser
from wfst_entropy.asr.search.search_options import SearchOptions
from wfst_entropy.asr.streaming.stream_decode_options import StreamDecodeOptions
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.train_options import TrainOptions

FOLDER = Path(__file__).parents[2] / "recipes" / "librispeech" / "experiments"
TABLES = sorted(FOLDER.glob("*.yaml"))
# what each script reads of its own; the rest of its flags are those of other options
SCRIPTS = {
    "train.py": (DataOptions, ModelOptions, TrainOptions, DistillOptions),
    "decode.py": (DecodeOptions, SearchOptions),
    "streaming_decode.py": (StreamDecodeOptions, SearchOptions),
    "pseudo_label.py": (DecodeOptions, LabelOptions, DataOptions),
}
CTC_METHODS = ("1best", "ctc-greedy-search", "ctc-prefix-beam-search")


@pytest.fixture(scope="module")
def parsers():
    return {script: make_parser("", *options) for script, options in SCRIPTS.items()}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_command_is_understood(path, parsers):
    table = read_table(path)
    for row in table.rows:
        stages = table.commands(row, 42, Path("data"), Path("exp"))
        assert stages[0].name == "train"
        epochs = None
        for stage in stages:
            script, *arguments = stage.argv
            assert (FOLDER.parent / script).is_file()
            if script not in SCRIPTS:
                continue
            args = parsers[script].parse_args(arguments)
            options = [from_args(args, each) for each in SCRIPTS[script]]
            if script == "train.py":
                epochs = options[2].num_epochs
                model = dataclasses.replace(options[1], vocab_size=27)
                searches = {"ctc": model.use_ctc, "transducer": model.use_transducer}
            elif script != "pseudo_label.py":
                decode = options[0]
                assert decode.epoch in (0, epochs), f"{row}: {stage.command}"
                ctc = decode.decoding_method in CTC_METHODS
                assert searches["ctc" if ctc else "transducer"], f"{row}: {stage.command}"


def test_the_tables_compare_what_they_say():
    rows = read_table(FOLDER / "entropy.yaml").rows
    assert len(rows) == 12
    for row in rows.values():
        if row.baseline is not None:
            before, now = (rows[name].stages["train"] for name in (row.baseline, row.name))
            changed = {flag for flag in now if now[flag] != before.get(flag)}
            assert changed == {"entropy-loss-scale", "entropy-kind"}
    rows = read_table(FOLDER / "distillation.yaml").rows
    hard = rows["hard"].stages["train"]
    for name in ("soft", "semiring-seq", "semiring-state-seq"):
        now = rows[name].stages["train"]
        assert {**hard, **{k: now[k] for k in now if "distill-loss" in k or "teacher" in k}} == now
