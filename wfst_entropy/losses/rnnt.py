"""RNN-T: likelihood and entropy of the alignments, from the joiner's logits."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    check_choice,
    check_number,
    reduce_loss,
)
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.rnnt_batch import RnntBatch, RnntOptions, checked_rnnt_batch
from wfst_entropy.losses.rnnt_grid import alignment_of_totals, grid_totals
from wfst_entropy.losses.rnnt_planes import logit_planes
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES


def rnnt_alignment(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    kind: str = "conditional",
    *,
    rnnt_type: str = "regular",
    fused_log_softmax: bool = True,
    delay_penalty: float = 0.0,
    fastemit_lambda: float = 0.0,
    reuse_logits_for_grads: bool = False,
) -> Alignment:
    r"""Computes the RNN-T likelihood of each transcript and the entropy of its alignments.

    With :math:`y_{t,u}` the log-softmax of the logits at a node, and :math:`w(\pi)` the sum over
    the arcs of a path from (0, 0) through the final blank (see `rnnt_semiring` for the lattices),

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    On the CPU a C++ kernel reads the logits once forward and once backward, keeps a few numbers per
    node beside them, and can be differentiated once; elsewhere, and inside ``_native.disabled()``,
    torch computes the lattice in float64 and can be differentiated twice.

    Args:
        logits: (N, T, U + 1, C), the joiner's output before the softmax, any floating dtype. Half
            precision is computed, and results returned, in float32; the gradient has the dtype of
            the logits.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated; integers other than blank.
        logit_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        blank: the blank symbol.
        kind: see `ctc_alignment`.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        fused_log_softmax: whether to normalise the logits; False takes them as log-weights.
        delay_penalty: :math:`\lambda` of a term :math:`\lambda ((T - 1)/2 - t)` added to the score
            of every label at frame t: a positive one rewards early labels.
        fastemit_lambda: the nll's gradient of label arcs is multiplied by one plus this; values
            are not changed.
        reuse_logits_for_grads: whether the C++ kernel may write the gradient over the logits, which
            saves the memory of one tensor and the time to touch it. The logits are destroyed by the
            backward call, so another operation that kept them for its own backward call, and a
            second backward call through this one, raise torch's error of a variable modified in
            place. They must be contiguous and the result of an operation. Other engines ignore it.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), in nats. Logits beyond an utterance's frames
        and labels are neither read nor given a gradient.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels, and for a row of logits inside the
            lengths with a NaN or +inf (without the softmax: a used one that is NaN or above 2**26)
            or nothing but -inf; it names the utterance, the node and the symbol. Also for a raw
            entropy that overflows, and for logits that may not be written to.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 16; "Entropy
    semirings" (arXiv 2312.10087), Section 4; Kang et al. 2022 (arXiv 2211.00490) for the delay
    penalty; Yu et al. 2021 (arXiv 2010.11148) for FastEmit.

    >>> import torch
    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> out = rnnt_alignment(logits, torch.tensor([[1]]), [2], [1])     # two paths
    >>> [round(float(field), 4) for field in out]
    [0.7679, 0.6926, 1.0]
    """
    check_choice("kind", kind, KINDS)
    batch = checked_rnnt_batch(logits, targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(
        rnnt_type, fused_log_softmax, delay_penalty, fastemit_lambda, reuse_logits_for_grads
    )
    return rnnt_batch_alignment(batch, options, kind)


def rnnt_loss(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
    *,
    rnnt_type: str = "regular",
    fused_log_softmax: bool = True,
    delay_penalty: float = 0.0,
    fastemit_lambda: float = 0.0,
    reuse_logits_for_grads: bool = False,
) -> Tensor:
    r"""Computes the RNN-T loss with the entropy of the alignments as a regulariser.

    Per utterance :math:`\mathrm{nll} - \mathrm{entropy\_scale} \cdot H`: a positive scale rewards
    entropy, a negative one penalises it. Arguments are named as in torchaudio's ``rnnt_loss``.

    Args:
        logits: (N, T, U + 1, C), see `rnnt_alignment`.
        targets: (N, U) or (sum of target_lengths,).
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy.
        kind: see `ctc_alignment`.
        rnnt_type: see `rnnt_alignment`, as the following.
        fused_log_softmax: whether to normalise the logits.
        delay_penalty: rewards early labels.
        fastemit_lambda: scales the gradient of label arcs.
        reuse_logits_for_grads: saves the memory of one tensor; the logits are destroyed.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment`; also for the mean of an empty batch.

    >>> import torch
    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> rnnt_loss(logits, torch.tensor([[1]]), [2], [1], entropy_scale=0.1)
    tensor(0.6986)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("entropy_scale", entropy_scale)
    batch = checked_rnnt_batch(logits, targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(
        rnnt_type, fused_log_softmax, delay_penalty, fastemit_lambda, reuse_logits_for_grads
    )
    return reduce_loss(
        rnnt_batch_alignment(batch, options, kind, entropy_scale != 0),
        batch.targets.lengths,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


class RNNTLoss(LossModule):
    """`rnnt_loss` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        rnnt_type: see `rnnt_alignment`, as the following.
        fused_log_softmax: whether to normalise the logits.
        delay_penalty: rewards early labels.
        fastemit_lambda: scales the gradient of label arcs.
        reuse_logits_for_grads: saves the memory of one tensor; the logits are destroyed.

    >>> import torch
    >>> loss = RNNTLoss(reduction="sum")
    >>> loss(torch.zeros(1, 2, 2, 2), torch.tensor([[1]]), [2], [1])    # 2 paths of 3 arcs of 1/2
    tensor(1.3863)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
        *,
        rnnt_type: str = "regular",
        fused_log_softmax: bool = True,
        delay_penalty: float = 0.0,
        fastemit_lambda: float = 0.0,
        reuse_logits_for_grads: bool = False,
    ) -> None:
        super().__init__(
            blank=blank,
            reduction=reduction,
            zero_infinity=zero_infinity,
            entropy_scale=entropy_scale,
            kind=kind,
            rnnt_type=rnnt_type,
            fused_log_softmax=fused_log_softmax,
            delay_penalty=delay_penalty,
            fastemit_lambda=fastemit_lambda,
            reuse_logits_for_grads=reuse_logits_for_grads,
        )
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("rnnt_type", rnnt_type, RNNT_TYPES)

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `rnnt_loss`."""
        return rnnt_loss(logits, targets, logit_lengths, target_lengths, **self.options)


def rnnt_batch_alignment(
    batch: RnntBatch, options: RnntOptions, kind: str, entropy: bool = True
) -> Alignment:
    """`rnnt_alignment` of checked arguments; zeros may stand for an entropy that is not wanted."""
    options.check()
    lengths = (batch.logit_lengths, batch.targets.lengths)
    grid = (*logit_planes(batch, options), *lengths, options.rnnt_type)
    fastemit = options.fastemit_lambda
    totals = grid_totals(*grid, entropy=entropy, fastemit_lambda=fastemit)
    return alignment_of_totals(totals, grid, kind, entropy=entropy, fastemit_lambda=fastemit)
