"""Where a run starts: afresh, or from a checkpoint."""

from __future__ import annotations

from pathlib import Path

from wfst_entropy.asr.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_latest,
    set_aside,
)
from wfst_entropy.asr.training.distributed import ProcessRank
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import TrainState


def start_or_resume(state: TrainState, options: TrainOptions, process: ProcessRank) -> list[str]:
    """Bring a run to where it should go on.

    In this order: ``start_batch``, ``start_epoch``, the newest readable checkpoint, the beginning.

    Args:
      state: The fresh state, changed in place.
      options: ``exp_dir``, ``start_epoch``, ``start_batch``, ``resume``.
      process: Only the first process moves files.

    Returns:
      What was done, for the log; damaged checkpoints that were passed over are named.

    Raises:
      CheckpointError: when the checkpoint is missing, damaged or of another architecture.
    """
    exp_dir = options.exp_dir
    if options.start_batch > 0:
        return [_load(state, exp_dir / f"checkpoint-{options.start_batch}.pt")]
    if options.start_epoch > 1:
        return [_load(state, exp_dir / f"epoch-{options.start_epoch - 1}.pt")]
    if not options.resume:
        folder = set_aside(exp_dir) if process.is_first else None
        moved = [f"moved the checkpoints of an earlier run to {folder}"] if folder else []
        return [*moved, "starting afresh"]
    latest = load_latest(exp_dir)
    if latest is None:
        return ["starting afresh"]
    path, content, damaged = latest
    state.load_state_dict(content, path)
    notes = [f"{message}; going on from the one before" for message in damaged]
    return [*notes, _where(state, path)]


def _load(state: TrainState, path: Path) -> str:
    content = load_checkpoint(path)
    if "optimizer" not in content:
        raise CheckpointError(f"{path}: has no optimiser state; training cannot go on from it")
    state.load_state_dict(content, path)
    return _where(state, path)


def _where(state: TrainState, path: Path) -> str:
    progress = state.progress
    return f"going on from {path}: epoch {progress.epoch}, batch {progress.batch}"
