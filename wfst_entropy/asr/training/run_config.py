"""The configuration of a run, as later steps read it back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from wfst_entropy.asr.data.data_options import DataOptions
from wfst_entropy.asr.environment import environment_json
from wfst_entropy.asr.models import ModelOptions
from wfst_entropy.asr.options import OptionError, load_config, save_config
from wfst_entropy.asr.training.distill_options import DistillOptions
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.lang.symbols import is_disambiguation


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
        if not path.is_file():
            raise OptionError(
                f"{path}: no such file, so {exp_dir} is no folder of a run; give that of one that "
                "train.py has begun"
            )
        sections = (ModelOptions, DataOptions, TrainOptions, DistillOptions)
        return cls(*load_config(path, *sections, may_lack=(DistillOptions,)))

    def save(self) -> None:
        """Write ``config.yaml`` to the run's folder."""
        sections = (self.model, self.data, self.train, self.distill)
        save_config(self.train.exp_dir / "config.yaml", *sections)


def save_description(config: RunConfig) -> None:
    """Write what later steps read about a run: its options, the software, its tokens."""
    config.save()
    exp_dir = config.train.exp_dir
    with replacing(exp_dir / "env.json") as file:
        file.write(environment_json().encode())
    with replacing(exp_dir / "tokens.txt") as file:  # see `refuse_other_tokens`
        file.write((config.data.lang_dir / "tokens.txt").read_bytes())


def refuse_other_tokens(exp_dir: Path, lang_dir: Path) -> None:
    """Refuses a lang directory that numbers tokens otherwise than the one of the training.

    Disambiguation symbols, which follow the tokens once there are graphs, do not count.

    Raises:
      OptionError: with the first difference.
    """
    trained, here = (_token_lines(folder / "tokens.txt") for folder in (exp_dir, lang_dir))
    if trained != here:
        pairs = zip([*trained, "nothing"], [*here, "nothing"])
        before, now = next(pair for pair in pairs if pair[0] != pair[1])
        raise OptionError(
            f"--lang-dir {lang_dir}: its tokens.txt has '{now}' where the run in {exp_dir} was "
            f"trained with '{before}'; give the run's own lang directory, or train again"
        )


def _token_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not is_disambiguation(line.partition(" ")[0])]
