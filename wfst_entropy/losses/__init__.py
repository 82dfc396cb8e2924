"""Losses over alignments: likelihood and entropy."""

from wfst_entropy.losses.alignment import Alignment
from wfst_entropy.losses.ctc import CTCLoss, ctc_alignment, ctc_loss

__all__ = ["Alignment", "CTCLoss", "ctc_alignment", "ctc_loss"]
