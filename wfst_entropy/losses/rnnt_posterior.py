"""How likely an alignment passes through each node of a transducer's lattice, and emits there."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.losses.alignment import check_choice
from wfst_entropy.losses.rnnt_batch import RnntOptions, checked_rnnt_batch
from wfst_entropy.losses.rnnt_grid import rnnt_grid_alignment
from wfst_entropy.losses.rnnt_planes import logit_planes
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES


@eager
def rnnt_occupancies(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    rnnt_type: str = "regular",
    fused_log_softmax: bool = True,
) -> Tensor:
    r"""Computes the posterior probability of every node of a transducer's lattice.

    The probability that an alignment of the transcript passes through node (t, u), which is that of
    the arcs that leave it,

    .. math::
        \gamma_{t,u} = - \frac{\partial\, \mathrm{nll}}{\partial\, \mathrm{blank}_{t,u}}
        - \frac{\partial\, \mathrm{nll}}{\partial\, \mathrm{label}_{t,u}} .

    Args:
        logits: (N, T, U + 1, C), see `rnnt_alignment`.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        fused_log_softmax: whether to normalise the logits.

    Returns:
        (N, T, U + 1) probabilities without gradient, in the dtype of the logits (float32 for half
        precision); 0 beyond an utterance's frames and labels, and where it has no alignment.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment`.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 19.

    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> rnnt_occupancies(logits, torch.tensor([[1]]), [2], [1])     # two paths, 0.224 and 0.24
    tensor([[[1.0000, 0.4828],
             [0.5172, 1.0000]]])
    """
    args = (logits, targets, logit_lengths, target_lengths, blank)
    blank_arcs, label_arcs = _arc_posteriors(*args, RnntOptions(rnnt_type, fused_log_softmax))
    if rnnt_type == "constrained":  # a label arc also costs the blank at the next u
        blank_arcs[:, :, 1:] -= label_arcs
    blank_arcs[:, :, :-1] += label_arcs
    return blank_arcs


@eager
def rnnt_emission_posteriors(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    *,
    rnnt_type: str = "regular",
    fused_log_softmax: bool = True,
) -> Tensor:
    r"""Computes the posterior probability that a transducer emits a label in a frame.

    .. math:: \lambda_{t,u} = - \frac{\partial\, \mathrm{nll}}{\partial\, \mathrm{label}_{t,u}}

    Every alignment emits every label once, so that the sum over t is 1.

    Args:
        logits: (N, T, U + 1, C), see `rnnt_alignment`.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        fused_log_softmax: whether to normalise the logits.

    Returns:
        (N, T, U) probabilities, otherwise as `rnnt_occupancies`.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_alignment`.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 19.

    >>> logits = torch.tensor([[[[0.6, 0.4], [0.7, 0.3]], [[0.5, 0.5], [0.8, 0.2]]]]).log()
    >>> rnnt_emission_posteriors(logits, torch.tensor([[1]]), [2], [1])
    tensor([[[0.4828],
             [0.5172]]])
    """
    args = (logits, targets, logit_lengths, target_lengths, blank)
    return _arc_posteriors(*args, RnntOptions(rnnt_type, fused_log_softmax))[1]


def _arc_posteriors(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int,
    options: RnntOptions,
) -> tuple[Tensor, Tensor]:
    """What the negative log-likelihood loses by each blank (N, T, U + 1) and label (N, T, U)."""
    check_choice("rnnt_type", options.rnnt_type, RNNT_TYPES)
    batch = checked_rnnt_batch(logits, targets, logit_lengths, target_lengths, blank)
    batch = batch._replace(logits=logits.detach())
    blanks, labels = (plane.detach().requires_grad_() for plane in logit_planes(batch, options))
    lengths = (batch.logit_lengths, batch.targets.lengths)
    with torch.enable_grad():
        out = rnnt_grid_alignment(blanks, labels, *lengths, rnnt_type=options.rnnt_type)
        total = torch.where(out.valid, out.nll, 0.0).sum()
    blank_arcs, label_arcs = (-grad for grad in torch.autograd.grad(total, (blanks, labels)))
    return blank_arcs, label_arcs
