"""Consistency of two augmented views of the same utterances: CR-CTC."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    as_lengths,
    check_choice,
    check_number,
    reduced,
)
from wfst_entropy.losses.ctc import ctc_loss
from wfst_entropy.losses.ctc_divergence import ctc_alignment_kl
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.soft_distillation import check_other, checked_frames, frame_divergence

LEVELS = ("frame", "alignment")


def ctc_consistency(
    log_probs_a: Tensor,
    log_probs_b: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    level: str = "frame",
) -> Tensor:
    r"""Computes how much the CTC outputs of two views of the same utterances differ.

    With sg, which lets no gradient through, per utterance and at the level of frames

    .. math::
        \frac{1}{2} \sum_t \left(KL(\mathrm{sg}(b_t) \| a_t) + KL(\mathrm{sg}(a_t) \| b_t)\right)

    over the softmax outputs (of logits too); at the level of alignments the same of the whole
    alignments of the transcript, :math:`KL_c` of `ctc_alignment_kl`, which leaves what both views
    think of symbols outside the transcript alone.

    Args:
        log_probs_a: (N, T, C) log-probabilities or logits of one view.
        log_probs_b: of the other view, which must have the same frames: the views may differ in
            masks and noise, but not in their warping of time.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        blank: the blank symbol.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's sum by its
            target length (at least 1) and averages, as `ctc_loss` does.
        zero_infinity: whether a divergence that is infinite counts 0. Its gradient is 0 either way.
        level: ``"frame"`` or ``"alignment"``.

    Returns:
        In nats, a scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_soft_distillation` and `ctc_alignment_kl`.

    Source: Yao et al. 2025, "CR-CTC: Consistency regularization on CTC" (arXiv 2410.05101), for
    frames; "Entropy semirings" (arXiv 2312.10087), Definition 4.2, for alignments.

    >>> a = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]).log()
    >>> b = torch.tensor([[[0.25, 0.75], [0.9, 0.1]]]).log()
    >>> ctc_consistency(a, b, torch.tensor([[1]]), [2], [1])     # (0.1308 + 0.1438) / 2
    tensor(0.1373)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("level", level, LEVELS)
    a, b = ("log_probs_a", log_probs_a), ("log_probs_b", log_probs_b)
    frames = checked_frames(*a, input_lengths)
    check_other(*b, log_probs_a)
    lengths = as_lengths("target_lengths", target_lengths, len(log_probs_a))
    if level == "frame":
        fixed_a, fixed_b = (a[0], log_probs_a.detach()), (b[0], log_probs_b.detach())
        one = frame_divergence([fixed_b, a], frames, 1.0)
        other = frame_divergence([fixed_a, b], frames, 1.0)
    else:
        batch = (targets, frames, lengths, blank)
        one = ctc_alignment_kl(log_probs_a, log_probs_b, *batch).kl
        other = ctc_alignment_kl(log_probs_b, log_probs_a, *batch).kl
    loss = (one + other) / 2
    if zero_infinity:
        loss = loss.masked_fill(loss.detach() == torch.inf, 0.0)
    return reduced(loss, lengths, reduction)


def cr_ctc_loss(
    log_probs_a: Tensor,
    log_probs_b: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
    *,
    consistency_scale: float = 0.2,
    level: str = "frame",
    fused_log_softmax: bool = False,
) -> Tensor:
    r"""Computes the CTC loss of two augmented views of the same utterances, drawn to each other.

    With :math:`\alpha` the ``consistency_scale`` and :math:`L_{CR}` of `ctc_consistency`,

    .. math:: \frac{1}{2} (L_{CTC}(a) + L_{CTC}(b)) + \alpha L_{CR}(a, b) .

    The source takes :math:`\alpha = 0.2` for CTC alone and 0.02 where CTC is an auxiliary loss of
    scale 0.1 to 0.2, and masks more of the time axis than usual.

    Args:
        log_probs_a: (N, T, C) log-probabilities of one view.
        log_probs_b: of the other view, which must have the same frames.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``, as of `ctc_loss`.
        zero_infinity: whether infinite terms count 0. Their gradient is 0 either way.
        entropy_scale: the weight of the alignments' entropy in both CTC losses.
        kind: of that entropy, see `ctc_alignment`.
        consistency_scale: :math:`\alpha`, not negative.
        level: what is to be consistent: ``"frame"`` or ``"alignment"``.
        fused_log_softmax: whether the views are logits, which are then normalised here.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_loss` and `ctc_consistency`.

    Source: Yao et al. 2025, "CR-CTC: Consistency regularization on CTC" (arXiv 2410.05101).

    >>> a = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]).log()
    >>> b = torch.tensor([[[0.25, 0.75], [0.9, 0.1]]]).log()
    >>> cr_ctc_loss(a, b, torch.tensor([[1]]), [2], [1])         # 0.4263 + 0.2 * 0.1373
    tensor(0.4538)
    """
    check_number("consistency_scale", consistency_scale, 0.0)
    batch = (targets, input_lengths, target_lengths, blank, reduction, zero_infinity)
    losses = [
        ctc_loss(view, *batch, entropy_scale, kind, fused_log_softmax=fused_log_softmax)
        for view in (log_probs_a, log_probs_b)
    ]
    likelihood = (losses[0] + losses[1]) / 2
    if consistency_scale == 0:  # 0 * inf is no number
        return likelihood
    consistency = ctc_consistency(log_probs_a, log_probs_b, *batch, level=level)
    return likelihood + consistency_scale * consistency


class CRCTCLoss(LossModule):
    """`cr_ctc_loss` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether infinite terms count 0.
        entropy_scale: the weight of the alignments' entropy; positive rewards it.
        kind: see `ctc_alignment`.
        consistency_scale: the weight of the consistency.
        level: ``"frame"`` or ``"alignment"``.
        fused_log_softmax: whether the views are logits.

    >>> loss, view = CRCTCLoss(reduction="sum"), torch.zeros(1, 2, 3)
    >>> loss(view, view, torch.tensor([[1]]), [2], [1])   # three paths of weight 1
    tensor(-1.0986)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
        *,
        consistency_scale: float = 0.2,
        level: str = "frame",
        fused_log_softmax: bool = False,
    ) -> None:
        super().__init__(
            blank=blank,
            reduction=reduction,
            zero_infinity=zero_infinity,
            entropy_scale=entropy_scale,
            kind=kind,
            consistency_scale=consistency_scale,
            level=level,
            fused_log_softmax=fused_log_softmax,
        )
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("kind", kind, KINDS)
        check_choice("level", level, LEVELS)

    def forward(
        self,
        log_probs_a: Tensor,
        log_probs_b: Tensor,
        targets: Tensor,
        input_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `cr_ctc_loss`."""
        batch = (targets, input_lengths, target_lengths)
        return cr_ctc_loss(log_probs_a, log_probs_b, *batch, **self.options)
