"""Processes that load batches, and are started again when one of them dies."""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from lhotse import CutSet

from wfst_entropy.asr.data.batch_loader import BatchLoader, Item, LoadedBatch, storage_of
from wfst_entropy.asr.data.errors import DataError, brief
from wfst_entropy.asr.data.manifest_files import Excluded

# So many deaths at one batch are borne before its cuts are loaded one by one.
_MAX_DEATHS = 1
_KILLS = "kills the process that loads it"


def load_in_processes(
    loader: BatchLoader, items: Iterable[Item], num_workers: int
) -> Iterator[LoadedBatch]:
    """Yields what the loader makes of the items, in their order, however often a process dies.

    When one does (killed for its memory, crashed in an audio library, ...), all are started again
    at the first batch that has not come yet. If that happens again at the same batch, each of its
    cuts is loaded in a process of its own, and those that kill it are left out.

    Args:
      loader: a function of the item alone, so that a batch loaded again is the same.
      items: read once, some items ahead.
      num_workers: how many processes, at least 1.

    Raises:
      DataError: a batch kills its process though each of its cuts alone does not.
    """
    source = iter(items)
    waiting: deque[Item] = deque()  # what the processes have been given and has not come back
    deaths = 0
    while True:
        given = _HandedOut(chain(list(waiting), source), waiting)
        waiting.clear()
        try:
            for loaded in _in_order(loader, given, num_workers):
                waiting.popleft()
                deaths = 0
                yield loaded
            return
        except Exception as error:
            if error is given.error or not _is_death(error):
                raise
            _log_death(error, waiting)
            deaths += 1
        if deaths > _MAX_DEATHS:
            yield _survivors(loader, waiting.popleft())
            deaths = 0


def _in_order(
    loader: BatchLoader, items: Iterable[Item], num_workers: int
) -> Iterator[LoadedBatch]:
    with _without_alarm():
        batches = iter(
            torch.utils.data.DataLoader(
                loader, sampler=_Once(items), batch_size=None, num_workers=num_workers
            )
        )
    yield from batches


@contextlib.contextmanager
def _without_alarm() -> Iterator[None]:
    """Puts the handler of SIGCHLD back that was there before.

    torch installs one that raises the death of a process in the middle of whatever the main thread
    does, such as a step of the optimiser. Without it, the death is noticed within seconds when its
    batch is waited for.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if main and hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGCHLD, before)


class _HandedOut:
    """Remembers the items that are taken, and the error with which there were no more."""

    def __init__(self, items: Iterable[Item], waiting: deque[Item]) -> None:
        self._items, self._waiting = items, waiting
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Item]:
        try:
            for item in self._items:
                self._waiting.append(item)
                yield item
        except Exception as error:
            self.error = error
            raise


class _Once(torch.utils.data.Sampler[Any]):
    """Lets a DataLoader take its items from an iterator."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)


def _is_death(error: Exception) -> bool:
    """Whether an error of the DataLoader is that of a process that died.

    What it had sent already may then not be received whole. The loader itself raises errors of the
    data only.
    """
    if isinstance(error, RuntimeError):
        return str(error).startswith(("DataLoader worker (pid", "received ", "unable to open"))
    return isinstance(error, (EOFError, ConnectionError, FileNotFoundError, pickle.PickleError))


def _log_death(error: Exception, waiting: deque[Item]) -> None:
    logging.warning(
        "%s; the processes that load batches are started again. They were at work on:", brief(error)
    )
    for _, cuts in waiting:
        logging.warning(", ".join(f"{cut.id} ({cut.duration:.2f} s)" for cut in cuts))


def _survivors(loader: BatchLoader, item: Item) -> LoadedBatch:
    """The batch of those cuts that do not kill the process that loads them."""
    seed, cuts = item
    good, failed = [], []
    for cut in cuts:
        if _alone(loader, (seed, CutSet.from_cuts([cut]))) is None:
            failed.append(Excluded(cut.id, _KILLS, storage_of(cut)))
        else:
            good.append(cut)
    if not good:
        return LoadedBatch(loader.stand_in(seed, failed), failed)
    loaded = _alone(loader, (seed, CutSet.from_cuts(good)))
    if loaded is None:
        raise DataError(
            f"the batch with {good[0].id} ({storage_of(good[0])}) kills the process that loads it, "
            "though none of its cuts does alone; lower --max-duration or --num-workers if memory "
            "is short"
        )
    return LoadedBatch(loaded.batch, failed + loaded.failed)


def _alone(loader: BatchLoader, item: Item) -> LoadedBatch | None:
    """What the loader makes of an item in a process of its own; None when it dies."""
    try:
        return next(_in_order(loader, [item], num_workers=1))
    except Exception as error:
        if not _is_death(error):
            raise
        return None
