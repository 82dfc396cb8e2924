"""Connectionist temporal classification: likelihood and entropy of the alignments."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy._native import ctc as ctc_kernels
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    check_choice,
    check_number,
    entropy_of_kind,
    reduce_loss,
    zero_of,
)
from wfst_entropy.losses.ctc_batch import CtcBatch, checked_ctc_batch
from wfst_entropy.losses.ctc_kernel import kernel_alignment
from wfst_entropy.losses.ctc_recursion import ctc_recursion, log_softmax
from wfst_entropy.losses.divergence import precise, result_dtype
from wfst_entropy.semirings import ConditionalEntropySemiring


def ctc_alignment(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    kind: str = "conditional",
    *,
    fused_log_softmax: bool = False,
) -> Alignment:
    r"""Computes the CTC likelihood of each transcript and the entropy of its alignments.

    With :math:`w(\pi) = \sum_t x_{t,\pi_t}` over the paths that collapse to the transcript,

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    Both are differentiable, for the price of one forward and one backward sweep. The gradient of
    the nll with respect to ``log_probs`` is the true one, :math:`-\gamma`; torch's ctc_loss returns
    :math:`e^x - \gamma`, which is the same after a ``log_softmax``. On the CPU a C++ kernel
    computes in the dtype of the scores and can be differentiated once; elsewhere, and inside
    ``_native.disabled()``, vectorised torch computes in float64 and can be differentiated twice.

    Args:
        log_probs: (N, T, C) scores in nats, of any floating dtype (half precision is computed, and
            returned, in float32; its gradient is half again). They need not be normalised; -inf and
            masks below -2**26 mean "never".
        targets: (N, U) padded, or (sum of target_lengths,) concatenated; integers other than blank.
        input_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance. An empty transcript is the all-blank path.
        blank: the blank symbol.
        kind: the entropy wanted: ``"conditional"`` (:math:`H_c`), ``"raw"`` (the paper's
            :math:`-\sum_\pi e^{w(\pi)} w(\pi) = Z (H_c - \log Z)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`H_c` divided by the length).
        fused_log_softmax: whether ``log_probs`` are logits (name and meaning as in torchaudio's
            transducer loss): :math:`x_{t,c}` is then their log-softmax over the symbols, in which
            all symbols of a frame take part. Faster than a ``log_softmax`` before the call.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), the first two in nats and in the dtype of the
        scores. Scores beyond an utterance's frames, and of symbols not in its transcript, are
        neither read nor given a gradient.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels, and for a score that is NaN or above
            2**26; it names the utterance and the position. Also for a raw entropy that overflows.

    Source: Graves et al. 2006, "Connectionist temporal classification", Eqs. 6 and 7, for the
    likelihood; Liu et al. 2018, "Connectionist temporal classification with maximum entropy
    regularization", for the conditional entropy; "Entropy semirings" (arXiv 2312.10087),
    Definition 4.1 and Eq. 10, for the raw one.

    >>> scores = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> out = ctc_alignment(scores, torch.tensor([[1, 2]]), [3], [2])   # five paths
    >>> [round(float(field), 4) for field in out]
    [1.682, 1.5445, 1.0]
    """
    check_choice("kind", kind, KINDS)
    batch = checked_ctc_batch(log_probs, targets, input_lengths, target_lengths, blank)
    return ctc_batch_alignment(batch, kind, fused_log_softmax=fused_log_softmax)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
    *,
    fused_log_softmax: bool = False,
) -> Tensor:
    r"""Computes the CTC loss with the entropy of the alignments as a regulariser.

    Per utterance :math:`\mathrm{nll} - \mathrm{entropy\_scale} \cdot H`: a positive scale rewards
    entropy (Liu et al. 2018), a negative one penalises it (Variani et al. 2022, arXiv 2212.12442).
    Arguments are named as in ``torch.nn.functional.ctc_loss``, but ``log_probs`` is batch-first.

    Args:
        log_probs: (N, T, C), see `ctc_alignment`.
        targets: (N, U) or (sum of target_lengths,).
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy; 0 computes the likelihood alone.
        kind: see `ctc_alignment`.
        fused_log_softmax: see `ctc_alignment`.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_alignment`; also for the mean of an empty batch.

    >>> scores = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> ctc_loss(scores, torch.tensor([[1, 2]]), [3], [2], entropy_scale=0.1)
    tensor(0.7638)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("entropy_scale", entropy_scale)
    batch = checked_ctc_batch(log_probs, targets, input_lengths, target_lengths, blank)
    return reduce_loss(
        ctc_batch_alignment(
            batch, kind, entropy=entropy_scale != 0, fused_log_softmax=fused_log_softmax
        ),
        batch.targets.lengths,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


class CTCLoss(torch.nn.Module):
    """`ctc_loss` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        fused_log_softmax: see `ctc_alignment`.

    >>> loss = CTCLoss(reduction="sum", entropy_scale=0.1)
    >>> loss(torch.zeros(1, 2, 3), torch.tensor([[1]]), [2], [1])   # three paths of weight 1
    tensor(-1.2085)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
        *,
        fused_log_softmax: bool = False,
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        self.blank = blank
        self.reduction = reduction
        self.zero_infinity = zero_infinity
        self.entropy_scale = entropy_scale
        self.kind = kind
        self.fused_log_softmax = fused_log_softmax

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `ctc_loss`."""
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
            entropy_scale=self.entropy_scale,
            kind=self.kind,
            fused_log_softmax=self.fused_log_softmax,
        )

    def extra_repr(self) -> str:
        """Shows the options in the module's repr."""
        return (
            f"blank={self.blank}, reduction={self.reduction!r}, "
            f"zero_infinity={self.zero_infinity}, entropy_scale={self.entropy_scale}, "
            f"kind={self.kind!r}, fused_log_softmax={self.fused_log_softmax}"
        )


def ctc_batch_alignment(
    batch: CtcBatch, kind: str, *, entropy: bool = True, fused_log_softmax: bool
) -> Alignment:
    """`ctc_alignment` of checked arguments; zeros may stand for an entropy that is not wanted."""
    if ctc_kernels.can_run(batch.log_probs):
        nll, conditional, path_count = kernel_alignment(
            batch, entropy=entropy, fused_log_softmax=fused_log_softmax
        )
        valid = path_count > 0
    else:
        nll, conditional = _torch_alignment(batch, fused_log_softmax)
        valid = nll.detach() < torch.inf
    if not entropy:
        return Alignment(nll, conditional, valid)
    lengths = (batch.input_lengths, batch.targets.lengths)
    return Alignment(nll, entropy_of_kind(kind, nll, conditional, *lengths), valid)


def _torch_alignment(batch: CtcBatch, fused_log_softmax: bool) -> tuple[Tensor, Tensor]:
    scores = precise(batch.log_probs)
    # results belong to the scores' graph even where no utterance has a frame
    nothing = zero_of(scores)
    if fused_log_softmax:
        scores = log_softmax(batch, scores, batch.name)
    mass, entropy = ctc_recursion(batch, scores, ConditionalEntropySemiring())
    dtype = result_dtype(batch.log_probs)
    return (nothing - mass).to(dtype), (nothing + entropy).to(dtype)
