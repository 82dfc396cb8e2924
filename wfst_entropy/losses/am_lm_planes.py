"""The scores of a transducer whose joiner adds: planes from an acoustic and a label network."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import wfst_entropy._native as _native
from wfst_entropy.algorithms.kernel_gradient import differentiable_once
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import as_lengths, check_floating
from wfst_entropy.losses.targets import Targets, check_blank, checked_targets

# Below this, the products of exponentials that float32 has rounded to zero begin to matter.
UNDERFLOW = 1e-30


class AmLmBatch(NamedTuple):
    """Checked arguments; everything but am and lm is int64 on the CPU."""

    am: Tensor  # (N, T, C), any floating dtype
    lm: Tensor  # (N, W, C), W at least the longest transcript + 1
    targets: Targets
    logit_lengths: Tensor
    blank: int

    def label_index(self) -> Tensor:
        """(N, W - 1) the label that each position leads on with; blank where there is none."""
        labels = torch.full((self.lm.shape[0], self.lm.shape[1] - 1), self.blank)
        padded = self.targets.padded(self.blank)
        labels[:, : padded.shape[1]] = padded
        return labels


class Smoothing(NamedTuple):
    """How much of the scores comes from one of the two networks alone."""

    lm_only_scale: float = 0.0
    am_only_scale: float = 0.0


def checked_am_lm(
    am: Tensor, lm: Tensor, targets: Tensor, logit_lengths: Any, target_lengths: Any, blank: int
) -> AmLmBatch:
    """Checks shapes, dtypes, lengths and labels, not the scores.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels.
    """
    for name, x, shape in (("am", am, "(N, T, C)"), ("lm", lm, "(N, U + 1, C)")):
        check_floating(name, x, shape)
        if x.dim() != 3:
            raise FsaValueError(f"{name}: must be {shape}, got shape {tuple(x.shape)}")
    n, num_frames, num_symbols = am.shape
    width = lm.shape[1]
    if tuple(lm.shape) != (n, width, num_symbols) or width < 1:
        raise FsaValueError(
            f"lm: must have shape ({n}, U + 1, {num_symbols}), to fit am {tuple(am.shape)}, got "
            f"{tuple(lm.shape)}"
        )
    check_blank(blank, num_symbols)
    frames = as_lengths(
        "logit_lengths", logit_lengths, n, num_frames, f"frames of am {tuple(am.shape)}"
    )
    labels = checked_targets(targets, target_lengths, n, blank, num_symbols)
    for i in (labels.lengths >= width).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"target_lengths[{i}] = {int(labels.lengths[i])}: utterance {i} needs "
            f"{int(labels.lengths[i]) + 1} positions on the second axis of lm, which has shape "
            f"{tuple(lm.shape)}; the label network must also see the last label"
        )
    return AmLmBatch(am, lm, labels, frames, blank)


def am_lm_planes(batch: AmLmBatch, smoothing: Smoothing) -> tuple[Tensor, Tensor]:
    r"""The scores of blank (N, T, W) and of the next label (N, T, W - 1) at every node.

    With :math:`y` a symbol, :math:`s_l, s_a` the scales of ``smoothing`` and
    :math:`\bar q` the mean of ``softmax(lm)`` over all positions of the batch,

    .. math::
        (1 - s_l - s_a) \left(a_{ty} + l_{uy} - \log\sum_c e^{a_{tc} + l_{uc}}\right)
        + s_l \left(l_{uy} - \log\sum_c e^{l_{uc}}\right)
        + s_a \left(a_{ty} + \log \bar q_y - \log\sum_c e^{a_{tc}} \bar q_c\right) .

    They are float32, or float64 if one of am and lm is, whatever autocast says.
    """
    am, lm, device = batch.am, batch.lm, batch.am.device
    dtype = torch.float64 if torch.float64 in (am.dtype, lm.dtype) else torch.float32
    fast = _native.is_available() and device.type == "cpu"
    # Without kernels all is done in float64, which mps has not.
    precise = dtype if fast or device.type == "mps" else torch.float64
    frames = _inside(am.shape[1], batch.logit_lengths.to(device))
    positions = _inside(lm.shape[1], batch.targets.lengths.to(device) + 1)
    positions = positions & (batch.logit_lengths > 0).to(device)[:, None]  # else none is reached
    labels = batch.label_index().to(device)
    symbols = torch.cat(
        [torch.full_like(batch.logit_lengths, batch.blank).to(device)[:, None], labels], 1
    )
    with torch.autocast(device.type, enabled=False):
        am, lm = am.to(precise), lm.to(precise)
        own = lm.masked_fill(~positions[:, :, None], 0.0)
        rows = [own]
        if smoothing.am_only_scale:
            # The normaliser of am alone is the joint one with the mean label distribution.
            rows.append(_log_mean_softmax(own, positions))
        joint = _joint_scores if fast else _exact_joint_scores
        log_sums, am_scores = joint(am, torch.cat(rows, 1), frames, symbols)
        blank, label = _interpolated(log_sums, am_scores, rows, symbols, smoothing)
    return blank.to(dtype), label.to(dtype)


def _interpolated(
    log_sums: Tensor, am_scores: Tensor, rows: list[Tensor], symbols: Tensor, smoothing: Smoothing
) -> tuple[Tensor, Tensor]:
    """The planes, from what depends on the symbol and the normalisers, which do not.

    Args:
        log_sums: (N, T, W), or (N, T, W + 1) with the normaliser of am alone as the last one.
        am_scores: (N, T, W) of the blank, and of the label of each position.
        rows: lm (N, W, C) and, if am is to count alone, the mean label distribution (N, 1, C).
        symbols: (N, W) those of ``am_scores``.
        smoothing: the scales.
    """
    alone = (smoothing.lm_only_scale, smoothing.am_only_scale)
    both = 1.0 - sum(alone)
    lm, width = rows[0], rows[0].shape[1]
    of_blank = (both + alone[0]) * lm.gather(2, symbols[:, :1, None].expand(-1, width, -1))
    of_label = (both + alone[0]) * lm[:, :-1].gather(2, symbols[:, 1:, None])
    normaliser = both * log_sums[:, :, :width]
    if alone[0]:
        normaliser = normaliser + alone[0] * lm.logsumexp(2)[:, None]
    if alone[1]:
        mean = rows[1].gather(2, symbols[:, None])[:, 0, :, None]
        of_blank = of_blank + alone[1] * mean[:, :1]
        of_label = of_label + alone[1] * mean[:, 1:]
        normaliser = normaliser + alone[1] * log_sums[:, :, width:]
    am_scores = (both + alone[1]) * am_scores
    blank = am_scores[:, :, :1] + of_blank.transpose(1, 2) - normaliser
    label = am_scores[:, :, 1:] + of_label.transpose(1, 2) - normaliser[:, :, :-1]
    return blank, label


def _inside(size: int, lengths: Tensor) -> Tensor:
    """(N, size) whether a place is before an utterance's end."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _log_mean_softmax(lm: Tensor, counted: Tensor) -> Tensor:
    """(N, 1, C), for each utterance the same: the log of the mean over the batch's positions."""
    wide = lm if lm.device.type == "mps" else lm.double()  # float32 has no reciprocal of the floor
    share = counted.to(wide.dtype) / counted.sum().clamp(min=1)
    # not a product of matrices: backward, under autocast, that would be one of bfloat16
    mean = (share[:, :, None] * wide.softmax(2)).sum((0, 1))
    # The same floor whatever the dtype, so that all engines score a symbol never seen alike.
    log_mean = (mean + torch.finfo(torch.float32).tiny).log().to(lm.dtype)
    return log_mean.expand(lm.shape[0], 1, -1)


def _exact_joint_scores(
    am: Tensor, lm: Tensor, frames: Tensor, symbols: Tensor
) -> tuple[Tensor, Tensor]:
    """The normalisers (N, T, W) of am + lm, and am (N, T, K) at the symbols of an utterance."""
    log_sums, *_ = _exponentials(am, lm, frames)
    return log_sums, am.gather(2, _for_each_frame(symbols, am))


def _joint_scores(am: Tensor, lm: Tensor, frames: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor]:
    """As `_exact_joint_scores`, with a gradient in closed form, in the dtype of the scores."""
    log_sums, am_scores, smallest = _JointScores.apply(am, lm, frames, symbols)
    # Where am and lm prefer symbols a hundred nats apart, float32 has no number for the product.
    low = (smallest < UNDERFLOW).nonzero().flatten()
    if am.dtype == torch.float64 or low.numel() == 0:
        return log_sums, am_scores
    redone, *_ = _JointScores.apply(am[low].double(), lm[low].double(), frames[low], symbols[low])
    return log_sums.index_copy(0, low, redone.to(am.dtype)), am_scores


class _JointScores(torch.autograd.Function):
    """`_exact_joint_scores`, and the smallest sum of exponentials of each utterance."""

    @staticmethod
    def forward(
        ctx: Any, am: Tensor, lm: Tensor, frames: Tensor, symbols: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_sums, am_exp, lm_exp, sums = _exponentials(am, lm, frames)
        index = _for_each_frame(symbols, am)
        ctx.save_for_backward(am, lm, am_exp, lm_exp, sums, index)
        smallest = sums.amin((1, 2)) if sums.numel() else sums.new_ones(am.shape[0])
        ctx.mark_non_differentiable(smallest)
        return log_sums, am.gather(2, index), smallest

    @staticmethod
    def backward(ctx: Any, grad_log_sums: Tensor, grad_scores: Tensor, _: Tensor) -> Any:
        am, lm, am_exp, lm_exp, sums, index = ctx.saved_tensors
        with torch.autocast(am_exp.device.type, enabled=False):
            ratio = grad_log_sums / sums
            grad_am = torch.bmm(ratio, lm_exp).mul_(am_exp).scatter_add_(2, index, grad_scores)
            grad_lm = torch.bmm(ratio.transpose(1, 2), am_exp).mul_(lm_exp)
        inputs = (am, lm, grad_log_sums, grad_scores)
        by_am, by_lm = (differentiable_once(grad, *inputs) for grad in (grad_am, grad_lm))
        return by_am, by_lm, None, None


def _exponentials(am: Tensor, lm: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The log of sum_c exp(am + lm), and its parts: both exponentials and the sum, less maxima.

    Beyond an utterance's frames all is as if am were 0.
    """
    am_top, lm_top = _finite_maximum(am), _finite_maximum(lm)
    am_exp = (am - am_top).masked_fill_(~frames[:, :, None], 0.0).exp_()
    lm_exp = (lm - lm_top).exp_()
    sums = torch.bmm(am_exp, lm_exp.transpose(1, 2)) + torch.finfo(am.dtype).tiny
    return sums.log() + am_top + lm_top.transpose(1, 2), am_exp, lm_exp, sums


def _finite_maximum(x: Tensor) -> Tensor:
    top = x.detach().amax(2, keepdim=True)
    return top.masked_fill_(top == -torch.inf, 0.0)


def _for_each_frame(symbols: Tensor, am: Tensor) -> Tensor:
    return symbols[:, None].expand(-1, am.shape[1], -1)
