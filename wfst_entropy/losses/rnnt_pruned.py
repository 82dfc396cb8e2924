"""RNN-T over a pruned lattice: the joiner's logits at a window of label positions per frame."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    AlignmentKL,
    as_lengths,
    check_choice,
    check_floating,
    check_number,
    reduce_loss,
)
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.rnnt_batch import RnntBatch, RnntOptions
from wfst_entropy.losses.rnnt_divergence import rnnt_grid_alignment_kl
from wfst_entropy.losses.rnnt_grid import alignment_of_totals, grid_totals
from wfst_entropy.losses.rnnt_planes import logit_planes
from wfst_entropy.losses.rnnt_prune import check_ranges
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES
from wfst_entropy.losses.targets import check_blank, checked_targets


def rnnt_pruned_alignment(
    logits: Tensor,
    ranges: Tensor,
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
    use_hat_loss: bool = False,
) -> Alignment:
    r"""Computes likelihood and alignment entropy over the windows of a transducer's lattice.

    Node (t, u) exists if u is in ``ranges[n, t]``; the paths are those of `rnnt_alignment` that use
    these nodes only. Sums are over these, so the likelihood is a lower bound of the full one, and
    both are equal if the windows hold all positions.

    Args:
        logits: (N, T, S, C), the joiner's output for `do_rnnt_pruning`, before the softmax, any
            floating dtype (half precision is computed in float32).
        ranges: (N, T, S) int64, the label position of each; consecutive within a frame.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated; integers other than blank.
        logit_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        blank: the blank symbol.
        kind: see `ctc_alignment`.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``. A constrained label needs
            the position after it in the same frame's window.
        fused_log_softmax: whether to normalise the logits; False takes them as log-weights.
        delay_penalty: see `rnnt_alignment`.
        fastemit_lambda: see `rnnt_alignment`.
        use_hat_loss: whether to factorise as HAT does: blank has the probability
            ``sigmoid(logit)``, and the labels share the rest by a softmax among themselves.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), in nats. Logits beyond an utterance's frames
        and labels are not used and have no gradient.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths, labels or ranges, and for a score that is NaN or
            above 2**26; it names the utterance and the node.

    Source: Kuang et al. 2022, "Pruned RNN-T" (arXiv 2206.13236), Section 3.3; Variani et al. 2020,
    "Hybrid autoregressive transducer" (arXiv 2003.07705), for HAT; see also `rnnt_alignment`.

    >>> logits, ranges = torch.zeros(1, 2, 2, 2), torch.tensor([[[0, 1], [0, 1]]])
    >>> out = rnnt_pruned_alignment(logits, ranges, torch.tensor([[1]]), [2], [1])
    >>> [round(float(field), 4) for field in out]
    [1.3863, 0.6931, 1.0]
    """
    check_choice("kind", kind, KINDS)
    batch = checked_pruned(logits, ranges, targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(rnnt_type, fused_log_softmax, delay_penalty, fastemit_lambda)
    return _alignment(batch, options, use_hat_loss, kind)


def rnnt_loss_pruned(
    logits: Tensor,
    ranges: Tensor,
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
    use_hat_loss: bool = False,
) -> Tensor:
    r"""Computes the pruned RNN-T loss with the entropy of the pruned lattice as a regulariser.

    Per utterance :math:`\mathrm{nll} - \mathrm{entropy\_scale} \cdot H`.

    Args:
        logits: (N, T, S, C), see `rnnt_pruned_alignment`.
        ranges: (N, T, S) int64 label positions.
        targets: (N, U) or (sum of target_lengths,).
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: see `rnnt_loss`.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        rnnt_type: see `rnnt_pruned_alignment`, as the following.
        fused_log_softmax: whether to normalise the logits.
        delay_penalty: rewards early labels.
        fastemit_lambda: scales the gradient of label arcs.
        use_hat_loss: whether to factorise as HAT does.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_pruned_alignment`, `rnnt_loss`.

    >>> am, lm, y = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), torch.tensor([[1, 2]])
    >>> from wfst_entropy.losses import do_rnnt_pruning, get_rnnt_prune_ranges, rnnt_loss_smoothed
    >>> simple, posteriors = rnnt_loss_smoothed(am, lm, y, [3], [2], return_arc_posteriors=True)
    >>> ranges = get_rnnt_prune_ranges(posteriors, [3], [2], s_range=2)
    >>> am_pruned, lm_pruned = do_rnnt_pruning(am, lm, ranges)
    >>> rnnt_loss_pruned(torch.tanh(am_pruned + lm_pruned), ranges, y, [3], [2], reduction="sum")
    tensor(6.2383)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("entropy_scale", entropy_scale)
    batch = checked_pruned(logits, ranges, targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(rnnt_type, fused_log_softmax, delay_penalty, fastemit_lambda)
    return reduce_loss(
        _alignment(batch, options, use_hat_loss, kind, entropy=entropy_scale != 0),
        batch.windows.targets.lengths,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


class PrunedRNNTLoss(LossModule):
    """`rnnt_loss_pruned` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        rnnt_type: see `rnnt_pruned_alignment`, as the following.
        fused_log_softmax: whether to normalise the logits.
        delay_penalty: rewards early labels.
        fastemit_lambda: scales the gradient of label arcs.
        use_hat_loss: whether to factorise as HAT does.

    >>> loss, ranges = PrunedRNNTLoss(reduction="sum"), torch.tensor([[[0, 1], [0, 1]]])
    >>> loss(torch.zeros(1, 2, 2, 2), ranges, torch.tensor([[1]]), [2], [1])
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
        use_hat_loss: bool = False,
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
            use_hat_loss=use_hat_loss,
        )
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("rnnt_type", rnnt_type, RNNT_TYPES)

    def forward(
        self,
        logits: Tensor,
        ranges: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `rnnt_loss_pruned`."""
        return rnnt_loss_pruned(
            logits, ranges, targets, logit_lengths, target_lengths, **self.options
        )


def rnnt_pruned_alignment_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    ranges: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    kind: str = "conditional",
    rnnt_type: str = "regular",
    reverse: bool = False,
    teacher_grad: bool = False,
    fused_log_softmax: bool = True,
) -> AlignmentKL:
    r"""Computes the divergence of a teacher's alignments in a pruned lattice from a student's.

    Both models are summed over the same lattice, that of the windows; see `rnnt_alignment_kl`.

    Args:
        student_logits: (N, T, S, C), see `rnnt_pruned_alignment`.
        teacher_logits: of the same shape: the teacher's joiner at the same positions.
        ranges: (N, T, S) int64 label positions.
        targets: (N, U) or (sum of target_lengths,).
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        kind: see `rnnt_alignment_kl`, as the following.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        reverse: KL(student || teacher) instead.
        teacher_grad: whether the teacher is given a gradient too.
        fused_log_softmax: whether to normalise the logits.

    Returns:
        ``kl``, the student's ``nll``, ``valid`` and ``teacher_nll``, each (N,), as of
        `ctc_alignment_kl`.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_pruned_alignment`; also for models of different
            shapes.

    >>> student = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> ranges = torch.tensor([[[0, 1], [0, 1]]])
    >>> out = rnnt_pruned_alignment_kl(
    ...     student, torch.zeros(1, 2, 2, 2), ranges, torch.tensor([[1]]), [2], [1]
    ... )
    >>> [round(float(field), 4) for field in out]
    [0.0006, 0.7679, 1.0, 1.3863]
    """
    args = (ranges, targets, logit_lengths, target_lengths, blank)
    student = checked_pruned(student_logits, *args, name="student_logits")
    teacher = checked_pruned(teacher_logits, *args, name="teacher_logits")
    if not teacher_grad:
        fixed = teacher.windows._replace(logits=teacher.windows.logits.detach())
        teacher = teacher._replace(windows=fixed)
    options = RnntOptions(rnnt_type, fused_log_softmax)
    return rnnt_grid_alignment_kl(
        pruned_planes(student, options),
        pruned_planes(teacher, options),
        student.windows.logit_lengths,
        student.windows.targets.lengths,
        kind=kind,
        rnnt_type=rnnt_type,
        reverse=reverse,
        teacher_grad=teacher_grad,
    )


class PrunedBatch(NamedTuple):
    """Checked arguments."""

    windows: RnntBatch  # logits (N, T, S, C), with begins
    width: int  # label positions of the whole lattice, at least the longest transcript + 1


def checked_pruned(
    logits: Tensor,
    ranges: Tensor,
    targets: Tensor,
    logit_lengths: Any,
    target_lengths: Any,
    blank: int,
    name: str = "logits",
) -> PrunedBatch:
    """Checks shapes, dtypes, lengths, labels and ranges, not the logits.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths, labels or ranges; ``name`` stands for the logits.
    """
    check_floating(name, logits, "(N, T, S, C)")
    if logits.dim() != 4:
        raise FsaValueError(f"{name}: must be (N, T, S, C), got shape {tuple(logits.shape)}")
    n, num_frames, _, num_symbols = logits.shape
    check_blank(blank, num_symbols)
    frames = as_lengths(
        "logit_lengths", logit_lengths, n, num_frames, f"frames of {name} {tuple(logits.shape)}"
    )
    labels = checked_targets(targets, target_lengths, n, blank, num_symbols)
    begins = checked_windows(ranges, logits, name)
    longest = int(labels.lengths.max()) if n else 0
    return PrunedBatch(RnntBatch(logits, labels, frames, blank, name, begins), longest + 1)


def checked_windows(ranges: Tensor, logits: Tensor, name: str) -> Tensor:
    """(N, T) where the windows begin, on the CPU.

    Raises:
        FsaTypeError: for ranges that are not int64.
        FsaValueError: for ranges that do not fit logits (N, T, S, C), are negative or not
            consecutive.
    """
    check_ranges(ranges, logits.shape[0], logits.shape[1], 2**31, name)
    if ranges.shape[2] != logits.shape[2] or ranges.shape[2] == 0:
        raise FsaValueError(
            f"ranges: must have shape {tuple(logits.shape[:3])}, to fit {name}, and positions to "
            f"keep; got {tuple(ranges.shape)}"
        )
    apart = ranges[:, :, 1:] != ranges[:, :, :-1] + 1
    for place in apart.nonzero()[:1].tolist():
        raise FsaValueError(
            f"ranges: positions must be consecutive, but those of utterance {place[0]}, frame "
            f"{place[1]}, are {ranges[place[0], place[1]].tolist()}; use get_rnnt_prune_ranges"
        )
    return ranges[:, :, 0].to("cpu", copy=True)


def _alignment(
    batch: PrunedBatch, options: RnntOptions, hat: bool, kind: str, *, entropy: bool = True
) -> Alignment:
    """The alignments of checked arguments; zeros may stand for an entropy that is not wanted."""
    options.check()
    lengths = (batch.windows.logit_lengths, batch.windows.targets.lengths)
    grid = (*pruned_planes(batch, options, hat), *lengths, options.rnnt_type)
    fastemit = options.fastemit_lambda
    totals = grid_totals(*grid, entropy=entropy, fastemit_lambda=fastemit)
    return alignment_of_totals(totals, grid, kind, entropy=entropy, fastemit_lambda=fastemit)


def pruned_planes(
    batch: PrunedBatch, options: RnntOptions, hat: bool = False
) -> tuple[Tensor, Tensor]:
    """The scores of blank (N, T, W) and of the next label (N, T, W - 1); -inf outside windows."""
    windows, width = batch.windows, batch.width
    blank, label = logit_planes(hat_windows(windows) if hat else windows, options)
    # What lies beyond the longest transcript goes into a column that is then dropped.
    place = windows.nodes().clamp(max=width).to(blank.device)
    outside = blank.new_full((*blank.shape[:2], width + 1), -torch.inf)
    return (
        outside.scatter(2, place, blank)[:, :, :width],
        outside.scatter(2, place, label)[:, :, : width - 1],
    )


def hat_windows(batch: RnntBatch) -> RnntBatch:
    """The batch with the log-probabilities of HAT for logits; a softmax leaves them as they are."""
    logits, blank = batch.logits, batch.blank
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    outside = ~batch.inside().to(logits.device)
    if bool(outside.any()):  # a NaN there would come back as a gradient of NaN
        logits = logits.masked_fill(outside[..., None], 0.0)
    before, of_blank, after = logits.split([blank, 1, logits.shape[3] - blank - 1], 3)
    labels = torch.cat([before, after], 3).log_softmax(3)
    labels = labels + torch.nn.functional.logsigmoid(-of_blank)
    before, after = labels.split([blank, labels.shape[3] - blank], 3)
    factored = torch.cat([before, torch.nn.functional.logsigmoid(of_blank), after], 3)
    return batch._replace(logits=factored)
