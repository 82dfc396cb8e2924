"""How sure and how peaky the alignments of a CTC model are."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaValueError


@dataclass(frozen=True)
class AlignmentStats:
    """Statistics of one utterance.

    Attributes:
      num_frames: T, frames after subsampling.
      num_labels: U, tokens of the text.
      entropy: conditional alignment entropy `H_c`, nats, over all alignments of the text.
      blank_fraction: share of the frames whose best symbol is blank; 0 without frames.
      peakiness: runs of equal best symbols other than blank, divided by the frames in them: 1 where
        each token flashes up in a single frame, lower where tokens last. None where all is blank.
    """

    num_frames: int
    num_labels: int
    entropy: float
    blank_fraction: float
    peakiness: float | None

    @property
    def entropy_per_frame(self) -> float:
        """`H_c / T`, nats; 0 without frames (then there is one path at most)."""
        return self.entropy / self.num_frames if self.num_frames else 0.0

    @property
    def entropy_per_label(self) -> float:
        """`H_c / U`, nats; 0 for an empty text (its only path is all blank)."""
        return self.entropy / self.num_labels if self.num_labels else 0.0


@dataclass(frozen=True)
class AlignmentSummary:
    """Means over the utterances of a test set, each utterance counting once."""

    num_utterances: int
    entropy: float
    entropy_per_frame: float
    entropy_per_label: float
    blank_fraction: float
    peakiness: float | None

    def as_dict(self) -> dict[str, float | None]:
        """The fields by name, for a report."""
        return asdict(self)


def alignment_stats(
    log_probs: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    entropy: Tensor,
    *,
    blank: int = 0,
) -> list[AlignmentStats]:
    """Statistics of a batch.

    Peaky CTC posteriors: Zeyer, Schlueter, Ney 2021, "Why does CTC result in peaky behavior?",
    arXiv 2105.14849.

    Args:
      log_probs: `(N, T, C)` float, the model's output.
      input_lengths: `(N,)` integer, frames of each utterance.
      target_lengths: `(N,)` integer, tokens of each text.
      entropy: `(N,)` conditional alignment entropies in nats, from `ctc_alignment`.
      blank: the blank symbol.

    Returns:
      One entry per utterance.

    Raises:
      FsaValueError: the first sizes differ.

    >>> log_probs = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.8, 0.2]]]).log()
    >>> one = torch.tensor([1])
    >>> stats = alignment_stats(log_probs, torch.tensor([4]), one, torch.tensor([0.5]))[0]
    >>> stats.blank_fraction, stats.peakiness, stats.entropy_per_frame
    (0.5, 0.5, 0.125)
    """
    sizes = [len(log_probs), len(input_lengths), len(target_lengths), len(entropy)]
    if len(set(sizes)) != 1:
        raise FsaValueError(
            "alignment_stats: log_probs, input_lengths, target_lengths and entropy must be of the "
            f"same N, got {sizes}."
        )
    all_stats = []
    best = log_probs.detach().argmax(dim=-1).cpu() if log_probs.numel() else None
    rows = zip(input_lengths.tolist(), target_lengths.tolist(), entropy.tolist(), strict=True)
    for utt, (num_frames, num_labels, value) in enumerate(rows):
        symbols = torch.empty(0) if best is None else best[utt, :num_frames]
        spoken = symbols != blank
        change = torch.ones_like(spoken)
        change[1:] = symbols[1:] != symbols[:-1]
        num_spoken, num_runs = int(spoken.sum()), int((spoken & change).sum())
        all_stats.append(
            AlignmentStats(
                num_frames=num_frames,
                num_labels=num_labels,
                entropy=value,
                blank_fraction=1.0 - num_spoken / num_frames if num_frames else 0.0,
                peakiness=num_runs / num_spoken if num_spoken else None,
            )
        )
    return all_stats


def summarise(stats: Sequence[AlignmentStats]) -> AlignmentSummary | None:
    """Means over utterances, or None where there are none.

    >>> a, b = AlignmentStats(10, 2, 1.0, 0.5, 1.0), AlignmentStats(10, 4, 3.0, 0.25, None)
    >>> summarise([a, b]).as_dict()["entropy_per_label"], summarise([a, b]).peakiness
    (0.625, 1.0)
    """
    if not stats:
        return None
    peaks = [s.peakiness for s in stats if s.peakiness is not None]
    return AlignmentSummary(
        num_utterances=len(stats),
        entropy=statistics.fmean(s.entropy for s in stats),
        entropy_per_frame=statistics.fmean(s.entropy_per_frame for s in stats),
        entropy_per_label=statistics.fmean(s.entropy_per_label for s in stats),
        blank_fraction=statistics.fmean(s.blank_fraction for s in stats),
        peakiness=statistics.fmean(peaks) if peaks else None,
    )
