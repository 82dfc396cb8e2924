"""CTC under any semiring, in torch: the engine for any device, any dtype and any derivative."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.dense_pairing import SCORE_LIMIT
from wfst_entropy.algorithms.kernel_gradient import bad_score
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.ctc_batch import CtcBatch, checked_ctc_batch
from wfst_entropy.semirings import Semiring
from wfst_entropy.semirings.base import Value, map_slots


def ctc_semiring(
    log_probs: Tensor | tuple[Tensor, ...],
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    semiring: Semiring,
) -> Value:
    r"""Computes the sum over all CTC paths of each transcript, in any semiring.

    That is :math:`\bigoplus_\pi \bigotimes_t x_{t,\pi_t}`.

    Args:
        log_probs: (N, T, C) log-weights in nats; a tuple of tensors of this shape for a semiring
            over several models, such as ``(student, teacher)`` for ``LogReverseKLSemiring``.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        semiring: what to add and multiply with; any class with the interface of ``Semiring``.

    Returns:
        The value of each utterance: slots (N,) in the dtype of the scores, as differentiable as
        the operations of the semiring are. It is the semiring's zero where no path exists.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_alignment`; also for tensors of different shapes.

    Source: "Entropy semirings" (arXiv 2312.10087), Theorem 2.4 and Section 4.

    >>> from wfst_entropy.semirings import LogEntropySemiring
    >>> scores = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> value = ctc_semiring(scores, torch.tensor([[1]]), [3], [1], semiring=LogEntropySemiring())
    >>> [round(float(slot.exp()), 4) for slot in value]     # Z and the raw entropy
    [0.316, 0.8429]
    """
    models = log_probs if isinstance(log_probs, tuple) else (log_probs,)
    batch = checked_ctc_batch(models[0], targets, input_lengths, target_lengths, blank)
    for model in models:
        if model.shape != models[0].shape:
            raise FsaValueError(
                f"log_probs: all models must have the shape {tuple(models[0].shape)}, got "
                f"{tuple(model.shape)}"
            )
    return ctc_recursion(batch, models if isinstance(log_probs, tuple) else models[0], semiring)


@eager  # the compiler would unroll the loop, which takes minutes for a few dozen frames
def ctc_recursion(
    batch: CtcBatch,
    scores: Tensor | tuple[Tensor, ...],
    semiring: Semiring,
    names: tuple[str, ...] = (),
) -> Value:
    """The sum over paths, with one Python loop over frames.

    Args:
        batch: checked arguments; its ``log_probs`` give the shape only.
        scores: (N, T, C), or one such tensor per model.
        semiring: of the values.
        names: of the scores, for messages; that of the batch if not given.
    """
    device = (scores[0] if isinstance(scores, tuple) else scores).device
    symbols, used = _state_symbols(batch, device)
    weights = _weights(batch, scores, semiring, symbols, used, names)
    skips = torch.zeros_like(symbols, dtype=torch.bool)
    skips[:, 3::2] = symbols[:, 3::2] != symbols[:, 1:-2:2]
    last = 2 * batch.targets.lengths.to(device)
    total = sum_over_states(weights, skips, last, semiring)
    # where there are no frames, the result still has the (empty) scores in its graph
    return map_slots(lambda z, w: z + w[:, :0].sum(), total, weights)


def sum_over_states(weights: Value, skips: Tensor, last: Tensor, semiring: Semiring) -> Value:
    """The sum over paths that begin in state 0 and end in state ``last`` or the one before.

    Nothing here depends on values: ``torch.compile(..., fullgraph=True)`` takes it, with the loop
    over frames unrolled.

    Args:
        weights: (N, T, S) of being in a state in a frame. States 0..2U alternate blank and label.
        skips: (N, S), whether a state is reached from the one before the last, too.
        last: (N,) the last state, 2U.
        semiring: of the values.
    """
    first = weights[0] if isinstance(weights, tuple) else weights
    n, _, num_states = first.shape
    start = torch.arange(num_states, device=first.device) == 0
    zero = semiring.zero((n, num_states), first.dtype, first.device)
    one = semiring.one((n, num_states), first.dtype, first.device)
    state = map_slots(lambda a, b: torch.where(start, a, b), one, zero)
    nowhere = semiring.zero((n, 2), first.dtype, first.device)
    for weight in _frames(weights):
        state = semiring.times(semiring.sum(_predecessors(state, skips, nowhere), 0), weight)
    final = torch.stack([last, (last - 1).clamp(min=0)], 1)
    missing = torch.stack([last < 0, last == 0], 1)  # an empty transcript has no last label
    ends = map_slots(lambda v, z: torch.where(missing, z, v.gather(1, final)), state, nowhere)
    return semiring.sum(ends, 1)


def log_softmax(batch: CtcBatch, logits: Tensor, name: str) -> Tensor:
    """The log-softmax over the symbols of all frames that may be read, and 0 elsewhere.

    A frame whose logits are all -inf keeps them: it has no mass, rather than no number.

    Raises:
        FsaValueError: for a NaN or +inf; ``name`` stands for the logits.
    """
    inside = torch.arange(logits.shape[1]) < batch.input_lengths[:, None]
    logits = logits.masked_fill(~inside.to(logits.device)[:, :, None], 0.0)
    refused = ~(logits.detach() < torch.inf)
    for n, t, c in refused.nonzero()[:1].tolist():
        raise bad_score(name, n, t, c, float(logits[n, t, c].detach()))
    empty = (logits.detach() == -torch.inf).all(2, keepdim=True)
    log_sums = logits.masked_fill(empty, 0.0).logsumexp(2, keepdim=True)
    return logits - log_sums


def _frames(weights: Value) -> Iterable[Value]:
    """The weights of each frame; by unbind, as the gradients of T slices would cost O(T^2)."""
    if isinstance(weights, tuple):
        return zip(*(slot.unbind(1) for slot in weights), strict=True)
    frames: tuple[Tensor, ...] = weights.unbind(1)
    return frames


def _predecessors(state: Value, skips: Tensor, nowhere: Value) -> Value:
    """(3, N, S): the value of the same state, the one before, and the one before that."""

    def shifted(value: Tensor, nothing: Tensor) -> Tensor:
        wide, size = torch.cat([nothing, value], 1), value.shape[1]
        skipping = torch.where(skips, wide.narrow(1, 0, size), nothing[:, :1])
        return torch.stack([value, wide.narrow(1, 1, size), skipping])

    return map_slots(shifted, state, nowhere)


def _state_symbols(batch: CtcBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """The symbol of each state (N, S), S = 2 max U + 1, and whether the utterance has the state."""
    labels = batch.targets.padded(batch.blank)
    n, longest = labels.shape
    symbols = torch.full((n, 2 * longest + 1), batch.blank)
    symbols[:, 1::2] = labels
    used = torch.arange(2 * longest + 1) <= 2 * batch.targets.lengths[:, None]
    return symbols.to(device), used.to(device)


def _weights(
    batch: CtcBatch,
    scores: Tensor | tuple[Tensor, ...],
    semiring: Semiring,
    symbols: Tensor,
    used: Tensor,
    names: tuple[str, ...],
) -> Value:
    """(N, longest, S) the weight of each state in each frame, zero where it may not be read.

    All utterances end in the last frame. In the frames before a shorter one begins, its first
    state has the weight one and the others zero, which keeps it where it starts.
    """
    models = scores if isinstance(scores, tuple) else (scores,)
    device = symbols.device
    longest = int(batch.input_lengths.max()) if len(symbols) else 0
    frame = torch.arange(longest, device=device) + (batch.input_lengths[:, None] - longest).to(
        device
    )
    begun = (frame >= 0)[:, :, None]
    read = begun & used[:, None]
    emissions: list[Tensor] = []
    for i, model in enumerate(models):
        emission = model.gather(2, symbols[:, None].expand(-1, model.shape[1], -1))
        emission = emission.gather(1, frame.clamp(min=0)[:, :, None].expand_as(read))
        refused = read & ~(emission.detach() <= SCORE_LIMIT)
        for n, t, s in refused.nonzero()[:1].tolist():
            score = float(emission[n, t, s].detach())
            name = names[i] if names else batch.name
            raise bad_score(name, n, int(frame[n, t]), int(symbols[n, s]), score)
        too_low = emission.detach() < -SCORE_LIMIT
        emissions.append(emission.masked_fill(too_low, -torch.inf).masked_fill(~read, 0.0))
    weights: Any = semiring.convert(tuple(emissions) if isinstance(scores, tuple) else emissions[0])
    one, zero = (
        make((1, 1, 1), emissions[0].dtype, device) for make in (semiring.one, semiring.zero)
    )
    waits = ~begun & (torch.arange(symbols.shape[1], device=device) == 0)
    otherwise = map_slots(lambda a, b: torch.where(waits, a, b), one, zero)
    return map_slots(lambda w, o: torch.where(read, w, o), weights, otherwise)
