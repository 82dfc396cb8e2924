"""ASG: no blank, learnable transitions, and all frame labellings as the denominator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.fsa import DenseFsaVec, Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    as_lengths,
    check_choice,
    check_floating,
)
from wfst_entropy.losses.mmi import lf_mmi_alignment, lf_mmi_loss
from wfst_entropy.losses.targets import checked_targets
from wfst_entropy.topologies import asg_graph, asg_topo


@eager
def asg_alignment(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    transitions: Tensor,
    kind: str = "conditional",
) -> Alignment:
    r"""Computes the ASG likelihood of each transcript and the entropy of its alignments.

    With frame scores x and transitions g, a frame labelling :math:`\pi` weighs :math:`w(\pi) =
    \sum_t x_{t,\pi_t} + \sum_{t>1} g_{\pi_{t-1},\pi_t}`; those of a transcript have each of its
    labels one or more times:

    .. math::
        \mathrm{nll} = \log \sum_{\pi} e^{w(\pi)} - \log \sum_{\pi \in \mathrm{transcript}}
        e^{w(\pi)}, \qquad H_c = -\sum_{\pi \in \mathrm{transcript}} p(\pi) \log p(\pi).

    The nll is never negative. It is `lf_mmi_alignment` of `asg_graph` and `asg_topo`.

    Args:
        scores: (N, T, C) log-weights in nats, of any scale (half precision is computed in float32).
        targets: (N, U) padded, or (sum of target_lengths,) concatenated; integers in 0..C - 1, no
            two neighbours equal (see `pack_repeats`).
        input_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        transitions: (C, C) log-weights of token j (column) after token i (row).
        kind: see `fsa_alignment`.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), in nats, in the dtype of the scores, and
        differentiable in scores and transitions.

    Raises:
        FsaTypeError, FsaValueError: for wrong dtypes, shapes, lengths or labels, and for a score
            that is NaN or above 2**26; it names the place.

    Source: Collobert, Puhrsch and Synnaeve 2016, "Wav2Letter: an end-to-end ConvNet-based speech
    recognition system", section 2.3.

    >>> out = asg_alignment(torch.zeros(1, 3, 2), torch.tensor([[0, 1]]), [3], [2],
    ...                     torch.zeros(2, 2))
    >>> out.nll.exp(), out.entropy.exp()     # 2 of 8 labellings: 001 and 011
    (tensor([4.]), tensor([2.]))
    """
    check_choice("kind", kind, KINDS)
    numerator, denominator, dense, lengths = _graphs(
        scores, targets, input_lengths, target_lengths, transitions
    )
    return lf_mmi_alignment(numerator, denominator, dense, kind, lengths)


@eager
def asg_loss(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    transitions: Tensor,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
) -> Tensor:
    """Computes the ASG loss with the entropy of the alignments as a regulariser.

    Per utterance ``nll - entropy_scale * entropy``, see `asg_alignment`.

    Args:
        scores: (N, T, C), see `asg_alignment`, as the following.
        targets: (N, U) or (sum of target_lengths,).
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        transitions: (C, C).
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy, positive rewards it.
        kind: see `fsa_alignment`.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `asg_alignment`; also for the mean of an empty batch.

    >>> transitions = torch.zeros(2, 2, requires_grad=True)
    >>> asg_loss(torch.zeros(1, 3, 2), torch.tensor([[0, 1]]), [3], [2], transitions,
    ...          reduction="sum")     # ln 8/2
    tensor(1.3863, grad_fn=<SumBackward0>)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    numerator, denominator, dense, lengths = _graphs(
        scores, targets, input_lengths, target_lengths, transitions
    )
    return lf_mmi_loss(
        numerator, denominator, dense, lengths, reduction, zero_infinity, entropy_scale, kind
    )


class ASGLoss(torch.nn.Module):
    """`asg_loss` as a module that holds the transitions, a parameter that starts at zero.

    Args:
        num_symbols: C, labels for repetitions included.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `fsa_alignment`.

    >>> loss = ASGLoss(2, reduction="sum")
    >>> loss(torch.zeros(1, 3, 2), torch.tensor([[0, 1]]), [3], [2]).backward()
    >>> loss.transitions.grad.sum()     # as many transitions in the transcript as in all
    tensor(0.)
    """

    def __init__(
        self,
        num_symbols: int,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        self.transitions = torch.nn.Parameter(torch.zeros(num_symbols, num_symbols))
        self.options: dict[str, Any] = {
            "reduction": reduction,
            "zero_infinity": zero_infinity,
            "entropy_scale": entropy_scale,
            "kind": kind,
        }

    def forward(
        self,
        scores: Tensor,
        targets: Tensor,
        input_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `asg_loss`."""
        lengths = (input_lengths, target_lengths)
        return asg_loss(scores, targets, *lengths, self.transitions, **self.options)

    def extra_repr(self) -> str:
        """Shows the options in the module's repr."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"num_symbols={len(self.transitions)}, {options}"


def _graphs(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    transitions: Tensor,
) -> tuple[Fsa, Fsa, DenseFsaVec, Tensor]:
    """The numerators, the denominator, the frames, and the target lengths, all checked."""
    check_floating("scores", scores, "(N, T, C)")
    if scores.dim() != 3:
        raise FsaValueError(f"scores: must be (N, T, C), got shape {tuple(scores.shape)}")
    n, num_frames, num_symbols = scores.shape
    denominator = asg_topo(transitions)
    if transitions.shape[0] != num_symbols:
        raise FsaValueError(
            f"transitions: must be ({num_symbols}, {num_symbols}), for scores "
            f"{tuple(scores.shape)}, got {tuple(transitions.shape)}"
        )
    frames = as_lengths("input_lengths", input_lengths, n, num_frames, "frames of the scores")
    labels = checked_targets(targets, target_lengths, n, -1, num_symbols)
    symbols = RaggedTensor(RaggedShape.from_sizes(labels.lengths), labels.concatenated())
    if scores.dtype not in (torch.float32, torch.float64):
        scores = scores.float()
    dense = DenseFsaVec.from_lengths(scores, frames.to(scores.device))
    return asg_graph(symbols, transitions), denominator, dense, labels.lengths
