"""RNN-T with a joiner that adds: likelihood, entropy, smoothing, and where alignments pass."""

from __future__ import annotations

from typing import Literal, NamedTuple, overload

from torch import Tensor

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    check_choice,
    check_number,
    reduce_loss,
)
from wfst_entropy.losses.am_lm_planes import AmLmBatch, Smoothing, am_lm_planes, checked_am_lm
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.rnnt_arc_posteriors import RnntArcPosteriors, grid_totals_and_posteriors
from wfst_entropy.losses.rnnt_grid import alignment_of_totals, grid_totals
from wfst_entropy.losses.rnnt_planes import delay_offsets
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES


def rnnt_simple_alignment(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    kind: str = "conditional",
    *,
    lm_only_scale: float = 0.0,
    am_only_scale: float = 0.0,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    fastemit_lambda: float = 0.0,
) -> Alignment:
    r"""Computes likelihood and alignment entropy of a transducer whose joiner adds two networks.

    The score of symbol y at node (t, u) interpolates three log-probabilities,

    .. math::
        (1 - s_l - s_a) \log p(y | t, u) + s_l \log p_{lm}(y | u) + s_a \log p_{am}(y | t), \quad
        p(y | t, u) \propto e^{a_{ty} + l_{uy}}, \; p_{lm} \propto e^{l_{uy}}, \;
        p_{am} \propto e^{a_{ty}} \bar q_y ,

    with :math:`\bar q` the mean of :math:`p_{lm}` over all positions of the batch. No tensor
    (N, T, U + 1, C) is made: the normaliser is a product of matrices. See `rnnt_alignment` for the
    lattice, the likelihood and the entropy.

    Args:
        am: (N, T, C) acoustic part of the logits, any floating dtype. It is computed in float32
            (float64 if am or lm is), under autocast too.
        lm: (N, U + 1, C) label part: position u has seen u labels.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated; integers other than blank.
        logit_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        blank: the blank symbol.
        kind: see `ctc_alignment`.
        lm_only_scale: :math:`s_l`, the share of the label network alone.
        am_only_scale: :math:`s_a`, the share of the acoustic network alone.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        delay_penalty: see `rnnt_alignment`.
        fastemit_lambda: see `rnnt_alignment`.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), in nats. Scores beyond an utterance's frames
        and labels are neither read nor given a gradient.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths, labels or scales, and for scores that make that
            of a node NaN or larger than 2**26; it names the utterance and the node.

    Source: Kuang et al. 2022, "Pruned RNN-T" (arXiv 2206.13236), Sections 3.1 and 4. k2 also
    counts padding in the mean label distribution.

    >>> import torch
    >>> out = rnnt_simple_alignment(
    ...     torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.tensor([[1]]), [2], [1]
    ... )                                        # two paths, each of three arcs with 1/2
    >>> [round(float(field), 4) for field in out]
    [1.3863, 0.6931, 1.0]
    """
    check_choice("kind", kind, KINDS)
    batch = checked_am_lm(am, lm, targets, logit_lengths, target_lengths, blank)
    options = SimpleOptions(
        _smoothing(lm_only_scale, am_only_scale), rnnt_type, delay_penalty, fastemit_lambda
    )
    alignment, _ = simple_alignment(batch, options, kind)
    return alignment


def rnnt_loss_simple(
    am: Tensor,
    lm: Tensor,
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
    delay_penalty: float = 0.0,
    fastemit_lambda: float = 0.0,
) -> Tensor:
    r"""Computes the RNN-T loss of a joiner that adds, with the alignments' entropy as regulariser.

    Per utterance :math:`\mathrm{nll} - \mathrm{entropy\_scale} \cdot H`. It is
    `rnnt_loss_smoothed` with both scales 0.

    Args:
        am: (N, T, C) acoustic part of the logits, see `rnnt_simple_alignment`.
        lm: (N, U + 1, C) label part.
        targets: (N, U) or (sum of target_lengths,).
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: see `rnnt_loss`.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        delay_penalty: see `rnnt_alignment`.
        fastemit_lambda: see `rnnt_alignment`.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_simple_alignment`, `rnnt_loss`.

    Source: Kuang et al. 2022, "Pruned RNN-T" (arXiv 2206.13236), Section 3.1.

    >>> import torch
    >>> zeros = torch.zeros(1, 2, 2)
    >>> rnnt_loss_simple(zeros, zeros, torch.tensor([[1]]), [2], [1])   # 2 paths of 3 arcs of 1/2
    tensor(1.3863)
    """
    return rnnt_loss_smoothed(
        am,
        lm,
        targets,
        logit_lengths,
        target_lengths,
        blank,
        reduction,
        zero_infinity,
        entropy_scale,
        kind,
        lm_only_scale=0.0,
        am_only_scale=0.0,
        rnnt_type=rnnt_type,
        delay_penalty=delay_penalty,
        fastemit_lambda=fastemit_lambda,
    )


@overload
def rnnt_loss_smoothed(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = ...,
    reduction: str = ...,
    zero_infinity: bool = ...,
    entropy_scale: float = ...,
    kind: str = ...,
    *,
    lm_only_scale: float = ...,
    am_only_scale: float = ...,
    rnnt_type: str = ...,
    delay_penalty: float = ...,
    fastemit_lambda: float = ...,
    return_arc_posteriors: Literal[False] = ...,
) -> Tensor: ...


@overload
def rnnt_loss_smoothed(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = ...,
    reduction: str = ...,
    zero_infinity: bool = ...,
    entropy_scale: float = ...,
    kind: str = ...,
    *,
    lm_only_scale: float = ...,
    am_only_scale: float = ...,
    rnnt_type: str = ...,
    delay_penalty: float = ...,
    fastemit_lambda: float = ...,
    return_arc_posteriors: Literal[True],
) -> tuple[Tensor, RnntArcPosteriors]: ...


def rnnt_loss_smoothed(
    am: Tensor,
    lm: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
    *,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    fastemit_lambda: float = 0.0,
    return_arc_posteriors: bool = False,
) -> Tensor | tuple[Tensor, RnntArcPosteriors]:
    r"""Computes the loss of `rnnt_loss_simple` with smoothed scores, as training with pruning does.

    A joiner that adds is a crude model; mixing in the probabilities of either network alone (see
    `rnnt_simple_alignment`) keeps its alignments, which decide what is pruned, from being sharp
    and wrong.

    Args:
        am: (N, T, C) acoustic part of the logits.
        lm: (N, U + 1, C) label part.
        targets: (N, U) or (sum of target_lengths,).
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: see `rnnt_loss`.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        lm_only_scale: the share of the label network alone.
        am_only_scale: the share of the acoustic network alone.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        delay_penalty: see `rnnt_alignment`.
        fastemit_lambda: see `rnnt_alignment`.
        return_arc_posteriors: whether to return, beside the loss, how probable each arc is: what
            `get_rnnt_prune_ranges` asks for. They have no gradient.

    Returns:
        A scalar, or (N,) for ``reduction="none"``; with ``return_arc_posteriors`` a pair of it and
        `RnntArcPosteriors`.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_simple_alignment`, `rnnt_loss`.

    Source: Kuang et al. 2022, "Pruned RNN-T" (arXiv 2206.13236), Sections 3.1, 3.2 and 4.

    >>> import torch
    >>> zeros, targets = torch.zeros(1, 2, 2), torch.tensor([[1]])
    >>> loss, posteriors = rnnt_loss_smoothed(
    ...     zeros, zeros, targets, [2], [1], return_arc_posteriors=True
    ... )
    >>> loss
    tensor(1.3863)
    >>> posteriors.label                # the label comes in either frame, with 1/2
    tensor([[[0.5000],
             [0.5000]]])
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("entropy_scale", entropy_scale)
    batch = checked_am_lm(am, lm, targets, logit_lengths, target_lengths, blank)
    options = SimpleOptions(
        _smoothing(lm_only_scale, am_only_scale), rnnt_type, delay_penalty, fastemit_lambda
    )
    alignment, posteriors = simple_alignment(
        batch, options, kind, entropy=entropy_scale != 0, with_posteriors=return_arc_posteriors
    )
    loss = reduce_loss(
        alignment,
        batch.targets.lengths,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )
    return loss if posteriors is None else (loss, posteriors)


class SimpleOptions(NamedTuple):
    """What happens to the scores of arcs between am and lm and the lattice."""

    smoothing: Smoothing = Smoothing()
    rnnt_type: str = "regular"
    delay_penalty: float = 0.0
    fastemit_lambda: float = 0.0


def _smoothing(lm_only_scale: float, am_only_scale: float) -> Smoothing:
    for name, scale in (("lm_only_scale", lm_only_scale), ("am_only_scale", am_only_scale)):
        if not 0 <= scale <= 1:
            raise FsaValueError(f"{name}: must be a share in 0..1, got {scale}")
    if lm_only_scale + am_only_scale > 1:
        raise FsaValueError(
            f"lm_only_scale and am_only_scale: are shares of one whole, and must not add up to "
            f"more than 1, got {lm_only_scale} and {am_only_scale}"
        )
    return Smoothing(lm_only_scale, am_only_scale)


def simple_alignment(
    batch: AmLmBatch,
    options: SimpleOptions,
    kind: str,
    *,
    entropy: bool = True,
    with_posteriors: bool = False,
) -> tuple[Alignment, RnntArcPosteriors | None]:
    """The alignments of checked arguments, and the posteriors of their arcs if wanted.

    If ``entropy`` is false, zeros may stand in its place.
    """
    check_choice("rnnt_type", options.rnnt_type, RNNT_TYPES)
    check_number("delay_penalty", options.delay_penalty)
    check_number("fastemit_lambda", options.fastemit_lambda)
    lengths = (batch.logit_lengths, batch.targets.lengths)
    blank, label = am_lm_planes(batch, options.smoothing)
    if options.delay_penalty != 0:
        offsets = delay_offsets(batch.logit_lengths, label.shape[1], options.delay_penalty)
        label = label + offsets.to(label)
    grid = (blank, label, *lengths, options.rnnt_type)
    fastemit = options.fastemit_lambda
    posteriors = None
    if with_posteriors:
        totals, posteriors = grid_totals_and_posteriors(
            *grid, entropy=entropy, fastemit_lambda=fastemit
        )
    else:
        totals = grid_totals(*grid, entropy=entropy, fastemit_lambda=fastemit)
    out = alignment_of_totals(totals, grid, kind, entropy=entropy, fastemit_lambda=fastemit)
    return out, posteriors


class SmoothedRNNTLoss(LossModule):
    """`rnnt_loss_smoothed` as a module; scales of zero make it `rnnt_loss_simple`.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.
        lm_only_scale: see `rnnt_simple_alignment`, as the following.
        am_only_scale: of the probabilities of the encoder alone.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        delay_penalty: rewards early labels.
        fastemit_lambda: scales the gradient of label arcs.

    >>> import torch
    >>> loss = SmoothedRNNTLoss(reduction="sum")
    >>> am, lm = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    >>> loss(am, lm, torch.tensor([[1]]), [2], [1])     # 2 paths of 3 arcs of 1/2
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
        lm_only_scale: float = 0.1,
        am_only_scale: float = 0.1,
        rnnt_type: str = "regular",
        delay_penalty: float = 0.0,
        fastemit_lambda: float = 0.0,
    ) -> None:
        super().__init__(
            blank=blank,
            reduction=reduction,
            zero_infinity=zero_infinity,
            entropy_scale=entropy_scale,
            kind=kind,
            lm_only_scale=lm_only_scale,
            am_only_scale=am_only_scale,
            rnnt_type=rnnt_type,
            delay_penalty=delay_penalty,
            fastemit_lambda=fastemit_lambda,
        )
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("rnnt_type", rnnt_type, RNNT_TYPES)

    def forward(
        self,
        am: Tensor,
        lm: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `rnnt_loss_smoothed`."""
        batch = (am, lm, targets, logit_lengths, target_lengths)
        loss: Tensor = rnnt_loss_smoothed(*batch, **self.options)
        return loss
