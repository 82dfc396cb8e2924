"""The kernel of the divergence of two transducers' alignments: checks, and what goes to C++."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native import check, kernel
from wfst_entropy._native.rnnt_grid import RnntGrid


class RnntGridPair:
    """Two models' scores at the nodes of the same lattices.

    Args:
        p: the model over which the divergence KL(p || q) takes the expectation.
        q: of the same shape, dtype, lengths and type.
    """

    def __init__(self, p: RnntGrid, q: RnntGrid) -> None:
        if q.blank.shape != p.blank.shape or q.blank.dtype != p.blank.dtype:
            raise ValueError(
                f"q: needs {p.blank.dtype} {tuple(p.blank.shape)}, got {q.blank.dtype} "
                f"{tuple(q.blank.shape)}"
            )
        if q.rnnt_type != p.rnnt_type:
            raise ValueError("q: must be of the type of p")
        self.p, self.q = p, q
        self.dtype, self.num_utterances = p.blank.dtype, p.blank.shape[0]

    def kernel(self, name: str) -> Any:
        """Returns the class of that name for the dtype."""
        return kernel(name + ("Float32" if self.dtype == torch.float32 else "Float64"))

    def workspace(self, moments: bool) -> tuple[int, Tensor]:
        """Returns the number of values of all saved cells, and where each utterance's begin."""
        offsets = torch.zeros(self.num_utterances, dtype=torch.int64)
        lengths = (self.p.logit_lengths.data_ptr(), self.p.target_lengths.data_ptr())
        size = kernel("rnnt_kl_workspace")(
            self.num_utterances, *lengths, self.p.rnnt_type, moments, offsets.data_ptr()
        )
        return int(size), offsets

    def native(self, cell_offsets: Tensor) -> Any:
        """Returns the extension's view of the batch."""
        plane = self.kernel("RnntPlane")
        planes = (self.p.blank, self.p.label, self.q.blank, self.q.label)
        return self.kernel("RnntGridPair").make(
            self.num_utterances,
            *(plane.make(x.data_ptr(), *x.stride()) for x in planes),
            self.p.logit_lengths.data_ptr(),
            self.p.target_lengths.data_ptr(),
            self.p.rnnt_type,
            cell_offsets.data_ptr(),
            torch.get_num_threads(),
        )


class RnntKlForward(NamedTuple):
    """What a forward sweep returns."""

    log_p: Tensor  # (N,) float64, log Z of either model; -inf without a path
    log_q: Tensor
    kl: Tensor  # (N,) float64, KL(p || q) of the normalised paths
    status: Tensor  # (N,) uint8, for the backward sweep
    # (N, 4) int64, -1, or where the first score is that is NaN or above 2**26: model (0 p, 1 q),
    # plane (0 blank, 1 label), frame and labels seen
    bad: Tensor
    cells: Tensor  # for the backward sweep; empty if not saved


def rnnt_kl_forward(pair: RnntGridPair, *, moments: bool, save: bool) -> RnntKlForward:
    """Runs the forward sweep over the lattices of both models.

    Args:
        pair: the lattices.
        moments: whether the backward call is to give ``p`` a gradient.
        save: whether a call of `rnnt_kl_backward` will follow.
    """
    n = pair.num_utterances
    size, offsets = pair.workspace(moments)
    result = RnntKlForward(
        log_p=torch.zeros(n, dtype=torch.float64),
        log_q=torch.zeros(n, dtype=torch.float64),
        kl=torch.zeros(n, dtype=torch.float64),
        status=torch.zeros(n, dtype=torch.uint8),
        bad=torch.full((n, 4), -1),
        cells=torch.empty(size if save else 0, dtype=pair.dtype),
    )
    kernel("rnnt_kl_forward", pair.dtype)(
        pair.native(offsets),
        moments,
        result.cells.data_ptr() if save else 0,
        result.log_p.data_ptr(),
        result.log_q.data_ptr(),
        result.kl.data_ptr(),
        result.status.data_ptr(),
        result.bad.data_ptr(),
    )
    return result


def rnnt_kl_backward(
    pair: RnntGridPair,
    cells: Tensor,
    status: Tensor,
    by_kl: Tensor,
    by_p: Tensor,
    by_q: Tensor,
    *,
    moments: bool,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Returns the gradients of ``sum(by_kl * kl + by_p * log_p + by_q * log_q)``.

    Args:
        pair: the lattices, as in the forward call.
        cells: from the forward call with ``save=True``.
        status: likewise.
        by_kl: (N,) float64, as the following.
        by_p: of log Z of p.
        by_q: of log Z of q.
        moments: as in the forward call.
        wanted: whether p, and whether q, is to get its gradient; that of p needs the moments.

    Returns:
        Those of the blank and label planes of p, then of q; None for a model that gets none.
    """
    if wanted[0] and not moments:
        raise ValueError("wanted: the gradient of p needs moments=True in both calls")
    n = pair.num_utterances
    size, offsets = pair.workspace(moments)
    cells = check(cells, "cells", pair.dtype, (size,))
    status = check(status, "status", torch.uint8, (n,))
    factors = [
        check(x, name, torch.float64, (n,))
        for x, name in ((by_kl, "by_kl"), (by_p, "by_p"), (by_q, "by_q"))
    ]
    grads: list[Tensor | None] = []
    views = []
    for grid, want in zip((pair.p, pair.q), wanted, strict=True):
        planes = [
            torch.empty(x.shape if want else (0,), dtype=x.dtype) for x in (grid.blank, grid.label)
        ]
        grads += planes if want else [None, None]
        addresses = [x.data_ptr() if want else 0 for x in planes]
        sizes = (grid.blank.shape[1], grid.blank.shape[2], grid.label.shape[2])
        views.append(pair.kernel("RnntGridGradient").make(*addresses, *sizes))
    kernel("rnnt_kl_backward", pair.dtype)(
        pair.native(offsets),
        moments,
        cells.data_ptr(),
        status.data_ptr(),
        *(x.data_ptr() for x in factors),
        *views,
    )
    return grads[0], grads[1], grads[2], grads[3]
