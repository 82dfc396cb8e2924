"""From cuts to a batch of features: the same numbers for the same place in the training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lhotse import CutSet, MonoCut
from lhotse.dataset import K2SpeechRecognitionDataset

from wfst_entropy.asr.data.errors import DataError, brief
from wfst_entropy.asr.data.manifest_files import Excluded
from wfst_entropy.asr.out_of_memory import is_out_of_memory


@dataclass(frozen=True)
class LoadedBatch:
    """What came of a set of cuts.

    Attributes:
      batch: the dict of lhotse's `K2SpeechRecognitionDataset`; None when no cut could be loaded.
      failed: the cuts that could not be loaded, with the cause.
    """

    batch: dict[str, Any] | None
    failed: list[Excluded]


_TOO_MANY = (
    "memory does not suffice to load it with the others of its batch, lower --max-duration or "
    "--num-workers"
)

# What names the place of a batch in the training, and its cuts.
Item = tuple[tuple[int, ...], CutSet]


class BatchLoader(torch.utils.data.Dataset[LoadedBatch]):
    """Loads, pads and augments batches; cuts that fail are left out and named.

    Where memory does not suffice for a batch, though it does for each of its cuts, half of them are
    left out, and half of the rest, until it does.

    Args:
      dataset: lhotse's dataset; it may draw from the global random generators.
      stand_ins: cuts of which the first that loads stands in for a batch of which none does, so
        that the number of batches of an epoch, by which a training is resumed, stays the same.
    """

    def __init__(
        self, dataset: K2SpeechRecognitionDataset, stand_ins: Sequence[MonoCut] = ()
    ) -> None:
        self._dataset = dataset
        self._stand_ins = stand_ins
        self._first_stand_in = 0

    def __getitem__(self, item: Item) -> LoadedBatch:
        """Loads a batch.

        Args:
          item: the seed, a tuple of integers that names the place in the training, and the cuts.

        Raises:
          DataError: neither a cut of the batch nor a stand-in can be loaded, or its cuts can be
            loaded one by one only.
        """
        seed, cuts = item
        batch, error = self._try(seed, cuts)
        if error is None:
            return LoadedBatch(batch, [])
        good, failed = [], []
        for cut in cuts:
            _, why = self._try(seed, CutSet.from_cuts([cut]))
            if why is None:
                good.append(cut)
            else:
                failed.append(Excluded(cut.id, f"cannot be loaded: {brief(why)}", storage_of(cut)))
        if not good:
            return LoadedBatch(self.stand_in(seed, failed), failed)
        if failed:
            batch, error = self._try(seed, CutSet.from_cuts(good))
        while error is not None:
            if len(good) == 1 or not is_out_of_memory(error):
                raise DataError(
                    f"the batch with {good[0].id} ({storage_of(good[0])}) cannot be loaded though "
                    f"each of its cuts can: {brief(error)}"
                )
            half = (len(good) + 1) // 2
            failed += [Excluded(cut.id, _TOO_MANY, storage_of(cut)) for cut in good[half:]]
            good = good[:half]
            batch, error = self._try(seed, CutSet.from_cuts(good))
        return LoadedBatch(batch, failed)

    def stand_in(self, seed: tuple[int, ...], failed: list[Excluded]) -> dict[str, Any] | None:
        """Returns the batch for one of which no cut can be loaded; None without stand-ins.

        Args:
          seed: of the batch.
          failed: its cuts, for the message.

        Raises:
          DataError: none of the stand-ins can be loaded either.
        """
        if not self._stand_ins:
            return None
        while self._first_stand_in < len(self._stand_ins):
            cut = self._stand_ins[self._first_stand_in]
            batch, _ = self._try(seed, CutSet.from_cuts([cut]))
            if batch is not None:
                return batch
            self._first_stand_in += 1  # not tried again: a whole part of the data may be lost
        raise DataError(
            f"not one training utterance can be loaded; the first to fail was {failed[0].id}: "
            f"{failed[0].cause} ({failed[0].file}); delete data/fbank and run prepare.sh --stage 3 "
            "--stop-stage 3"
        )

    def _try(
        self, seed: tuple[int, ...], cuts: CutSet
    ) -> tuple[dict[str, Any] | None, Exception | None]:
        try:
            with seeded(seed):
                return self._dataset[cuts], None
        # Storage and audio backends raise errors of many kinds; each means a cut of no use.
        except Exception as error:  # noqa: BLE001
            return None, error.with_traceback(None)  # which holds what was loaded


@contextmanager
def seeded(seed: Sequence[int]) -> Iterator[None]:
    """Seeds Python's, NumPy's and torch's global generators, and puts them back afterwards.

    lhotse's SpecAugment draws from all three.

    Args:
      seed: integers from 0 on; tuples that differ give independent streams.

    >>> with seeded((42, 1, 7)):
    ...     a = random.random()
    >>> with seeded((42, 1, 7)):
    ...     random.random() == a
    True
    """
    words = np.random.SeedSequence(list(seed)).generate_state(2)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    torch_state = torch.get_rng_state()
    try:
        random.seed(int(words[0]))
        np.random.seed(int(words[0]))
        # The generator of the CPU only: torch.manual_seed would touch every GPU's.
        torch.default_generator.manual_seed(int(words[1]))
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


def storage_of(cut: MonoCut) -> str:
    """Returns the file of a cut's features, or else of its audio."""
    if cut.has_features:
        return str(cut.features.storage_path)
    return str(cut.recording.sources[0].source) if cut.has_recording else ""
