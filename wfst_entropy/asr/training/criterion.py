"""The training loss: the weighted sum of the terms of all heads of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from wfst_entropy.asr.data.utterances import Utterances
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.options import OptionError
from wfst_entropy.asr.training.ctc_term import CtcTerm
from wfst_entropy.asr.training.loss_terms import (
    BatchOutputs,
    NotFiniteError,
    Term,
    trained_heads,
)
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.asr.training.transducer_term import TransducerTerm

# Options of the loss whose defaults change nothing; a CTC head has no use for another value.
_OF_TRANSDUCERS = ("rnnt_type", "fastemit_lambda", "delay_penalty")


@dataclasses.dataclass
class LossSums:
    """Sums over the utterances of a batch that have an alignment.

    Args:
      loss: Sum of the losses, a scalar that carries the gradient.
      terms: Sums of the terms by name, before their scales; nats.
      num_frames: Output frames of these utterances.
      num_utterances: How many these are.
      not_finite: Utterances whose loss is NaN or infinite, by their position in the batch; when
        there are any, nothing else is of use.
      excluded: What was left out, and why: ``{name (duration): reason}``.
      notes: What else happened, for the log.

    >>> LossSums(torch.tensor(0.0)).not_finite
    []
    """

    loss: Tensor
    terms: dict[str, float] = dataclasses.field(default_factory=dict)
    num_frames: int = 0
    num_utterances: int = 0
    not_finite: list[int] = dataclasses.field(default_factory=list)
    excluded: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


class ExtraTerms(Protocol):
    """What adds terms to the loss beside those of the transcripts, such as distillation.

    Attributes:
      names: Of all terms that may come; each process needs the same, whatever its utterances.
      keeps_logits: Whether the terms' gradients read ``BatchOutputs.logits``, which otherwise may
        be overwritten by their gradient to save memory.
    """

    names: tuple[str, ...]
    keeps_logits: bool

    def terms(
        self, base: Sequence[Term], outputs: BatchOutputs, criterion: TrainingCriterion
    ) -> list[Term]:
        """The criterion's own terms, maybe with other scales, and further ones.

        Called once for each batch.

        Raises:
          NotFiniteError: when the network's output for some utterances is of no use.
        """
        ...


class TrainingCriterion(nn.Module):
    r"""The loss of a batch: the sum over utterances of all terms with their scales.

    .. math::
        \lambda_{ctc} (NLL_{ctc} - s H_{ctc}) + w_s NLL_{simple}
        + w_p (NLL_{transducer} - s H_{transducer}) + \text{further terms}

    The entropy regularisation acts on the lattice of each head that the model has: the CTC
    alignments of the transcript, and the transducer's alignments (those inside the windows if it
    is pruned), each with the weight of its head. A positive scale ``s`` rewards entropy. See
    :class:`CtcTerm` and :class:`TransducerTerm`.

    A CTC head whose weight is 0 has no terms: its lattice is not computed, and its parameters have
    no gradient. An utterance for which a head's lattice has no path is left out of all terms, and
    named.

    Args:
      model: The model. It is a submodule; checkpoints hold the state of the model alone.
      options: The scales and kinds.
      dtype: In which the network computes; losses are computed in float32.

    Raises:
      OptionError: when the model has no head, or not the one that an option is for.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> _ = torch.manual_seed(0)
    >>> model = build_model(ModelOptions(encoder_dim=8, num_layers=1, vocab_size=5))
    >>> criterion = TrainingCriterion(model, TrainOptions())
    >>> batch = Utterances(torch.zeros(1, 12, 80), torch.tensor([12]), [[1]], ["a"])
    >>> sums = criterion(batch, step=0)
    >>> sorted(sums.terms), sums.num_frames, sums.loss.item() > 0
    (['ctc_entropy', 'ctc_nll'], 3, True)
    """

    def __init__(
        self, model: AsrModel, options: TrainOptions, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.model = model
        self.dtype = dtype
        heads, has_transducer = trained_heads(model, options), model.transducer is not None
        if not heads:
            raise OptionError(
                "use_ctc: the model has no head to train; set --use-ctc or --use-transducer"
            )
        if not has_transducer:
            _refuse_transducer_options(options)
        self.ctc_term = CtcTerm(options, alone=not has_transducer) if "ctc" in heads else None
        self.transducer_term = TransducerTerm(options) if has_transducer else None
        self._distiller: ExtraTerms | None = None

    @property
    def distiller(self) -> ExtraTerms | None:
        """What adds further terms, None for nothing."""
        return self._distiller

    @distiller.setter
    def distiller(self, distiller: ExtraTerms | None) -> None:
        self._distiller = distiller
        if self.transducer_term is not None:
            self.transducer_term.reuse_logits = distiller is None or not distiller.keeps_logits

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of all terms, the same for every batch."""
        heads = [term for term in (self.ctc_term, self.transducer_term) if term is not None]
        names = tuple(name for term in heads for name in term.names)
        return names + (() if self.distiller is None else tuple(self.distiller.names))

    @property
    def main_head(self) -> str:
        """Whose NLL and entropy stand for the run: ``transducer`` where there is one."""
        return "ctc" if self.transducer_term is None else "transducer"

    def forward(self, utterances: Utterances, step: int) -> LossSums:
        """The loss of a batch and its parts.

        Args:
          utterances: The batch, on any device.
          step: Batches trained before this one.

        Returns:
          Sums over the batch. When some output of the network is not finite, only the rows are
          named. The loss is in the graph of the encoder even then, and with no utterance left.
        """
        device = next(self.model.parameters()).device
        features, num_frames = utterances.features.to(device), utterances.num_frames.to(device)
        with torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            encoder_out, lengths = self.model.forward_encoder(features, num_frames)
            lengths = lengths.cpu()
            left_out = utterances.excluded | self._without_path(utterances, lengths)
            excluded = {utterances.with_duration(i): why for i, why in left_out.items()}
            used = [i for i in range(len(utterances)) if i not in left_out]
            nothing = encoder_out.float().sum() * 0.0
            if not used:
                return LossSums(nothing, excluded=excluded)
            outputs = self._outputs(utterances, used, encoder_out, lengths, step)
            try:
                terms = self._terms(outputs)
            except NotFiniteError as error:
                return LossSums(nothing, not_finite=[used[row] for row in error.rows])
        losses = torch.stack([term.weighted() for term in terms]).sum(0)
        finite = losses.detach().isfinite().tolist()
        return LossSums(
            loss=losses.sum(),
            terms={term.name: float(term.values.detach().sum()) for term in terms},
            num_frames=int(outputs.lengths.sum()),
            num_utterances=len(used),
            not_finite=[row for row, ok in zip(used, finite) if not ok],
            excluded=excluded,
        )

    def min_num_frames(self, tokens: Sequence[int]) -> int:
        """The fewest output frames over which a transcript has an alignment in every head."""
        heads = [term for term in (self.ctc_term, self.transducer_term) if term is not None]
        return max(term.min_num_frames(tokens) for term in heads)

    def _without_path(self, utterances: Utterances, lengths: Tensor) -> dict[int, str]:
        needed = [self.min_num_frames(tokens) for tokens in utterances.tokens]
        return {
            i: f"{length} frames after subsampling, its {len(utterances.tokens[i])} tokens need "
            f"{need}"
            for i, (length, need) in enumerate(zip(lengths.tolist(), needed))
            if length < need
        }

    def _outputs(
        self,
        utterances: Utterances,
        used: list[int],
        encoder_out: Tensor,
        lengths: Tensor,
        step: int,
    ) -> BatchOutputs:
        if len(used) < len(utterances):
            utterances, encoder_out, lengths = (
                utterances.select(used),
                encoder_out[used],
                lengths[used],
            )
        targets, target_lengths = utterances.padded_tokens(encoder_out.device)
        outputs = BatchOutputs(utterances, step, targets, target_lengths, encoder_out, lengths)
        if self.ctc_term is not None:
            outputs.ctc_log_probs = self.model.ctc_log_probs(encoder_out)
        return outputs

    def head_terms(self, outputs: BatchOutputs) -> list[Term]:
        """The terms of all heads for the label sequences of the outputs.

        Raises:
          NotFiniteError: when the network's output for some utterances is of no use.
        """
        terms: list[Term] = []
        if self.ctc_term is not None:
            terms += self.ctc_term.terms(outputs)
        if self.transducer_term is not None:
            assert self.model.transducer is not None  # as when the criterion was made
            terms += self.transducer_term.terms(self.model.transducer, outputs)
        return terms

    def _terms(self, outputs: BatchOutputs) -> list[Term]:
        terms = self.head_terms(outputs)
        return terms if self.distiller is None else self.distiller.terms(terms, outputs, self)


def _refuse_transducer_options(options: TrainOptions) -> None:
    """Without a transducer these do nothing, which whoever set them does not expect."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in _OF_TRANSDUCERS and value != field.default:
            raise OptionError(
                f"{field.name}: is for a transducer, which this model has not, got {value}; leave "
                f"it out, or add --use-transducer true"
            )
