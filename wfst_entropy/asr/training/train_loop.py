"""The steps of the training loop: one batch, and one validation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from wfst_entropy.asr.data.utterances import TokenEncoder, Utterances, read_batch
from wfst_entropy.asr.training.criterion import LossSums, TrainingCriterion
from wfst_entropy.asr.training.distributed import (
    ProcessRank,
    sum_gradients,
    sum_over_processes,
)
from wfst_entropy.asr.training.share import GRADIENT_UNIT, share_of_batch
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.train_state import TrainState
from wfst_entropy.fsa.errors import FsaRuntimeError


@dataclasses.dataclass
class BatchResult:
    """What one batch gave, summed over all processes.

    Args:
      loss: Sum of the losses of the utterances, nats.
      terms: Sums of the terms by name, before their scales; nats.
      frames: Output frames.
      utterances: Utterances that took part.
      num_excluded: Utterances that did not.
      num_not_finite: Utterances without a finite loss where a process had no other; the batch must
        then change nothing.
      own: This process's share.
      problem: Why the batch changed nothing; None when it did.

    >>> own = LossSums(torch.tensor(6.0))
    >>> BatchResult(6.0, {"ctc_nll": 6.0}, 3.0, 1.0, 0.0, 0.0, own).loss_per_frame
    2.0
    """

    loss: float
    terms: dict[str, float]
    frames: float
    utterances: float
    num_excluded: float
    num_not_finite: float
    own: LossSums
    problem: str | None = None

    @property
    def loss_per_frame(self) -> float:
        """The loss per output frame; the number that the gradient belongs to."""
        return self.loss / max(1.0, self.frames)

    def per_frame(self, term: str) -> float:
        """A term per output frame."""
        return self.terms.get(term, 0.0) / max(1.0, self.frames)


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


def train_batch(
    criterion: TrainingCriterion,
    utterances: Utterances,
    state: TrainState,
    options: TrainOptions,
    process: ProcessRank,
    bad_batches: BadBatches,
    num_failed: int = 0,
) -> BatchResult:
    """Change the model along the gradient of the loss per frame, over the frames of all processes.

    Each process computes the loss and the gradients of its share alone, see
    :func:`share_of_batch`; then all add them up, and divide by the frames of all shares, so that
    the step is that of one process with the whole batch. With a loss or a gradient that is not
    finite nothing changes, in any process.

    Args:
      criterion: The loss, around the model of the state.
      utterances: This process's share.
      state: The model and its optimiser; its ``progress`` is only read.
      options: ``grad_clip``.
      process: Which process this is; all must call this together.
      bad_batches: Counts the batches that change nothing.
      num_failed: Utterances that should have been in the share but could not be read.

    Returns:
      The sums over all processes.

    Raises:
      FsaRuntimeError: when too many batches in a row were skipped.
    """
    state.optimizer.zero_grad()
    own = share_of_batch(criterion, utterances, state.progress.step, state.scaler)
    result = _over_processes(own, criterion.term_names, num_failed, process)
    if result.num_not_finite:
        names = utterances.name_rows(own.not_finite) or "utterances of another process"
        bad_batches.add(names)
        result.problem = f"no finite loss for {names}"
    elif not result.frames:
        result.problem = "none of its utterances takes part in the loss"
    else:
        parameters = [p for p in state.model.parameters() if p.requires_grad]
        sum_gradients(parameters, 1.0 / (GRADIENT_UNIT * result.frames), process)
        if not _step(state, options.grad_clip, bad_batches):
            names = utterances.name_rows(range(len(utterances)))
            result.problem = f"its gradient is not finite; it has {names}"
    return result


def _over_processes(
    own: LossSums, term_names: tuple[str, ...], num_failed: int, process: ProcessRank
) -> BatchResult:
    sums = [
        float(own.loss),
        float(own.num_frames),
        float(own.num_utterances),
        float(len(own.excluded) + num_failed),
        float(len(own.not_finite)),
        *(own.terms.get(name, 0.0) for name in term_names),
    ]
    loss, frames, utterances, excluded, bad, *terms = sum_over_processes(sums, process)
    return BatchResult(loss, dict(zip(term_names, terms)), frames, utterances, excluded, bad, own)


def _step(state: TrainState, grad_clip: float, bad_batches: BadBatches) -> bool:
    """Step along the gradient if it is finite, and tell whether it is."""
    state.scaler.unscale_(state.optimizer)
    norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), grad_clip))
    if math.isfinite(norm):
        state.scaler.step(state.optimizer)
        state.scaler.update()
        bad_batches.reset()
        return True
    state.scaler.update()
    # float16 finds the largest scale of the loss that does not overflow by trying
    if not state.scaler.is_enabled() or state.scaler.get_scale() < 1.0:
        bad_batches.add("the gradient")
    return False


def validate(
    criterion: TrainingCriterion,
    batches: Iterable[dict[str, Any]],
    tokenizer: TokenEncoder,
    step: int,
    process: ProcessRank,
) -> dict[str, float]:
    """Loss and its terms per output frame over the validation set.

    Args:
      criterion: The loss; it is in training mode again afterwards.
      batches: This process's share of the validation batches; shares may differ in number.
      tokenizer: Turns transcripts into token ids.
      step: Batches trained so far; warm-ups of the loss depend on it.
      process: Which process this is; all must call this together.

    Returns:
      ``valid_loss``, ``valid_nll`` and ``valid_entropy`` of the main head, ``valid_(term)`` of all
      terms, each per frame, and ``valid_excluded``, the number of utterances left out, over all
      processes.

    Raises:
      FsaRuntimeError: when the set has no utterance with a loss.
    """
    criterion.eval()
    names = criterion.term_names
    sums = [0.0] * (4 + len(names))
    for batch in batches:
        own = share_of_batch(criterion, read_batch(batch, tokenizer), step)
        excluded = len(own.excluded) + len(own.not_finite) + batch.get("num_failed", 0)
        terms = [own.terms.get(name, 0.0) for name in names]
        counts = [float(own.num_frames), float(excluded), float(len(own.not_finite))]
        sums = [a + b for a, b in zip(sums, [float(own.loss), *counts, *terms])]
    criterion.train()
    loss, frames, excluded, not_finite, *terms = sum_over_processes(sums, process)
    if not frames:
        check = "check its manifests, transcripts and features"
        if not_finite:
            check = (
                f"{not_finite:.0f} of them because their loss is not finite: the training may have "
                "diverged; lower --base-lr or lengthen --warm-up, and go back with --start-epoch"
            )
        raise FsaRuntimeError(
            f"the validation set has no utterance with a finite loss ({excluded:.0f} were left "
            f"out); {check}"
        )
    figures = dict(zip(names, terms))
    main = {name: figures[f"{criterion.main_head}_{name}"] for name in ("nll", "entropy")}
    per_frame = {"loss": loss, **main, **figures}
    return {
        **{f"valid_{name}": value / frames for name, value in per_frame.items()},
        "valid_excluded": excluded,
    }
