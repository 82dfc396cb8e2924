"""k2's transducer losses: full, with a joiner that adds, smoothed, and pruned."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.compat.k2.mutual_information import (
    Grads,
    boundary_rows,
    mutual_information_recursion,
)
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import check_choice
from wfst_entropy.losses.am_lm_planes import AmLmBatch, Smoothing, am_lm_planes
from wfst_entropy.losses.rnnt_arc_posteriors import RnntArcPosteriors
from wfst_entropy.losses.rnnt_batch import RnntBatch, RnntOptions
from wfst_entropy.losses.rnnt_planes import logit_planes
from wfst_entropy.losses.rnnt_prune import do_rnnt_pruning as do_rnnt_pruning
from wfst_entropy.losses.rnnt_prune import get_rnnt_prune_ranges as _prune_ranges
from wfst_entropy.losses.rnnt_prune import window_ranges
from wfst_entropy.losses.rnnt_pruned import PrunedBatch, checked_windows, pruned_planes
from wfst_entropy.losses.rnnt_recursion import RNNT_TYPES
from wfst_entropy.losses.targets import Targets


def rnnt_loss(
    logits: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str | None = "mean",
) -> Tensor:
    """Minus the log probability of the symbols, summed over all alignments.

    Args:
      logits: `(B, T, S + 1, C)`, from the joiner.
      symbols: `(B, S)` int64.
      termination_symbol: the blank.
      boundary: `(B, 4)` int64, rows `[0, 0, num_symbols, num_frames]`; all of both if None.
      rnnt_type: `"regular"`, `"modified"` (one symbol a frame) or `"constrained"`.
      delay_penalty: above 0, a symbol at frame t gains this times `(num_frames - 1) / 2 - t`.
      reduction: `"none"`, `"mean"` over the batch, or `"sum"`.

    Returns:
      A scalar, or `(B,)`; +inf for an utterance without alignment.

    Raises:
      FsaTypeError, FsaValueError: wrong dtypes, shapes, symbols or boundaries; a score that is NaN.

    Example:
      >>> rnnt_loss(torch.zeros(1, 2, 2, 2), torch.tensor([[1]]), 0)
      tensor(1.3863)
    """
    px, py = get_rnnt_logprobs_joint(logits, symbols, termination_symbol, boundary, rnnt_type)
    loss, _ = _loss(px, py, boundary, rnnt_type, delay_penalty, reduction, False)
    return loss


def rnnt_loss_simple(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str | None = "mean",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, Grads]:
    """The loss of the joiner that adds lm and am; see `rnnt_loss`.

    Args:
      lm: `(B, S + 1, C)`.
      am: `(B, T, C)`.
      symbols: `(B, S)` int64.
      termination_symbol: the blank.
      boundary: see `rnnt_loss`, as the next three.
      rnnt_type: which lattice.
      delay_penalty: rewards early symbols.
      reduction: `"none"`, `"mean"` or `"sum"`.
      return_grad: whether to return also how probable each step is, for `get_rnnt_prune_ranges`.

    Returns:
      The loss or, with `return_grad`, `(loss, (px_grad, py_grad))`.

    Example:
      >>> loss, (px_grad, py_grad) = rnnt_loss_simple(
      ...     torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), torch.tensor([[1]]), 0, return_grad=True
      ... )
      >>> px_grad
      tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    px, py = get_rnnt_logprobs(lm, am, symbols, termination_symbol, rnnt_type, boundary)
    loss, grads = _loss(px, py, boundary, rnnt_type, delay_penalty, reduction, return_grad)
    return loss if grads is None else (loss, grads)


def rnnt_loss_smoothed(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str | None = "mean",
    return_grad: bool = False,
) -> Tensor | tuple[Tensor, Grads]:
    """`rnnt_loss_simple`, with the probabilities of lm alone and am alone mixed in.

    Args:
      lm: `(B, S + 1, C)`.
      am: `(B, T, C)`.
      symbols: `(B, S)` int64.
      termination_symbol: the blank.
      lm_only_scale: the share of lm alone.
      am_only_scale: the share of am alone.
      boundary: see `rnnt_loss`, as the next three.
      rnnt_type: which lattice.
      delay_penalty: rewards early symbols.
      reduction: `"none"`, `"mean"` or `"sum"`.
      return_grad: see `rnnt_loss_simple`.

    Returns:
      The loss or, with `return_grad`, `(loss, (px_grad, py_grad))`.

    Example:
      >>> am, lm = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
      >>> rnnt_loss_smoothed(lm, am, torch.tensor([[1]]), 0)
      tensor(1.3863)
    """
    px, py = get_rnnt_logprobs_smoothed(
        lm, am, symbols, termination_symbol, lm_only_scale, am_only_scale, boundary, rnnt_type
    )
    loss, grads = _loss(px, py, boundary, rnnt_type, delay_penalty, reduction, return_grad)
    return loss if grads is None else (loss, grads)


def rnnt_loss_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
    delay_penalty: float = 0.0,
    reduction: str | None = "mean",
    use_hat_loss: bool = False,
) -> Tensor:
    """`rnnt_loss` over the alignments that keep to a window of symbols per frame.

    Args:
      logits: `(B, T, s_range, C)`, from the joiner, for what `do_rnnt_pruning` returned.
      symbols: `(B, S)` int64.
      ranges: `(B, T, s_range)` int64, from `get_rnnt_prune_ranges`.
      termination_symbol: the blank.
      boundary: see `rnnt_loss`, as the next three.
      rnnt_type: which lattice.
      delay_penalty: rewards early symbols.
      reduction: `"none"`, `"mean"` or `"sum"`.
      use_hat_loss: whether blank has the probability `sigmoid(logit)`, and the others share the
        rest, as in the hybrid autoregressive transducer.

    Returns:
      A scalar, or `(B,)`.

    Example:
      >>> ranges = torch.tensor([[[0, 1], [0, 1]]])
      >>> rnnt_loss_pruned(torch.zeros(1, 2, 2, 2), torch.tensor([[1]]), ranges, 0)
      tensor(1.3863)
    """
    logprobs = get_hat_logprobs_pruned if use_hat_loss else get_rnnt_logprobs_pruned
    px, py = logprobs(logits, symbols, ranges, termination_symbol, boundary, rnnt_type)
    loss, _ = _loss(px, py, boundary, rnnt_type, delay_penalty, reduction, False)
    return loss


def get_rnnt_logprobs(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    rnnt_type: str = "regular",
    boundary: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The px and py of `rnnt_loss_simple`, for `mutual_information_recursion`.

    Args:
      lm: `(B, S + 1, C)`.
      am: `(B, T, C)`.
      symbols: `(B, S)` int64.
      termination_symbol: the blank.
      rnnt_type: which lattice.
      boundary: see `rnnt_loss`.

    Returns:
      px `(B, S, T)`, or `(B, S, T + 1)` for the regular lattice, and py `(B, S + 1, T)`.
    """
    return get_rnnt_logprobs_smoothed(
        lm, am, symbols, termination_symbol, 0.0, 0.0, boundary, rnnt_type
    )


def get_rnnt_logprobs_smoothed(
    lm: Tensor,
    am: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    lm_only_scale: float = 0.1,
    am_only_scale: float = 0.1,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """The px and py of `rnnt_loss_smoothed`, for `mutual_information_recursion`.

    The mean distribution of symbols, to which am alone is normalised, is taken over all of lm:
    padding counts, as in k2.

    Args:
      lm: `(B, S + 1, C)`.
      am: `(B, T, C)`.
      symbols: `(B, S)` int64.
      termination_symbol: the blank.
      lm_only_scale: the share of lm alone.
      am_only_scale: the share of am alone.
      boundary: see `rnnt_loss`.
      rnnt_type: which lattice.

    Returns:
      px `(B, S, T)`, or `(B, S, T + 1)` for the regular lattice, and py `(B, S + 1, T)`.
    """
    if am.dim() != 3 or lm.dim() != 3 or am.shape[::2] != lm.shape[::2] or lm.shape[1] < 1:
        raise FsaValueError(
            f"lm and am: must be (B, S + 1, C) and (B, T, C), got {tuple(lm.shape)} and "
            f"{tuple(am.shape)}."
        )
    targets = _targets(symbols, lm.shape[0], lm.shape[1] - 1, am.shape[2], termination_symbol)
    frames = torch.full((am.shape[0],), am.shape[1])
    batch = AmLmBatch(am, lm, targets, frames, termination_symbol)
    blank, label = am_lm_planes(batch, Smoothing(lm_only_scale, am_only_scale))
    return _px_py(blank, label, boundary, rnnt_type)


def get_rnnt_logprobs_joint(
    logits: Tensor,
    symbols: Tensor,
    termination_symbol: int,
    boundary: Tensor | None = None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """The px and py of `rnnt_loss`, for `mutual_information_recursion`.

    Args:
      logits: `(B, T, S + 1, C)`.
      symbols: `(B, S)` int64.
      termination_symbol: the blank.
      boundary: see `rnnt_loss`.  Logits beyond it are not read.
      rnnt_type: which lattice.

    Returns:
      px `(B, S, T)`, or `(B, S, T + 1)` for the regular lattice, and py `(B, S + 1, T)`.
    """
    if logits.dim() != 4 or logits.shape[2] < 1:
        raise FsaValueError(f"logits: must be (B, T, S + 1, C), got {tuple(logits.shape)}.")
    n, num_frames, width, num_symbols = logits.shape
    targets = _targets(symbols, n, width - 1, num_symbols, termination_symbol)
    rows = boundary_rows(boundary, n, width - 1, num_frames)
    targets = targets._replace(lengths=rows[:, 2])
    batch = RnntBatch(logits, targets, rows[:, 3], termination_symbol)
    return _px_py(*logit_planes(batch, RnntOptions()), boundary, rnnt_type)


def get_rnnt_logprobs_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """The px and py of `rnnt_loss_pruned`, for `mutual_information_recursion`.

    Args:
      logits: `(B, T, s_range, C)`.
      symbols: `(B, S)` int64.
      ranges: `(B, T, s_range)` int64.
      termination_symbol: the blank.
      boundary: see `rnnt_loss`.  Logits beyond it are not read.
      rnnt_type: which lattice.

    Returns:
      px `(B, S, T)`, or `(B, S, T + 1)` for the regular lattice, and py `(B, S + 1, T)`; -inf
      outside the ranges.
    """
    return _pruned(logits, symbols, ranges, termination_symbol, boundary, rnnt_type, hat=False)


def get_hat_logprobs_pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None,
    rnnt_type: str = "regular",
) -> tuple[Tensor, Tensor]:
    """As `get_rnnt_logprobs_pruned`, with a sigmoid for blank and a softmax for the other symbols.

    Args:
      logits: `(B, T, s_range, C)`.
      symbols: `(B, S)` int64.
      ranges: `(B, T, s_range)` int64.
      termination_symbol: the blank.
      boundary: see `rnnt_loss`.
      rnnt_type: which lattice.

    Returns:
      px and py, see `get_rnnt_logprobs_pruned`.
    """
    return _pruned(logits, symbols, ranges, termination_symbol, boundary, rnnt_type, hat=True)


def get_rnnt_prune_ranges(
    px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int
) -> Tensor:
    """For each frame, the window of symbols that keeps most of the alignments.

    Args:
      px_grad: `(B, S, T)` or `(B, S, T + 1)`, from a loss with `return_grad=True`.
      py_grad: `(B, S + 1, T)`.
      boundary: `(B, 4)` int64.
      s_range: how many symbols to keep; all if there are fewer.

    Returns:
      `(B, T, s_range)` int64.

    Raises:
      FsaTypeError, FsaValueError: wrong shapes or boundaries, or a range without room for a path.

    Example:
      >>> px_grad = torch.tensor([[[0.0, 1, 0, 0], [0, 0, 1, 0]]])
      >>> get_rnnt_prune_ranges(px_grad, torch.eye(3)[None], torch.tensor([[0, 0, 2, 3]]), 2)
      tensor([[[0, 1],
               [0, 1],
               [1, 2]]])
    """
    posteriors, rows, rnnt_type = _posteriors(px_grad, py_grad, boundary)
    return _prune_ranges(posteriors, rows[:, 3], rows[:, 2], s_range, rnnt_type=rnnt_type)


def get_rnnt_prune_ranges_deprecated(
    px_grad: Tensor, py_grad: Tensor, boundary: Tensor, s_range: int
) -> Tensor:
    """As `get_rnnt_prune_ranges`, by the arcs that alignments have inside, on average.

    Args:
      px_grad: see `get_rnnt_prune_ranges`.
      py_grad: likewise.
      boundary: likewise.
      s_range: likewise.

    Returns:
      `(B, T, s_range)` int64.
    """
    posteriors, rows, rnnt_type = _posteriors(px_grad, py_grad, boundary)
    arcs = posteriors.blank.clone()
    arcs[:, :, :-1] += posteriors.label
    size = min(s_range, arcs.shape[2])
    step = size - 1 if rnnt_type == "regular" else 1
    return window_ranges(arcs.unfold(2, size, 1).sum(3), rows[:, 3], rows[:, 2], size, step)


def fix_for_boundary(px: Tensor, boundary: Tensor | None = None) -> Tensor:
    """Forbids symbols after an utterance's last frame, in place.

    Args:
      px: `(B, S, T + 1)`.
      boundary: `(B, 4)` int64; `None` leaves px as it is.

    Returns:
      px, with -inf in the columns `boundary[:, 3]`.
    """
    if boundary is None:
        return px
    ends = boundary_rows(boundary, px.shape[0], px.shape[1], px.shape[2] - 1)[:, 3].to(px.device)
    index = ends[:, None, None].expand(-1, px.shape[1], 1)
    return px.scatter_(2, index, -torch.inf)


def _loss(
    px: Tensor,
    py: Tensor,
    boundary: Tensor | None,
    rnnt_type: str,
    delay_penalty: float,
    reduction: str | None,
    return_grad: bool,
) -> tuple[Tensor, Grads | None]:
    if reduction not in ("none", "mean", "sum"):
        raise FsaValueError(f"reduction: must be 'none', 'mean' or 'sum', got {reduction!r}.")
    if delay_penalty > 0:
        rows = boundary_rows(boundary, px.shape[0], px.shape[1], py.shape[2])
        middle = ((rows[:, 3] - 1) / 2).to(px)[:, None, None]
        px = px + delay_penalty * (middle - torch.arange(px.shape[2]).to(px))
    grads = None
    if return_grad:
        scores, grads = mutual_information_recursion(px, py, boundary, return_grad=True)
    else:
        scores = mutual_information_recursion(px, py, boundary)
    loss = -scores
    if reduction == "none":
        return loss, grads
    return (loss.mean() if reduction == "mean" else loss.sum()), grads


def _targets(symbols: Tensor, n: int, num_labels: int, num_symbols: int, blank: int) -> Targets:
    """All symbols, padding too, as the losses take them; here one may be the blank, as in k2."""
    if not isinstance(symbols, Tensor) or symbols.dtype != torch.int64:
        came = symbols.dtype if isinstance(symbols, Tensor) else type(symbols).__name__
        raise FsaTypeError(f"symbols: must be an int64 tensor, got {came}.")
    if tuple(symbols.shape) != (n, num_labels):
        raise FsaValueError(
            f"symbols: must have shape ({n}, {num_labels}), got {tuple(symbols.shape)}."
        )
    for name, x in (("termination_symbol", torch.tensor(blank)), ("symbols", symbols)):
        wrong = x[(x < 0) | (x >= num_symbols)]
        if wrong.numel():
            raise FsaValueError(f"{name}: must lie in 0..{num_symbols - 1}, got {int(wrong[0])}.")
    flat = symbols.detach().to("cpu", copy=True).flatten()
    return Targets(flat, torch.arange(n) * num_labels, torch.full((n,), num_labels))


def _px_py(
    blank: Tensor, label: Tensor, boundary: Tensor | None, rnnt_type: str
) -> tuple[Tensor, Tensor]:
    """px and py in k2's layout, of planes (B, T, S + 1) and (B, T, S)."""
    check_choice("rnnt_type", rnnt_type, RNNT_TYPES)
    px, py = label.transpose(1, 2), blank.transpose(1, 2).contiguous()
    if rnnt_type == "constrained":
        px = px + py[:, 1:]
    if rnnt_type == "regular":
        never = px.new_full((*px.shape[:2], 1), -torch.inf)
        px = fix_for_boundary(torch.cat([px, never], 2), boundary)
    return px.contiguous(), py


def _pruned(
    logits: Tensor,
    symbols: Tensor,
    ranges: Tensor,
    termination_symbol: int,
    boundary: Tensor | None,
    rnnt_type: str,
    *,
    hat: bool,
) -> tuple[Tensor, Tensor]:
    if logits.dim() != 4:
        raise FsaValueError(f"logits: must be (B, T, s_range, C), got {tuple(logits.shape)}.")
    n, num_frames, _, num_symbols = logits.shape
    num_labels = symbols.shape[-1] if symbols.dim() else 0
    targets = _targets(symbols, n, num_labels, num_symbols, termination_symbol)
    rows = boundary_rows(boundary, n, num_labels, num_frames)
    begins = checked_windows(ranges, logits, "logits")
    targets = targets._replace(lengths=rows[:, 2])
    windows = RnntBatch(logits, targets, rows[:, 3], termination_symbol, begins=begins)
    planes = pruned_planes(PrunedBatch(windows, num_labels + 1), RnntOptions(), hat)
    return _px_py(*planes, boundary, rnnt_type)


def _posteriors(
    px_grad: Tensor, py_grad: Tensor, boundary: Tensor
) -> tuple[RnntArcPosteriors, Tensor, str]:
    rows = boundary_rows(boundary, px_grad.shape[0], px_grad.shape[1], py_grad.shape[-1])
    rnnt_type = "modified" if px_grad.shape[-1] == py_grad.shape[-1] else "regular"
    label = px_grad[:, :, : py_grad.shape[-1]].transpose(1, 2)
    return RnntArcPosteriors(py_grad.transpose(1, 2), label), rows, rnnt_type
