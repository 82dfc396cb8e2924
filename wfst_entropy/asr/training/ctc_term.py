"""CTC on graphs, with the entropy of its alignments."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wfst_entropy.asr.data.filters import ctc_min_num_frames
from wfst_entropy.asr.training.loss_terms import BatchOutputs, Term, require_finite
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.warm_up import entropy_scale
from wfst_entropy.fsa import DenseFsaVec
from wfst_entropy.losses.fsa import fsa_alignment
from wfst_entropy.topologies.ctc import ctc_graph


class CtcTerm:
    r"""The CTC loss of a batch: :math:`\lambda (NLL - s H)` for each utterance.

    Each transcript becomes a CTC graph, whose alignments with the head's output are summed by the
    graph engine; ``H`` is the entropy of these alignments.

    Args:
      options: ``ctc_loss_scale``, ``entropy_loss_scale``, ``entropy_kind``, ``entropy_warm_up``.
      alone: Whether there is no transducer; the CTC loss then has the scale 1.

    >>> CtcTerm(TrainOptions(), alone=True).names
    ('ctc_nll', 'ctc_entropy')
    """

    names = ("ctc_nll", "ctc_entropy")

    def __init__(self, options: TrainOptions, alone: bool) -> None:
        self._options = options
        self.scale = 1.0 if alone else options.ctc_loss_scale

    def terms(self, outputs: BatchOutputs) -> list[Term]:
        """NLL and entropy of each utterance, which must have an alignment.

        Raises:
          NotFiniteError: when log-probabilities are NaN.
        """
        log_probs = outputs.ctc_log_probs
        assert log_probs is not None  # the criterion made them
        # -inf is a log-probability like any other
        require_finite(log_probs.detach().clamp(min=-1e30))
        with torch.autocast(log_probs.device.type, enabled=False):
            alignment = fsa_alignment(
                ctc_graph(outputs.utterances.tokens, device=log_probs.device),
                DenseFsaVec.from_lengths(log_probs, outputs.lengths.to(log_probs.device)),
                kind=self._options.entropy_kind.replace("-", "_"),
                target_lengths=outputs.target_lengths,
            )
        of_entropy = -self.scale * entropy_scale(self._options, outputs.step)
        return [
            Term("ctc_nll", self.scale, alignment.nll),
            Term("ctc_entropy", of_entropy, alignment.entropy),
        ]

    def min_num_frames(self, tokens: Sequence[int]) -> int:
        """The fewest output frames over which a transcript has an alignment."""
        return ctc_min_num_frames(tokens)
