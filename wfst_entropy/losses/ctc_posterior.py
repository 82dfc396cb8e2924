"""How likely a CTC alignment shows each token in each frame."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.fsa import DenseFsaVec, Fsa
from wfst_entropy.losses.ctc_batch import checked_ctc_batch
from wfst_entropy.losses.fsa import fsa_alignment
from wfst_entropy.topologies.ctc import ctc_graph


@eager
def ctc_occupancies(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
) -> Tensor:
    r"""Computes the posterior probability that a frame shows a token of the transcript.

    .. math::
        \gamma_{t,u} = \sum_{\pi:\ \pi_t \text{ is the } u\text{-th token}} p(\pi)

    Two equal tokens are told apart; 1 minus the sum over u is the posterior of the blank, and the
    sum over t is the expected number of frames that the token lasts.

    Args:
        log_probs: (N, T, C), see `ctc_alignment`.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.

    Returns:
        (N, T, U) probabilities without gradient, in the dtype of the scores (float32 for half
        precision); 0 beyond an utterance's frames and labels, and where it has no alignment.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_alignment`.

    Source: Graves et al. 2006, "Connectionist temporal classification", Eq. 14.

    >>> scores = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]]).log()
    >>> ctc_occupancies(scores, torch.tensor([[1]]), [2], [1])    # three paths, 7/8 in all
    tensor([[[0.5714],
             [0.8571]]])
    """
    batch = checked_ctc_batch(log_probs, targets, input_lengths, target_lengths, blank)
    labels = batch.targets.padded(batch.blank)
    scores = batch.log_probs.detach()
    scores = scores if scores.dtype in (torch.float32, torch.float64) else scores.float()
    # symbol u + 1 is the u-th token, so that equal tokens have symbols of their own
    columns = torch.cat([labels.new_full((len(labels), 1), batch.blank), labels], dim=1)
    index = columns.to(scores.device)[:, None, :].expand(-1, scores.shape[1], -1)
    by_place = scores.gather(2, index).requires_grad_()
    sizes = batch.targets.lengths.tolist()
    rows = (labels + 1).tolist()  # a graph's labels are above 0; it only tells equal ones
    graph = ctc_graph([row[:size] for row, size in zip(rows, sizes, strict=True)])
    arcs = graph.arcs.clone()
    emits = arcs[:, 2] > 0
    arcs[emits, 2] = (arcs[emits, 1] + 1) // 2  # states 2 u + 1 show the u-th token
    places = Fsa(graph.shape, arcs).to(scores.device)
    with torch.enable_grad():
        dense = DenseFsaVec.from_lengths(by_place, batch.input_lengths)
        out = fsa_alignment(places, dense)
        total = torch.where(out.valid, out.nll, 0.0).sum()
        (grad,) = torch.autograd.grad(total, by_place)
    return -grad[:, :, 1:]
