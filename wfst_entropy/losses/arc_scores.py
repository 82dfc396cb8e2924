"""The scores of the arcs of a transducer's lattice, whole or pruned, to use more than once."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.losses.rnnt_batch import RnntOptions, checked_rnnt_batch
from wfst_entropy.losses.rnnt_planes import logit_planes
from wfst_entropy.losses.rnnt_pruned import checked_pruned, pruned_planes


def rnnt_arc_scores(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    ranges: Tensor | None = None,
    fused_log_softmax: bool = True,
    reuse_logits_for_grads: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Computes the log-probabilities of blank and of the next label at each node.

    With z the logits and y the transcript,

    .. math::
        \log p(\varnothing | t, u) = z_{t,u,\varnothing} - \log \sum_v e^{z_{t,u,v}}, \qquad
        \log p(y_{u+1} | t, u) = z_{t,u,y_{u+1}} - \log \sum_v e^{z_{t,u,v}} .

    That is all that a lattice needs of the logits: `rnnt_grid_alignment` and
    `rnnt_grid_alignment_kl` then give likelihood, entropy and divergence with one reading of the
    logits, and one gradient of their size.

    Args:
        logits: (N, T, U + 1, C), see `rnnt_alignment`; with ranges (N, T, S, C).
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        ranges: (N, T, S) int64, the label positions of a pruned lattice.
        fused_log_softmax: whether to normalise the logits.
        reuse_logits_for_grads: see `rnnt_alignment`; of the whole lattice only.

    Returns:
        The scores of blank (N, T, U + 1) and of labels (N, T, U), in nats, in the dtype of the
        logits (float32 for half precision); -inf outside of windows, 0 beyond an utterance's
        lengths.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment` and `rnnt_pruned_alignment`.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Section 2.4.

    >>> import torch
    >>> from wfst_entropy.losses import rnnt_grid_alignment
    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> blank, label = rnnt_arc_scores(logits, torch.tensor([[1]]), [2], [1])
    >>> label.exp()
    tensor([[[0.4000],
             [0.5000]]])
    >>> rnnt_grid_alignment(blank, label, [2], [1]).nll
    tensor([0.7679])
    """
    args = (targets, logit_lengths, target_lengths, blank)
    options = RnntOptions(
        fused_log_softmax=fused_log_softmax,
        reuse_logits_for_grads=reuse_logits_for_grads and ranges is None,
    )
    if ranges is None:
        batch = checked_rnnt_batch(logits, *args)
        planes = logit_planes(batch, options)
    else:
        pruned = checked_pruned(logits, ranges, *args)
        batch, planes = pruned.windows, pruned_planes(pruned, options)
    return _zero_beyond(planes, batch.logit_lengths, batch.targets.lengths)


def _zero_beyond(
    planes: tuple[Tensor, Tensor], logit_lengths: Tensor, target_lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """The scores of blank and of labels, 0 where there is no such frame or label."""
    blank, label = planes
    frames = torch.arange(blank.shape[1]) >= logit_lengths[:, None]
    after = torch.arange(blank.shape[2]) - target_lengths[:, None]
    no_blank = (frames[:, :, None] | (after > 0)[:, None, :]).to(blank.device)
    no_label = (frames[:, :, None] | (after >= 0)[:, None, : label.shape[2]]).to(blank.device)
    return blank.masked_fill(no_blank, 0.0), label.masked_fill(no_label, 0.0)
