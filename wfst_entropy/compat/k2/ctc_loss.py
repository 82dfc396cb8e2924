"""k2's CTC loss, on any graph."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from wfst_entropy.compat.k2.autograd import intersect_dense
from wfst_entropy.compat.k2.dense_fsa_vec import DenseFsaVec
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

Reduction = Literal["none", "mean", "sum"]


class CtcLoss(nn.Module):
    """Minus the log probability of all alignments of a graph.

    Args:
      output_beam: arcs that are only on paths so many nats behind the best one are left out.
      reduction: `"none"`, `"sum"`, or `"mean"`: divide by the target lengths, then average.
      use_double_scores: whether to add up in float64; the loss is float32 either way.

    Example:
      >>> from wfst_entropy.compat import k2
      >>> segments = torch.tensor([[0, 0, 2]], dtype=torch.int32)
      >>> dense = DenseFsaVec(torch.zeros(1, 2, 2).log_softmax(-1), segments)
      >>> CtcLoss(output_beam=10)(k2.ctc_graph([[1]]), dense)
      tensor(0.2877)
    """

    def __init__(
        self, output_beam: float, reduction: Reduction = "sum", use_double_scores: bool = True
    ) -> None:
        super().__init__()
        if reduction not in ("none", "mean", "sum"):
            raise FsaValueError(f"reduction: must be 'none', 'mean' or 'sum', got {reduction!r}.")
        self.output_beam = output_beam
        self.reduction = reduction
        self.use_double_scores = use_double_scores

    def forward(
        self,
        decoding_graph: Fsa,
        dense_fsa_vec: DenseFsaVec,
        delay_penalty: float = 0.0,
        target_lengths: Tensor | None = None,
    ) -> Tensor:
        """The loss.

        Args:
          decoding_graph: one graph for each segment.
          dense_fsa_vec: frame scores.
          delay_penalty: above 0, each arc that puts a token out loses as many nats as this times
            its distance, in frames, from the middle of the segment: early tokens are rewarded.
          target_lengths: `(S,)`, for the reduction `"mean"`.
        """
        penalised = delay_penalty > 0
        lattice = intersect_dense(
            decoding_graph,
            dense_fsa_vec,
            self.output_beam,
            frame_idx_name="frame_idx" if penalised else None,
        )
        if penalised:
            lattice.scores = lattice.scores - delay_penalty * _delay(lattice, dense_fsa_vec)
        total = lattice.get_tot_scores(self.use_double_scores, log_semiring=True)
        loss = (-total).to(torch.float32)
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return loss.sum()
        if target_lengths is None:
            raise FsaValueError("target_lengths: needed for the reduction 'mean'.")
        return (loss / target_lengths.to(loss.device)).mean()


def _delay(lattice: Fsa, dense: DenseFsaVec) -> Tensor:
    """How many frames after the middle each arc with a new token is; 0 on all others."""
    segment = lattice.arcs.vector_shape().row_ids(1)[lattice.arcs.vector_shape().row_ids(2)]
    middle = (dense.duration // 2).to(lattice.device)[segment]
    repeats = getattr(lattice, "_is_repeat_token_", None)
    if repeats is not None:
        silent = (lattice.labels <= 0) | repeats
    elif isinstance(getattr(lattice, "aux_labels", None), Tensor):
        silent = lattice.aux_labels <= 0
    else:
        raise FsaTypeError(
            "delay_penalty: the graph needs aux_labels that are a tensor, or the bool attribute "
            "_is_repeat_token_, to tell new tokens from repeated ones."
        )
    return (lattice.frame_idx - middle).to(torch.float32).masked_fill(silent, 0.0)


def ctc_loss(
    decoding_graph: Fsa,
    dense_fsa_vec: DenseFsaVec,
    output_beam: float = 10,
    delay_penalty: float = 0.0,
    reduction: Reduction = "sum",
    use_double_scores: bool = True,
    target_lengths: Tensor | None = None,
) -> Tensor:
    """`CtcLoss` as a function."""
    loss = CtcLoss(output_beam, reduction, use_double_scores)
    return loss(decoding_graph, dense_fsa_vec, delay_penalty, target_lengths)
