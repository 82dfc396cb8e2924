"""A process's share of a batch: loss and gradients, in parts where memory does not suffice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from wfst_entropy.asr.data.utterances import Utterances
from wfst_entropy.asr.models.batch_norm import MaskedBatchNorm
from wfst_entropy.asr.out_of_memory import is_out_of_memory
from wfst_entropy.asr.training.criterion import LossSums, TrainingCriterion
from wfst_entropy.fsa.errors import FsaRuntimeError

# Gradients are those of the summed loss times this, so that float16 holds them. It is the same in
# all processes, which need not wait for each other to learn the number of their frames first.
GRADIENT_UNIT = 2.0**-10

_NOT_FINITE = "its loss is not finite"


def share_of_batch(
    criterion: TrainingCriterion,
    utterances: Utterances,
    step: int,
    scaler: torch.amp.GradScaler | None = None,
) -> LossSums:
    """The loss of a process's share of a batch, and its gradients.

    Nothing in here waits for another process, so that each may meet its own trouble. Where memory
    does not suffice, the share is computed in two halves, and so on down to single utterances; one
    that does not fit alone is left out. When the loss of some utterances is not finite, the others
    are computed again without them.

    Args:
      criterion: The loss.
      utterances: The share.
      step: Batches trained before this one.
      scaler: Scales the loss where float16 is used; None for the loss without gradients.

    Returns:
      Sums over the share, without a graph, and notes about what happened. The gradients of the sum
      times :data:`GRADIENT_UNIT` are added to those of the parameters. When there are rows that are
      not finite these are all that had a loss, and no gradient was added.

    Raises:
      FsaRuntimeError: when memory does not suffice and the share cannot be split, because other
        processes wait in the middle of the network for statistics of this one.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> from wfst_entropy.asr.training.train_options import TrainOptions
    >>> _ = torch.manual_seed(0)
    >>> model = build_model(ModelOptions(encoder_dim=8, num_layers=1, vocab_size=5))
    >>> batch = Utterances(torch.zeros(1, 12, 80), torch.tensor([12]), [[1]], ["a"])
    >>> share_of_batch(TrainingCriterion(model, TrainOptions()), batch, step=0).num_utterances
    1
    """
    parameters = [p for p in criterion.parameters() if p.requires_grad]
    before = [p.grad for p in parameters]
    _set_gradients(parameters, [None] * len(parameters))
    sums = _attempt(criterion, utterances, step, scaler)
    if sums is not None and not sums.not_finite:
        for parameter, gradient in zip(parameters, before):
            if gradient is not None:
                parameter.grad = (
                    gradient if parameter.grad is None else gradient.add_(parameter.grad)
                )
        return sums
    _set_gradients(parameters, before)
    if sums is None:
        return _in_halves(criterion, utterances, step, scaler)
    return _without_rows(criterion, utterances, step, scaler, sums)


def _attempt(
    criterion: TrainingCriterion,
    utterances: Utterances,
    step: int,
    scaler: torch.amp.GradScaler | None,
) -> LossSums | None:
    """The loss and its gradients; None when memory does not suffice for them."""
    try:
        with torch.set_grad_enabled(scaler is not None):
            sums: LossSums = criterion(utterances, step)
        if scaler is not None:
            # also of a loss that is not finite: other processes may wait for it
            scaler.scale(sums.loss * GRADIENT_UNIT).backward()
        sums.loss = sums.loss.detach()
        return sums
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Out here the error, whose traceback holds what the network computed, is gone.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _in_halves(
    criterion: TrainingCriterion,
    utterances: Utterances,
    step: int,
    scaler: torch.amp.GradScaler | None,
) -> LossSums:
    names = utterances.name_rows(range(len(utterances)))
    if waits_inside(criterion):
        raise FsaRuntimeError(
            f"out of memory on the batch with {names}; it cannot be split, for the model's batch "
            "normalisation joins several processes: lower --max-duration"
        )
    if len(utterances) == 1:
        reason = "memory does not suffice even for it alone; --max-cut-duration leaves such out"
        return LossSums(torch.zeros(()), excluded={names: reason})
    half = (len(utterances) + 1) // 2
    whole = LossSums(torch.zeros(()), notes=[f"out of memory, computed in two halves: {names}"])
    for start, rows in ((0, range(half)), (half, range(half, len(utterances)))):
        part = share_of_batch(criterion, utterances.select(rows), step, scaler)
        _add(whole, part, start)
    if whole.num_utterances:  # what is not finite in one half does not spoil the other
        whole.excluded |= dict.fromkeys(
            map(utterances.with_duration, whole.not_finite), _NOT_FINITE
        )
        whole.not_finite = []
    return whole


def _add(whole: LossSums, part: LossSums, start: int) -> None:
    """Add the sums of a part, whose utterances begin at ``start``."""
    whole.loss = whole.loss.to(part.loss.device) + part.loss
    for name, value in part.terms.items():
        whole.terms[name] = whole.terms.get(name, 0.0) + value
    whole.num_frames += part.num_frames
    whole.num_utterances += part.num_utterances
    whole.not_finite += [start + row for row in part.not_finite]
    whole.excluded |= part.excluded
    whole.notes += part.notes


def _without_rows(
    criterion: TrainingCriterion,
    utterances: Utterances,
    step: int,
    scaler: torch.amp.GradScaler | None,
    sums: LossSums,
) -> LossSums:
    """Compute again without the rows that are not finite, where others are left and it can be."""
    bad = set(sums.not_finite)
    none = LossSums(torch.zeros(()), not_finite=sorted(bad), notes=sums.notes)
    rest = [row for row in range(len(utterances)) if row not in bad]
    if not rest or waits_inside(criterion):
        return none
    again = share_of_batch(criterion, utterances.select(rest), step, scaler)
    if not again.num_utterances:
        none.not_finite = sorted(bad | {rest[row] for row in again.not_finite})
        none.excluded, none.notes = again.excluded, none.notes + again.notes
        return none
    again.excluded |= dict.fromkeys(map(utterances.with_duration, sorted(bad)), _NOT_FINITE)
    return again


def waits_inside(criterion: TrainingCriterion) -> bool:
    """Whether processes wait for each other in the middle of the network."""
    several = dist.is_initialized() and dist.get_world_size() > 1
    return (
        several
        and criterion.training
        and any(isinstance(module, MaskedBatchNorm) for module in criterion.modules())
    )


def _set_gradients(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient
