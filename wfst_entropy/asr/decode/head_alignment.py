"""How the head that decodes aligns known texts: entropy, peakiness and the best alignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.decoding.alignment import ForcedAlignment, forced_align
from wfst_entropy.decoding.transducer import Transducer
from wfst_entropy.decoding.transducer_alignment import transducer_forced_align
from wfst_entropy.losses.ctc import ctc_alignment
from wfst_entropy.losses.rnnt_arc_posteriors import grid_totals_and_posteriors
from wfst_entropy.metrics.alignment_stats import AlignmentStats, alignment_stats
from wfst_entropy.metrics.spikes import spike_stats

_MOST_NODES = 4096  # of a lattice, joined at a time


class HeadAlignment(NamedTuple):
    """How one utterance is aligned with its text.

    Attributes:
      stats: of all alignments.
      alignment: the best one.
      emissions: `(T, U)` of a transducer head: how probable each token is to be emitted in each
        frame, given the text; None of a CTC head.
    """

    stats: AlignmentStats
    alignment: ForcedAlignment
    emissions: Tensor | None = None


def ctc_head_alignments(
    log_probs: Tensor, lengths: Tensor, tokens: Sequence[Sequence[int]]
) -> list[HeadAlignment]:
    """Align texts with a CTC head.

    Args:
      log_probs: `(N, T, C)` float32.
      lengths: `(N,)` int64, frames.
      tokens: of each text.
    """
    sizes = torch.tensor([len(text) for text in tokens])
    targets = torch.tensor([token for text in tokens for token in text]).long()
    likelihood = ctc_alignment(log_probs, targets, lengths, sizes)
    stats = alignment_stats(log_probs, lengths, sizes, likelihood.entropy)
    alignments = forced_align(log_probs, targets, lengths, sizes)
    return [HeadAlignment(*pair) for pair in zip(stats, alignments, strict=True)]


def transducer_head_alignments(
    transducer: Transducer,
    encoder_out: Tensor,
    lengths: Tensor,
    tokens: Sequence[Sequence[int]],
    rnnt_type: str = "regular",
) -> list[HeadAlignment]:
    """Align texts with a transducer head.

    One utterance at a time, and its lattice a few frames at a time: memory follows the longest
    utterance, not the batch. The blank fraction is that of `spike_stats`, the share of frames in
    which less than half a label is expected. Peakiness is None: a label takes no frame.

    Args:
      transducer: the head.
      encoder_out: `(N, T, D)` float32.
      lengths: `(N,)` int64, frames.
      tokens: of each text.
      rnnt_type: the lattice that it was trained with.
    """
    return [
        _transducer_alignment(transducer, out[:length], text, rnnt_type)
        for out, length, text in zip(encoder_out, lengths.tolist(), tokens, strict=True)
    ]


def _transducer_alignment(
    transducer: Transducer, encoder_out: Tensor, tokens: Sequence[int], rnnt_type: str
) -> HeadAlignment:
    blank, label = transducer_planes(transducer, encoder_out, tokens)
    frames, labels = torch.tensor([len(encoder_out)]), torch.tensor([len(tokens)])
    totals, arcs = grid_totals_and_posteriors(blank[None], label[None], frames, labels, rnnt_type)
    (spikes,) = spike_stats(arcs.label, frames, labels)
    stats = AlignmentStats(
        num_frames=len(encoder_out),
        num_labels=len(tokens),
        entropy=float(totals[1]),
        blank_fraction=spikes.blank_fraction or 0.0,
        peakiness=None,
    )
    # Two scores at each node, blank and "the label": its number is put back into the spans.
    scores = torch.stack([blank, torch.nn.functional.pad(label, (0, 1))], dim=-1)
    (best,) = transducer_forced_align(
        scores[None],
        torch.ones(1, len(tokens), dtype=torch.int64),
        frames,
        labels,
        rnnt_type=rnnt_type,
        fused_log_softmax=False,
    )
    spans = [span._replace(token=token) for span, token in zip(best.spans, tokens)]
    symbols = [0] * len(encoder_out)
    for span in spans:
        symbols[span.start_frame] = span.token
    states, local = _frame_entropies(arcs.blank[0].double(), arcs.label[0].double(), rnnt_type)
    alignment = ForcedAlignment(best.valid, best.score, symbols, spans, states, local)
    return HeadAlignment(stats, alignment, arcs.label[0])


def _frame_entropies(blank: Tensor, label: Tensor, rnnt_type: str) -> tuple[Tensor, Tensor]:
    r"""Where along time the entropy of a transducer's alignment lies; see `frame_entropy`.

    An alignment is the number of labels that it has emitted after each frame, the state. A frame
    adds the entropy of the choices at its nodes, each as often as it is passed,
    `sum over u of gamma_{t,u} H(blank or label | t, u)`.

    Args:
      blank: `(T, U + 1)` posteriors of the blank arcs.
      label: `(T, U)` posteriors of the label arcs.
      rnnt_type: of the lattice.

    Returns:
      `(T,)` entropies of the states and `(T,)` entropies that the frames add, nats.
    """
    leaving = torch.nn.functional.pad(label, (0, 1))
    after = blank
    if rnnt_type == "modified":  # the label itself goes on to the next frame
        after = blank + torch.nn.functional.pad(label, (1, 0))
    passed = blank + leaving
    states = -torch.xlogy(after, after).sum(1)
    local = torch.xlogy(passed, passed) - torch.xlogy(blank, blank) - torch.xlogy(leaving, leaving)
    return states.clamp(min=0), local.sum(1).clamp(min=0)


def transducer_planes(
    transducer: Transducer, encoder_out: Tensor, tokens: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the blank and of the next label at each node of one lattice.

    Args:
      transducer: the head.
      encoder_out: `(T, D)`.
      tokens: U labels.

    Returns:
      `(T, U + 1)` and `(T, U)`, float32.
    """
    lm, state = transducer.start(1)
    rows = [lm]
    for token in tokens:
        lm, state = transducer.step(torch.tensor([token]), state)
        rows.append(lm)
    lm, am = torch.cat(rows), transducer.project_encoder(encoder_out[None])[0]
    nexts = torch.tensor([*tokens, 0])
    blanks, labels = [], []
    for part in am.split(max(1, _MOST_NODES // len(rows))):
        pairs = part.repeat_interleave(len(rows), 0), lm.repeat(len(part), 1)
        log_probs = transducer.join(*pairs).view(len(part), len(rows), -1)
        blanks.append(log_probs[:, :, 0])
        labels.append(log_probs.gather(2, nexts.expand(len(part), -1)[:, :, None])[:, :-1, 0])
    if not blanks:
        return am.new_zeros(0, len(rows)), am.new_zeros(0, len(tokens))
    return torch.cat(blanks), torch.cat(labels)
