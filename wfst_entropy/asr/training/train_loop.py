"""The steps of the training loop: one batch, one validation, and the start of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_latest,
    set_aside,
)
from wfst_entropy.asr.training.criterion import (
    LossSums,
    TokenEncoder,
    compute_loss,
    read_batch,
)
from wfst_entropy.asr.training.distributed import ProcessRank, sum_over_processes
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import TrainState
from wfst_entropy.fsa.errors import FsaRuntimeError


@dataclasses.dataclass
class BatchResult:
    """What one batch gave, summed over all processes.

    Args:
      loss: Sum of NLL - scale * H over utterances, nats.
      nll: Sum of the negative log-likelihoods, nats.
      entropy: Sum of the alignment entropies.
      frames: Output frames.
      utterances: Utterances that took part.
      num_excluded: Utterances that did not.
      excluded: Those of this process, and why.
      not_finite: This process's utterances without a finite loss.
      skipped: Whether any process has such an utterance, so that the batch must change nothing.

    >>> BatchResult(6.0, 6.0, 1.0, 3.0, 1.0, 0.0, {}, [], False).loss_per_frame
    2.0
    """

    loss: float
    nll: float
    entropy: float
    frames: float
    utterances: float
    num_excluded: float
    excluded: dict[str, str]
    not_finite: list[str]
    skipped: bool

    @property
    def loss_per_frame(self) -> float:
        """The loss per output frame; the number that the gradient belongs to."""
        return self.loss / max(1.0, self.frames)


def choose_dtype(options: TrainOptions, device: torch.device) -> torch.dtype:
    """In which precision the network computes.

    Args:
      options: ``use_fp16``, and ``use_bf16``: yes, no, or where the processor has instructions.
      device: Where it computes.

    Returns:
      ``torch.float16``, ``torch.bfloat16`` or ``torch.float32``.

    >>> choose_dtype(TrainOptions(use_bf16=True), torch.device("cpu"))
    torch.bfloat16
    """
    if options.use_fp16:
        return torch.float16
    use_bf16 = options.use_bf16
    if use_bf16 is None and device.type == "cuda":
        use_bf16 = torch.cuda.is_bf16_supported()
    elif use_bf16 is None:
        # not in every version of torch; without such instructions bfloat16 is slower than float32
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        use_bf16 = supported is not None and supported()
    return torch.bfloat16 if use_bf16 else torch.float32


def loss_of_batch(
    model: nn.Module,
    batch: dict[str, Any],
    tokenizer: TokenEncoder,
    options: TrainOptions,
    device: torch.device,
    dtype: torch.dtype,
) -> LossSums:
    """Run the model on a batch and compute the training loss.

    Args:
      model: With a CTC output; it may be in a DistributedDataParallel.
      batch: A batch of lhotse's ``K2SpeechRecognitionDataset``.
      tokenizer: Turns transcripts into token ids.
      options: ``entropy_loss_scale``, ``entropy_kind``.
      device: Where to compute.
      dtype: Precision of the network; the loss is computed in float32.

    Returns:
      Sums over this process's utterances.
    """
    utterances = read_batch(batch, tokenizer)
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        features, num_frames = utterances.features.to(device), utterances.num_frames.to(device)
        encoder_out, lengths = model(features, num_frames)
        log_probs = cast(AsrModel, inner).ctc_log_probs(encoder_out)
    sums = compute_loss(
        log_probs, lengths, utterances, options.entropy_loss_scale, options.entropy_kind
    )
    sums.num_failed = batch.get("num_failed", 0)
    return sums


def backward(sums: LossSums, scaler: torch.amp.GradScaler, process: ProcessRank) -> BatchResult:
    """Gradients of the loss per frame, over the frames of all processes.

    Each process has a share of the batch. The loss is divided by the frames of all shares, so that
    the gradients, which the processes average, are those of one process with the whole batch.

    Args:
      sums: This process's share.
      scaler: Scales the loss where float16 is used.
      process: Which process this is; all must call this together.

    Returns:
      The sums over all processes. When the loss of any is not finite, ``skipped`` is true
      everywhere and no gradient is computed.
    """
    mine = [
        float(sums.loss.detach()) if not sums.not_finite else 0.0,
        sums.nll if not sums.not_finite else 0.0,
        sums.entropy,
        float(sums.num_frames),
        float(sums.num_utterances),
        float(len(sums.excluded) + sums.num_failed),
        float(len(sums.not_finite)),
    ]
    loss, nll, entropy, frames, utterances, num_excluded, bad = sum_over_processes(mine, process)
    result = BatchResult(
        loss=loss,
        nll=nll,
        entropy=entropy,
        frames=frames,
        utterances=utterances,
        num_excluded=num_excluded,
        excluded=sums.excluded,
        not_finite=sums.not_finite,
        skipped=bad > 0,
    )
    if result.frames > 0 and not result.skipped:
        scaler.scale(sums.loss * (process.world_size / result.frames)).backward()
    return result


class BadBatches:
    """Counts batches whose loss or gradient is not finite, and stops a run that has only these.

    Args:
      max_in_a_row: How many in a row to bear.

    >>> bad = BadBatches(2)
    >>> bad.add("utt-1"); bad.add("utt-2"); bad.in_a_row
    2
    """

    def __init__(self, max_in_a_row: int) -> None:
        self.max_in_a_row = max_in_a_row
        self.in_a_row = 0

    def add(self, cause: str) -> None:
        """Count a bad batch.

        Raises:
          FsaRuntimeError: when there were too many in a row.
        """
        self.in_a_row += 1
        if self.in_a_row > self.max_in_a_row:
            raise FsaRuntimeError(
                f"{self.in_a_row} batches in a row without a finite loss or gradient, the last for "
                f"{cause}. Lower --base-lr or lengthen --warm-up, go back with --start-epoch, and "
                "look at the features of these utterances; --max-bad-batches sets the limit"
            )

    def reset(self) -> None:
        """A batch was good."""
        self.in_a_row = 0


def step(
    state: TrainState, result: BatchResult, grad_clip: float, bad_batches: BadBatches
) -> str | None:
    """Change the model along its gradient, unless the loss or the gradient is not finite.

    Args:
      state: The model with its gradients, and its optimiser.
      result: What :func:`backward` returned.
      grad_clip: Largest norm of the gradient.
      bad_batches: Counts the batches that change nothing.

    Returns:
      Why the batch was skipped, or None.

    Raises:
      FsaRuntimeError: when too many batches in a row were skipped.
    """
    if result.skipped:
        names = ", ".join(result.not_finite) or "utterances of another process"
        bad_batches.add(names)
        return f"no finite loss for {names}"
    if result.frames == 0:
        return "none of its utterances has an alignment"
    state.scaler.unscale_(state.optimizer)
    norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), grad_clip))
    if math.isfinite(norm):
        state.scaler.step(state.optimizer)
        state.scaler.update()
        bad_batches.reset()
        return None
    state.scaler.update()
    # float16 finds the largest scale of the loss that does not overflow by trying
    if not state.scaler.is_enabled() or state.scaler.get_scale() < 1.0:
        bad_batches.add("the gradient")
    return "its gradient is not finite"


@torch.no_grad()
def validate(
    model: nn.Module,
    batches: Iterable[dict[str, Any]],
    tokenizer: TokenEncoder,
    options: TrainOptions,
    device: torch.device,
    dtype: torch.dtype,
    process: ProcessRank,
) -> dict[str, float]:
    """Loss, NLL and alignment entropy per output frame over the validation set.

    Args:
      model: The model, not the one that synchronises processes; it is in training mode again
        afterwards.
      batches: This process's share of the validation batches; shares may differ in number.
      tokenizer: Turns transcripts into token ids.
      options: The loss.
      device: Where to compute.
      dtype: As in training.
      process: Which process this is; all must call this together.

    Returns:
      ``valid_loss``, ``valid_nll``, ``valid_entropy`` per frame, and ``valid_excluded``, the number
      of utterances left out (of a batch with a loss that is not finite, all), over all processes.

    Raises:
      FsaRuntimeError: when the set has no utterance with a loss.
    """
    model.eval()
    loss = nll = entropy = 0.0
    frames = excluded = 0
    for batch in batches:
        sums = loss_of_batch(model, batch, tokenizer, options, device, dtype)
        excluded += sums.num_failed
        if sums.not_finite:
            excluded += len(batch["supervisions"]["text"])
            continue
        excluded += len(sums.excluded)
        loss += float(sums.loss)
        nll += sums.nll
        entropy += sums.entropy
        frames += sums.num_frames
    model.train()
    mine = [loss, nll, entropy, float(frames), float(excluded)]
    loss, nll, entropy, all_frames, all_excluded = sum_over_processes(mine, process)
    if not all_frames:
        raise FsaRuntimeError(
            f"the validation set has no utterance with a finite loss ({all_excluded:.0f} were left "
            "out); check its manifests, transcripts and features"
        )
    return {
        "valid_loss": loss / all_frames,
        "valid_nll": nll / all_frames,
        "valid_entropy": entropy / all_frames,
        "valid_excluded": all_excluded,
    }


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
