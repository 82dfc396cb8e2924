"""Processes that load batches die: every batch still comes, once, in order, and the same."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest
import torch
from lhotse import CutSet, MonoCut

from wfst_entropy.asr.data.batch_loader import BatchLoader
from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.worker_processes import load_in_processes

# torch looks every 5 seconds whether a process lives on
pytestmark = pytest.mark.slow


class Dangerous:
    """Random numbers for each cut; some cuts kill the process that loads them."""

    def __init__(self, folder: Path, once: str = "", always: str = "", together: int = 99) -> None:
        self.folder, self.once, self.always, self.together = folder, once, always, together

    def __getitem__(self, cuts: CutSet) -> dict[str, object]:
        ids = [cut.id for cut in cuts]
        mark = self.folder / "died"
        if self.once in ids and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.always in ids or len(ids) >= self.together:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"ids": ids, "inputs": torch.rand(len(ids))}


def items(num_batches: int = 6):
    for number in range(num_batches):
        names = [f"cut-{number}-{i}" for i in range(3)]
        yield (42, number), CutSet.from_cuts(MonoCut(name, 0.0, 1.5, 0) for name in names)


def loaded(dataset: Dangerous, num_workers: int = 2):
    batches = list(load_in_processes(BatchLoader(dataset), items(), num_workers))
    return [batch.batch for batch in batches], [f for batch in batches for f in batch.failed]


def expected(folder: Path):
    loader = BatchLoader(Dangerous(folder))
    return [loader[item].batch for item in items()]


def same(a, b) -> bool:
    return [x["ids"] for x in a] == [x["ids"] for x in b] and all(
        torch.equal(x["inputs"], y["inputs"]) for x, y in zip(a, b)
    )


def test_a_killed_process_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    with caplog.at_level(logging.WARNING):
        batches, failed = loaded(Dangerous(tmp_path, once="cut-3-1"))
    assert same(batches, expected(tmp_path)) and not failed
    assert (tmp_path / "died").exists()
    assert "are started again" in caplog.messages[0]
    assert "cut-3-0 (1.50 s), cut-3-1 (1.50 s), cut-3-2 (1.50 s)" in caplog.messages
    assert signal.getsignal(signal.SIGCHLD) == handler


def test_a_cut_that_kills_every_process_is_left_out(tmp_path: Path) -> None:
    batches, failed = loaded(Dangerous(tmp_path, always="cut-2-1"), num_workers=1)
    assert [f.id for f in failed] == ["cut-2-1"] and "kills the process" in failed[0].cause
    assert batches[2]["ids"] == ["cut-2-0", "cut-2-2"]
    others = [number for number in range(6) if number != 2]
    whole = expected(tmp_path)
    assert same([batches[i] for i in others], [whole[i] for i in others])


def test_a_batch_that_kills_although_its_cuts_do_not_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the batch with cut-0-0 .* kills the process"):
        loaded(Dangerous(tmp_path, together=3), num_workers=1)


def test_an_error_of_the_list_of_cuts_is_no_death() -> None:
    def broken():
        yield from items(2)
        raise FileNotFoundError("cuts.jsonl.gz")

    batches = load_in_processes(BatchLoader(Dangerous(Path(), once="none")), broken(), 1)
    with pytest.raises(FileNotFoundError, match="cuts"):
        list(batches)
