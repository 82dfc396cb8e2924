"""Lattice-free MMI: the likelihood of the transcript's graph minus that of all transcripts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    as_lengths,
    check_choice,
    check_number,
    reduce_loss,
)
from wfst_entropy.losses.fsa import fsa_alignment, fsa_loss


@eager
def lf_mmi_alignment(
    numerator: Fsa,
    denominator: Fsa,
    dense: DenseFsaVec,
    kind: str = "conditional",
    target_lengths: Tensor | list[int] | None = None,
    *,
    den_scale: float = 1.0,
) -> Alignment:
    r"""Computes the globally normalised likelihood of each transcript, and its alignments' entropy.

    With the sums :math:`Z_{num}` and :math:`Z_{den}` over the paths of a transcript's graph and of
    the graph of all transcripts,

    .. math::
        \mathrm{nll} = \kappa \log Z_{den} - \log Z_{num}, \qquad
        H_c = -\sum_{\pi \in num} p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z_{num}.

    At :math:`\kappa = 1` that is :math:`-\log P(\mathrm{transcript} \mid \mathrm{audio})`; it is
    never negative where every path of the numerator is one of the denominator. The frame scores
    need no normalisation. The gradient of the nll with respect to the score of a symbol in a frame
    is its posterior in the denominator (times :math:`\kappa`) less that in the numerator.

    Args:
        numerator: a graph for each sequence, such as `mmi_numerator` makes.
        denominator: one graph for all, or one for each, such as `mmi_denominator` makes.
        dense: the frame scores (N, T, C) in nats, with S sequences.
        kind: of the entropy, see `fsa_alignment`.
        target_lengths: (S,) labels of each sequence, which ``"per_label"`` needs.
        den_scale: :math:`\kappa`.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (S,), differentiable in the frame scores and in the
        scores of both graphs. A sequence without a path in the numerator or in the denominator is
        not valid: its nll is +inf, and all its gradients are 0.

    Raises:
        FsaValueError: see `fsa_alignment`.

    Source: Povey et al. 2016, "Purely sequence-trained neural networks for ASR based on
    lattice-free MMI"; the entropy as in `fsa_alignment`.

    >>> from wfst_entropy.topologies import ctc_graph, ctc_topo
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 3, 2), torch.tensor([3]))
    >>> out = lf_mmi_alignment(ctc_graph([[1]]), ctc_topo(1), dense)
    >>> out.nll.exp(), out.entropy.exp()     # 6 of the 8 labellings of three frames
    (tensor([1.3333]), tensor([6.]))
    """
    check_choice("kind", kind, KINDS)
    out = fsa_alignment(numerator, dense, kind, target_lengths)
    nll, valid = _normalised(out.nll, denominator, dense, den_scale)
    return Alignment(nll, torch.where(valid, out.entropy, 0.0), valid)


@eager
def lf_mmi_loss(
    numerator: Fsa,
    denominator: Fsa,
    dense: DenseFsaVec,
    target_lengths: Tensor | list[int] | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
    *,
    den_scale: float = 1.0,
) -> Tensor:
    r"""Computes the LF-MMI loss with the entropy of the numerator's alignments as a regulariser.

    Per sequence :math:`\kappa \log Z_{den} - \log Z_{num} - \mathrm{entropy\_scale} \cdot H`.

    Args:
        numerator: see `lf_mmi_alignment`.
        denominator: see `lf_mmi_alignment`.
        dense: see `lf_mmi_alignment`.
        target_lengths: (S,) labels of each sequence, for ``reduction="mean"`` and
            ``kind="per_label"``.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each sequence's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether a sequence without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy, positive rewards it; 0 computes none.
        kind: see `fsa_alignment`.
        den_scale: :math:`\kappa`, see `lf_mmi_alignment`.

    Returns:
        A scalar, or (S,) for ``reduction="none"``.

    Raises:
        FsaValueError: see `fsa_loss`.

    >>> from wfst_entropy.topologies import ctc_graph, ctc_topo
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 3, 2), torch.tensor([3]))
    >>> lf_mmi_loss(ctc_graph([[1]]), ctc_topo(1), dense, reduction="sum")      # ln 8/6
    tensor(0.2877)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("entropy_scale", entropy_scale)
    counts = dense.lengths
    if target_lengths is not None:
        counts = as_lengths("target_lengths", target_lengths, dense.num_seqs)
    elif reduction == "mean":
        raise FsaValueError(
            'target_lengths: reduction="mean" divides by the number of labels of each sequence; '
            'pass it, or reduction="sum"'
        )
    if entropy_scale == 0:
        nll = fsa_loss(numerator, dense, reduction="none")
        nll, valid = _normalised(nll, denominator, dense, den_scale)
        out = Alignment(nll, torch.zeros_like(nll), valid)
    else:
        out = lf_mmi_alignment(
            numerator, denominator, dense, kind, target_lengths, den_scale=den_scale
        )
    return reduce_loss(
        out,
        counts,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


def _normalised(
    nll: Tensor, denominator: Fsa, dense: DenseFsaVec, den_scale: float
) -> tuple[Tensor, Tensor]:
    """The numerator's nll less that of the denominator, and where both exist."""
    check_number("den_scale", den_scale)
    den = fsa_loss(denominator, dense, reduction="none")
    valid = (nll.detach() < torch.inf) & (den.detach() < torch.inf)
    # Masked before the subtraction, so that no gradient meets inf - inf.
    difference = torch.where(valid, nll, 0.0) - den_scale * torch.where(valid, den, 0.0)
    return torch.where(valid, difference, torch.inf), valid


class LFMMILoss(torch.nn.Module):
    """`lf_mmi_loss` as a module that keeps the denominator graph.

    Args:
        denominator: one graph for all sequences; it follows the frame scores to their device.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether a sequence without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy of the numerator's alignments.
        kind: see `fsa_alignment`.
        den_scale: the weight of the denominator.

    >>> from wfst_entropy.topologies import ctc_graph, ctc_topo
    >>> loss = LFMMILoss(ctc_topo(1), reduction="sum")
    >>> loss(ctc_graph([[1]]), DenseFsaVec.from_lengths(torch.zeros(1, 3, 2), torch.tensor([3])))
    tensor(0.2877)
    """

    def __init__(
        self,
        denominator: Fsa,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
        *,
        den_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        self.denominator = denominator
        self.options: dict[str, Any] = {
            "reduction": reduction,
            "zero_infinity": zero_infinity,
            "entropy_scale": entropy_scale,
            "kind": kind,
            "den_scale": den_scale,
        }

    def forward(
        self,
        numerator: Fsa,
        dense: DenseFsaVec,
        target_lengths: Tensor | list[int] | None = None,
    ) -> Tensor:
        """Returns the loss; the arguments are those of `lf_mmi_loss`."""
        if self.denominator.device != dense.device:
            self.denominator = self.denominator.to(dense.device)
        return lf_mmi_loss(numerator, self.denominator, dense, target_lengths, **self.options)

    def extra_repr(self) -> str:
        """Shows the graph and the options in the module's repr."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.denominator!r}, {options}"
