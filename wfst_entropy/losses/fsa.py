"""Likelihood and entropy of the alignments of any graphs against frame scores."""

from __future__ import annotations

import torch
from torch import Tensor

import wfst_entropy._native as _native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms._intersect_dense_kernel import kernel_totals
from wfst_entropy.algorithms.dense_pairing import check_graph
from wfst_entropy.algorithms.intersect_dense import models_tot_scores
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    as_lengths,
    check_choice,
    check_number,
    entropy_of_kind,
    reduce_loss,
    zero_of,
)
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.semirings import ConditionalEntropySemiring


@eager
def fsa_alignment(
    graph: Fsa,
    dense: DenseFsaVec,
    kind: str = "conditional",
    target_lengths: Tensor | list[int] | None = None,
) -> Alignment:
    r"""Computes the total of all alignments of graphs to frame scores, and their entropy.

    A path :math:`\pi` of a graph takes one arc per frame and one into the final state, with
    :math:`w(\pi) = \sum_t (w(a_t) + x_{t, \mathrm{label}(a_t)})`:

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    Paths are what is counted: two paths with the same labels are two alignments. On the CPU a C++
    kernel computes in the dtype of the frame scores and can be differentiated once; elsewhere, and
    inside ``_native.disabled()``, torch computes in float64 and can be differentiated twice. No
    lattice is built.

    Args:
        graph: one FSA (or a vector of one) shared by all sequences, or one FSA for each; label 0
            is the blank and consumes a frame like any other.
        dense: the frame scores (N, T, C) in nats, with S sequences. They need not be normalised.
        kind: the entropy wanted: ``"conditional"`` (:math:`H_c`), ``"raw"``
            (:math:`-\sum_\pi e^{w(\pi)} w(\pi) = Z (H_c - \log Z)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`H_c` divided by the number of frames or of labels).
        target_lengths: (S,) labels of each sequence, which ``"per_label"`` needs.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (S,), the first two in nats, in the dtype of the
        frame scores, and differentiable in these and in ``graph.scores``.

    Raises:
        FsaValueError: a graph does not fit the frame scores (see `intersect_dense`), or a score
            that is read is NaN or above 2**26; it names the place. Also for a raw entropy that
            overflows.

    Source: the "Entropy semirings" paper (arXiv 2312.10087), Section 4, for entropies of lattices;
    here in conditional form.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 4, 2), torch.tensor([4]))
    >>> fsa_alignment(graph, dense).entropy     # four paths of equal weight: ln 4
    tensor([1.3863])
    """
    check_choice("kind", kind, KINDS)
    return _alignment(graph, dense, kind, target_lengths)


def _alignment(
    graph: Fsa,
    dense: DenseFsaVec,
    kind: str,
    target_lengths: Tensor | list[int] | None,
    entropy_wanted: bool = True,
) -> Alignment:
    check_graph(graph, dense)
    lengths = dense.lengths
    if target_lengths is not None:
        labels = as_lengths("target_lengths", target_lengths, dense.num_seqs)
    elif kind == "per_label":
        raise FsaValueError(
            'target_lengths: kind="per_label" needs the number of labels of each sequence'
        )
    else:
        labels = lengths
    if _native.can_run(dense.scores):
        nll, entropy, valid = kernel_totals(graph, dense, "dense", entropy=entropy_wanted)
    else:
        semiring = ConditionalEntropySemiring()
        precise = dense.scores.dtype if dense.device.type == "mps" else torch.float64
        mass, entropy = models_tot_scores(((graph, dense),), semiring, precise, ("dense",))
        nothing = zero_of(dense.scores)
        nll, entropy = nothing - mass.to(dense.dtype), nothing + entropy.to(dense.dtype)
        valid = nll.detach() < torch.inf
    if entropy_wanted:
        entropy = entropy_of_kind(kind, nll, entropy, lengths, labels)
    return Alignment(nll, entropy, valid)


@eager
def fsa_loss(
    graph: Fsa,
    dense: DenseFsaVec,
    target_lengths: Tensor | list[int] | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
) -> Tensor:
    r"""Computes ``nll - entropy_scale * entropy`` of graphs against frame scores.

    With `ctc_graph` graphs this is `ctc_loss`. A positive scale rewards entropy.

    Args:
        graph: see `fsa_alignment`.
        dense: see `fsa_alignment`.
        target_lengths: (S,) labels of each sequence, for ``reduction="mean"`` and
            ``kind="per_label"``.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each sequence's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether a sequence without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy; 0 computes the likelihood alone.
        kind: see `fsa_alignment`.

    Returns:
        A scalar, or (S,) for ``reduction="none"``.

    Raises:
        FsaValueError: see `fsa_alignment`, and for missing ``target_lengths`` or the mean of an
            empty batch.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 4, 2), torch.tensor([4]))
    >>> fsa_loss(graph, dense, reduction="sum", entropy_scale=0.5)     # -1.5 ln 4
    tensor(-2.0794)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    check_number("entropy_scale", entropy_scale)
    alignment = _alignment(graph, dense, kind, target_lengths, entropy_scale != 0)
    if target_lengths is not None:
        counts = as_lengths("target_lengths", target_lengths, dense.num_seqs)
    elif reduction == "mean":
        raise FsaValueError(
            'target_lengths: reduction="mean" divides by the number of labels of each sequence; '
            'pass it, or reduction="sum"'
        )
    else:
        counts = dense.lengths
    return reduce_loss(
        alignment,
        counts,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


class FSALoss(LossModule):
    r"""`fsa_loss` as a module.

    Args:
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether a sequence without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `fsa_alignment`.

    >>> graph = Fsa.from_str("0 0 0 0\n0 1 1 0\n1 1 1 0\n1 2 -1 0\n2")
    >>> dense = DenseFsaVec.from_lengths(torch.zeros(1, 4, 2), torch.tensor([4]))
    >>> FSALoss(reduction="sum", entropy_scale=0.5)(graph, dense)      # -1.5 ln 4
    tensor(-2.0794)
    """

    def __init__(
        self,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
    ) -> None:
        super().__init__(
            reduction=reduction,
            zero_infinity=zero_infinity,
            entropy_scale=entropy_scale,
            kind=kind,
        )
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)

    def forward(
        self,
        graph: Fsa,
        dense: DenseFsaVec,
        target_lengths: Tensor | list[int] | None = None,
    ) -> Tensor:
        """Returns the loss; the arguments are those of `fsa_loss`."""
        return fsa_loss(graph, dense, target_lengths, **self.options)
