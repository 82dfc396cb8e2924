"""CTC best-path search: the most probable symbol of each frame, collapsed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wfst_entropy.decoding.errors import DecodingError


class GreedyHypothesis(NamedTuple):
    """The tokens of one utterance, in order of time.

    Frames are frames of the log-probs, that is after subsampling; a token was the best symbol of
    the frames `start_frames[i] .. end_frames[i] - 1`, and `log_probs[i]` (nats) is its mean
    log-probability there.
    """

    tokens: list[int]
    start_frames: list[int]
    end_frames: list[int]
    log_probs: list[float]


def _check(log_probs: Tensor, lengths: Tensor) -> None:
    if log_probs.dim() != 3 or lengths.shape != log_probs.shape[:1]:
        raise DecodingError(
            "ctc_greedy_search: log_probs must be (N, T, C) and lengths (N,), got "
            f"{tuple(log_probs.shape)} and {tuple(lengths.shape)}."
        )
    if lengths.is_floating_point():
        raise DecodingError(f"ctc_greedy_search: lengths must be integers, got {lengths.dtype}.")
    max_frames = log_probs.shape[1]
    outside = (lengths < 0) | (lengths > max_frames)
    if outside.any():
        utt = int(outside.nonzero()[0])
        raise DecodingError(
            f"ctc_greedy_search: length of utterance {utt} is {int(lengths[utt])}, but log_probs "
            f"has {max_frames} frames. Lengths count frames after subsampling."
        )


def ctc_greedy_search(
    log_probs: Tensor, lengths: Tensor, *, blank: int = 0
) -> list[GreedyHypothesis]:
    """Decode a batch by the best symbol of each frame.

    `pi_t = argmax_c log_probs[t, c]`; then runs of equal symbols become one and blanks go:
    Graves et al. 2006, "Connectionist temporal classification", section 3.2 (best path decoding).
    Of equally good symbols the smallest wins.

    Args:
      log_probs: (N, T, C) float; any scores will do, normalised or not.
      lengths: (N,) integer, frames of each utterance; the frames beyond are not read.
      blank: the blank symbol.

    Returns:
      One hypothesis per utterance.

    Raises:
      DecodingError: shapes do not fit, a length is beyond T, or a frame in use contains NaN.

    >>> scores = torch.tensor([[[0.1, 0.8], [0.2, 0.7], [0.9, 0.0], [0.0, 0.9]]])
    >>> hyp = ctc_greedy_search(scores.log(), torch.tensor([4]))[0]
    >>> hyp.tokens, hyp.start_frames, hyp.end_frames
    ([1, 1], [0, 3], [2, 4])
    """
    _check(log_probs, lengths)
    num_utts, num_frames, _ = log_probs.shape
    frames = torch.arange(num_frames, device=log_probs.device)
    inside = frames < lengths.to(log_probs.device)[:, None]  # (N, T)
    if log_probs.numel() == 0:
        return [GreedyHypothesis([], [], [], []) for _ in range(num_utts)]
    best, symbols = log_probs.detach().max(dim=-1)  # (N, T); NaN wins a maximum, so it shows
    wrong = (best.isnan() & inside).nonzero()
    if len(wrong):
        utt, frame = wrong[0].tolist()
        raise DecodingError(
            f"ctc_greedy_search: log_probs of utterance {utt} has NaN at frame {frame}. "
            "The model's output is broken: check its features and its weights."
        )
    symbols = symbols.masked_fill(~inside, blank)

    # a run starts where the symbol changes; (utterance, frame) pairs come in order
    change = torch.ones_like(inside)
    change[:, 1:] = symbols[:, 1:] != symbols[:, :-1]
    run_of_frame = change.flatten().cumsum(0) - 1
    starts = change.flatten().nonzero().squeeze(1)
    sizes = torch.bincount(run_of_frame)
    sums = torch.zeros(len(starts), dtype=torch.float64, device=best.device)
    sums.index_add_(0, run_of_frame, best.flatten().double().masked_fill(~inside.flatten(), 0.0))

    keep = symbols.flatten()[starts] != blank
    starts, sizes, means = starts[keep], sizes[keep], (sums / sizes)[keep]
    columns = (
        torch.div(starts, num_frames, rounding_mode="floor"),
        symbols.flatten()[starts],
        starts % num_frames,
        starts % num_frames + sizes,
        means,
    )
    hypotheses = [GreedyHypothesis([], [], [], []) for _ in range(num_utts)]
    for utt, token, start, end, mean in zip(*(c.tolist() for c in columns), strict=True):
        hypotheses[utt].tokens.append(token)
        hypotheses[utt].start_frames.append(start)
        hypotheses[utt].end_frames.append(end)
        hypotheses[utt].log_probs.append(mean)
    return hypotheses
