"""What every alignment loss returns and does with it: kinds of entropy, reductions, checks."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.path_entropy import raw_entropy
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError

KINDS = ("conditional", "raw", "per_frame", "per_label")
REDUCTIONS = ("none", "mean", "sum")


class Alignment(NamedTuple):
    """Likelihood and entropy of the alignments of each utterance, in nats.

    Attributes:
        nll: (N,) negative log-likelihood, ``-log Z``; +inf where no alignment exists.
        entropy: (N,) the entropy of the alignments, of the kind that was asked for; 0 where no
            alignment exists or exactly one does.
        valid: (N,) bool, whether an alignment exists. Where none does all gradients are exactly 0.
    """

    nll: Tensor
    entropy: Tensor
    valid: Tensor


class AlignmentKL(NamedTuple):
    """Divergence of a teacher's alignments from a student's, per utterance, in nats.

    Attributes:
        kl: (N,) KL(teacher || student) over the paths, of the kind that was asked for; 0 where the
            first of the two models has no alignment, +inf where it has one that the second has not.
        nll: (N,) the student's negative log-likelihood; +inf where it has no alignment.
        valid: (N,) bool, whether the divergence is defined and finite. Elsewhere all gradients of
            ``kl`` are exactly 0.
        teacher_nll: (N,) the teacher's negative log-likelihood; without gradient unless the teacher
            is given one.
    """

    kl: Tensor
    nll: Tensor
    valid: Tensor
    teacher_nll: Tensor


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses a string that is not one of the choices.

    Raises:
        FsaValueError: naming the argument, the choices and what came.
    """
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise FsaValueError(f"{name}: must be one of {wanted}, got {value!r}")


def check_number(name: str, value: object, least: float = -math.inf) -> None:
    """Refuses a scale that is no number: it would make the loss, or its gradient, NaN.

    So would a negative scale of a divergence, which can be infinite where the nll is.

    Raises:
        FsaTypeError: it is not a Python (or NumPy) number.
        FsaValueError: it is not finite, or less than ``least``.
    """
    if not isinstance(value, Real):
        raise FsaTypeError(
            f"{name}: must be a number, got {type(value).__name__}; of a tensor pass x.item()"
        )
    if not math.isfinite(value):
        raise FsaValueError(f"{name}: must be a finite number, got {value}")
    if value < least:
        raise FsaValueError(f"{name}: must not be less than {least:g}, got {value}")


@eager
def check_floating(name: str, scores: object, axes: str = "") -> None:
    """Refuses what is no floating-point tensor.

    Args:
        name: of the argument.
        scores: the argument.
        axes: how its axes are written, such as ``"(N, T, C)"``, for the message.

    Raises:
        FsaTypeError: naming the argument and what came.

    >>> check_floating("log_probs", torch.zeros(1, 2, 3), "(N, T, C)")
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        came = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        wanted = f"a floating-point tensor {axes}".rstrip()
        raise FsaTypeError(f"{name}: must be {wanted}, got {came}")


def as_lengths(
    name: str, lengths: Any, num_utterances: int, longest: int | None = None, axis: str = ""
) -> Tensor:
    """Returns lengths as int64 (N,) on the CPU: a copy, which the caller's buffer cannot change.

    Args:
        name: of the argument, for messages.
        lengths: integers (N,).
        num_utterances: N.
        longest: the largest length allowed, if there is one.
        axis: what ``longest`` is, for messages.

    Raises:
        FsaTypeError: for numbers that are not integers.
        FsaValueError: for another shape, or a length that is negative or beyond ``longest``.
    """
    try:
        tensor = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise FsaTypeError(
            f"{name}: must be integers, one for each utterance, got {type(lengths).__name__} "
            f"({error})"
        ) from None
    if tensor.numel() and not is_integer(tensor):
        raise FsaTypeError(f"{name}: must be integers, got {tensor.dtype}")
    if tuple(tensor.shape) != (num_utterances,):
        raise FsaValueError(
            f"{name}: must have shape ({num_utterances},), one number for each utterance, "
            f"got {tuple(tensor.shape)}"
        )
    tensor = tensor.detach().to("cpu", torch.int64, copy=True)
    wrong = tensor < 0 if longest is None else (tensor < 0) | (tensor > longest)
    if bool(wrong.any()):
        n = int(wrong.nonzero()[0])
        need = "that is not negative" if longest is None else f"in 0..{longest}, the {axis}"
        raise FsaValueError(
            f"{name}[{n}] = {int(tensor[n])}: utterance {n} must have a length {need}"
        )
    return tensor


def is_integer(tensor: Tensor) -> bool:
    """Tells whether a tensor holds integers, which truth values are not."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def zero_of(scores: Tensor) -> Tensor:
    """A zero in the graph of scores (N, T, ...): results are in it even where no frames are."""
    return scores[:, :0].sum()


def entropy_of_kind(
    kind: str, nll: Tensor, entropy: Tensor, num_frames: Tensor, num_labels: Tensor
) -> Tensor:
    r"""Turns the conditional entropy :math:`H_c` into the kind asked for; differentiable.

    ``raw`` is :math:`H_u = Z (H_c - \log Z)`, ``per_frame`` is :math:`H_c / T` and ``per_label``
    :math:`H_c / U`, with a divisor of at least 1.
    """
    if kind == "raw":
        return raw_entropy(-nll, entropy, entropy.dtype)
    if kind == "conditional":
        return entropy
    divisor = num_frames if kind == "per_frame" else num_labels
    return entropy / divisor.clamp(min=1).to(entropy)


def reduce_loss(
    alignment: Alignment,
    target_lengths: Tensor,
    *,
    reduction: str,
    zero_infinity: bool,
    entropy_scale: float,
) -> Tensor:
    """Returns ``nll - entropy_scale * entropy``, reduced as torch does.

    ``"mean"`` divides each utterance's loss by its target length (at least 1) and averages.

    Raises:
        FsaValueError: the mean of no utterances, which is no number.
    """
    loss = alignment.nll
    if zero_infinity:
        loss = torch.where(alignment.valid, loss, 0.0)
    if entropy_scale != 0:
        loss = loss - entropy_scale * alignment.entropy
    return reduced(loss, target_lengths, reduction)


def reduced(loss: Tensor, lengths: Tensor, reduction: str) -> Tensor:
    """Reduces losses (N,) as torch's ctc_loss does.

    ``"mean"`` divides each utterance's loss by its length (at least 1) and averages.

    Raises:
        FsaValueError: the mean of no utterances, which is no number.
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if loss.numel() == 0:
        raise FsaValueError(
            'reduction="mean": there are no utterances to average over; skip the empty batch, or '
            'use reduction="sum"'
        )
    return (loss / lengths.clamp(min=1).to(loss)).mean()
