"""The benchmarks run, compare like with like, and say what is missing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import ctc
import decoding
import dense
import kl
import measuring
import peers
import pruned_rnnt
import pytest
import rnnt
import torch

import wfst_entropy.compat.k2

BENCHMARKS = Path(ctc.__file__).parent
TINY = ctc.Sizes(2, 10, 3, 6)


@pytest.mark.parametrize(
    "task",
    [ctc.TASK, rnnt.TASK, pruned_rnnt.TASK, kl.CTC, kl.RNNT, dense.CTC, dense.BIGRAM],
)
def test_every_row_computes_what_it_is_compared_with(task):
    rows = measuring.chosen(task.rows(), peers=[])
    assert sum(bool(row.reference) for row in rows) >= 3
    found = measuring.errors(task, rows, task.problem(TINY, 1))
    assert set(found) == {row.name for row in rows if row.reference}
    for row in rows:
        if row.reference:
            half = row.dtype in (torch.bfloat16, torch.float16)
            limit = {torch.bfloat16: 1e-2, torch.float16: 2e-3}.get(row.dtype, 2e-5)
            nll, extra, gradient = found[row.name]
            assert math.isnan(nll) or nll < 1e-3 if half else nll < 1e-6, row.name
            assert math.isnan(extra) == (row.weights[1] == 0), row.name
            assert math.isnan(extra) or extra < (1e-2 if half else 1e-5), row.name
            assert gradient < limit, row.name


@pytest.mark.parametrize("task", [ctc.TASK, pruned_rnnt.TASK, dense.CTC, dense.BIGRAM])
def test_the_adapter_of_k2_computes_the_same(task, monkeypatch):
    monkeypatch.setitem(sys.modules, "k2", wfst_entropy.compat.k2)
    rows = [row for row in task.rows() if row.package == "k2"]
    (errors,) = measuring.errors(task, rows, task.problem(TINY, 1)).values()
    assert errors[0] < 1e-6
    assert errors[2] < 1e-5


def test_what_is_not_installed_is_said(monkeypatch):
    def broken(name):
        raise OSError("libcudart.so: cannot open")

    monkeypatch.setattr(peers.importlib, "import_module", broken)
    rows = [row for row in rnnt.TASK.rows() if row.package == "torchaudio"]
    found, missing = measuring.times(rows, [rnnt.TASK.problem(TINY, 0)], 1)
    assert not found
    assert list(missing.values()) == ["OSError: libcudart.so: cannot open"]


def test_a_peer_that_fails_ends_nothing_and_an_own_row_does():
    def prepare(problem):
        raise RuntimeError("no such operator")

    theirs = measuring.Row("theirs", prepare, package="theirs")
    _, missing = measuring.times([theirs], [None], 1)
    assert missing == {"theirs": "failed with RuntimeError: no such operator"}
    with pytest.raises(RuntimeError, match="no such operator"):
        measuring.times([measuring.Row("ours", prepare)], [None], 1)


def test_a_slow_row_is_repeated_twice():
    row = measuring.Row("slow", lambda problem: lambda: None)
    assert len(measuring.times([row], [None], 5)[0]["slow"]) == 5
    measuring_slow, measuring.SLOW = measuring.SLOW, -1.0
    try:
        assert len(measuring.times([row], [None], 5)[0]["slow"]) == 2
    finally:
        measuring.SLOW = measuring_slow


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["ctc", "rnnt", "pruned_rnnt", "kl", "dense", "scaling", "lg", "decoding"]
)
def test_the_scripts_run(script, tmp_path):
    if script in ("lg", "decoding"):
        pytest.importorskip("kaldifst")
    command = [sys.executable, BENCHMARKS / f"{script}.py", "--quick", "--json", tmp_path / "out"]
    if script == "scaling":
        command += ["--plots", tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=BENCHMARKS.parent, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ended early" not in done.stdout
    assert "nan" not in done.stdout
    assert json.loads((tmp_path / "out").read_text())["environment"] in done.stdout
    if script == "scaling":
        assert {path.name for path in tmp_path.glob("*.svg")} == {
            "scaling_ctc.svg",
            "scaling_rnnt.svg",
        }


@pytest.mark.slow
def test_all_searches_find_the_same():
    pytest.importorskip("kaldifst")
    problem, beams = decoding.make_problem(decoding.TINY), decoding.Beams(30.0, 10_000)
    _, found, missing = decoding.measure(problem, decoding.rows(), beams, repeats=0)
    assert set(missing) <= {decoding.rows()[0].name}
    first, *others = found.values()
    for other in others:
        assert other.scores == pytest.approx(first.scores, abs=1e-2)
        assert other.words == first.words
    assert decoding.word_errors(problem, first) < 0.2
