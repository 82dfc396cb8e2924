"""The command line: verbs, output, exit codes, and packages that fail to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import wfst_entropy
from wfst_entropy.asr import environment
from wfst_entropy.cli.main import app
from wfst_entropy.metrics.wer import Recognition, write_results

runner = CliRunner()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a package on the path of this process and of its children."""

    def install(name: str, body: str) -> None:
        (tmp_path / f"{name}.py").write_text(body)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return install


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise OSError('libcudart.so.13: cannot open')", "OSError: libcudart.so.13: cannot open"),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "signal 11",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_backend_that_fails_to_import_is_reported(installed, body, reason):
    installed("torch", "")  # the child imports it first, which takes seconds
    installed("broken_backend", body)
    found = environment.find_backend("broken_backend", "broken-backend", try_import=True)
    assert not found.found
    assert reason in found.reason


@pytest.mark.slow
def test_env_finds_what_is_there(installed, monkeypatch):
    installed("fine_backend", "")
    monkeypatch.setattr(environment, "_TIED_TO_TORCH", {"fine_backend"})
    monkeypatch.setattr(
        environment,
        "BACKENDS",
        {"fine_backend": "fine-backend", "pytest": "pytest", "absent_backend": "absent-backend"},
    )
    result = runner.invoke(app, ["env", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report["wfst_entropy"] == wfst_entropy.__version__
    assert report["python"] == sys.version.split()[0]
    assert report["backends"]["fine_backend"]["found"] is True
    assert report["backends"]["pytest"]["version"] == pytest.__version__
    assert "pip install absent-backend" in report["backends"]["absent_backend"]["reason"]
    assert report["native"]["available"] or report["native"]["reason"]

    monkeypatch.setattr(environment, "BACKENDS", {"absent_backend": "absent-backend"})
    table = runner.invoke(app, ["env"])
    assert table.exit_code == 0, table.output
    for word in ("native module", "torch", "threads", "absent_backend"):
        assert word in table.output


def test_score_writes_the_three_files(tmp_path):
    (tmp_path / "ref.txt").write_text("u1 a b\nu2 c\n")
    (tmp_path / "hyp.txt").write_text("u1 a x\n")
    arguments = ["score", str(tmp_path / "ref.txt"), str(tmp_path / "hyp.txt")]
    result = runner.invoke(app, [*arguments, "--res-dir", str(tmp_path), "--test-set", "dev"])
    assert result.exit_code == 0, result.output
    assert "%WER 66.67% [2 / 3, 0 ins, 1 del, 1 sub ]" in result.output
    assert "1 utterance(s) have no hypothesis" in result.output
    for kind in ("recogs", "errs", "wer-summary"):
        assert (tmp_path / f"{kind}-dev-score.txt").exists()


def test_compare_tells_the_difference_and_its_interval(tmp_path):
    for name, hyp in (("old", ["a"]), ("new", ["a", "b"])):
        results = [Recognition(f"u{i}", ["a", "b"], hyp) for i in range(9)]
        write_results(tmp_path, name, "s", results)
    files = [str(tmp_path / f"recogs-{name}-s.txt") for name in ("old", "new")]
    result = runner.invoke(app, ["compare", *files])
    assert result.exit_code == 0, result.output
    assert "WER 50.00 % -> 0.00 %, 9 utterances" in result.output
    assert "relative: -100.0 %, 95 % interval -100.0 to -100.0" in result.output
    failed = runner.invoke(app, ["compare", files[0], str(tmp_path / "none.txt")])
    assert failed.exit_code == 1 and "none.txt: cannot be read" in failed.output


def test_score_fails_with_a_message_and_status_1(tmp_path):
    (tmp_path / "ref.txt").write_text("u1 a b\n")
    result = runner.invoke(app, ["score", str(tmp_path / "ref.txt"), str(tmp_path / "none.txt")])
    assert result.exit_code == 1
    assert "none.txt" in result.output


def test_python_dash_m_is_the_same_command():
    root = Path(wfst_entropy.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "wfst_entropy", "--help"],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for verb in ("env", "score", "compare"):
        assert verb in done.stdout
