"""The driver with commands that only pretend: order, failures, kills, and what is skipped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wfst_entropy
from wfst_entropy.asr.experiments.driver import DONE, STORED, Driver, DriverOptions
from wfst_entropy.asr.experiments.table import read_table
from wfst_entropy.asr.options import OptionError

# "Trains": one line per call; fails or waits where a file beside it says so.
FAKE_TRAIN = """
import json, pathlib, sys, time
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
exp = pathlib.Path(flags["--exp-dir"])
with open("calls.txt", "a") as file:
    file.write(exp.name + "\\n")
if "--teacher" in flags and not pathlib.Path(flags["--teacher"], "model").exists():
    sys.exit("no teacher")
while pathlib.Path("hold-" + exp.name).exists():
    time.sleep(0.02)
if pathlib.Path("fail-" + exp.name).exists():
    print("the disk is full")
    sys.exit(3)
exp.joinpath("model").write_text("trained")
row = {"epoch": 1, "step": 2, "seconds": 1.5, "curve": [[2, 4.0, 1.0, 2]]}
exp.joinpath("history.jsonl").write_text(json.dumps(row) + "\\n")
"""
FAKE_DECODE = """
import json, pathlib, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = pathlib.Path(flags["--exp-dir"], "greedy")
folder.mkdir()
folder.joinpath("recogs-test-e1.txt").write_text(
    "b:\\tref=['ON', 'AND', 'OFF']\\nb:\\thyp=['ON', 'OFF']\\n"
    "a:\\tref=['UP']\\na:\\thyp=['DOWN']\\n")
word = lambda w, s, e, c=0.75: {"word": w, "start": s, "end": e, "confidence": c}
s = float(flags.get("--shift", 0))
rows = [
    {"cut": "b", "aligned": [], "true": [word("ON", 0, 1), word("AND", 1, 2), word("OFF", 2, 3)],
     "emitted": [word("ON", 0.5 + s, 1 + s), word("OFF", 2.5 + s, 3.5 + s)]},
    {"cut": "a", "aligned": [], "true": [word("UP", 0, 1)],
     "emitted": [word("DOWN", s, 1.0 + s, 1.0)]}]
folder.joinpath("word-times-test-e1.jsonl").write_text("\\n".join(map(json.dumps, rows)))
errors = {"insertions": 0, "deletions": 1, "substitutions": 0}
folder.joinpath("summary-test-e1.json").write_text(json.dumps({
    "test_set": "test", "decoding_method": "greedy", "suffix": "e1", "scales": {}, "wer": 25.0,
    **errors, "not_decoded": {}, "not_loaded": {}, "seconds": {}}))
"""
TABLE = """
name: toy
title: A toy
seeds: [7]
stages:
  train: {script: train.py, flags: {exp-dir: "{exp}", seed: "{seed}"}}
  decode: {script: decode.py, flags: {exp-dir: "{exp}"}}
rows:
  - {name: base, run: [train, decode]}
  - {name: other, like: base, baseline: base, flags: {decode: {shift: 0.25}}}
  - {name: student, run: [train], flags: {train: {teacher: "{exp:other}"}}}
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "train.py").write_text(FAKE_TRAIN)
    (tmp_path / "decode.py").write_text(FAKE_DECODE)
    (tmp_path / "toy.yaml").write_text(TABLE)
    return tmp_path


def driver(recipe, log=None, **options):
    options = {"exp_root": Path("exp"), "results_dir": Path("results"), **options}
    messages = [] if log is None else log
    table = read_table(recipe / "toy.yaml")
    return Driver(table, DriverOptions(**options), recipe, messages.append)


def calls(recipe):
    path = recipe / "calls.txt"
    return path.read_text().split() if path.exists() else []


def record(recipe, name):
    return json.loads((recipe / "results" / "toy" / f"{name}.json").read_text())


def test_a_table_runs_in_order_and_only_once(recipe):
    assert driver(recipe, num_parallel=2).run() == {
        "base-seed7": DONE,
        "other-seed7": DONE,
        "student-seed7": DONE,
    }
    assert calls(recipe) == ["base-seed7", "other-seed7", "student-seed7"]
    assert set(driver(recipe).run().values()) == {STORED}
    assert len(calls(recipe)) == 3

    other = record(recipe, "other-seed7")
    assert (other["row"], other["seed"], other["baseline"]) == ("other", 7, "base")
    train, decode = other["stages"]
    assert train["command"] == "./train.py --exp-dir exp/toy/other-seed7 --seed 7"
    assert decode["command"] == "./decode.py --exp-dir exp/toy/other-seed7 --shift 0.25"
    (attempt,) = train["attempts"]
    assert attempt["status"] == 0
    assert attempt["cpu_seconds"] > 0 and attempt["wall_seconds"] > 0
    assert other["training"]["curve"] == [[1.0, 2.0, 0.5]]
    assert other["training"]["seconds"] == 1.5
    (found,) = other["decodings"]
    assert (found["stage"], found["errors"], found["ref_words"]) == ("decode", [1, 1], [1, 3])
    # UP (taken for DOWN) ends on time, OFF half a second late, both a quarter later by the shift
    assert found["latency"]["partial"]["p50"] == pytest.approx(0.5)
    assert found["latency"]["partial"]["p90"] == pytest.approx(0.25 + 0.9 * 0.5)
    assert found["relative_latency"] == {"sums": [0.5, 1.0], "numbers": [2.0, 4.0]}
    assert found["calibration"]["ece"] == pytest.approx((2 * 0.25 + 1) / 3, abs=1e-4)
    assert found["calibration"]["nce"] > -10  # a wrong word of 1.0000, which is rounded
    assert "relative_latency" not in record(recipe, "base-seed7")["decodings"][0]


def test_a_failed_row_stops_only_those_that_need_it(recipe):
    (recipe / "fail-other-seed7").touch()
    outcomes = driver(recipe).run()
    assert outcomes["base-seed7"] == DONE
    assert "train: ended with status 3" in outcomes["other-seed7"]
    assert "the disk is full" in outcomes["other-seed7"]
    assert outcomes["student-seed7"] == "not run: it needs other-seed7, which failed"
    assert not (recipe / "results" / "toy" / "other-seed7.json").exists()
    (recipe / "fail-other-seed7").unlink()
    assert set(driver(recipe).run().values()) == {DONE, STORED}
    statuses = [a["status"] for a in record(recipe, "other-seed7")["stages"][0]["attempts"]]
    assert statuses == [3, 0]


def test_rows_and_seeds_can_be_chosen(recipe):
    chosen = driver(recipe, rows=("student",), seeds=(1, 2))
    assert [run.name for run in chosen.runs()] == [
        *("base-seed1", "other-seed1", "student-seed1"),
        *("base-seed2", "other-seed2", "student-seed2"),
    ]
    assert [run.name for run in driver(recipe, rows=("base",)).runs()] == ["base-seed7"]
    with pytest.raises(OptionError, match="no row 'nothing'; it has base, other, student"):
        driver(recipe, rows=("nothing",)).runs()


def test_other_commands_than_the_stored_ones_are_not_run_silently(recipe):
    driver(recipe, rows=("base",)).run()
    path = recipe / "toy.yaml"
    path.write_text(TABLE.replace("seed: ", "wer: 3, seed: "))
    (outcome,) = driver(recipe, rows=("base",)).run().values()
    assert outcome.startswith("stored from other commands; remove ")
    (recipe / "results" / "toy" / "base-seed7.json").unlink()
    (outcome,) = driver(recipe, rows=("base",)).run().values()
    assert "was begun with another command (./train.py --exp-dir exp/toy/base-seed7" in outcome
    assert len(calls(recipe)) == 1


def wait_for(condition):
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain")


DRIVE = """
import sys; sys.path[:0] = [{package!r}, {tests!r}]
from pathlib import Path
from test_driver import driver
one = driver(Path({recipe!r}))
one.log = lambda message: print(message, flush=True)
one.run()
"""


@pytest.mark.slow  # two interpreters that import torch
def test_a_killed_driver_goes_on_and_leaves_its_command_alone(recipe):
    (recipe / "hold-base-seed7").touch()
    package, tests = str(Path(wfst_entropy.__file__).parents[1]), str(Path(__file__).parent)
    script = DRIVE.format(package=package, tests=tests, recipe=str(recipe))
    process = subprocess.Popen([sys.executable, "-c", script])
    wait_for(lambda: calls(recipe) == ["base-seed7"])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    output = recipe / "output.txt"
    with output.open("w") as file:
        again = subprocess.Popen([sys.executable, "-c", script], stdout=file)
    wait_for(lambda: "another process works there; waiting" in output.read_text())
    assert calls(recipe) == ["base-seed7"]  # the first command still has the folder
    (recipe / "hold-base-seed7").unlink()
    assert again.wait(timeout=60) == 0
    assert "student-seed7: done" in output.read_text()
    assert calls(recipe) == ["base-seed7", "base-seed7", "other-seed7", "student-seed7"]
    # the attempt whose end nobody saw is told as such
    lost, seen = record(recipe, "base-seed7")["stages"][0]["attempts"]
    assert "status" not in lost and seen["status"] == 0
