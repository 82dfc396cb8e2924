"""Losses over alignments: likelihood, entropy and divergence."""

from wfst_entropy.losses.alignment import Alignment, AlignmentKL
from wfst_entropy.losses.arc_scores import rnnt_arc_scores
from wfst_entropy.losses.asg import ASGLoss, asg_alignment, asg_loss
from wfst_entropy.losses.consistency import CRCTCLoss, cr_ctc_loss, ctc_consistency
from wfst_entropy.losses.ctc import CTCLoss, ctc_alignment, ctc_loss
from wfst_entropy.losses.ctc_divergence import ctc_alignment_kl
from wfst_entropy.losses.ctc_posterior import ctc_occupancies
from wfst_entropy.losses.ctc_recursion import ctc_semiring
from wfst_entropy.losses.distillation import (
    CTCDistillationLoss,
    RNNTDistillationLoss,
    ctc_distillation_loss,
    rnnt_distillation_loss,
)
from wfst_entropy.losses.fsa import FSALoss, fsa_alignment, fsa_loss
from wfst_entropy.losses.fsa_divergence import fsa_alignment_kl
from wfst_entropy.losses.full_sum import (
    FullSumDistillation,
    ctc_full_sum_distillation,
    full_sum_distillation,
    rnnt_full_sum_distillation,
)
from wfst_entropy.losses.mmi import LFMMILoss, lf_mmi_alignment, lf_mmi_loss
from wfst_entropy.losses.mwer import MWERLoss, lattice_mwer_loss, mwer_loss, sampled_mwer_loss
from wfst_entropy.losses.pruned_soft_distillation import rnnt_pruned_soft_distillation
from wfst_entropy.losses.rnnt import RNNTLoss, rnnt_alignment, rnnt_loss
from wfst_entropy.losses.rnnt_arc_posteriors import RnntArcPosteriors
from wfst_entropy.losses.rnnt_divergence import rnnt_alignment_kl, rnnt_grid_alignment_kl
from wfst_entropy.losses.rnnt_grid import rnnt_grid_alignment
from wfst_entropy.losses.rnnt_posterior import rnnt_emission_posteriors, rnnt_occupancies
from wfst_entropy.losses.rnnt_prune import do_rnnt_pruning, get_rnnt_prune_ranges
from wfst_entropy.losses.rnnt_pruned import (
    PrunedRNNTLoss,
    rnnt_loss_pruned,
    rnnt_pruned_alignment,
    rnnt_pruned_alignment_kl,
)
from wfst_entropy.losses.rnnt_recursion import rnnt_semiring
from wfst_entropy.losses.rnnt_simple import (
    SmoothedRNNTLoss,
    rnnt_loss_simple,
    rnnt_loss_smoothed,
    rnnt_simple_alignment,
)
from wfst_entropy.losses.soft_distillation import (
    CTCSoftDistillation,
    RNNTSoftDistillation,
    ctc_soft_distillation,
    rnnt_soft_distillation,
)

__all__ = [
    "ASGLoss",
    "Alignment",
    "AlignmentKL",
    "CRCTCLoss",
    "CTCDistillationLoss",
    "CTCLoss",
    "CTCSoftDistillation",
    "FSALoss",
    "FullSumDistillation",
    "LFMMILoss",
    "MWERLoss",
    "PrunedRNNTLoss",
    "RNNTDistillationLoss",
    "RNNTLoss",
    "RNNTSoftDistillation",
    "RnntArcPosteriors",
    "SmoothedRNNTLoss",
    "asg_alignment",
    "asg_loss",
    "cr_ctc_loss",
    "ctc_alignment",
    "ctc_alignment_kl",
    "ctc_consistency",
    "ctc_distillation_loss",
    "ctc_full_sum_distillation",
    "ctc_loss",
    "ctc_occupancies",
    "ctc_semiring",
    "ctc_soft_distillation",
    "do_rnnt_pruning",
    "fsa_alignment",
    "fsa_alignment_kl",
    "fsa_loss",
    "full_sum_distillation",
    "get_rnnt_prune_ranges",
    "lattice_mwer_loss",
    "lf_mmi_alignment",
    "lf_mmi_loss",
    "mwer_loss",
    "rnnt_alignment",
    "rnnt_alignment_kl",
    "rnnt_arc_scores",
    "rnnt_distillation_loss",
    "rnnt_emission_posteriors",
    "rnnt_full_sum_distillation",
    "rnnt_grid_alignment",
    "rnnt_grid_alignment_kl",
    "rnnt_loss",
    "rnnt_loss_pruned",
    "rnnt_loss_simple",
    "rnnt_loss_smoothed",
    "rnnt_occupancies",
    "rnnt_pruned_alignment",
    "rnnt_pruned_alignment_kl",
    "rnnt_pruned_soft_distillation",
    "rnnt_semiring",
    "rnnt_simple_alignment",
    "rnnt_soft_distillation",
    "sampled_mwer_loss",
]
