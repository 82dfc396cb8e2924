"""The configuration of a run, as later steps read it back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wfst_entropy.asr.data.asr_datamodule import DataOptions
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import load_config, save_config
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.train_options import TrainOptions


@dataclasses.dataclass
class RunConfig:
    """Everything a run was told; kept in ``exp_dir/config.yaml``.

    >>> RunConfig(ModelOptions(vocab_size=29), DataOptions(), TrainOptions()).model.vocab_size
    29
    """

    model: ModelOptions
    data: DataOptions
    train: TrainOptions
    distill: DistillOptions = dataclasses.field(default_factory=DistillOptions)

    @classmethod
    def load(cls, exp_dir: Path | str) -> RunConfig:
        """Read ``exp_dir/config.yaml``.

        Raises:
          OptionError: when the file is missing or does not fit the options of this version.
        """
        path = Path(exp_dir) / "config.yaml"
        sections = (ModelOptions, DataOptions, TrainOptions, DistillOptions)
        return cls(*load_config(path, *sections, may_lack=(DistillOptions,)))

    def save(self) -> None:
        """Write ``config.yaml`` to the run's folder."""
        sections = (self.model, self.data, self.train, self.distill)
        save_config(self.train.exp_dir / "config.yaml", *sections)
