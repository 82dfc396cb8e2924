"""The commands of docs/distillation.md run, and their runs say what was learnt from the teacher."""

from __future__ import annotations

import json
import logging
import math
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from lhotse import CutSet
from lhotse.utils import fastcopy

import wfst_entropy
from wfst_entropy.asr.options import OptionError, load_config
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.run_config import RunConfig

ROOT = Path(wfst_entropy.__file__).parents[1]
RECIPE = ROOT / "recipes" / "librispeech"
PAGE = (ROOT / "docs" / "distillation.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("./")
]
LABELS = re.search(r"^LABELS=(.*)$", PAGE, re.MULTILINE)[1]
SMALL = {"decoder_dim": 8, "joiner_dim": 8, "prune_range": 3, "rnnt_warm_step": 2}


def run(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", words)
    # a script's handlers of the log would otherwise outlive its files
    handlers = list(logging.root.handlers)
    try:
        runpy.run_path(str(RECIPE / words[0]), run_name="__main__")
    finally:
        logging.root.handlers[:] = handlers


def history(exp_dir):
    return json.loads((exp_dir / "history.jsonl").read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def teacher(train_arguments, tmp_path_factory):
    """A folder with ``exp/teacher``, whose epoch 8 is the first, and pseudo-labels."""
    folder = tmp_path_factory.mktemp("distillation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        own = {"num_epochs": 1, "exp_dir": "exp/teacher", "use_transducer": "true"}
        run(patch, ["train.py", *train_arguments(**own, **SMALL)])
        for epoch in (7, 8):
            shutil.copy("exp/teacher/epoch-1.pt", f"exp/teacher/epoch-{epoch}.pt")
        run(patch, shlex.split(COMMANDS[0]))
    return folder


def write_labels(folder, tiny_data, names=None):
    """An untrained teacher hears nothing; these are the texts that it should have heard."""
    cuts = CutSet.from_file(tiny_data / "fbank/librispeech_cuts_train-clean-5.jsonl.gz")
    rows = [{"id": cut.id, "text": cut.supervisions[0].text[:4].strip()} for cut in cuts]
    path = folder / LABELS
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if names in (None, row["id"])))
    return path


@pytest.mark.slow
def test_every_training_cut_gets_a_line(teacher):
    rows = [json.loads(line) for line in (teacher / LABELS).read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == sorted(f"train-clean-5-{i}" for i in range(30))
    assert all(set(row) == {"id", "text", "confidence"} for row in rows)


@pytest.mark.slow
def test_what_the_system_refuses_is_told_in_one_line(teacher, monkeypatch):
    monkeypatch.chdir(teacher)
    words = shlex.split(COMMANDS[0])
    with pytest.raises(SystemExit, match=r"^pseudo_label\.py: error: .* exists: 'exp/teacher/env"):
        run(monkeypatch, [*words, "--output", "exp/teacher/env.json/labels.jsonl"])


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda line: line.split()[2])
def test_the_papers_systems_are_flags(teacher, tiny_data, train_arguments, monkeypatch, command):
    monkeypatch.chdir(teacher)
    write_labels(teacher, tiny_data)
    words = shlex.split(command.removeprefix("./").replace("$LABELS", LABELS))
    run(monkeypatch, [words[0], *train_arguments(num_epochs=1, **SMALL), *words[1:]])
    exp_dir = Path(words[words.index("--exp-dir") + 1])
    row = history(exp_dir)
    terms = {name for name in row if name.startswith("train_transducer_")}
    wanted = {"train_transducer_nll", "train_transducer_entropy", "train_transducer_hard_nll"}
    wanted |= {"train_transducer_state_kl"} if "--state-distill-loss-scale" in words else set()
    wanted |= {"train_transducer_seq_kl"} if "--seq-distill-loss-scale" in words else set()
    assert terms == wanted
    assert all(math.isfinite(x) for x in row.values() if isinstance(x, float))
    assert row["train_transducer_hard_nll"] == row["train_transducer_nll"] > 0
    assert row["utterances"] == 30 and row["bad_batches"] == 0
    options = RunConfig.load(exp_dir).distill
    assert options.teacher_epoch == (8 if "--teacher-exp-dir" in words else 0)


@pytest.mark.slow
def test_unlabelled_cuts_are_trained_on_beside_labelled_ones(
    teacher, tiny_data, train_arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(teacher)
    write_labels(teacher, tiny_data, names=None)
    fbank = tmp_path / "fbank"
    shutil.copytree(tiny_data / "fbank", fbank)
    part = fbank / "librispeech_cuts_train-clean-5.jsonl.gz"
    cuts = list(CutSet.from_file(part))
    half = [cut.map_supervisions(lambda s: fastcopy(s, text="")) for cut in cuts[:15]]
    CutSet.from_cuts([*half, *cuts[15:]]).to_file(part)
    lines = (teacher / LABELS).read_text().splitlines()
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(lines[1:20]) + "\n")  # the first cut has neither
    exp_dir = tmp_path / "exp"
    options = train_arguments(num_epochs=1, exp_dir=exp_dir, manifest_dir=fbank)
    distil = f"--pseudo-labels {labels} --hard-distill-loss-scale 0.5 --fullsum-distill-loss-scale "
    run(
        monkeypatch, ["train.py", *options, *f"{distil} 0.01 --teacher-exp-dir exp/teacher".split()]
    )
    row = history(exp_dir)
    assert (row["utterances"], row["excluded"]) == (29, 1)
    assert 0 < row["train_ctc_hard_nll"] < row["train_ctc_nll"]
    assert row["train_ctc_fullsum"] > 0 and row["valid_ctc_fullsum"] > 0


@pytest.mark.slow
def test_a_teacher_of_another_vocabulary_is_refused(
    teacher, tiny_data, train_arguments, tmp_path, monkeypatch
):
    monkeypatch.chdir(teacher)
    shutil.copytree("exp/teacher", tmp_path / "other")
    tokens = tmp_path / "other" / "tokens.txt"
    lines = tokens.read_text().splitlines()
    lines[-1] = lines[-1].replace(lines[-1].split()[0], "Z")
    tokens.write_text("\n".join(lines) + "\n")
    options = train_arguments(num_epochs=1, exp_dir=tmp_path / "exp")
    flags = f"--teacher-exp-dir {tmp_path / 'other'} --seq-distill-loss-scale 0.1".split()
    with pytest.raises(SystemExit, match=r"its tokens.txt has 'C .*was trained with 'Z"):
        run(monkeypatch, ["train.py", *options, *flags])
    tokens.unlink()
    with pytest.raises(SystemExit, match=r"tokens.txt is missing, .*copy it from"):
        run(monkeypatch, ["train.py", *options, *flags])
    with pytest.raises(SystemExit, match=r"no epoch-N\.pt"):
        run(monkeypatch, ["train.py", *options, "--teacher-exp-dir", str(tmp_path), *flags[2:]])


def test_the_page_has_every_flag_and_no_other():
    flags = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    names = DistillOptions.__dataclass_fields__
    assert {"--" + name.replace("_", "-") for name in names} <= flags


def test_runs_from_before_distillation_load(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: {}\n")
    assert load_config(path, DistillOptions, may_lack=(DistillOptions,)) == (DistillOptions(),)
    with pytest.raises(OptionError, match="has no section 'distill:'"):
        load_config(path, DistillOptions)
