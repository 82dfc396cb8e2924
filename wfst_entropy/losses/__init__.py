"""Losses over alignments: likelihood and entropy."""

from wfst_entropy.losses.alignment import Alignment
from wfst_entropy.losses.ctc import CTCLoss, ctc_alignment, ctc_loss
from wfst_entropy.losses.fsa import fsa_alignment, fsa_loss

__all__ = ["Alignment", "CTCLoss", "ctc_alignment", "ctc_loss", "fsa_alignment", "fsa_loss"]
