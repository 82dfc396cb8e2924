"""The transducer's loss, on the whole lattice or in windows, with the entropy of its alignments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.asr.models.transducer_head import TransducerHead
from wfst_entropy.asr.training.loss_terms import BatchOutputs, Term, require_finite
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.warm_up import delay_penalty, entropy_scale, transducer_scales
from wfst_entropy.losses.alignment import Alignment
from wfst_entropy.losses.arc_scores import rnnt_arc_scores
from wfst_entropy.losses.rnnt_grid import rnnt_grid_alignment
from wfst_entropy.losses.rnnt_prune import do_rnnt_pruning, get_rnnt_prune_ranges
from wfst_entropy.losses.rnnt_simple import rnnt_loss_smoothed


class TransducerTerm:
    r"""The transducer's loss of a batch.

    On the whole lattice (``prune_range`` 0) it is :math:`NLL - s H` for each utterance, with ``H``
    the entropy of the lattice's alignments. In windows of ``prune_range`` label positions it is

    .. math:: w_s \, NLL_{simple} + w_p (NLL_{pruned} - s H_{pruned}),

    where the simple loss has a joiner that adds, whose alignments choose the windows, and the
    entropy is that of the alignments inside the windows, computed with the real joiner. The simple
    lattice only finds windows, so its entropy is left alone. :func:`transducer_scales` gives
    :math:`w_s, w_p`.

    Args:
      options: The scales, ``prune_range``, ``rnnt_type``, ``fastemit_lambda``, ``delay_penalty``.
      reuse_logits: Whether the gradient may overwrite the logits of the whole lattice, the largest
        tensor by far; nothing else may then need them for its own gradient.

    >>> TransducerTerm(TrainOptions(prune_range=5)).names
    ('simple_nll', 'transducer_nll', 'transducer_entropy')
    """

    def __init__(self, options: TrainOptions, reuse_logits: bool = True) -> None:
        self._options = options
        self.reuse_logits = reuse_logits
        main = ("transducer_nll", "transducer_entropy")
        self.names = ("simple_nll", *main) if options.prune_range else main

    def terms(self, head: TransducerHead, outputs: BatchOutputs) -> list[Term]:
        """NLL and entropy of each utterance, which must have an alignment.

        Leaves the logits, the scores of arcs and the windows in ``outputs``.

        Raises:
          NotFiniteError: when the network's output is NaN or infinite.
        """
        label_out = head.predictor(outputs.targets)
        am = head.joiner.encoder_proj(outputs.encoder_out)
        lm = head.joiner.decoder_proj(label_out)
        options, step = self._options, outputs.step
        if options.prune_range:
            simple_nll = self._choose_windows(head, label_out, outputs)
            simple_scale, scale = transducer_scales(options, step)
            terms = [Term("simple_nll", simple_scale, simple_nll)]
        else:
            scale, terms = 1.0, []
        alignment = self._alignment(head, am, lm, outputs)
        of_entropy = -scale * entropy_scale(options, step)
        return [
            *terms,
            Term("transducer_nll", scale, alignment.nll),
            Term("transducer_entropy", of_entropy, alignment.entropy),
        ]

    def _choose_windows(
        self, head: TransducerHead, label_out: Tensor, outputs: BatchOutputs
    ) -> Tensor:
        """Put the windows into the outputs, and return the simple loss ``(N,)``."""
        options = self._options
        am = head.simple_am_proj(outputs.encoder_out)
        lm = head.simple_lm_proj(label_out)
        require_finite(am, lm)
        with torch.autocast(am.device.type, enabled=False):
            nll, posteriors = rnnt_loss_smoothed(
                am.float(),
                lm.float(),
                outputs.targets,
                outputs.lengths,
                outputs.target_lengths,
                reduction="none",
                lm_only_scale=options.lm_scale,
                am_only_scale=options.am_scale,
                rnnt_type=options.rnnt_type,
                delay_penalty=delay_penalty(options, outputs.step),
                fastemit_lambda=options.fastemit_lambda,
                return_arc_posteriors=True,
            )
            outputs.ranges = get_rnnt_prune_ranges(
                posteriors,
                outputs.lengths,
                outputs.target_lengths,
                options.prune_range,
                rnnt_type=options.rnnt_type,
            )
        return nll

    def _alignment(
        self, head: TransducerHead, am: Tensor, lm: Tensor, outputs: BatchOutputs
    ) -> Alignment:
        """Put the joiner's logits and arc scores into the outputs, and return their alignments."""
        options = self._options
        if outputs.ranges is None:
            logits = head.joiner(am.unsqueeze(2), lm.unsqueeze(1))
        else:
            logits = head.joiner(*do_rnnt_pruning(am, lm, outputs.ranges))
        require_finite(logits)
        outputs.logits = logits
        lengths = (outputs.lengths, outputs.target_lengths)
        with torch.autocast(logits.device.type, enabled=False):
            outputs.arc_scores = rnnt_arc_scores(
                logits,
                outputs.targets,
                *lengths,
                ranges=outputs.ranges,
                reuse_logits_for_grads=self.reuse_logits,
            )
            return rnnt_grid_alignment(
                *outputs.arc_scores,
                *lengths,
                kind=options.entropy_kind.replace("-", "_"),
                rnnt_type=options.rnnt_type,
                delay_penalty=delay_penalty(options, outputs.step),
                fastemit_lambda=options.fastemit_lambda,
            )

    def min_num_frames(self, tokens: Sequence[int]) -> int:
        """The fewest output frames over which a transcript has an alignment.

        In the modified and constrained lattices each frame takes one label at most. In the regular
        one a frame takes any number; in windows of S positions up to S - 1, as the next frame's
        begins with the last of this one's.
        """
        options = self._options
        if options.rnnt_type != "regular":
            return max(1, len(tokens))
        return max(1, -(-len(tokens) // (options.prune_range - 1))) if options.prune_range else 1
