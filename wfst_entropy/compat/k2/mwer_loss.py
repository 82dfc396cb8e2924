"""k2's minimum word error rate loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.compat.k2.ctc_loss import Reduction
from wfst_entropy.compat.k2.fsa import Fsa
from wfst_entropy.compat.k2.graphs import levenshtein_graph
from wfst_entropy.compat.k2.nbest import Nbest
from wfst_entropy.compat.k2.paths import levenshtein_alignment
from wfst_entropy.compat.k2.ragged import RaggedTensor
from wfst_entropy.fsa.errors import FsaValueError


class MWERLoss(torch.nn.Module):
    r"""The expected number of word errors of sampled paths.

    :math:`\sum_\pi \frac{p(\pi)^{1/\tau}}{\sum_{\pi'} p(\pi')^{1/\tau}} \mathrm{errors}(\pi)`, over
    the paths of an n-best list; `wfst_entropy.expected_edit_counts` takes all paths of a lattice.

    Args:
      temperature: :math:`\tau`, by which the log scores of paths are divided.
      use_double_scores: whether to sample and to count errors in float64.
      reduction: `"sum"` over all paths, `"mean"` over them, or `"none"`: ragged `[utt][path]`.

    Source: Prabhavalkar et al. 2018, "Minimum word error rate training for attention-based
    sequence-to-sequence models".
    """

    def __init__(
        self,
        temperature: float = 1.0,
        use_double_scores: bool = True,
        reduction: Reduction = "sum",
    ) -> None:
        super().__init__()
        if reduction not in ("none", "mean", "sum"):
            raise FsaValueError(f"reduction: must be 'none', 'mean' or 'sum', got {reduction!r}.")
        self.temperature = temperature
        self.use_double_scores = use_double_scores
        self.reduction = reduction

    def forward(
        self,
        lattice: Fsa,
        ref_texts: Sequence[Sequence[int]] | RaggedTensor,
        nbest_scale: float,
        num_paths: int,
    ) -> Tensor | RaggedTensor:
        """The loss.

        Args:
          lattice: a vector, one for each utterance, with words as `aux_labels`.
          ref_texts: the words of each utterance.
          nbest_scale: see `Nbest.from_lattice`.
          num_paths: how many paths to sample for each utterance.
        """
        nbest = Nbest.from_lattice(lattice, num_paths, self.use_double_scores, nbest_scale)
        hyps = nbest.build_levenshtein_graphs()
        if isinstance(ref_texts, RaggedTensor):
            refs = levenshtein_graph(ref_texts.to(hyps.device))
        else:
            refs = levenshtein_graph(ref_texts, device=hyps.device)
        alignment = levenshtein_alignment(refs, hyps, nbest.shape.row_ids(1), True)
        errors = -alignment.get_tot_scores(self.use_double_scores, log_semiring=False)
        assert nbest.kept_path is not None
        log_probs = RaggedTensor(nbest.kept_path.shape, nbest.fsa.scores).sum()
        per_path = RaggedTensor(nbest.shape, log_probs / self.temperature)
        losses = per_path.normalize(use_log=True).values.exp() * errors.to(log_probs.device)
        if self.reduction == "none":
            return RaggedTensor(nbest.shape, losses)
        return losses.sum() if self.reduction == "sum" else losses.mean()


def mwer_loss(
    lattice: Fsa,
    ref_texts: Sequence[Sequence[int]] | RaggedTensor,
    nbest_scale: float = 0.5,
    num_paths: int = 200,
    temperature: float = 1.0,
    use_double_scores: bool = True,
    reduction: Reduction = "sum",
) -> Tensor | RaggedTensor:
    """`MWERLoss` as a function."""
    loss = MWERLoss(temperature, use_double_scores, reduction)
    return loss(lattice, ref_texts, nbest_scale, num_paths)
