"""Where the data are and how they are put in batches."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from wfst_entropy.asr.data.fbank import ExtractorName
from wfst_entropy.asr.options import OptionError, option


@dataclass(frozen=True)
class DataOptions:
    """Where the data are and how they are put in batches.

    Raises:
      OptionError: a value is out of range, or `bpe_model` is not the file of a lang directory.

    >>> options = DataOptions(bpe_model=Path("data/lang_bpe_500/bpe.model"))
    >>> options.lang_dir.name, options.bpe_model
    ('lang_bpe_500', None)
    """

    manifest_dir: Path = option(
        Path("data/fbank"), "Folder with librispeech_cuts_(part).jsonl.gz, made by prepare.sh."
    )
    lang_dir: Path = option(
        Path("data/lang_char"), "Folder with tokens.txt, lexicon.txt (and bpe.model)."
    )
    bpe_model: Path | None = option(
        None, "A bpe.model; the folder it lies in is then the lang directory."
    )
    max_duration: float = option(
        200.0, "About how many seconds of speech, without padding, a batch of each process has."
    )
    bucketing_sampler: bool = option(True, "Put utterances of similar duration in a batch.")
    num_buckets: int = option(10, "Number of classes of duration (with --bucketing-sampler).")
    shuffle: bool = option(True, "Another order of the training data in each epoch.")
    drop_last: bool = option(False, "Leave out batches that are not full at the end of an epoch.")
    num_workers: int = option(0, "Processes that load batches; 0: the training process does.")
    on_the_fly_feats: bool = option(
        False, "Compute features from the audio in each epoch instead of reading them."
    )
    extractor: ExtractorName = option("lhotse", "What computes features on the fly.")
    enable_spec_aug: bool = option(True, "Mask and warp the training features (SpecAugment).")
    spec_aug_time_warp_factor: int = option(80, "Largest time warp, in frames; 0 for none.")
    spec_aug_num_feature_masks: int = option(2, "Masks over frequencies per utterance.")
    spec_aug_features_mask_size: int = option(27, "Largest such mask, in mel bins.")
    spec_aug_num_frame_masks: int = option(10, "Most masks over time per utterance.")
    spec_aug_frames_mask_size: int = option(100, "Largest such mask, in frames of 10 ms.")
    spec_aug_max_frames_mask_fraction: float = option(
        0.15, "Largest part of an utterance that masks over time cover."
    )
    min_cut_duration: float = option(0.2, "Leave out shorter training utterances; seconds.")
    max_cut_duration: float = option(30.0, "Leave out longer training utterances; seconds.")
    full_libri: bool = option(
        True,
        "Train on all LibriSpeech parts found; false: not on train-clean-360, train-other-500.",
    )
    mini_libri: bool = option(False, "Train on train-clean-5 only.")
    train_parts: tuple[str, ...] = option((), "Parts to train on; by default all named train*.")
    valid_parts: tuple[str, ...] = option((), "Parts to validate on; by default all named dev*.")
    test_parts: tuple[str, ...] = option((), "Parts to decode; by default all named test*.")
    seed: int = option(42, "Seed of the order and of SpecAugment.", flag=False)

    def __post_init__(self) -> None:
        if not 0 < self.max_duration < math.inf:  # false for NaN too
            raise OptionError(
                f"max_duration: needs a number of seconds above 0, got {self.max_duration}"
            )
        for name in ("num_workers", "min_cut_duration"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name}: needs 0 or more, got {getattr(self, name)}")
        if not self.min_cut_duration <= self.max_cut_duration:
            raise OptionError(
                f"max_cut_duration: needs at least --min-cut-duration {self.min_cut_duration:g}, "
                f"got {self.max_cut_duration}"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("spec_aug_") and not value >= 0:
                raise OptionError(f"{field.name}: needs 0 or more, got {value}")
        if self.bpe_model is not None:
            if self.bpe_model.name != "bpe.model":
                raise OptionError(
                    f"bpe_model: needs a file named bpe.model in a lang directory, got "
                    f"{self.bpe_model}; make one with prepare.sh --stage 5 --token-type bpe"
                )
            # one place that says where the units are; the frozen class is not changed after this
            object.__setattr__(self, "lang_dir", self.bpe_model.parent)
            object.__setattr__(self, "bpe_model", None)
