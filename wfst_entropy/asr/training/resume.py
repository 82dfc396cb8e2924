"""Where a run starts: afresh, or from a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from torch import nn

from wfst_entropy.asr.options import OptionError, differences
from wfst_entropy.asr.training.checkpoint import (
    CheckpointError,
    checkpoint_files,
    last_epoch,
    load_checkpoint,
    load_latest,
    remove_unfinished,
    set_aside,
)
from wfst_entropy.asr.training.distributed import ProcessRank
from wfst_entropy.asr.training.run_config import RunConfig, refuse_other_tokens
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import TrainState

_OF_ONE_START = ("exp_dir", "start_epoch", "start_batch", "resume")


def start_or_resume(state: TrainState, options: TrainOptions, process: ProcessRank) -> list[str]:
    """Bring a run to where it should go on.

    In this order: ``start_batch``, ``start_epoch``, the newest readable checkpoint, the beginning.

    Args:
      state: The fresh state, changed in place.
      options: ``exp_dir``, ``start_epoch``, ``start_batch``, ``resume``, and for the beginning
        ``init_from``.
      process: Only the first process moves files.

    Returns:
      What was done, for the log; damaged checkpoints that were passed over are named, and a later
      epoch whose file is older.

    Raises:
      CheckpointError: when the checkpoint is missing, damaged or of another architecture.
    """
    exp_dir = options.exp_dir
    if process.is_first:
        remove_unfinished(exp_dir)
    if options.start_batch > 0:
        return [_load(state, exp_dir / f"checkpoint-{options.start_batch}.pt")]
    if options.start_epoch > 1:
        return [_load(state, exp_dir / f"epoch-{options.start_epoch - 1}.pt")]
    if not options.resume:
        folder = set_aside(exp_dir) if process.is_first else None
        moved = [f"moved the checkpoints of an earlier run to {folder}"] if folder else []
        return [*moved, *_afresh(state, options)]
    latest = load_latest(exp_dir)
    if latest is None:
        return _afresh(state, options)
    path, content, damaged = latest
    state.load_state_dict(content, path)
    notes = [f"{message}; going on from the one before" for message in damaged]
    last = last_epoch(exp_dir) or 0
    if last >= state.progress.epoch and not damaged:
        notes.append(
            f"epoch-{last}.pt is older than {path.name} by the times of the files, which copying a "
            f"folder may change; --start-epoch {last + 1} goes on from it"
        )
    return [*notes, _where(state, path)]


def changed_data_options(config: RunConfig) -> list[str]:
    """Refuse to go on with another model or tokens; tell which options of the data are others.

    Args:
      config: Of this start of the run.

    Returns:
      What makes the rest of an epoch other batches than they were, such as
      ``max_duration 5.0 -> 8.0``; empty where there is nothing to go on from.

    Raises:
      OptionError: when the run has checkpoints of another model, or numbers tokens otherwise.

    >>> from wfst_entropy.asr.data.data_options import DataOptions
    >>> from wfst_entropy.asr.models import ModelOptions
    >>> changed_data_options(RunConfig(ModelOptions(vocab_size=9), DataOptions(), TrainOptions()))
    []
    """
    exp_dir = config.train.exp_dir
    before = _earlier_start(config)
    if before is None:
        return []
    different = differences(before.model, config.model)
    if different:
        raise OptionError(
            f"{exp_dir / 'config.yaml'}: the run there has another model "
            f"({', '.join(different)}); give its options again, choose another --exp-dir, or start "
            "afresh with --resume false"
        )
    if (exp_dir / "tokens.txt").is_file():
        refuse_other_tokens(exp_dir, config.data.lang_dir)
    return differences(before.data, config.data)


def changed_training_options(config: RunConfig) -> list[str]:
    """Tell which options of optimisation, loss and teacher are others than at the last start.

    Args:
      config: Of this start of the run.

    Returns:
      Such as ``ctc_loss_scale 0.2 -> 0.9``; empty where there is nothing to go on from.

    >>> from wfst_entropy.asr.data.data_options import DataOptions
    >>> from wfst_entropy.asr.models import ModelOptions
    >>> config = RunConfig(ModelOptions(vocab_size=9), DataOptions(), TrainOptions())
    >>> changed_training_options(config)
    []
    """
    before = _earlier_start(config)
    if before is None:
        return []
    # where to start is a matter of this start, and a folder may have been moved
    same = {name: getattr(config.train, name) for name in _OF_ONE_START}
    train = differences(dataclasses.replace(before.train, **same), config.train)
    return train + differences(before.distill, config.distill)


def _earlier_start(config: RunConfig) -> RunConfig | None:
    """What the run was told when it last started; None where there is nothing to go on from."""
    exp_dir = config.train.exp_dir
    if not config.train.resume or not checkpoint_files(exp_dir):
        return None
    return RunConfig.load(exp_dir)


def load_what_fits(model: nn.Module, path: Path | str) -> list[str]:
    """Copy the parameters of a checkpoint whose name and shape the model has.

    Args:
      model: The model, changed in place; what the file does not have stays as it is.
      path: A checkpoint, of another vocabulary or with other heads, say.

    Returns:
      Lines for the log: what was loaded, what was not.

    Raises:
      CheckpointError: when the file cannot be read, or nothing of it fits.
    """
    state, own = load_checkpoint(path)["model"], model.state_dict()
    fitting = {
        name: value
        for name, value in state.items()
        if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise CheckpointError(
            f"{path}: no parameter has the name and shape of one of this model's; give the model "
            "options of the run that wrote it (its config.yaml)"
        )
    model.load_state_dict(fitting, strict=False)
    lines = [f"{path}: {len(fitting)} of {len(own)} tensors of the model start from it"]
    for name in own:
        if name in fitting:
            continue
        shape = f"{tuple(state[name].shape)} there" if name in state else "not there"
        lines.append(f"{name} {tuple(own[name].shape)} starts at random: it is {shape}")
    unused = [name for name in state if name not in own]
    if unused:
        lines.append(f"not in this model, and not loaded: {', '.join(unused)}")
    return lines


def _afresh(state: TrainState, options: TrainOptions) -> list[str]:
    loaded = [] if options.init_from is None else load_what_fits(state.model, options.init_from)
    return [*loaded, "starting afresh"]


def _load(state: TrainState, path: Path) -> str:
    content = load_checkpoint(path)
    if "optimizer" not in content:
        raise CheckpointError(f"{path}: has no optimiser state; training cannot go on from it")
    state.load_state_dict(content, path)
    return _where(state, path)


def _where(state: TrainState, path: Path) -> str:
    progress = state.progress
    return f"going on from {path}: epoch {progress.epoch}, batch {progress.batch}"
