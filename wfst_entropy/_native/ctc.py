"""The kernels of the CTC trellis: checks, and what goes to C++ and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import CtcBatch, Forward, check, is_available, kernel

_ROW_TYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}


def can_run(scores: Tensor) -> bool:
    """Tells whether there is a CTC kernel for a tensor's device and dtype, and it may be used."""
    return is_available() and scores.device.type == "cpu" and scores.dtype in _ROW_TYPES


class CtcSums:
    """What the CTC kernels compute of a batch, which is kept alive while a kernel reads it.

    Args:
        batch: the utterances, in any floating dtype.
        entropy: whether the conditional entropy is wanted beside the likelihood.
        softmax: whether the scores are logits, to be normalised over the symbols.
    """

    def __init__(self, batch: CtcBatch, *, entropy: bool, softmax: bool) -> None:
        scores = batch.log_probs
        self.batch = batch
        self.shape, self.dtype = tuple(scores.shape), scores.dtype
        self.computed = torch.float64 if scores.dtype == torch.float64 else torch.float32
        self.native: Any = kernel(f"CtcBatch_{_ROW_TYPES[scores.dtype]}").make(
            *scores.shape,
            scores.data_ptr(),
            *scores.stride()[:2],
            batch.targets.data_ptr(),
            batch.target_offsets.data_ptr(),
            batch.input_lengths.data_ptr(),
            batch.target_lengths.data_ptr(),
            batch.blank,
            entropy,
            bool(softmax),  # None and the like are as true or false as in torch
            torch.get_num_threads(),
        )
        self.offsets = torch.empty(scores.shape[0], dtype=torch.int64)  # of posteriors
        self.num_posteriors = int(self.kernel("workspace")(self.native, self.offsets.data_ptr()))

    def kernel(self, name: str) -> Any:
        """Returns one of the extension's functions, for the dtype of the scores."""
        return kernel(f"ctc_{name}_{_ROW_TYPES[self.dtype]}")


def ctc_forward(sums: CtcSums, *, save: bool) -> Forward:
    """Computes likelihood and entropy.

    Args:
        sums: what is wanted, of which utterances.
        save: whether a call of `ctc_backward` will follow; ``cells`` are then the posteriors.
    """
    size = sums.num_posteriors if save else 0
    result = Forward.empty(sums.shape[0], size, sums.computed, sums.offsets)
    sums.kernel("forward")(
        sums.native,
        sums.offsets.data_ptr(),
        result.cells.data_ptr() if save else 0,
        result.nll.data_ptr(),
        result.entropy.data_ptr(),
        result.path_count.data_ptr(),
        result.bad_frame.data_ptr(),
        result.bad_symbol.data_ptr(),
    )
    return result


def ctc_backward(
    sums: CtcSums, posteriors: Tensor, path_count: Tensor, grad_nll: Tensor, grad_entropy: Tensor
) -> Tensor:
    """Returns the gradient of ``sum(grad_nll * nll + grad_entropy * entropy)``, (N, T, C).

    Args:
        sums: as in the forward call.
        posteriors: the ``cells`` of the forward call with ``save=True``.
        path_count: from the forward call.
        grad_nll: (N,) float64.
        grad_entropy: (N,) float64; not used if no entropy is wanted.
    """
    n = sums.shape[0]
    posteriors = check(posteriors, "posteriors", sums.computed, (sums.num_posteriors,))
    path_count = check(path_count, "path_count", torch.uint8, (n,))
    grad_nll = check(grad_nll, "grad_nll", torch.float64, (n,))
    grad_entropy = check(grad_entropy, "grad_entropy", torch.float64, (n,))
    grad = torch.empty(sums.shape, dtype=sums.dtype)
    sums.kernel("backward")(
        sums.native,
        sums.offsets.data_ptr(),
        posteriors.data_ptr(),
        path_count.data_ptr(),
        grad_nll.data_ptr(),
        grad_entropy.data_ptr(),
        grad.data_ptr(),
    )
    return grad
