"""What the benchmarks of the losses are run on: random scores with transcripts of their own.

Utterances are sorted by falling length, which k2 asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Sizes(NamedTuple):
    n: int  # utterances
    t: int  # frames of the longest
    u: int  # labels of the longest
    v: int  # symbols, blank (0) included

    def __str__(self) -> str:
        return f"B={self.n} T={self.t} U={self.u} V={self.v}"


@dataclass(frozen=True)
class Problem:
    """`logits` are (N, T, V) for CTC and (N, T, U + 1, V) for RNN-T."""

    sizes: Sizes
    logits: Tensor
    targets: Tensor
    frames: Tensor
    labels: Tensor
    teacher: Tensor | None = None  # logits of another model, for divergences

    def scores(self, dtype: torch.dtype, normalised: bool = True, teacher: bool = False) -> Tensor:
        """The logits, or their log-softmax, in a dtype; float64 is computed in float64."""
        logits = self.teacher if teacher else self.logits
        assert logits is not None
        if not normalised:
            return logits.to(dtype, copy=True)
        precise = torch.float64 if dtype == torch.float64 else torch.float32
        return logits.to(precise).log_softmax(-1).to(dtype)


def transcripts(sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Transcripts, and the lengths of frames and labels, which differ by up to a tenth."""
    targets = torch.randint(1, sizes.v, (sizes.n, sizes.u))
    frames = torch.randint(sizes.t - sizes.t // 25, sizes.t + 1, (sizes.n,))
    frames[0] = sizes.t
    labels = torch.randint(sizes.u - sizes.u // 10, sizes.u + 1, (sizes.n,))
    return targets, frames.sort(descending=True).values, labels


def ctc_problem(sizes: Sizes, seed: int, scale: float = 1.0, aligned: float = 0.0) -> Problem:
    """Normal logits times `scale`; `aligned` is added along one alignment of each transcript."""
    torch.manual_seed(seed)
    targets, frames, labels = transcripts(sizes)
    logits = torch.randn(sizes.n, sizes.t, sizes.v) * scale
    if aligned:
        for n in range(sizes.n):
            at = torch.linspace(0, int(frames[n]) - 2, int(labels[n])).long()
            logits[n, :, 0] += aligned
            logits[n, at, 0] -= aligned
            logits[n, at, targets[n, : labels[n]]] += aligned
    return Problem(sizes, logits, targets, frames, labels)


def rnnt_problem(sizes: Sizes, seed: int, scale: float = 1.0, aligned: float = 0.0) -> Problem:
    """The same for the joiner's logits, labels at even distances on the alignment."""
    torch.manual_seed(seed)
    targets, frames, labels = transcripts(sizes)
    logits = torch.randn(sizes.n, sizes.t, sizes.u + 1, sizes.v).mul_(scale)
    if aligned:
        for n in range(sizes.n):
            at = torch.linspace(0, int(frames[n]) - 2, int(labels[n])).long()
            time = torch.arange(sizes.t)
            logits[n, at, torch.arange(len(at)), targets[n, : len(at)]] += aligned
            # a frame's blank leaves from behind the labels of that frame
            logits[n, time, torch.searchsorted(at, time, right=True), 0] += aligned
    return Problem(sizes, logits, targets, frames, labels)


def with_teacher(
    make: Callable[..., Problem], sizes: Sizes, seed: int, scale: float = 1.0, aligned: float = 0.0
) -> Problem:
    """The same problem with the logits of a second one as its teacher's."""
    problem, other = make(sizes, seed, scale, aligned), make(sizes, seed + 1000, scale)
    noise = 0.5 if aligned else 1.0
    base = problem.logits if aligned else 0.0
    return replace(problem, teacher=base + noise * other.logits)
