"""The kernels of a transducer's lattice: checks, and what goes to C++ and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel

RNNT_TYPES = ("regular", "modified", "constrained")  # as numbered in C++


class RnntGrid:
    """The scores of arcs at the nodes of lattices, checked and kept alive while C++ reads them.

    Args:
        blank: (N, T, W) float32 or float64 on the CPU, in any memory order.
        label: (N, T, W) or (N, T, W - 1), of the same dtype.
        logit_lengths: (N,) int64, in 0..T.
        target_lengths: (N,) int64, in 0..W-1.
        rnnt_type: ``"regular"``, ``"modified"`` or ``"constrained"``.
    """

    def __init__(
        self,
        blank: Tensor,
        label: Tensor,
        logit_lengths: Tensor,
        target_lengths: Tensor,
        rnnt_type: str,
    ) -> None:
        n, num_frames, width = blank.shape
        if blank.device.type != "cpu" or blank.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"blank: need float32 or float64 on the CPU, got {blank.dtype} on {blank.device}"
            )
        if label.device.type != "cpu" or label.dtype != blank.dtype:
            raise ValueError(f"label: need {blank.dtype} on the CPU, got {label.dtype}")
        if tuple(label.shape) not in ((n, num_frames, width), (n, num_frames, width - 1)):
            raise ValueError(
                f"label: must fit blank {tuple(blank.shape)}, got {tuple(label.shape)}"
            )
        self.blank, self.label = blank, label
        self.logit_lengths = check(logit_lengths, "logit_lengths", torch.int64, (n,))
        self.target_lengths = check(target_lengths, "target_lengths", torch.int64, (n,))
        for name, lengths, most in (
            ("logit_lengths", self.logit_lengths, num_frames),
            ("target_lengths", self.target_lengths, width - 1),
        ):
            if n and not 0 <= int(lengths.min()) <= int(lengths.max()) <= most:
                raise ValueError(f"{name}: must lie in 0..{most}")
        self.rnnt_type = RNNT_TYPES.index(rnnt_type)

    def workspace(self, entropy: bool) -> tuple[int, Tensor]:
        """Returns the number of values of all saved cells, and where each utterance's begin."""
        offsets = torch.zeros(self.blank.shape[0], dtype=torch.int64)
        lengths = (self.logit_lengths.data_ptr(), self.target_lengths.data_ptr())
        size = kernel("rnnt_grid_workspace")(
            self.blank.shape[0], *lengths, self.rnnt_type, entropy, offsets.data_ptr()
        )
        return int(size), offsets

    def native(self, cell_offsets: Tensor) -> Any:
        """Returns the extension's view of the batch."""
        kind = "RnntGridFloat32" if self.blank.dtype == torch.float32 else "RnntGridFloat64"
        return kernel(kind).make(
            self.blank.shape[0],
            self.blank.data_ptr(),
            *self.blank.stride(),
            self.label.data_ptr(),
            *self.label.stride(),
            self.logit_lengths.data_ptr(),
            self.target_lengths.data_ptr(),
            self.rnnt_type,
            cell_offsets.data_ptr(),
            torch.get_num_threads(),
        )


class GridForward(NamedTuple):
    """What a forward sweep returns."""

    nll: Tensor  # (N,) float64
    entropy: Tensor  # (N,) float64, zeros if not wanted
    path_count: Tensor  # (N,) uint8: 0, 1, or 2 for "two or more"
    # (N, 3) int64, -1, or where the first score is that is NaN or above 2**26: plane (0 blank, 1
    # label), frame and labels seen
    bad: Tensor
    cells: Tensor  # for the backward sweep; empty if not saved


def rnnt_grid_forward(grid: RnntGrid, *, entropy: bool, save: bool) -> GridForward:
    """Runs the forward sweep.

    Args:
        grid: the lattices.
        entropy: whether the conditional entropy is wanted beside the likelihood.
        save: whether a call of `rnnt_grid_backward` will follow.
    """
    n, dtype = grid.blank.shape[0], grid.blank.dtype
    size, offsets = grid.workspace(entropy)
    result = GridForward(
        nll=torch.zeros(n, dtype=torch.float64),
        entropy=torch.zeros(n, dtype=torch.float64),
        path_count=torch.zeros(n, dtype=torch.uint8),
        bad=torch.full((n, 3), -1),
        cells=torch.empty(size if save else 0, dtype=dtype),
    )
    kernel("rnnt_grid_forward", dtype)(
        grid.native(offsets),
        result.cells.data_ptr() if save else 0,
        result.nll.data_ptr(),
        result.entropy.data_ptr() if entropy else 0,
        result.path_count.data_ptr(),
        result.bad.data_ptr(),
    )
    return result


def rnnt_grid_backward(
    grid: RnntGrid,
    cells: Tensor,
    path_count: Tensor,
    grad_nll: Tensor,
    grad_entropy: Tensor | None,
    fastemit_lambda: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of ``sum(grad_nll * nll + grad_entropy * entropy)`` in both planes.

    Args:
        grid: the lattices, as in the forward call.
        cells: from the forward call with ``save=True``.
        path_count: likewise.
        grad_nll: (N,) float64.
        grad_entropy: (N,) float64; None exactly if the forward call had ``entropy=False``.
        fastemit_lambda: the nll's gradient of labels is multiplied by one plus this.
    """
    n, num_frames, width = grid.blank.shape
    dtype = grid.blank.dtype
    size, offsets = grid.workspace(grad_entropy is not None)
    cells = check(cells, "cells", dtype, (size,))
    path_count = check(path_count, "path_count", torch.uint8, (n,))
    grad_nll = check(grad_nll, "grad_nll", torch.float64, (n,))
    if grad_entropy is not None:
        grad_entropy = check(grad_entropy, "grad_entropy", torch.float64, (n,))
    grad_blank = torch.empty((n, num_frames, width), dtype=dtype)
    grad_label = torch.empty(grid.label.shape, dtype=dtype)
    kernel("rnnt_grid_backward", dtype)(
        grid.native(offsets),
        cells.data_ptr(),
        path_count.data_ptr(),
        grad_nll.data_ptr(),
        grad_entropy.data_ptr() if grad_entropy is not None else 0,
        fastemit_lambda,
        grad_blank.data_ptr(),
        grad_label.data_ptr(),
        num_frames,
        width,
        grid.label.shape[2],
    )
    return grad_blank, grad_label
