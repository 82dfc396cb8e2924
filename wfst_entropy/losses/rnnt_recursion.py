"""The transducer's lattice under any semiring, in torch: any device, dtype and derivative."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.dense_pairing import SCORE_LIMIT
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import as_lengths, check_choice, check_floating
from wfst_entropy.semirings import Semiring
from wfst_entropy.semirings.base import Value, map_slots

RNNT_TYPES = ("regular", "modified", "constrained")

Scores: TypeAlias = "Tensor | tuple[Tensor, ...]"


def rnnt_semiring(
    blank_scores: Scores,
    label_scores: Scores,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    *,
    semiring: Semiring,
    rnnt_type: str = "regular",
) -> Value:
    r"""Computes the sum over all alignments of a transducer's lattice, in any semiring.

    A node (t, u) has seen t frames and u labels; paths run from (0, 0) to (T, U). A blank at (t, u)
    leads to (t + 1, u). A label leads to (t, u + 1) in the ``"regular"`` lattice, so the last arc
    of every path is a blank, and to (t + 1, u + 1) in the ``"modified"`` one (one symbol a frame).
    ``"constrained"``: as modified, but a label at (t, u) also costs the blank at (t, u + 1).

    Args:
        blank_scores: (N, T, U + 1) log-weights in nats of the blank at each node; a tuple of
            tensors for a semiring over several models.
        label_scores: (N, T, U) or (N, T, U + 1) log-weights of the next label at each node; what
            stands at the last u of an utterance is not read.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        semiring: what to add and multiply with; any class with the interface of ``Semiring``.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.

    Returns:
        The value of each utterance: slots (N,) in the dtype of the scores, as differentiable as
        the operations of the semiring are. It is the semiring's zero where no path exists.

    Raises:
        FsaTypeError, FsaValueError: for wrong dtypes, shapes or lengths, and for a score that is
            NaN or above 2**26; it names the utterance and the node.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 16; for other
    semirings "Entropy semirings" (arXiv 2312.10087), Section 4; for the types Kuang et al. 2022,
    "Pruned RNN-T", and k2's ``rnnt_type``.

    >>> from wfst_entropy.semirings import LogEntropySemiring
    >>> blank = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]]).log()
    >>> label = torch.tensor([[[0.4], [0.5]]]).log()
    >>> value = rnnt_semiring(blank, label, [2], [1], semiring=LogEntropySemiring())
    >>> [round(float(slot.exp()), 4) for slot in value]     # Z and the raw entropy
    [0.464, 0.6776]
    """
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    first = blank_scores[0] if isinstance(blank_scores, tuple) else blank_scores
    n, num_frames, width = checked_grid(blank_scores, label_scores)
    frames = as_lengths("logit_lengths", logit_lengths, n, num_frames, "frames of the scores")
    labels = as_lengths("target_lengths", target_lengths, n, width - 1, "labels of the scores")
    lengths = (frames.to(first.device), labels.to(first.device))
    return rnnt_recursion(blank_scores, label_scores, *lengths, semiring, rnnt_type)


def checked_grid(blank_scores: Scores, label_scores: Scores) -> tuple[int, int, int]:
    """Returns N, T and U + 1 of the planes, once their dtypes and shapes are as they must be.

    Raises:
        FsaTypeError, FsaValueError: they are not.
    """
    blanks = blank_scores if isinstance(blank_scores, tuple) else (blank_scores,)
    labels = label_scores if isinstance(label_scores, tuple) else (label_scores,)
    for name, tensors in (("blank_scores", blanks), ("label_scores", labels)):
        for x in tensors:
            check_floating(name, x)
    shape = tuple(blanks[0].shape)
    if len(shape) != 3 or shape[2] < 1:
        raise FsaValueError(f"blank_scores: must have shape (N, T, U + 1), got {shape}")
    n, num_frames, width = shape
    for x in blanks:
        if tuple(x.shape) != shape:
            raise FsaValueError(
                f"blank_scores: all models must have the shape {shape}, got {tuple(x.shape)}"
            )
    for x in labels:
        if tuple(x.shape) not in ((n, num_frames, width), (n, num_frames, width - 1)):
            raise FsaValueError(
                f"label_scores: must have shape ({n}, {num_frames}, {width - 1}) or "
                f"({n}, {num_frames}, {width}), to fit blank_scores, got {tuple(x.shape)}"
            )
    if len(blanks) != len(labels):
        raise FsaValueError(
            f"label_scores: must have as many models as blank_scores, {len(blanks)}, got "
            f"{len(labels)}"
        )
    return n, num_frames, width


@eager  # the compiler would unroll the loop, which takes minutes for a few dozen frames
def rnnt_recursion(
    blank_scores: Scores,
    label_scores: Scores,
    frames: Tensor,
    labels: Tensor,
    semiring: Semiring,
    rnnt_type: str,
) -> Value:
    """The sum over paths of checked planes: one Python loop over frames, or over anti-diagonals.

    All utterances end in the last step. In the steps before a shorter one begins, its first state
    stays where it is with the weight one.

    Args:
        blank_scores: see `rnnt_semiring`.
        label_scores: see `rnnt_semiring`.
        frames: (N,) int64 on the device of the scores.
        labels: likewise.
        semiring: of the values.
        rnnt_type: see `rnnt_semiring`.
    """
    stay = _arc_weights(blank_scores, frames, labels + 1, semiring, "blank")
    move = _arc_weights(label_scores, frames, labels, semiring, "label")
    width = _first(stay).shape[2]
    zero = _zeros(semiring, stay)
    move = map_slots(lambda m, z: _widened(m, z, width), move, zero)
    if rnnt_type == "constrained":
        after = map_slots(lambda b, m: torch.cat([b[:, :, 1:], m[:, :, -1:]], 2), stay, move)
        move = semiring.times(move, after)
    nothing = map_slots(lambda s, m: s[:, :0].sum() + m[:, :0].sum(), stay, move)
    steps = frames + labels if rnnt_type == "regular" else frames
    num_steps = int(steps.max()) if len(steps) else 0
    step = torch.arange(num_steps, device=steps.device) + (steps - num_steps)[:, None]
    before = torch.arange(width, device=steps.device) if rnnt_type == "regular" else 0
    frame = (step[:, :, None] - before).expand(-1, -1, width)
    stay, move = (map_slots(lambda x, z: _by_step(x, frame, z), w, zero) for w in (stay, move))
    waits = (step < 0)[:, :, None] & (torch.arange(width, device=steps.device) == 0)
    one = semiring.one((1, 1, 1), _first(stay).dtype, steps.device)
    stay = map_slots(lambda w, o: torch.where(waits, o, w), stay, one)
    total = sum_over_band(stay, move, labels, semiring)
    # where there are no frames, the result still has the (empty) scores in its graph
    return map_slots(torch.add, total, nothing)


def sum_over_band(stay: Value, move: Value, ends: Tensor, semiring: Semiring) -> Value:
    """The sum over paths that begin in state 0 and end in state ``ends``.

    Nothing here depends on values: ``torch.compile(..., fullgraph=True)`` takes it, with the loop
    over steps unrolled.

    Args:
        stay: (N, K, U + 1) weights: step k takes state u to u with ``stay[:, k, u]``,
        move: and to u + 1 with ``move[:, k, u]``.
        ends: (N,).
        semiring: of the values.
    """
    first = _first(stay)
    n, _, width = first.shape
    zero = semiring.zero((n, width), first.dtype, first.device)
    one = semiring.one((n, width), first.dtype, first.device)
    start = torch.arange(width, device=first.device) == 0
    state = map_slots(lambda a, b: torch.where(start, a, b), one, zero)
    nowhere = map_slots(lambda z: z[:, :1], zero)
    arcs = map_slots(_arriving, stay, move, _zeros(semiring, stay))
    for weight in _steps(arcs):
        sources = map_slots(_sources, state, nowhere)
        state = semiring.sum(semiring.times(sources, weight), 0)
    return map_slots(lambda v: v.gather(1, ends[:, None])[:, 0], state)


def _arriving(stay: Tensor, move: Tensor, zero: Tensor) -> Tensor:
    """(K, 2, N, W): the weights of the two arcs that arrive in each state, from u and u - 1."""
    moved = torch.cat([zero.expand(*move.shape[:2], 1), move[:, :, :-1]], 2)
    return torch.stack([stay, moved]).permute(2, 0, 1, 3)


def _sources(state: Tensor, nowhere: Tensor) -> Tensor:
    """(2, N, W): the value of the same state, and of the one before."""
    return torch.stack([state, torch.cat([nowhere, state.narrow(1, 0, state.shape[1] - 1)], 1)])


def _steps(arcs: Value) -> Iterable[Value]:
    """The weights of each step; by unbind, as the gradients of K slices would cost O(K^2)."""
    if isinstance(arcs, tuple):
        return zip(*(slot.unbind(0) for slot in arcs), strict=True)
    steps: tuple[Tensor, ...] = arcs.unbind(0)
    return steps


def _first(value: Value) -> Tensor:
    slot: Tensor = value[0] if isinstance(value, tuple) else value
    return slot


def _zeros(semiring: Semiring, like: Value) -> Value:
    first = _first(like)
    return semiring.zero((1, 1, 1), first.dtype, first.device)


def _widened(x: Tensor, zero: Tensor, width: int) -> Tensor:
    """Adds the state after the last label, from which no label leads on."""
    missing = width - x.shape[2]
    return x if missing == 0 else torch.cat([x, zero.expand(*x.shape[:2], missing)], 2)


def _by_step(x: Tensor, frame: Tensor, zero: Tensor) -> Tensor:
    """(N, T, W) to (N, K, W): what stands at ``frame`` of each step and state, zero outside."""
    num_frames = x.shape[1]
    if num_frames == 0:
        return zero.expand(frame.shape)
    inside = (frame >= 0) & (frame < num_frames)
    return torch.where(inside, x.gather(1, frame.clamp(0, num_frames - 1)), zero)


def _arc_weights(
    scores: Scores, frames: Tensor, counts: Tensor, semiring: Semiring, what: str
) -> Value:
    """(N, T, W) weights of arcs at t < frames and u < counts, zero elsewhere."""
    models = scores if isinstance(scores, tuple) else (scores,)
    device = models[0].device
    t = torch.arange(models[0].shape[1], device=device)
    u = torch.arange(models[0].shape[2], device=device)
    read = (t < frames[:, None])[:, :, None] & (u < counts[:, None])[:, None]
    checked: list[Tensor] = []
    for model in models:
        refused = read[:, :, : model.shape[2]] & ~(model.detach() <= SCORE_LIMIT)
        for place in refused.nonzero()[:1].tolist():
            raise bad_node_score(what, place, float(model[tuple(place)].detach()))
        too_low = model.detach() < -SCORE_LIMIT
        checked.append(model.masked_fill(too_low, -torch.inf).masked_fill(~read, 0.0))
    weights: Any = semiring.convert(tuple(checked) if isinstance(scores, tuple) else checked[0])
    return map_slots(lambda w, z: torch.where(read, w, z), weights, _zeros(semiring, weights))


def bad_node_score(what: str, node: list[int], value: float) -> FsaValueError:
    """Returns the error for a score at node [utterance, t, u] that is NaN, +inf or too large."""
    return FsaValueError(
        f"{what}_scores: the score of utterance {node[0]}, frame {node[1]}, after {node[2]} "
        f"labels, is {value}; a log-weight must be a number up to 2**26, or -inf. Look for a "
        f"division by zero, an overflow in half precision or a learning rate that made the model "
        f"diverge."
    )
