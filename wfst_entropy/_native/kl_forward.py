"""What the forward sweeps of the divergence of two models return."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class KlForward(NamedTuple):
    """Totals of each utterance; the last two, and the status, are for the backward sweep."""

    log_p: Tensor  # (N,) float64, log Z of either model; -inf without a path
    log_q: Tensor
    kl: Tensor  # (N,) float64, KL(p || q) of the normalised paths
    status: Tensor  # (N,) uint8: KlStatus of csrc/pair_total.h
    bad_frame: Tensor  # (N,) int64, -1, or the frame of the first score that is NaN or above 2**26
    bad_symbol: Tensor  # (N,) int64, likewise the symbol
    bad_model: Tensor  # (N,) uint8, likewise 0 for p and 1 for q
    cells: Tensor  # empty if not saved
    cell_offsets: Tensor

    @classmethod
    def empty(cls, n: int, size: int, dtype: torch.dtype, cell_offsets: Tensor) -> KlForward:
        """Returns the tensors that a kernel fills."""
        return cls(
            log_p=torch.zeros(n, dtype=torch.float64),
            log_q=torch.zeros(n, dtype=torch.float64),
            kl=torch.zeros(n, dtype=torch.float64),
            status=torch.zeros(n, dtype=torch.uint8),
            bad_frame=torch.full((n,), -1),
            bad_symbol=torch.full((n,), -1),
            bad_model=torch.zeros(n, dtype=torch.uint8),
            cells=torch.empty(size, dtype=dtype),
            cell_offsets=cell_offsets,
        )

    def outputs(self) -> list[int]:
        """The addresses of what a kernel fills beside the cells, in its order."""
        return [tensor.data_ptr() for tensor in self[:7]]
