"""Checkpoints: written whole or not at all, found again, and loaded strictly."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wfst_entropy.asr.models import AsrModel, build_model
from wfst_entropy.asr.training.averaging import (
    average_checkpoints,
    average_checkpoints_with_averaged_model,
)
from wfst_entropy.asr.training.run_config import RunConfig
from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaError

# epoch-3.pt after the third epoch, checkpoint-4000.pt after 4000 batches
_NAME = re.compile(r"(epoch|checkpoint)-(\d+)\.pt")


class CheckpointError(FsaError, RuntimeError):
    """A checkpoint cannot be written, read, or does not fit the model; the message names it."""


def save_checkpoint(path: Path | str, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically.

    Args:
      path: The file, such as ``exp_dir/epoch-1.pt``.
      state: Tensors, numbers, strings, and lists and dicts of them.

    Raises:
      CheckpointError: when it cannot be written; an earlier file of this name is kept.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(folder + "/epoch-1.pt", {"model": {"w": torch.ones(1)}})
    ...     load_checkpoint(folder + "/epoch-1.pt")
    {'model': {'w': tensor([1.])}}
    """
    # Through memory: torch's writer reports a full disk as an internal failure without a cause.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with replacing(Path(path)) as file:
        file.write(buffer.getbuffer())


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Args:
      path: The file.

    Returns:
      What :func:`save_checkpoint` was given.

    Raises:
      CheckpointError: when the file is missing, truncated or damaged.
    """
    if Path(path).is_dir():
        have = ", ".join(p.name for p in checkpoint_files(path)) or "none"
        raise CheckpointError(f"{path}: is a folder; name a checkpoint in it; there are: {have}")
    try:
        # torch reads parameters without looking at their check sums
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
        if member is not None:
            raise zipfile.BadZipFile(f"wrong check sum of {member}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        have = ", ".join(p.name for p in checkpoint_files(Path(path).parent)) or "none"
        raise CheckpointError(f"{path}: there is no such checkpoint; there are: {have}") from error
    # torch raises whatever the damaged byte leads to: RuntimeError, EOFError, UnpicklingError...
    except Exception as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: is truncated or damaged ({cause})") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise CheckpointError(f"{path}: is not a checkpoint: it has no entry 'model'")
    for part in ("model", "model_avg"):
        if part in state:
            state[part] = {_today(name): value for name, value in state[part].items()}
    return state


def _today(name: str) -> str:
    """The name of a parameter, where models of CTC alone called it otherwise."""
    return f"ctc_{name}" if name.startswith("output.") else name


def checkpoint_files(exp_dir: Path | str) -> list[Path]:
    """The files ``epoch-N.pt`` and ``checkpoint-N.pt`` of a run, the newest first.

    >>> checkpoint_files("no such folder")
    []
    """
    folder = Path(exp_dir)
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def last_epoch(exp_dir: Path | str) -> int | None:
    """The number of the last file ``epoch-N.pt`` of a run; None without one.

    >>> last_epoch("no such folder")
    """
    return max(_numbered(exp_dir, "epoch"), default=None)


def load_latest(exp_dir: Path | str) -> tuple[Path, dict[str, Any], list[str]] | None:
    """Load the newest checkpoint that can be read.

    Args:
      exp_dir: Folder of the run.

    Returns:
      The file, its content, and the messages about newer files that are damaged; None when the
      folder has no checkpoint.

    Raises:
      CheckpointError: when there are checkpoints but all are damaged.

    >>> load_latest("no such folder")
    """
    damaged: list[str] = []
    for path in checkpoint_files(exp_dir):
        try:
            return path, load_checkpoint(path), damaged
        except CheckpointError as error:
            damaged.append(str(error))
    if damaged:
        raise CheckpointError(
            "no checkpoint can be read; start afresh with --resume false. "
            + " ".join(f"{message}." for message in damaged)
        )
    return None


def remove_old_checkpoints(exp_dir: Path | str, keep_last_k: int) -> None:
    """Delete all but the last files ``checkpoint-N.pt``; those of epochs stay.

    Args:
      exp_dir: Folder of the run.
      keep_last_k: How many to keep, by their numbers.

    >>> remove_old_checkpoints("no such folder", 3)
    """
    numbered = _numbered(exp_dir, "checkpoint")
    for number in sorted(numbered)[:-keep_last_k]:
        numbered[number].unlink(missing_ok=True)


def remove_unfinished(exp_dir: Path | str) -> None:
    """Delete what a run that was killed had written of a checkpoint.

    Args:
      exp_dir: Folder of the run; no other run may write there now.

    >>> remove_unfinished("no such folder")
    """
    for path in Path(exp_dir).glob(".*.pt.*.tmp"):  # as `replacing` calls them
        path.unlink(missing_ok=True)


def set_aside(exp_dir: Path | str) -> Path | None:
    """Move the checkpoints of an earlier run to a folder ``previous-N``.

    Args:
      exp_dir: Folder of the run.

    Returns:
      The folder, or None when there was nothing to move.

    >>> set_aside("no such folder")
    """
    paths = checkpoint_files(exp_dir)
    if not paths:
        return None
    number = 1
    while (Path(exp_dir) / f"previous-{number}").exists():
        number += 1
    folder = Path(exp_dir) / f"previous-{number}"
    folder.mkdir()
    for path in [*paths, *Path(exp_dir).glob("best-*-loss.pt")]:
        path.replace(folder / path.name)
    return folder


def load_parameters(model: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Copy parameters into a model that must have exactly these names and shapes.

    Args:
      model: The model, changed in place.
      state: Parameters by name.
      path: Where they come from, for the message.

    Raises:
      CheckpointError: naming the file and the first parameters that are missing, unknown or of
        another shape.

    >>> load_parameters(nn.Linear(1, 2), {"weight": torch.ones(3, 1)}, "exp/epoch-1.pt")
    Traceback (most recent call last):
    ...
    wfst_entropy.asr.training.checkpoint.CheckpointError: exp/epoch-1.pt: is of another architecture
    than the model: bias is missing; weight is (3, 1) in the file, (2, 1) in the model; use the
    model options of the run that wrote it (its config.yaml)
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not in the model" for name in state if name not in own]
    problems += [
        f"{name} is {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(
            f"{path}: is of another architecture than the model: {'; '.join(problems[:5])}{more}; "
            "use the model options of the run that wrote it (its config.yaml)"
        )
    model.load_state_dict(state)


def load_model(
    exp_dir: Path | str,
    epoch: int,
    avg: int = 1,
    use_averaged_model: bool = True,
    iteration: int = 0,
) -> tuple[AsrModel, RunConfig]:
    """The trained model of a run, built from its ``config.yaml`` and averaged over its end.

    Args:
      exp_dir: Folder of the run.
      epoch: The last epoch to use (``epoch-{epoch}.pt``).
      avg: How many epochs (or, with ``iteration``, files ``checkpoint-N.pt``) to average.
      use_averaged_model: True averages over all batches of these epochs, from the running averages
        at their end and before their start; False averages the models at the ends of epochs.
      iteration: Above 0: use ``checkpoint-{iteration}.pt`` instead of an epoch.

    Returns:
      The model in evaluation mode, and the configuration of the run.

    Raises:
      CheckpointError: when a file is missing, damaged or of another architecture, or there are not
        enough of them for ``avg``.
      OptionError: when ``config.yaml`` is missing or does not fit.
    """
    config = RunConfig.load(exp_dir)
    kind, last = ("checkpoint", iteration) if iteration > 0 else ("epoch", epoch)
    before, used = _files_to_average(Path(exp_dir), kind, last, avg, use_averaged_model)
    if use_averaged_model:
        end = load_checkpoint(used[-1])
        if "model_avg" not in end:
            raise CheckpointError(
                f"{used[-1]}: has parameters but no running average, as an exported pretrained.pt; "
                "use it with --use-averaged-model false --avg 1"
            )
        average = end["model_avg"]
        if before is not None:
            start = load_checkpoint(before)
            average = average_checkpoints_with_averaged_model(
                start["model_avg"],
                start["progress"]["averaged_step"],
                average,
                end["progress"]["averaged_step"],
            )
    else:
        average = average_checkpoints([load_checkpoint(path)["model"] for path in used])
    model = build_model(config.model)
    load_parameters(model, average, used[-1])
    return model.eval(), config


def _files_to_average(
    exp_dir: Path, kind: str, last: int, avg: int, running: bool
) -> tuple[Path | None, list[Path]]:
    """The file just before the first one to average (None: the start), and those to average.

    With `running` averages the file before is needed, otherwise it is of no use.
    """
    if avg < 1:
        raise CheckpointError(f"avg: needs at least 1, got {avg}")
    if kind == "epoch":
        if avg > last:
            raise CheckpointError(
                f"avg: cannot average {avg} epochs that end with epoch {last}; use at most {last}"
            )
        used = [exp_dir / f"epoch-{number}.pt" for number in range(last - avg + 1, last + 1)]
        return (exp_dir / f"epoch-{last - avg}.pt" if running and last > avg else None), used
    numbered = _numbered(exp_dir, kind)
    numbers = sorted(number for number in numbered if number <= last)
    num_before = avg if running else avg - 1
    if last not in numbered or len(numbers) <= num_before:
        have = ", ".join(f"{kind}-{number}.pt" for number in sorted(numbered)) or "none"
        raise CheckpointError(
            f"{exp_dir / f'{kind}-{last}.pt'}: averaging {avg} needs this file and "
            f"{num_before} before it; there are: {have}; --keep-last-k of train.py keeps more"
        )
    before = numbered[numbers[-avg - 1]] if running else None
    return before, [numbered[number] for number in numbers[-avg:]]


def _numbered(exp_dir: Path | str, kind: str) -> dict[int, Path]:
    found = ((_NAME.fullmatch(path.name), path) for path in checkpoint_files(exp_dir))
    return {int(match[2]): path for match, path in found if match and match[1] == kind}
