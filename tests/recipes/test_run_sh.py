"""The whole recipe on a folder in LibriSpeech's layout that is not the project's own corpus."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wfst_entropy.metrics.wer import read_recogs

RUN_SH = Path(__file__).parents[2] / "recipes" / "librispeech" / "run.sh"
_RATE = 16000
_TONES = {"A": 300.0, "BE": 600.0, "SEA": 1200.0, "DO": 2400.0}


def _speak(words, rng):
    pause = np.zeros(_RATE // 10)
    times = np.arange(_RATE // 4) / _RATE
    sound = [pause]
    for word in words:
        pitch = _TONES[word] * rng.uniform(0.95, 1.05)
        sound += [0.3 * np.hanning(len(times)) * np.sin(2 * np.pi * pitch * times), pause]
    samples = np.concatenate(sound)
    return samples + 1e-3 * rng.standard_normal(len(samples))


def _write_part(root, part, speaker, count, rng):
    folder = root / "LibriSpeech" / part / str(speaker) / "17"
    folder.mkdir(parents=True)
    lines = []
    for number in range(count):
        words = rng.choice(list(_TONES), size=rng.integers(2, 6))
        name = f"{speaker}-17-{number:04d}"
        soundfile.write(folder / f"{name}.flac", _speak(words, rng), _RATE)
        lines.append(f"{name} {' '.join(words)}\n")
    (folder / f"{speaker}-17.trans.txt").write_text("".join(lines))


def _run(tmp_path, *options):
    command = [
        *(str(RUN_SH), "--corpus", "librispeech", "--corpus-dir", str(tmp_path / "corpus")),
        *("--data-dir", str(tmp_path / "data"), "--exp-dir", str(tmp_path / "exp")),
        *("--python", sys.executable, "--encoder", "tdnn", "--perturb-speed", "false"),
        *("--num-epochs", "12", "--avg", "2", "--max-duration", "15", "--base-lr", "0.003"),
        *("--train-options", "--encoder-dim 64 --num-layers 3 --warm-up 20 --enable-spec-aug no"),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A foreign folder, and what the recipe makes of it: `corpus`, `data`, `exp`, what it says."""
    root = tmp_path_factory.mktemp("foreign")
    rng = np.random.default_rng(0)
    for part, speaker, count in (("train-clean-100", 19, 90), ("dev-clean", 84, 15)):
        _write_part(root / "corpus", part, speaker, count, rng)
    _write_part(root / "corpus", "test-clean", 61, 25, rng)
    # one recording that cannot be read stops nothing, and is named
    broken = root / "corpus/LibriSpeech/train-clean-100/19/17/19-17-0003.flac"
    broken.write_bytes(broken.read_bytes()[:500])
    return root, _run(root, "--max-wer", "30")


@pytest.mark.slow
def test_from_a_foreign_folder_to_a_report_and_again(foreign):
    root, first = foreign
    assert first.returncode == 0, first.stdout + first.stderr
    methods = ("ctc-greedy-search", "1best", "whole-lattice-rescoring")
    for method in methods:
        for kind in ("recogs", "errs", "wer-summary"):
            found = (root / "exp" / method).glob(f"{kind}-test-clean-epoch-12-avg-2*.txt")
            assert len(list(found)) == 1
    for method in methods[1:]:
        (scales,) = (root / "exp" / method).glob("scales-epoch-12-avg-2*.json")
        assert json.loads(scales.read_text())["tuned_on"] == ["dev-clean"]
    report = root / "exp" / "report"
    text = (report / "report.md").read_text()
    assert "test-clean" in text and all(f"| {method} |" in text for method in methods)
    assert (report / "training_curves.png").stat().st_size > 5000
    assert len(list(report.glob("alignment_61-17-*.png"))) == 3
    excluded = (root / "data/manifests/excluded_train-clean-100.tsv").read_text()
    assert "19-17-0003" in excluded and excluded.count("\n") == 2

    again = _run(root, "--stage", "8")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "all 12 epochs are trained already" in again.stdout + again.stderr
    assert again.stdout.count("decoded already, skipping") == 3
    assert "gram.arpa is newer than what it is made from, skipping" in again.stdout
    # a sentence of the test set in the language model's text is found, whoever put it there
    held_out = (root / "corpus/LibriSpeech/test-clean/61/17/61-17.trans.txt").read_text()
    with (root / "data" / "lm" / "lm_text.txt").open("a") as file:
        file.write(held_out.splitlines()[0].split(maxsplit=1)[1] + "\n")
    for name in ("lm_words.txt", "lm_sources.txt"):
        (root / "data" / "lm" / name).touch()
    leak = _run(root, "--stage", "8", "--stop-stage", "8")
    assert leak.returncode != 0 and "is or has a sentence of development or test" in leak.stderr

    too_good = _run(root, "--stage", "12", "--max-wer", "30,1best=-1")
    assert too_good.returncode != 0 and "1best: the WER of test-clean" in too_good.stderr


@pytest.mark.slow
def test_a_transducer_of_the_same_folder_whole_and_as_streams(foreign):
    root, _ = foreign
    exp = root / "transducer"
    methods = ["greedy_search", "fast_beam_search_LG"]
    options = [
        *("--use-transducer", "1", "--prune-range", "3", "--stage", "10", "--exp-dir", str(exp)),
        *("--decoding-method", "greedy-search,fast-beam-search-LG", "--max-wer", "30"),
        *("--num-epochs", "9"),
    ]
    done = _run(root, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    name = "test-clean-epoch-9-avg-2-use-averaged-model"
    report = (exp / "report/report.md").read_text()
    assert "tdnn, causal, CTC and transducer" in report and "| simple nll per frame |" in report
    for method in methods:
        whole = read_recogs(exp / method / f"recogs-{name}.txt")
        chunks = name.replace("-use", "-chunk-16-use")
        streamed = read_recogs(exp / "streaming" / method / f"recogs-{chunks}.txt")
        # features of files are rounded, those of streams are not
        assert len(whole) == 25
        assert sum(a != b for a, b in zip(whole, streamed, strict=True)) <= 1
        assert f"| {method} | 16 |" in report
    summary = json.loads((exp / "greedy_search" / f"summary-{name}.json").read_text())
    assert summary["alignment"]["entropy"] > 0 and not summary["not_aligned"]
    (scales,) = (exp / methods[1]).glob("scales-*.json")
    assert json.loads(scales.read_text())["tuned_on"] == ["dev-clean"]

    again = _run(root, *options, "--stage", "11", "--stop-stage", "11")
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("decoded already, skipping") == 2
    assert again.stdout.count("streamed already, skipping") == 2


@pytest.mark.parametrize(
    ("stage", "missing", "maker"),
    [
        ("8", "tokens.txt", "prepare.sh --stage 5 --stop-stage 5"),
        ("10", "librispeech_cuts_*.jsonl.gz", "--stage 3 --stop-stage 3"),
    ],
)
def test_a_stage_names_what_it_misses_and_how_to_make_it(tmp_path, stage, missing, maker):
    result = _run(tmp_path, "--stage", stage)
    assert result.returncode != 0
    assert f"{missing}, which does not exist" in result.stderr
    assert maker in result.stderr


def test_a_yes_or_no_is_one_of_them(tmp_path):
    result = _run(tmp_path, "--stage", "20", "--use-transducer", "maybe")
    assert result.returncode != 0 and "--use-transducer must be 1 or 0" in result.stderr
