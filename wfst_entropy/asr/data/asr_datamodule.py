"""Batches for training, validation and test."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.dataset import (
    DynamicBucketingSampler,
    K2SpeechRecognitionDataset,
    OnTheFlyFeatures,
    PrecomputedFeatures,
    SimpleCutSampler,
    SpecAugment,
)
from lhotse.utils import fastcopy

from wfst_entropy.asr.data.batch_loader import BatchLoader, Item, LoadedBatch
from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.fbank import make_extractor
from wfst_entropy.asr.data.filters import ctc_min_num_frames, usable_cuts
from wfst_entropy.asr.data.manifest_files import Excluded, iter_cuts
from wfst_entropy.asr.data.manifests import FULL_LIBRI_PARTS, PREFIX, subset_of
from wfst_entropy.asr.data.packed_cuts import PackedCuts
from wfst_entropy.asr.data.pseudo_labels import PseudoLabels, labelled_cuts, with_text
from wfst_entropy.asr.data.tokenizer import Tokenizer, load_tokenizer
from wfst_entropy.asr.data.worker_processes import load_in_processes

# Causes written out in the log; all of them are in `AsrDataModule.excluded`.
_MAX_LISTED = 20
# Bucketing draws from so many cuts at a time. A larger set is put in random order before, or an
# epoch would go through it part after part.
_SHUFFLE_WINDOW = 20000


class AsrDataModule:
    """Batches of LibriSpeech, the mini corpus, or one's own cuts.

    A batch is the dict of lhotse's `K2SpeechRecognitionDataset`: `inputs` (N, T, F) float32, and
    `supervisions` with `text` (list of str), `num_frames` (N,), `start_frame`, `sequence_idx` and
    `cut` (list); and `num_failed`, how many utterances are missing because they cannot be read.

    Training batches are a function of (seed, epoch, rank, world_size), SpecAugment of (seed, epoch,
    number of the batch, rank): a training that is resumed in the middle of an epoch sees the same
    features as one that never stopped.

    Training utterances that cannot be used (an unknown symbol, too short for their labels, ...) are
    found once, when the first batch is asked for; they are logged and kept in `excluded`. Those
    whose features cannot be read are skipped when they come up, logged once and kept in `failed`.

    Args:
      options: see `DataOptions`.
      subsampling_factor: feature frames per output frame of the model, for the shortest duration
        that a transcript needs.
      min_num_frames: the fewest output frames that transcripts, as lists of tokens, need; by
        default those of CTC.
      pseudo_labels: a teacher's transcripts of training utterances, see `labelled_cuts`.
      use_transcripts: whether people's transcripts count beside them.

    Attributes:
      options: the options.
      failed: utterance id to what went wrong when it was loaded.
    """

    def __init__(
        self,
        options: DataOptions,
        subsampling_factor: int = 4,
        min_num_frames: Callable[[Sequence[int]], int] = ctc_min_num_frames,
        pseudo_labels: PseudoLabels | None = None,
        use_transcripts: bool = True,
    ) -> None:
        self.options = options
        self._pseudo_labels, self._use_transcripts = pseudo_labels, use_transcripts
        self.failed: dict[str, Excluded] = {}
        self._subsampling_factor = subsampling_factor
        self._min_num_frames = min_num_frames
        self._excluded: list[Excluded] = []
        self._train_seconds = 0.0

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Writes transcripts in tokens."""
        return load_tokenizer(self.options.lang_dir)

    @property
    def excluded(self) -> list[Excluded]:
        """Training utterances that are not used, with the causes."""
        self.train_cuts  # noqa: B018  the list is made with the cuts
        return self._excluded

    @cached_property
    def train_cuts(self) -> PackedCuts:
        """The usable training utterances, without the times of their words.

        Raises:
          DataError: there is no training part, or not one usable utterance in it.
        """
        options = self.options
        parts = self.parts("train")
        self._excluded = []
        self._train_seconds = 0.0
        usable = PackedCuts(
            self._counted(cut)
            for cut in usable_cuts(
                self._training_cuts(parts),
                self.tokenizer.encode,
                self._excluded.append,
                min_num_frames=self._min_num_frames,
                subsampling_factor=self._subsampling_factor,
                min_duration=options.min_cut_duration,
                max_duration=options.max_cut_duration,
            )
        )
        num_cuts = len(usable) + len(self._excluded)
        for listed in self._excluded[:_MAX_LISTED]:
            logging.warning("training without %s: %s", listed.id, listed.cause)
        if self._excluded:
            logging.warning(
                "training without %d of %d utterances (%s)",
                len(self._excluded),
                num_cuts,
                _tally(self._excluded),
            )
        if not usable:
            raise DataError(
                f"{', '.join(parts)}: not one of {num_cuts} training utterances is usable: "
                f"{_tally(self._excluded) or 'the parts are empty'}"
            )
        return usable

    def _training_cuts(self, parts: Sequence[str]) -> Iterator[MonoCut]:
        cuts = (cut for part in parts for cut in self._read(part))
        labels = self._pseudo_labels
        if labels is None:
            return cuts
        encode = self.tokenizer.encode
        return labelled_cuts(cuts, labels, self._use_transcripts, self._excluded.append, encode)

    def _counted(self, cut: MonoCut) -> MonoCut:
        self._train_seconds += cut.duration
        return _without_word_times(cut)

    def batches_per_epoch(self, world_size: int = 1) -> int:
        """How many training batches each of `world_size` processes gets in an epoch, at least.

        That is the seconds of speech by the seconds in a batch, exact if all batches were full.
        The sampler knows the exact number only at the end of the epoch; a learning rate that falls
        with the epoch, and a progress bar, need one at its beginning.

        Raises:
          DataError: as `train_cuts`.
        """
        self.train_cuts  # noqa: B018  the seconds are summed with the cuts
        return max(1, round(self._train_seconds / (self.options.max_duration * world_size)))

    def parts(self, subset: str) -> list[str]:
        """Returns the parts of "train", "dev" or "test": those of the options, or those found.

        Raises:
          DataError: a part of the options is not there, or none is found.
        """
        options = self.options
        folder = options.manifest_dir
        start, end = f"{PREFIX}_cuts_", ".jsonl.gz"
        found = sorted(
            path.name.removeprefix(start).removesuffix(end)
            for path in folder.glob(f"{start}*{end}")
        )
        named = {
            "train": options.train_parts,
            "dev": options.valid_parts,
            "test": options.test_parts,
        }[subset]
        missing = [part for part in named if part not in found]
        if missing:
            raise DataError(
                f"{folder}: no {start}{missing[0]}{end}; it has the parts {', '.join(found)}"
            )
        parts = list(named) or [part for part in found if subset_of(part) == subset]
        if subset == "train" and not named:
            if options.mini_libri:
                parts = [part for part in parts if part == "train-clean-5"]
            if not options.full_libri:
                parts = [part for part in parts if part not in FULL_LIBRI_PARTS]
        if not parts:
            raise DataError(
                f"{folder}: no {start}{subset}*{end}; run prepare.sh --stage 3 --stop-stage 3, or "
                f"name the parts with --{'valid' if subset == 'dev' else subset}-parts "
                f"(there are: {', '.join(found) or 'none'})"
            )
        return parts

    def train_batches(
        self, epoch: int, start_batch: int = 0, rank: int = 0, world_size: int = 1
    ) -> Iterator[dict[str, Any]]:
        """Yields the batches of an epoch, from number `start_batch` on.

        Args:
          epoch: counted from 1; each has its own order.
          start_batch: how many batches to leave out (without reading their features).
          rank: of this process.
          world_size: number of processes; each gets the same number of batches, for which an
            utterance may be doubled at the end of the epoch.

        Raises:
          DataError: the training data are missing or of no use.
        """
        options = self.options
        sampler = self._train_sampler(epoch, rank, world_size)
        sampler.set_epoch(epoch)
        transforms = [_spec_augment(options)] if options.enable_spec_aug else []
        loader = BatchLoader(self._dataset(transforms), self.train_cuts)
        keyed = (
            ((options.seed, epoch, number, rank), cuts)
            for number, cuts in enumerate(sampler)
            if number >= start_batch
        )
        yield from self._load(loader, keyed)

    def valid_batches(self, rank: int = 0, world_size: int = 1) -> Iterator[dict[str, Any]]:
        """Yields the validation batches, always the same.

        Args:
          rank: of this process.
          world_size: number of processes; each gets every world_size-th batch, so that some may get
            one batch more than others.

        Raises:
          DataError: the validation data are missing or of no use.
        """
        for part in self.parts("dev"):
            yield from _EvaluationSet(self, self._read_scored(part), rank, world_size)

    def check_parts(self) -> None:
        """Looks whether training parts are there, and through the lists of the validation parts.

        What is wrong with these would be told at the end of the first epoch only.

        Raises:
          DataError: as `parts` and `valid_batches`.
        """
        self.parts("train")
        parts = self.parts("dev")
        if not sum(1 for part in parts for _ in self._read_scored(part)):
            raise DataError(
                f"{', '.join(parts)}: there is no utterance to validate on; run prepare.sh --stage "
                "3 --stop-stage 3, or name other parts with --valid-parts"
            )

    def test_sets(self) -> dict[str, Iterable[dict[str, Any]]]:
        """Returns the test parts by name; each can be iterated over several times.

        Raises:
          DataError: the test data are missing.
        """
        parts = self.parts("test")
        return {part: _EvaluationSet(self, self._read_scored(part)) for part in parts}

    def batches_to_label(self, subset: str, done: Container[str]) -> Iterator[dict[str, Any]]:
        """Yields a subset without augmentation, the longest utterances first.

        Utterances need no transcript: what has no supervision is one utterance, with the text "".

        Args:
          subset: "train", "dev" or "test".
          done: names of those to leave out.

        Raises:
          DataError: the data are missing.
        """
        parts = self.parts(subset)
        cuts = PackedCuts(
            with_text(cut) for part in parts for cut in self._read(part) if cut.id not in done
        )
        longest_first = np.argsort([-cut.duration for cut in cuts], kind="stable")
        yield from _EvaluationSet(self, cuts.reordered(longest_first))

    def _read(self, part: str) -> Iterator[MonoCut]:
        for cut in iter_cuts(self.options.manifest_dir / f"{PREFIX}_cuts_{part}.jsonl.gz"):
            if not cut.has_features and not self.options.on_the_fly_feats:
                raise DataError(
                    f"{part}: cut {cut.id} has no features; run prepare.sh --stage 3, or train "
                    "with --on-the-fly-feats true"
                )
            if not cut.has_recording and self.options.on_the_fly_feats:
                raise DataError(
                    f"{part}: cut {cut.id} has no recording to compute features of; leave out "
                    "--on-the-fly-feats true"
                )
            yield cut

    def _read_scored(self, part: str) -> Iterator[MonoCut]:
        """The cuts of a part whose transcripts are compared with something."""
        for cut in self._read(part):
            texts = [supervision.text for supervision in cut.supervisions]
            if len(texts) != 1 or texts[0] is None:
                what = "one without a text" if len(texts) == 1 else len(texts)
                raise DataError(
                    f"{part}: cut {cut.id} needs one supervision with a text, has {what}; leave it "
                    "out of the part, or cut recordings with trim_to_supervisions()"
                )
            yield cut

    def _train_sampler(
        self, epoch: int, rank: int, world_size: int
    ) -> DynamicBucketingSampler | SimpleCutSampler:
        options = self.options
        common = {
            "max_duration": options.max_duration,
            "shuffle": options.shuffle,
            "drop_last": options.drop_last,
            "world_size": world_size,
            "rank": rank,
            "seed": options.seed,
        }
        cuts = self.train_cuts
        if options.bucketing_sampler:
            num_buckets = max(1, min(options.num_buckets, len(cuts) // 2))
            if num_buckets > 1:
                if options.shuffle and len(cuts) > _SHUFFLE_WINDOW:
                    random = np.random.default_rng([options.seed, epoch])
                    cuts = cuts.reordered(random.permutation(len(cuts)))
                return DynamicBucketingSampler(
                    cuts, num_buckets=num_buckets, buffer_size=_SHUFFLE_WINDOW, **common
                )
        return SimpleCutSampler(CutSet.from_cuts(cuts), **common)

    def _dataset(self, transforms: Sequence[Any] = ()) -> K2SpeechRecognitionDataset:
        options = self.options
        strategy = (
            OnTheFlyFeatures(make_extractor(options.extractor))
            if options.on_the_fly_feats
            else PrecomputedFeatures()
        )
        return K2SpeechRecognitionDataset(
            return_cuts=True, input_transforms=list(transforms), input_strategy=strategy
        )

    def _load(self, loader: BatchLoader, keyed: Iterable[Item]) -> Iterator[dict[str, Any]]:
        results: Iterable[LoadedBatch]
        if self.options.num_workers == 0:
            results = (loader[item] for item in keyed)
        else:
            results = load_in_processes(loader, keyed, self.options.num_workers)
        for result in results:
            for failure in result.failed:
                if failure.id not in self.failed:
                    self.failed[failure.id] = failure
                    logging.warning(
                        "skipped %s, %s (%s); %d skipped so far",
                        failure.id,
                        failure.cause,
                        failure.file,
                        len(self.failed),
                    )
            if result.batch is not None:
                yield result.batch | {"num_failed": len(result.failed)}


class _EvaluationSet:
    """Cuts in their order, without augmentation."""

    def __init__(
        self, data: AsrDataModule, cuts: Iterable[MonoCut], rank: int = 0, world_size: int = 1
    ) -> None:
        self._data = data
        self._cuts = CutSet.from_cuts(cuts)
        self._rank, self._world_size = rank, world_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # lhotse's own sharing would double utterances to give each process as many batches
        sampler = SimpleCutSampler(
            self._cuts,
            max_duration=self._data.options.max_duration,
            world_size=1,
            rank=0,
        )
        loader = BatchLoader(self._data._dataset())
        mine = islice(sampler, self._rank, None, self._world_size)
        yield from self._data._load(loader, (((0,), cuts) for cuts in mine))


def _spec_augment(options: DataOptions) -> SpecAugment:
    return SpecAugment(
        time_warp_factor=options.spec_aug_time_warp_factor,
        num_feature_masks=options.spec_aug_num_feature_masks,
        features_mask_size=options.spec_aug_features_mask_size,
        num_frame_masks=options.spec_aug_num_frame_masks,
        frames_mask_size=options.spec_aug_frames_mask_size,
        max_frames_mask_fraction=options.spec_aug_max_frames_mask_fraction,
    )


def _without_word_times(cut: MonoCut) -> MonoCut:
    """lhotse would turn the times of every word into frames, at half of the cost of a batch."""
    return cut.map_supervisions(lambda s: fastcopy(s, alignment=None))


def _tally(excluded: Sequence[Excluded]) -> str:
    """Counts kinds of causes, a kind being what comes before the first number or symbol.

    >>> _tally([Excluded("a", "lasts 0.1 s", ""), Excluded("b", "lasts 0.2 s", "")])
    '2 x lasts'
    """
    kinds = Counter(re.split(r"[\d':,]", e.cause)[0].strip() for e in excluded)
    return "; ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
