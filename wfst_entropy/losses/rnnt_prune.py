"""Which nodes of a transducer's lattice are worth a joiner: k2's bounds, and the gather."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import as_lengths, check_choice, check_floating
from wfst_entropy.losses.rnnt_arc_posteriors import RnntArcPosteriors
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES


def get_rnnt_prune_ranges(
    posteriors: RnntArcPosteriors,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    s_range: int,
    *,
    rnnt_type: str = "regular",
) -> Tensor:
    r"""Chooses for each frame the window of label positions that keeps most of the alignments.

    Of the windows of S positions at frame t it takes the one, from u on, that maximises

    .. math:: \sum_{i < S} \gamma_{blank}(t, u + i) - \gamma_{label}(t, u - 1) ,

    the probability that an alignment is in the window when it leaves the frame, less that of
    having come in over its lower edge. From the last frame on it is the last window. Then
    bounds are lowered to later, smaller ones, and raised ahead of a rise of more than S - 1 a frame
    (1 if one frame takes one symbol), which no path could follow; the first is 0. So some path
    survives, if the utterance has frames enough.

    Args:
        posteriors: from `rnnt_loss_smoothed` with ``return_arc_posteriors=True``.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        s_range: S, the number of positions kept for each frame; U + 1 if it is more. At least 2,
            or 1 for the modified lattice.
        rnnt_type: of the lattice that will be pruned.

    Returns:
        (N, T, S) int64, on the device of the posteriors: consecutive label positions.

    Raises:
        FsaTypeError, FsaValueError: for wrong shapes or lengths, or a range without room.

    Source: Kuang et al. 2022, "Pruned RNN-T" (arXiv 2206.13236), Section 3.2; k2's function of this
    name.

    >>> blank = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]])
    >>> label = torch.tensor([[[0.0, 0], [1.0, 0], [0, 1.0]]])
    >>> get_rnnt_prune_ranges(RnntArcPosteriors(blank, label), [3], [2], s_range=2)
    tensor([[[0, 1],
             [0, 1],
             [1, 2]]])
    """
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    blank, label = posteriors
    n, num_frames, width = _checked_posteriors(blank, label)
    frames = as_lengths("logit_lengths", logit_lengths, n, num_frames, "frames of the posteriors")
    labels = as_lengths("target_lengths", target_lengths, n, width - 1, "labels of the posteriors")
    size = min(s_range, width)
    least = 1 if rnnt_type == "modified" else min(2, width)
    if size < least:
        raise FsaValueError(
            f"s_range: must be at least {least} for {rnnt_type} transducers, or no path is left; "
            f"got {s_range}"
        )
    kept = blank.unfold(2, size, 1).sum(3)
    kept[:, :, 1:] -= label[:, :, : width - size]
    return window_ranges(kept, frames, labels, size, size - 1 if rnnt_type == "regular" else 1)


def window_ranges(kept: Tensor, frames: Tensor, labels: Tensor, size: int, step: int) -> Tensor:
    """(N, T, S) the best window of every frame, moved where a path could not follow.

    Args:
        kept: (N, T, U + 2 - S) what each window is worth.
        frames: (N,) int64.
        labels: (N,) int64.
        size: S, the positions of a window.
        step: how far a window may be above the one before.
    """
    time = torch.arange(kept.shape[1], device=kept.device)
    last = (labels.to(kept.device) + 1 - size).clamp(min=0)[:, None]
    begin = torch.where(time + 1 < frames.to(kept.device)[:, None], kept.argmax(2), last)
    begin = _possible_bounds(begin, step)
    return begin[:, :, None] + torch.arange(size, device=kept.device)


def _checked_posteriors(blank: Tensor, label: Tensor) -> tuple[int, int, int]:
    for name, x in (("blank", blank), ("label", label)):
        check_floating(f"posteriors.{name}", x)
    if blank.dim() != 3 or blank.shape[2] < 1:
        raise FsaValueError(
            f"posteriors.blank: must have shape (N, T, U + 1), got {tuple(blank.shape)}"
        )
    n, num_frames, width = blank.shape
    if tuple(label.shape) != (n, num_frames, width - 1):
        raise FsaValueError(
            f"posteriors.label: must have shape ({n}, {num_frames}, {width - 1}), to fit "
            f"posteriors.blank, got {tuple(label.shape)}"
        )
    return n, num_frames, width


def _possible_bounds(begin: Tensor, step: int) -> Tensor:
    """Moves bounds (N, T) so that they begin at 0, never fall, and rise by at most ``step``."""
    if begin.shape[1] == 0:
        return begin
    ramp = step * torch.arange(begin.shape[1], device=begin.device)
    # How far each bound is below the steepest rise: that must not fall either.
    slack = ramp - _least_from_here_on(begin)
    return ramp - _least_from_here_on(slack).clamp(min=0)


def _least_from_here_on(x: Tensor) -> Tensor:
    return x.flip(1).cummin(1).values.flip(1)


def do_rnnt_pruning(am: Tensor, lm: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor]:
    """Lines up what a joiner combines: each frame with the label positions of its window.

    Args:
        am: (N, T, A) output of the acoustic network, any dtype.
        lm: (N, U + 1, B) output of the label network.
        ranges: (N, T, S) int64 label positions, see `get_rnnt_prune_ranges`.

    Returns:
        am as (N, T, S, A), a view that repeats each frame, and lm as (N, T, S, B).

    Raises:
        FsaTypeError, FsaValueError: for wrong dtypes or shapes, and positions outside lm.

    Source: k2's function of this name.

    >>> am, lm = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[10.0], [20.0], [30.0]]])
    >>> pair = do_rnnt_pruning(am, lm, torch.tensor([[[0, 1], [1, 2]]]))
    >>> (pair[0] + pair[1]).squeeze(-1)
    tensor([[[11., 21.],
             [22., 32.]]])
    """
    for name, x in (("am", am), ("lm", lm)):
        if not isinstance(x, Tensor) or x.dim() != 3:
            came = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise FsaValueError(f"{name}: must be a tensor (N, T or U + 1, features), got {came}")
    check_ranges(ranges, am.shape[0], am.shape[1], lm.shape[1], "am and lm")
    n, _, size = ranges.shape
    if lm.shape[0] != n:
        raise FsaValueError(f"lm: must hold {n} utterances, as am does, got {lm.shape[0]}")
    first = torch.arange(n, device=ranges.device)[:, None, None] * lm.shape[1]
    # The gradient of an embedding adds whole rows; that of a gather, element by element.
    table = lm.flatten(0, 1)
    lm_pruned = torch.nn.functional.embedding((ranges + first).to(lm.device), table)
    return am.unsqueeze(2).expand(-1, -1, size, -1), lm_pruned


def check_ranges(
    ranges: Tensor, num_utterances: int, num_frames: int, width: int, whose: str
) -> None:
    """Refuses ranges that are not (N, T, S) positions in 0..width - 1.

    Raises:
        FsaTypeError: for numbers that are not int64.
        FsaValueError: for another shape, or a position outside; it names the place.
    """
    if not isinstance(ranges, Tensor) or ranges.dtype != torch.int64:
        came = ranges.dtype if isinstance(ranges, Tensor) else type(ranges).__name__
        raise FsaTypeError(f"ranges: must be an int64 tensor (N, T, S), got {came}")
    if ranges.dim() != 3 or tuple(ranges.shape[:2]) != (num_utterances, num_frames):
        raise FsaValueError(
            f"ranges: must have shape ({num_utterances}, {num_frames}, S), to fit {whose}, got "
            f"{tuple(ranges.shape)}"
        )
    for place in ((ranges < 0) | (ranges >= width)).nonzero()[:1].tolist():
        raise FsaValueError(
            f"ranges: utterance {place[0]}, frame {place[1]}, has the label position "
            f"{int(ranges[tuple(place)])}; positions must lie in 0..{width - 1}"
        )
