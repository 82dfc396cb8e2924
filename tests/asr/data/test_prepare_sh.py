"""The shell side of the recipe: options, stages, preconditions."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "recipes" / "librispeech"


def run(script: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def prepare(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(RECIPE / "prepare.sh", "--python", sys.executable, *args, cwd=cwd)


@pytest.fixture
def toy_script(tmp_path: Path) -> Path:
    path = tmp_path / "toy.sh"
    path.write_text(
        "#!/usr/bin/env bash\n# A toy.\n#\n#   ./toy.sh  does little\n\nset -eou pipefail\n"
        "stage=0\nbase_lr=0.5   # learning rate\nname=         # its name\nHIDDEN=1\n"
        f". {ROOT}/recipes/shared/parse_options.sh\n"
        'echo "$stage|$base_lr|$name|$HIDDEN"\nlater=1\n'
    )
    return path


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ([], "0|0.5||1"),
        (["--base-lr", "0.1", "--stage", "-1"], "-1|0.1||1"),
        (["--base_lr=0.2", "--name", "a b 'c' $x"], "0|0.2|a b 'c' $x|1"),
        (["--name", "", "--name=last"], "0|0.5|last|1"),
    ],
)
def test_options_set_variables(toy_script: Path, args: list[str], result: str) -> None:
    done = run(toy_script, *args, cwd=toy_script.parent)
    assert done.stdout == result + "\n", done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nonsense", "1"], "unknown option --nonsense"),
        (["--HIDDEN", "2"], "unknown option --HIDDEN"),
        (["--later", "2"], "unknown option --later"),
        (["--stag", "2"], "unknown option --stag"),
        (["--stage"], "option --stage needs a value"),
        (["7"], "unexpected argument '7'"),
    ],
)
def test_wrong_options_list_the_known_ones(toy_script: Path, args: list[str], message: str) -> None:
    done = run(toy_script, *args, cwd=toy_script.parent)
    assert done.returncode == 1
    assert message in done.stderr
    assert "  --base-lr        learning rate (default: 0.5)\n" in done.stderr
    assert done.stdout == ""


def test_help_is_the_opening_comment_and_the_options(toy_script: Path) -> None:
    done = run(toy_script, "--help", cwd=toy_script.parent)
    assert done.returncode == 0
    assert done.stdout == (
        "A toy.\n\n  ./toy.sh  does little\n\nOptions:\n  --stage           (default: 0)\n"
        "  --base-lr        learning rate (default: 0.5)\n  --name           its name\n"
    )


def test_prepare_tells_its_options(tmp_path: Path) -> None:
    done = prepare("--help", cwd=tmp_path)
    for name in ("stage", "stop-stage", "corpus", "corpus-dir", "cuts", "data-dir", "token-type"):
        assert f"  --{name} " in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "needed", "cure"),
    [("1", "data/download/LibriSpeech", 0), ("3", "manifests", 1), ("5", "_train*.jsonl.gz", 1)],
)
def test_a_stage_names_the_missing_file_and_the_stage_that_makes_it(
    tmp_path: Path, stage: str, needed: str, cure: int
) -> None:
    given = ("--corpus", "librispeech", "--stage", stage, "--token-type", "char")
    done = prepare(*given, cwd=tmp_path)
    assert done.returncode == 1
    assert needed in done.stderr
    assert "does not exist; make it with: " in done.stderr
    # the command as it was given, with the other stage
    again = f"prepare.sh --python {sys.executable} --corpus librispeech --token-type char"
    assert f"{again} --stage {cure} --stop-stage {cure}" in done.stderr
    assert f"stage {stage} failed (exit code 1)" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--corpus", "huge"], "--corpus must be mini or librispeech, got 'huge'"),
        (["--token-type", "phone"], "--token-type must be char or bpe, got 'phone'"),
        (["--corpus-dir", "absent"], "needs absent, which does not exist"),
        (["--cuts", "absent.jsonl.gz"], "needs absent.jsonl.gz, which does not exist"),
        (["--python", "/bin/false"], "has not all of wfst_entropy, lhotse and rich"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, args: list[str], message: str) -> None:
    done = prepare(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.slow
def test_all_stages_run_on_a_folder_in_librispeechs_layout_and_then_skip(
    make_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    corpus = make_corpus(1)
    audio = next((corpus / "LibriSpeech" / "train-clean-5").rglob("*.flac"))
    audio.write_bytes(b"broken")
    args = ("--corpus", "librispeech", "--corpus-dir", str(corpus), "--num-jobs", "1")
    done = prepare(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for stage in (0, 1, 3, 5):
        assert f"stage {stage} done in " in done.stdout
    assert "train-clean-5: 1 left out, listed in data/manifests/excluded_train" in done.stderr
    data = tmp_path / "data"
    for name in ("train-clean-5", "dev-clean-2", "test-clean-2"):
        assert (data / "fbank" / f"librispeech_cuts_{name}.jsonl.gz").is_file()
    made = {p: p.stat().st_mtime_ns for p in data.rglob("*") if p.is_file()}
    assert data / "lang_char" / "lexicon.txt" in made

    again = prepare(*args, "--stage", "3", "--stop-stage", "3", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("skipping") == 3
    assert "stage 1" not in again.stdout
    assert {p: p.stat().st_mtime_ns for p in data.rglob("*") if p.is_file()} == made


def test_a_lang_directory_older_than_the_manifests_is_pointed_out(
    prepared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(prepared_data / "lang_char", tmp_path / "lang_char")
    script = RECIPE / "local" / "prepare_lang.py"
    options = ("--manifest-dir", str(prepared_data / "manifests"), "--data-dir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(script), *options])
    for seconds, told in ((10**10, False), (1, True)):
        os.utime(tmp_path / "lang_char" / "tokens.txt", (seconds, seconds))
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(script), run_name="__main__")
        assert stopped.value.code == 0
        assert ("lang_char is older than the manifests" in caplog.text) == told
