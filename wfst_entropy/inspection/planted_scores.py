"""Frame scores in which a sentence is planted: to try a decoding graph before there is a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from wfst_entropy.fsa import FsaValueError

MAX_SCORES = 2**28
"""The largest number of scores: a gigabyte of float32."""


def planted_scores(
    tokens: Sequence[int],
    vocab_size: int,
    *,
    frames_per_token: int = 2,
    strength: float = 4.0,
    noise: float = 1.0,
    seed: int = 42,
) -> Tensor:
    """Log-probabilities like those of a CTC model that hears `tokens`.

    A blank frame comes first and after each token, so that in total there are
    `1 + len(tokens) * (frames_per_token + 1)` frames.  Of each frame,

        logits = strength * one_hot(planted) + noise * n,  n standard normal, and log_softmax of it.

    Without noise, every graph that accepts the tokens has them as its best path (of equal graph
    scores).  A graph that does not find a sentence planted so lacks it, or weighs it down.

    Args:
      tokens: ids, 1 to `vocab_size - 1`; 0 is blank.
      vocab_size: C, with blank.
      frames_per_token: frames of each token, at least 1.
      strength: how far the planted symbol stands out, in nats.
      noise: standard deviation of what is added to each logit, in nats.
      seed: of the noise; equal seeds give equal scores.

    Returns:
      float32 `(T, C)`, on the CPU.

    Raises:
      FsaValueError: a token out of range (the message names its position), a number that is too
        small or not finite, or more than `MAX_SCORES` scores.

    >>> planted_scores([2], 3, noise=0.0).argmax(1).tolist()
    [0, 2, 2, 0]
    """
    if vocab_size < 2:
        raise FsaValueError(f"vocab_size: must be at least 2, blank and a token, got {vocab_size}.")
    if frames_per_token < 1:
        raise FsaValueError(f"frames_per_token: must be at least 1, got {frames_per_token}.")
    for name, value in (("strength", strength), ("noise", noise)):
        if not 0 <= value < math.inf:
            raise FsaValueError(f"{name}: must be at least 0 and finite, got {value}.")
    num_frames = 1 + len(tokens) * (frames_per_token + 1)
    if num_frames * vocab_size > MAX_SCORES:
        raise FsaValueError(
            f"vocab_size {vocab_size} and frames_per_token {frames_per_token}: {num_frames} frames "
            f"are {num_frames * vocab_size} scores, more than {MAX_SCORES}; plant fewer."
        )
    for position, token in enumerate(tokens):
        if not 0 < token < vocab_size:
            raise FsaValueError(
                f"tokens: position {position} is {token}, which is not one of 1 to "
                f"{vocab_size - 1}; 0 is blank, which comes by itself."
            )
    planted = torch.tensor([0, *(i for t in tokens for i in [t] * frames_per_token + [0])])
    generator = torch.Generator().manual_seed(seed)
    logits = noise * torch.randn(planted.numel(), vocab_size, generator=generator)
    logits[torch.arange(planted.numel()), planted] += strength
    return logits.log_softmax(1)
