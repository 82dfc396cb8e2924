"""Likelihood and entropy of a transducer's lattice, given the scores of its arcs."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.losses.alignment import (
    KINDS,
    Alignment,
    as_lengths,
    check_choice,
    entropy_of_kind,
)
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES, checked_grid, rnnt_recursion
from wfst_entropy.semirings import ConditionalEntropySemiring


def rnnt_grid_alignment(
    blank_scores: Tensor,
    label_scores: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    kind: str = "conditional",
    *,
    rnnt_type: str = "regular",
) -> Alignment:
    r"""Computes likelihood and alignment entropy from the (blank, label) planes of a transducer.

    The lattice and its types are those of `rnnt_semiring`; with :math:`w(\pi)` the sum of the
    scores on a path,

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    Args:
        blank_scores: (N, T, U + 1) log-weights of the blank at each node, in nats, float32 or
            float64 (half precision is computed, and returned, in float32). They need not be
            normalised; -inf and masks below -2**26 mean "never".
        label_scores: (N, T, U) or (N, T, U + 1) log-weights of the next label at each node.
        logit_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        kind: see `ctc_alignment`.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), the first two in nats and in the dtype of the
        scores. Scores beyond an utterance's frames and labels are neither read nor given a
        gradient.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_semiring`. Also for a raw entropy that overflows.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 16, for the
    likelihood; "Entropy semirings" (arXiv 2312.10087), Section 4, for the entropy.

    >>> blank = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]]).log()
    >>> label = torch.tensor([[[0.4], [0.5]]]).log()
    >>> out = rnnt_grid_alignment(blank, label, [2], [1])      # two paths
    >>> [round(float(field), 4) for field in out]
    [0.7679, 0.6926, 1.0]
    """
    check_choice("kind", kind, KINDS)
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    n, num_frames, width = checked_grid(blank_scores, label_scores)
    frames = as_lengths("logit_lengths", logit_lengths, n, num_frames, "frames of blank_scores")
    labels = as_lengths("target_lengths", target_lengths, n, width - 1, "labels of blank_scores")
    if blank_scores.dtype not in (torch.float32, torch.float64):
        blank_scores = blank_scores.float()
    label_scores = label_scores.to(blank_scores.dtype)
    nll, entropy, valid = grid_totals(blank_scores, label_scores, frames, labels, rnnt_type)
    return Alignment(nll, entropy_of_kind(kind, nll, entropy, frames, labels), valid)


def grid_totals(
    blank_scores: Tensor, label_scores: Tensor, frames: Tensor, labels: Tensor, rnnt_type: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The nll, the conditional entropy and validity of checked planes.

    Args:
        blank_scores: (N, T, U + 1), float32 or float64.
        label_scores: (N, T, U) or (N, T, U + 1), likewise.
        frames: (N,) int64 on the CPU.
        labels: likewise.
        rnnt_type: see `rnnt_semiring`.
    """
    dtype, device = blank_scores.dtype, blank_scores.device
    precise = dtype if device.type == "mps" else torch.float64  # mps has no float64
    mass, entropy = rnnt_recursion(
        blank_scores.to(precise),
        label_scores.to(precise),
        frames.to(device),
        labels.to(device),
        ConditionalEntropySemiring(),
        rnnt_type,
    )
    nll = -mass.to(dtype)
    return nll, entropy.to(dtype), nll.detach() < torch.inf
