"""The process of kaldifst: stopped with its parent, reported when it dies, gone afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from wfst_entropy.fsa import Fsa, FsaError
from wfst_entropy.lang import kaldifst_process
from wfst_entropy.lang.kaldifst_process import DeterminizedFile

pytest.importorskip("kaldifst")

GRAPH = Fsa.from_str("0 1 1 1 -1\n0 1 1 1 -2\n1 2 -1 -1 0\n2")


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    found = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            found.append(self)

    monkeypatch.setattr(kaldifst_process.subprocess, "Popen", Popen)
    return found


def worker(monkeypatch, tmp_path: Path, text: str):
    (tmp_path / "worker.py").write_text(text)
    monkeypatch.setattr(kaldifst_process, "_WORKER", tmp_path / "worker.py")


def test_the_file_and_the_process_are_gone_afterwards(started):
    with DeterminizedFile(GRAPH) as file:
        folder = file._path.parent
        file.run(max_states=100)
        graph = file.read()
        assert 0 < file.peak_bytes < 10**9
    assert not folder.exists()
    assert started[0].returncode == 0
    assert (graph.labels.tolist(), graph.aux_labels.tolist()) == ([1, -1], [1, -1])
    assert graph.scores.sum() == -1


def test_an_interruption_ends_the_process(started, monkeypatch, tmp_path):
    worker(monkeypatch, tmp_path, "import time; time.sleep(100)")

    def interrupted(self, lines):
        raise KeyboardInterrupt

    monkeypatch.setattr(DeterminizedFile, "_follow", interrupted)
    with pytest.raises(KeyboardInterrupt), DeterminizedFile(GRAPH) as file:
        file.run(max_states=100)
    assert started[0].returncode == -9
    assert not file._path.parent.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise ValueError('of some kind')", "status 1 .*ValueError: of some kind"),
        (
            'print(\'{"error": "OSError", "message": "disk full"}\')',
            "kaldifst failed: disk full",
        ),
    ],
)
def test_a_process_that_dies_is_reported(monkeypatch, tmp_path, text, message):
    worker(monkeypatch, tmp_path, text)
    with pytest.raises(FsaError, match=message), DeterminizedFile(GRAPH) as file:
        file.run(max_states=100)
