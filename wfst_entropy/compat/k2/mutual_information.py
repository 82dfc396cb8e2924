"""k2's recursion over a grid of labels and frames, on this package's transducer lattices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.rnnt_arc_posteriors import grid_totals_and_posteriors
from wfst_entropy.losses.rnnt_grid import grid_totals

Grads = tuple[Tensor, Tensor]


@overload
def mutual_information_recursion(
    px: Tensor, py: Tensor, boundary: Tensor | None = ..., return_grad: Literal[False] = ...
) -> Tensor: ...


@overload
def mutual_information_recursion(
    px: Tensor, py: Tensor, boundary: Tensor | None = ..., *, return_grad: Literal[True]
) -> tuple[Tensor, Grads]: ...


@overload
def mutual_information_recursion(
    px: Tensor, py: Tensor, boundary: Tensor | None = ..., return_grad: bool = ...
) -> Tensor | tuple[Tensor, Grads]: ...


def mutual_information_recursion(
    px: Tensor, py: Tensor, boundary: Tensor | None = None, return_grad: bool = False
) -> Tensor | tuple[Tensor, Grads]:
    """The log of the summed weights of all monotonic paths over a grid of S labels and T frames.

    A path goes from `(s_begin, t_begin)` to `(s_end, t_end)`.  From `(s, t)` it goes on to
    `(s, t + 1)` with the score `py[s, t]`, and with `px[s, t]` to `(s + 1, t)` or, if px has T
    columns and not T + 1, to `(s + 1, t + 1)`.

    Args:
      px: `(B, S, T + 1)` or `(B, S, T)` scores in nats, float32 or float64.
      py: `(B, S + 1, T)`, of the same dtype.
      boundary: `(B, 4)` int64, rows `[s_begin, t_begin, s_end, t_end]`; `[0, 0, S, T]` if None.
      return_grad: whether to return also the derivatives of the result by px and py: how probable
        each step is.  They have no gradient.

    Returns:
      `(B,)`, -inf where no path is; with `return_grad`, `(scores, (px_grad, py_grad))`.

    Raises:
      FsaTypeError, FsaValueError: wrong dtypes, shapes or boundaries; a score that is read and is
        NaN or above 2**26 (k2 returns NaN).

    Example:
      >>> scores, (px_grad, _) = mutual_information_recursion(
      ...     torch.zeros(1, 1, 3), torch.zeros(1, 2, 2), return_grad=True
      ... )
      >>> scores.exp()
      tensor([3.])
      >>> px_grad
      tensor([[[0.3333, 0.3333, 0.3333]]])
    """
    boundary = checked_boundary(px, py, boundary)
    if not return_grad:
        blank, label, frames, labels, rnnt_type = _lattice(px, py, boundary)
        nll, _, _ = grid_totals(blank, label, frames, labels, rnnt_type, entropy=False)
        return -nll
    differentiable = torch.is_grad_enabled() and (px.requires_grad or py.requires_grad)
    with torch.enable_grad():
        # What has no gradient is given one, for the way back from the lattice to px and py.
        x, y = (p if differentiable and p.requires_grad else p.detach() for p in (px, py))
        x, y = (p if p.requires_grad else p.requires_grad_() for p in (x, y))
        lattice = _lattice(x, y, boundary)
        (nll, _, _), posteriors = grid_totals_and_posteriors(*lattice, entropy=False)
        grads = torch.autograd.grad(lattice[:2], (x, y), posteriors, retain_graph=differentiable)
    return -nll if differentiable else -nll.detach(), (grads[0], grads[1])


def joint_mutual_information_recursion(
    px: Sequence[Tensor], py: Sequence[Tensor], boundary: Tensor | None = None
) -> Tensor:
    """The result of the recursion on the sums of several px and py, split into their shares.

    The share of term i is the mean, over the paths, of its scores; what the logarithm of the sum is
    more than that goes to term 0.

    Args:
      px: tensors as of `mutual_information_recursion`, of one shape.
      py: as many.
      boundary: as there.

    Returns:
      `(len(px), B)`; the sum over the first axis is the result of the recursion.

    Raises:
      FsaTypeError, FsaValueError: see `mutual_information_recursion`.

    Example:
      >>> x, y = torch.zeros(1, 1, 3), torch.full((1, 2, 2), -1.0)
      >>> joint_mutual_information_recursion([x, x], [y, 2 * y])
      tensor([[-0.9014],
              [-4.0000]])
    """
    if len(px) == 0 or len(px) != len(py):
        raise FsaValueError(f"py: needs as many terms as px, and one at least; got {len(py)}.")
    x, y = torch.stack(list(px)), torch.stack(list(py))
    with torch.no_grad():
        total, grads = mutual_information_recursion(x.sum(0), y.sum(0), boundary, return_grad=True)
    shares = torch.zeros((), device=total.device)
    for terms, grad in ((x, grads[0]), (y, grads[1])):
        # -inf times a probability of 0 is no share.
        finite = terms.clamp(min=torch.finfo(terms.dtype).min)
        shares = shares + (finite * grad).flatten(2).sum(2)
    rest = (total - shares.sum(0)).detach()
    return torch.cat([shares[:1] + rest, shares[1:]])


def checked_boundary(px: Tensor, py: Tensor, boundary: Tensor | None) -> Tensor:
    """The boundary as an int64 tensor on the CPU, once all fits together.

    Raises:
      FsaTypeError, FsaValueError: it does not.
    """
    if not px.is_floating_point() or px.dtype != py.dtype:
        raise FsaTypeError(f"px and py: must share a floating dtype, got {px.dtype}, {py.dtype}.")
    if px.dim() != 3 or py.dim() != 3:
        raise FsaValueError(f"px and py: need 3 axes, got {tuple(px.shape)}, {tuple(py.shape)}.")
    n, num_labels, columns = px.shape
    num_frames = py.shape[2]
    if tuple(py.shape[:2]) != (n, num_labels + 1) or columns - num_frames not in (0, 1):
        raise FsaValueError(
            f"px and py: must have shapes (B, S, T + 1) or (B, S, T), and (B, S + 1, T), got "
            f"{tuple(px.shape)} and {tuple(py.shape)}."
        )
    return boundary_rows(boundary, n, num_labels, num_frames)


def boundary_rows(boundary: Tensor | None, n: int, num_labels: int, num_frames: int) -> Tensor:
    """`boundary`, or the whole grid, as int64 `(n, 4)` on the CPU.

    Raises:
      FsaTypeError, FsaValueError: it is something else, or a row does not lie in the grid.
    """
    if boundary is None:
        return torch.tensor([[0, 0, num_labels, num_frames]]).expand(n, 4)
    if not isinstance(boundary, Tensor) or boundary.dtype != torch.int64:
        came = boundary.dtype if isinstance(boundary, Tensor) else type(boundary).__name__
        raise FsaTypeError(f"boundary: must be an int64 tensor, got {came}.")
    if tuple(boundary.shape) != (n, 4):
        raise FsaValueError(f"boundary: must have shape ({n}, 4), got {tuple(boundary.shape)}.")
    rows = boundary.detach().cpu()
    begin, end = rows[:, :2], rows[:, 2:]
    wrong = (begin < 0) | (begin > end) | (end > torch.tensor([num_labels, num_frames]))
    for i in wrong.any(1).nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"boundary[{i}] = {rows[i].tolist()}: needs 0 <= s_begin <= s_end <= {num_labels} and "
            f"0 <= t_begin <= t_end <= {num_frames}."
        )
    return rows


def _lattice(
    px: Tensor, py: Tensor, boundary: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, str]:
    """Planes (blank, label), lengths (frames, labels) and type of a transducer with these paths."""
    label, blank = px.transpose(1, 2), py.transpose(1, 2)
    labels, frames = boundary[:, 2] - boundary[:, 0], boundary[:, 3] - boundary[:, 1]
    if bool(boundary[:, :2].any()):
        label, blank = (_moved(x, boundary.to(px.device)) for x in (label, blank))
    if px.shape[2] == py.shape[2]:
        return blank, label, frames, labels, "modified"
    # Here labels may follow the last frame: a frame more, whose only blank ends the path.
    ends = torch.arange(blank.shape[2]) == labels[:, None]
    past = torch.arange(label.shape[1])[:, None] >= frames[:, None, None]
    free = torch.where(ends[:, None], 0.0, -torch.inf).to(blank)
    longer = torch.cat([blank, blank.new_zeros(blank.shape[0], 1, blank.shape[2])], 1)
    blank = torch.where(past.to(blank.device), free, longer)
    return blank, label, frames + 1, labels, "regular"


def _moved(plane: Tensor, boundary: Tensor) -> Tensor:
    """The plane (B, T, S) from each utterance's begin on; what comes after its end is not read."""
    for axis, begin in ((1, boundary[:, 1]), (2, boundary[:, 0])):
        size = plane.shape[axis]
        index = (begin[:, None] + torch.arange(size, device=plane.device)).clamp(max=size - 1)
        index = index[:, :, None] if axis == 1 else index[:, None]
        plane = plane.gather(axis, index.expand(plane.shape))
    return plane
