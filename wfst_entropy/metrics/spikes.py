"""How long tokens stand in an alignment: widths of posteriors, for CTC and transducers alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaValueError


@dataclass(frozen=True)
class SpikeStats:
    """Statistics of one utterance, or means over the utterances of a test set.

    Attributes:
      num_frames: T.
      num_labels: U.
      width: effective frames of a token, `exp(H(q_u))` with `q_u` its posterior divided by its sum
        over time, the mean over tokens: 1 where each token is sure of its one frame.
      frames_above: frames in which a token's posterior is above the threshold, the mean over
        tokens.
      peak: the highest posterior of a token, the mean over tokens.
      blank_fraction: share of the frames in which less than half a token is expected.
    """

    num_frames: float
    num_labels: float
    width: float | None
    frames_above: float | None
    peak: float | None
    blank_fraction: float | None

    def as_dict(self) -> dict[str, float | None]:
        """The fields by name, for a report."""
        return asdict(self)


def spike_stats(
    posteriors: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    *,
    threshold: float = 0.5,
) -> list[SpikeStats]:
    r"""Statistics of a batch.

    Args:
      posteriors: `(N, T, U)`, the probability that frame t shows token u: of CTC from
        `ctc_occupancies`, of a transducer from `rnnt_emission_posteriors`.  They may sum to more
        than 1 over time (a CTC token that lasts) and over tokens (a transducer emits several in a
        frame).
      input_lengths: `(N,)` frames of each utterance.
      target_lengths: `(N,)` tokens of each text.
      threshold: of `frames_above`, a probability.

    Returns:
      One entry per utterance; without tokens its widths are None, without frames all is.

    Raises:
      FsaValueError: sizes do not fit, or the threshold is not a probability.

    >>> sure, spread = [1.0, 0.0, 0.0, 0.0], [0.0, 0.25, 0.5, 0.25]
    >>> stats = spike_stats(torch.tensor([sure, spread]).T[None], [4], [2])[0]
    >>> round(stats.width, 4), stats.frames_above, stats.peak, stats.blank_fraction
    (1.9142, 0.5, 0.75, 0.5)
    """
    frames, labels = (torch.as_tensor(x).tolist() for x in (input_lengths, target_lengths))
    if posteriors.dim() != 3 or not len(posteriors) == len(frames) == len(labels):
        raise FsaValueError(
            "spike_stats: needs posteriors (N, T, U) and N lengths of each kind, got "
            f"{tuple(posteriors.shape)}, {len(frames)} and {len(labels)}."
        )
    if not 0 <= threshold < 1:
        raise FsaValueError(f"threshold: needs a probability below 1, got {threshold}.")
    most = max(frames, default=0), max(labels, default=0)
    if most[0] > posteriors.shape[1] or most[1] > posteriors.shape[2]:
        raise FsaValueError(
            f"spike_stats: lengths up to {most[0]} frames and {most[1]} tokens, but the posteriors "
            f"are {tuple(posteriors.shape)}."
        )
    rows = zip(posteriors.detach().double().cpu(), frames, labels, strict=True)
    return [_of_utterance(row[:t, :u], threshold) for row, t, u in rows]


def _of_utterance(posterior: Tensor, threshold: float) -> SpikeStats:
    num_frames, num_labels = posterior.shape
    blank = None
    if num_frames:
        blank = float((posterior.sum(dim=1) < 0.5).double().mean())
    if not num_frames or not num_labels:
        return SpikeStats(num_frames, num_labels, None, None, None, blank)
    share = posterior / posterior.sum(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
    entropy = -torch.xlogy(share, share).sum(dim=0)
    return SpikeStats(
        num_frames,
        num_labels,
        width=float(entropy.exp().mean()),
        frames_above=float((posterior > threshold).sum(dim=0).double().mean()),
        peak=float(posterior.max(dim=0).values.mean()),
        blank_fraction=blank,
    )


def mean_spike_stats(stats: Sequence[SpikeStats]) -> SpikeStats | None:
    """Means over utterances, each counting once; None where there are none.

    >>> one, other = SpikeStats(4, 1, 1.0, 1.0, 1.0, 0.75), SpikeStats(2, 0, None, None, None, 1.0)
    >>> mean_spike_stats([one, other]).blank_fraction, mean_spike_stats([one, other]).width
    (0.875, 1.0)
    """
    if not stats:
        return None

    def mean(name: str) -> float | None:
        known = [v for v in (getattr(s, name) for s in stats) if v is not None]
        return statistics.fmean(known) if known else None

    return SpikeStats(
        statistics.fmean(s.num_frames for s in stats),
        statistics.fmean(s.num_labels for s in stats),
        *(mean(name) for name in ("width", "frames_above", "peak", "blank_fraction")),
    )
