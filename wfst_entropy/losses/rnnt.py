"""RNN-T: likelihood and entropy of the alignments, from the joiner's logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    as_lengths,
    check_choice,
    entropy_of_kind,
    reduce_loss,
)
from wfst_entropy.losses.rnnt_grid import grid_totals
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES
from wfst_entropy.losses.targets import Targets, checked_targets


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
) -> Alignment:
    r"""Computes the RNN-T likelihood of each transcript and the entropy of its alignments.

    With :math:`y_{t,u}` the log-softmax of the logits at a node, and :math:`w(\pi)` the sum over
    the arcs of a path from (0, 0) through the final blank (see `rnnt_semiring` for the lattices),

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    Args:
        logits: (N, T, U + 1, C), the joiner's output before the softmax, any floating dtype (half
            precision is computed in float32).
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

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), in nats. Logits beyond an utterance's frames
        and labels are neither read nor given a gradient.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels, and for a score that is NaN or above
            2**26; it names the utterance and the node. Also for a raw entropy that overflows.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 16; "Entropy
    semirings" (arXiv 2312.10087), Section 4; Kang et al. 2022 (arXiv 2211.00490) for the delay
    penalty; Yu et al. 2021 (arXiv 2010.11148) for FastEmit.

    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> out = rnnt_alignment(logits, torch.tensor([[1]]), [2], [1])     # two paths
    >>> [round(float(field), 4) for field in out]
    [0.7679, 0.6926, 1.0]
    """
    check_choice("kind", kind, KINDS)
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    batch = checked_rnnt_batch(logits, targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(rnnt_type, fused_log_softmax, delay_penalty, fastemit_lambda)
    return _alignment(batch, options, kind)


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

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment`; also for the mean of an empty batch.

    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> rnnt_loss(logits, torch.tensor([[1]]), [2], [1], entropy_scale=0.1)
    tensor(0.6986)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    batch = checked_rnnt_batch(logits, targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(rnnt_type, fused_log_softmax, delay_penalty, fastemit_lambda)
    return reduce_loss(
        _alignment(batch, options, kind),
        batch.targets.lengths,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


class RNNTLoss(torch.nn.Module):
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
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
        self.options: dict[str, Any] = {
            "blank": blank,
            "reduction": reduction,
            "zero_infinity": zero_infinity,
            "entropy_scale": entropy_scale,
            "kind": kind,
            "rnnt_type": rnnt_type,
            "fused_log_softmax": fused_log_softmax,
            "delay_penalty": delay_penalty,
            "fastemit_lambda": fastemit_lambda,
        }

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `rnnt_loss`."""
        return rnnt_loss(logits, targets, logit_lengths, target_lengths, **self.options)

    def extra_repr(self) -> str:
        """Shows the options in the module's repr."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class RnntBatch(NamedTuple):
    """Checked arguments; everything but the logits is int64 on the CPU."""

    logits: Tensor  # (N, T, W, C), W at least the longest transcript + 1, any floating dtype
    targets: Targets
    logit_lengths: Tensor
    blank: int


class RnntOptions(NamedTuple):
    """What happens to the scores of arcs between the logits and the lattice."""

    rnnt_type: str = "regular"
    fused_log_softmax: bool = True
    delay_penalty: float = 0.0
    fastemit_lambda: float = 0.0


def checked_rnnt_batch(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Any,
    target_lengths: Any,
    blank: int,
    name: str = "logits",
) -> RnntBatch:
    """Checks shapes, dtypes, lengths and labels, not the logits.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels; ``name`` stands for the logits.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        came = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise FsaTypeError(f"{name}: must be a floating-point tensor (N, T, U + 1, C), got {came}")
    if logits.dim() != 4:
        raise FsaValueError(f"{name}: must be (N, T, U + 1, C), got shape {tuple(logits.shape)}")
    n, num_frames, width, num_symbols = logits.shape
    if not 0 <= blank < num_symbols:
        raise FsaValueError(f"blank: must be a symbol in 0..{num_symbols - 1}, got {blank}")
    frames = as_lengths(
        "logit_lengths", logit_lengths, n, num_frames, f"frames of {name} {tuple(logits.shape)}"
    )
    labels = checked_targets(targets, target_lengths, n, blank, num_symbols)
    for i in (labels.lengths >= width).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"target_lengths[{i}] = {int(labels.lengths[i])}: utterance {i} needs "
            f"{int(labels.lengths[i]) + 1} positions on the third axis of {name}, which has shape "
            f"{tuple(logits.shape)}; the joiner must also see the position after the last label"
        )
    return RnntBatch(logits, labels, frames, blank)


def _alignment(batch: RnntBatch, options: RnntOptions, kind: str) -> Alignment:
    lengths = (batch.logit_lengths, batch.targets.lengths)
    planes = logit_planes(batch, options)
    nll, entropy, valid = grid_totals(
        *planes, *lengths, options.rnnt_type, fastemit_lambda=options.fastemit_lambda
    )
    return Alignment(nll, entropy_of_kind(kind, nll, entropy, *lengths), valid)


def logit_planes(batch: RnntBatch, options: RnntOptions) -> tuple[Tensor, Tensor]:
    """The scores of blank (N, T, W) and of the next label (N, T, W - 1) at every node, in torch."""
    logits = batch.logits
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    n, num_frames, width, _ = logits.shape
    labels = torch.full((n, width - 1), batch.blank)
    padded = batch.targets.padded(batch.blank)
    labels[:, : padded.shape[1]] = padded
    index = labels.to(logits.device)[:, None, :, None].expand(-1, num_frames, -1, 1)
    blank = logits[..., batch.blank]
    label = logits[:, :, :-1].gather(3, index)[..., 0]
    if options.fused_log_softmax:
        log_sum = logits.logsumexp(3)
        blank, label = blank - log_sum, label - log_sum[:, :, :-1]
    if options.delay_penalty != 0:
        label = label + delay_offsets(batch.logit_lengths, num_frames, options.delay_penalty).to(
            label
        )
    return blank, label


def delay_offsets(logit_lengths: Tensor, num_frames: int, delay_penalty: float) -> Tensor:
    """(N, T, 1) what a delay penalty adds to the score of a label at each frame, float64."""
    frames = torch.arange(num_frames, dtype=torch.float64)
    middle = (logit_lengths.double() - 1) / 2
    return delay_penalty * (middle[:, None] - frames)[:, :, None]
