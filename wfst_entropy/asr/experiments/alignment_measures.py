"""Entropy and peakiness of a trained model's alignments of the reference texts, by its outputs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy.asr.data.utterances import TokenEncoder, read_batch
from wfst_entropy.asr.models import AsrModel, TransducerHead
from wfst_entropy.losses import (
    ctc_alignment,
    ctc_occupancies,
    rnnt_alignment,
    rnnt_emission_posteriors,
)
from wfst_entropy.metrics.spikes import SpikeStats, mean_spike_stats, spike_stats


class AlignmentMeasure(NamedTuple):
    """One utterance by one output of a model.

    Attributes:
      nll: negative log-likelihood of the text, nats.
      entropy: conditional entropy of its alignments, nats.
      spikes: how many frames its tokens stand.
    """

    nll: float
    entropy: float
    spikes: SpikeStats


def ctc_measure(log_probs: Tensor, tokens: Sequence[int]) -> AlignmentMeasure | None:
    """Measure one utterance by CTC.

    Args:
      log_probs: `(T, C)`.
      tokens: of the text.

    Returns:
      None where the text has no alignment.

    >>> found = ctc_measure(torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log(), [1])
    >>> round(found.entropy, 4), round(found.spikes.width, 4)
    (1.0042, 1.9601)
    """
    args = (log_probs[None], torch.tensor([tokens]), [len(log_probs)], [len(tokens)])
    found = ctc_alignment(*args)
    if not found.valid:
        return None
    (spikes,) = spike_stats(ctc_occupancies(*args), args[2], args[3])
    return AlignmentMeasure(float(found.nll), float(found.entropy), spikes)


def transducer_measure(
    transducer: TransducerHead,
    encoder_out: Tensor,
    tokens: Sequence[int],
    rnnt_type: str = "regular",
) -> AlignmentMeasure | None:
    """Measure one utterance by a transducer, over its whole lattice.

    Args:
      transducer: predictor and joiner.
      encoder_out: `(T, D)`.
      tokens: of the text.
      rnnt_type: the lattice that it was trained with.

    Returns:
      None where the text has no alignment.
    """
    targets = torch.tensor([tokens], dtype=torch.int64)
    am = transducer.project_encoder(encoder_out[None])
    lm = transducer.joiner.decoder_proj(transducer.predictor(targets))
    logits = transducer.joiner(am[:, :, None], lm[:, None]).float()
    args = (logits, targets, [len(encoder_out)], [len(tokens)])
    found = rnnt_alignment(*args, rnnt_type=rnnt_type)
    if not found.valid:
        return None
    (spikes,) = spike_stats(rnnt_emission_posteriors(*args, rnnt_type=rnnt_type), args[2], args[3])
    return AlignmentMeasure(float(found.nll), float(found.entropy), spikes)


@torch.no_grad()
def measure_batch(
    model: AsrModel, batch: dict[str, Any], tokenizer: TokenEncoder, rnnt_type: str = "regular"
) -> dict[str, list[AlignmentMeasure | None]]:
    """Measure a batch by each output that the model has.

    Args:
      model: in evaluation mode, on the CPU.
      batch: of lhotse's `K2SpeechRecognitionDataset`.
      tokenizer: of the model's vocabulary.
      rnnt_type: the lattice that a transducer was trained with.

    Returns:
      `ctc` and `transducer`, as far as the model has them: an entry per utterance.
    """
    utterances = read_batch(batch, tokenizer)
    encoder_out, lengths = model.forward_encoder(utterances.features, utterances.num_frames)
    found: dict[str, list[AlignmentMeasure | None]] = {}
    if model.ctc_output is not None:
        log_probs = model.ctc_log_probs(encoder_out)
        rows = zip(log_probs, lengths.tolist(), utterances.tokens, strict=True)
        found["ctc"] = [ctc_measure(row[:t], tokens) for row, t, tokens in rows]
    if model.transducer is not None:
        rows = zip(encoder_out, lengths.tolist(), utterances.tokens, strict=True)
        found["transducer"] = [
            transducer_measure(model.transducer, row[:t], tokens, rnnt_type)
            for row, t, tokens in rows
        ]
    return found


def summarise_measures(measures: Iterable[AlignmentMeasure | None]) -> dict[str, Any] | None:
    """Means over utterances, each counting once; None where no text has an alignment.

    Returns:
      `num_utterances`, `nll_per_frame`, `entropy`, `entropy_per_frame` and `entropy_per_label`
      (nats), and the fields of `SpikeStats`.
    """
    known = [measure for measure in measures if measure is not None]
    spikes = mean_spike_stats([measure.spikes for measure in known])
    if spikes is None:
        return None
    return {
        "num_utterances": len(known),
        "nll_per_frame": statistics.fmean(m.nll / max(1, m.spikes.num_frames) for m in known),
        "entropy": statistics.fmean(m.entropy for m in known),
        "entropy_per_frame": statistics.fmean(
            m.entropy / max(1, m.spikes.num_frames) for m in known
        ),
        "entropy_per_label": statistics.fmean(
            m.entropy / max(1, m.spikes.num_labels) for m in known
        ),
        **spikes.as_dict(),
    }
