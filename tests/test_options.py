"""The outside of the recipes: option names that icefall's users type, and --help that works."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import wfst_entropy

ROOT = Path(wfst_entropy.__file__).parents[1]
RECIPES = ROOT / "recipes"

CONTRACT = {
    "librispeech/train.py": """
        --exp-dir --world-size --master-port --tensorboard --seed
        --num-epochs --start-epoch --start-batch --save-every-n --keep-last-k --average-period
        --use-fp16 --use-bf16 --base-lr
        --manifest-dir --max-duration --bucketing-sampler --num-buckets --shuffle --drop-last
        --num-workers --on-the-fly-feats --enable-spec-aug --full-libri --mini-libri
        --bpe-model --lang-dir --encoder --causal --chunk-size --left-context-frames
        --entropy-loss-scale --entropy-kind
    """,
    "librispeech/decode.py": """
        --exp-dir --epoch --iter --avg --use-averaged-model --decoding-method
        --manifest-dir --lang-dir --max-duration
        --search-beam --output-beam --min-active-states --max-active-states --topology
        --hlg-scale --ngram-lm-scale --num-paths --nbest-scale --beam-size --tokens-ngram
        --context-file --context-score --tune
    """,
    "librispeech/streaming_decode.py": """
        --exp-dir --epoch --avg --use-averaged-model --decoding-method
        --num-decode-streams --chunk-size --left-context-frames --check-simulated
    """,
    "librispeech/report.py": "--exp-dir --epoch --avg --decoding-method --max-wer",
    "librispeech/prepare.sh": """
        --stage --stop-stage --corpus --corpus-dir --cuts --token-type --vocab-size --extractor
    """,
    "librispeech/prepare_lm.sh": """
        --stage --stop-stage --data-dir --token-type --lm-text --lm-order --rescoring-order
        --lm-arpa --rescoring-arpa --lexicon --topology
    """,
    "librispeech/run.sh": """
        --stage --stop-stage --corpus --corpus-dir --cuts --token-type --exp-dir
        --entropy-loss-scale --entropy-kind --decoding-method --lm-arpa --max-wer
    """,
}

PYTHON_SCRIPTS = sorted(str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.py"))
SHELL_SCRIPTS = [name for name in CONTRACT if name.endswith(".sh")]


def contract(name: str) -> list[str]:
    return CONTRACT.get(name, "").split()


def assert_options(name: str, text: str) -> None:
    words = set(text.replace(",", " ").replace("=", " ").replace("]", " ").split())
    missing = [option for option in contract(name) if option not in words]
    assert not missing, f"{name} --help does not mention {missing}"


@pytest.mark.parametrize("name", PYTHON_SCRIPTS)
def test_python_script(name, monkeypatch, capsys):
    """Run in this process: importing torch anew for each script would take most of the time."""
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(RECIPES / name), run_name="__main__")
    assert stopped.value.code == 0
    assert_options(name, capsys.readouterr().out)


@pytest.mark.parametrize("name", SHELL_SCRIPTS)
def test_shell_script(name):
    done = subprocess.run(
        [str(RECIPES / name), "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert_options(name, done.stdout + done.stderr)


def test_every_script_of_the_contract_exists():
    missing = [name for name in CONTRACT if not (RECIPES / name).is_file()]
    assert not missing
