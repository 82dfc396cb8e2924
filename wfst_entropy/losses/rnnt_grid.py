"""Likelihood and entropy of a transducer's lattice, given the scores of its arcs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wfst_entropy._native as _native
import wfst_entropy._native.rnnt_grid as native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.kernel_gradient import differentiable_once
from wfst_entropy.losses.alignment import (
    KINDS,
    Alignment,
    as_lengths,
    check_choice,
    check_number,
    entropy_of_kind,
    zero_of,
)
from wfst_entropy.losses.rnnt_planes import delay_offsets
from wfst_entropy.losses.rnnt_recursion import (
    RNNT_TYPES,
    bad_node_score,
    checked_grid,
    rnnt_recursion,
)
from wfst_entropy.semirings import ConditionalEntropySemiring


def rnnt_grid_alignment(
    blank_scores: Tensor,
    label_scores: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    kind: str = "conditional",
    *,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    fastemit_lambda: float = 0.0,
) -> Alignment:
    r"""Computes likelihood and alignment entropy from the (blank, label) planes of a transducer.

    The lattice and its types are those of `rnnt_semiring`; with :math:`w(\pi)` the sum of the
    scores on a path,

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    On the CPU a C++ kernel computes in the dtype of the scores and can be differentiated once;
    elsewhere, and inside ``_native.disabled()``, torch computes in float64 and can be
    differentiated twice.

    Args:
        blank_scores: (N, T, U + 1) log-weights of the blank at each node, in nats, float32 or
            float64 (half precision is computed, and returned, in float32). They need not be
            normalised; -inf and masks below -2**26 mean "never".
        label_scores: (N, T, U) or (N, T, U + 1) log-weights of the next label at each node.
        logit_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance.
        kind: see `ctc_alignment`.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
        delay_penalty: see `rnnt_alignment`.
        fastemit_lambda: see `rnnt_alignment`.

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), the first two in nats and in the dtype of the
        scores. Scores beyond an utterance's frames and labels are neither read nor given a
        gradient.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_semiring`. Also for a raw entropy that overflows.

    Source: Graves 2012, "Sequence transduction with recurrent neural networks", Eq. 16, for the
    likelihood; "Entropy semirings" (arXiv 2312.10087), Section 4, for the entropy.

    >>> blank = torch.tensor([[[0.6, 0.7], [0.5, 0.8]]]).log()
    >>> label = torch.tensor([[[0.4], [0.5]]]).log()
    >>> out = rnnt_grid_alignment(blank, label, [2], [1])      # two paths
    >>> [round(float(field), 4) for field in out]
    [0.7679, 0.6926, 1.0]
    """
    check_choice("kind", kind, KINDS)
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    check_number("delay_penalty", delay_penalty)
    check_number("fastemit_lambda", fastemit_lambda)
    n, num_frames, width = checked_grid(blank_scores, label_scores)
    frames = as_lengths("logit_lengths", logit_lengths, n, num_frames, "frames of blank_scores")
    labels = as_lengths("target_lengths", target_lengths, n, width - 1, "labels of blank_scores")
    if blank_scores.dtype not in (torch.float32, torch.float64):
        blank_scores = blank_scores.float()
    label_scores = label_scores.to(blank_scores.dtype)
    if delay_penalty != 0:
        label_scores = label_scores + delay_offsets(frames, num_frames, delay_penalty).to(
            label_scores
        )
    grid = (blank_scores, label_scores, frames, labels, rnnt_type)
    totals = grid_totals(*grid, fastemit_lambda=fastemit_lambda)
    return alignment_of_totals(totals, grid, kind, fastemit_lambda=fastemit_lambda)


def grid_totals(
    blank_scores: Tensor,
    label_scores: Tensor,
    frames: Tensor,
    labels: Tensor,
    rnnt_type: str,
    *,
    entropy: bool = True,
    fastemit_lambda: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """The nll, the conditional entropy and validity of checked planes.

    Args:
        blank_scores: (N, T, U + 1), float32 or float64.
        label_scores: (N, T, U) or (N, T, U + 1), likewise.
        frames: (N,) int64 on the CPU.
        labels: likewise.
        rnnt_type: see `rnnt_semiring`.
        entropy: whether the entropy is wanted; if not, zeros may stand in its place.
        fastemit_lambda: the nll's gradient of labels is multiplied by one plus this.
    """
    if _native.can_run(blank_scores):
        shape = (frames, labels, rnnt_type)
        return _kernel_totals(blank_scores, label_scores, shape, entropy, fastemit_lambda)
    dtype, device = blank_scores.dtype, blank_scores.device
    precise = dtype if device.type == "mps" else torch.float64  # mps has no float64
    lengths = (frames.to(device), labels.to(device), ConditionalEntropySemiring(), rnnt_type)
    blank, label = blank_scores.to(precise), label_scores.to(precise)
    mass, conditional = rnnt_recursion(blank, label, *lengths)
    if fastemit_lambda != 0:
        louder: Tensor = _ScaledGradient.apply(label, 1 + fastemit_lambda)
        mass, _ = rnnt_recursion(blank, louder, *lengths)
    # results belong to the scores' graph even where no utterance has a frame
    nothing = zero_of(blank) + zero_of(label)
    nll = (nothing - mass).to(dtype)
    return nll, (nothing + conditional).to(dtype), nll.detach() < torch.inf


@eager
def _kernel_totals(
    blank: Tensor,
    label: Tensor,
    shape: tuple[Tensor, Tensor, str],
    entropy: bool,
    fastemit_lambda: float,
) -> tuple[Tensor, Tensor, Tensor]:
    save = torch.is_grad_enabled() and (blank.requires_grad or label.requires_grad)
    options = (entropy, save, fastemit_lambda)
    nll, conditional, path_count = _NativeGrid.apply(blank, label, shape, options)
    return nll, conditional, path_count > 0


def alignment_of_totals(
    totals: tuple[Tensor, Tensor, Tensor],
    grid: tuple[Tensor, Tensor, Tensor, Tensor, str],
    kind: str,
    *,
    entropy: bool = True,
    fastemit_lambda: float = 0.0,
) -> Alignment:
    """What is asked for, from the totals of a grid.

    Args:
        totals: from `grid_totals`.
        grid: its arguments.
        kind: of the entropy.
        entropy: whether it is wanted; if not, zeros may stand in its place.
        fastemit_lambda: as of `grid_totals`.
    """
    nll, conditional, valid = totals
    if not entropy:
        return Alignment(nll, conditional, valid)
    plain = nll
    if kind == "raw" and fastemit_lambda != 0:
        # The raw entropy is a function of Z, whose gradient in the nll FastEmit has changed.
        plain, _, _ = grid_totals(*grid, entropy=False)
    return Alignment(nll, entropy_of_kind(kind, plain, conditional, *grid[2:4]), valid)


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.scale * grad, None


class _NativeGrid(torch.autograd.Function):
    """The C++ engine: one backward sweep gives the gradient of both outputs in both planes."""

    @staticmethod
    @eager
    def forward(
        ctx: Any,
        blank: Tensor,
        label: Tensor,
        shape: tuple[Tensor, Tensor, str],
        options: tuple[bool, bool, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        frames, labels, rnnt_type = shape
        entropy, save, ctx.fastemit_lambda = options
        grid = native.RnntGrid(blank, label, frames, labels, rnnt_type)
        out = native.rnnt_grid_forward(grid, entropy=entropy, save=save)
        refuse_bad(out.bad, blank, label)
        ctx.save_for_backward(blank, label, frames, labels, out.cells, out.path_count)
        ctx.rnnt_type, ctx.entropy = rnnt_type, entropy
        ctx.mark_non_differentiable(out.path_count)
        ctx.set_materialize_grads(False)
        return out.nll.to(blank.dtype), out.entropy.to(blank.dtype), out.path_count

    @staticmethod
    @eager
    def backward(
        ctx: Any, grad_nll: Tensor | None, grad_entropy: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        blank, label, frames, labels, cells, path_count = ctx.saved_tensors
        grid = native.RnntGrid(blank, label, frames, labels, ctx.rnnt_type)
        zeros = torch.zeros(path_count.shape, dtype=torch.float64)
        by_nll = zeros if grad_nll is None else grad_nll.double()
        by_entropy = zeros if grad_entropy is None else grad_entropy.double()
        grads = native.rnnt_grid_backward(
            grid,
            cells,
            path_count,
            by_nll,
            by_entropy if ctx.entropy else None,
            ctx.fastemit_lambda,
        )
        inputs = (blank, label, grad_nll, grad_entropy)
        by_blank, by_label = (differentiable_once(grad, *inputs) for grad in grads)
        return by_blank, by_label, None, None


def refuse_bad(bad: Tensor, blank: Tensor, label: Tensor) -> None:
    """Refuses scores of which the kernel said that one cannot be a log-weight.

    Args:
        bad: from the kernel's forward sweep.
        blank: the scores.
        label: likewise.

    Raises:
        FsaValueError: naming utterance and node.
    """
    for plane, (what, scores) in enumerate((("blank", blank), ("label", label))):
        for n in (bad[:, 0] == plane).nonzero().flatten().tolist()[:1]:
            node = [n, *bad[n, 1:].tolist()]
            raise bad_node_score(what, node, float(scores[tuple(node)]))
