"""Losses over alignments: likelihood, entropy and divergence."""

from wfst_entropy.losses.alignment import Alignment, AlignmentKL
from wfst_entropy.losses.ctc import CTCLoss, ctc_alignment, ctc_loss
from wfst_entropy.losses.ctc_divergence import ctc_alignment_kl
from wfst_entropy.losses.ctc_recursion import ctc_semiring
from wfst_entropy.losses.distillation import ctc_distillation_loss, rnnt_distillation_loss
from wfst_entropy.losses.fsa import fsa_alignment, fsa_loss
from wfst_entropy.losses.fsa_divergence import fsa_alignment_kl
from wfst_entropy.losses.rnnt import RNNTLoss, rnnt_alignment, rnnt_loss
from wfst_entropy.losses.rnnt_divergence import rnnt_alignment_kl, rnnt_grid_alignment_kl
from wfst_entropy.losses.rnnt_grid import rnnt_grid_alignment
from wfst_entropy.losses.rnnt_recursion import rnnt_semiring

__all__ = [
    "Alignment",
    "AlignmentKL",
    "CTCLoss",
    "RNNTLoss",
    "ctc_alignment",
    "ctc_alignment_kl",
    "ctc_distillation_loss",
    "ctc_loss",
    "ctc_semiring",
    "fsa_alignment",
    "fsa_alignment_kl",
    "fsa_loss",
    "rnnt_alignment",
    "rnnt_alignment_kl",
    "rnnt_distillation_loss",
    "rnnt_grid_alignment",
    "rnnt_grid_alignment_kl",
    "rnnt_loss",
    "rnnt_semiring",
]
