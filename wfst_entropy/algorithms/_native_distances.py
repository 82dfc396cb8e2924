"""Distances by the C++ kernels, for the built-in semirings on the CPU, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native import can_run
from wfst_entropy._native import distance as native
from wfst_entropy._native.eager import eager
from wfst_entropy._native.surgery import InputError
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    ConditionalExpectationSemiring,
    ConditionalKLSemiring,
    LogSemiring,
    Semiring,
    TropicalSemiring,
    Value,
)

# Not for subclasses, which may have changed an operation.
_KERNELS: dict[type[Semiring], type[native.Distances]] = {
    ConditionalEntropySemiring: native.EntropyDistances,
    ConditionalExpectationSemiring: native.MeanDistances,
    ConditionalKLSemiring: native.KLDistances,
    LogSemiring: native.LogDistances,
    TropicalSemiring: native.BestDistances,
}


def has_kernel(semiring: Semiring, weights: Value) -> bool:
    """Tells whether there is a kernel for a semiring, and for where and what its weights are."""
    slots = weights if isinstance(weights, tuple) else (weights,)
    return type(semiring) in _KERNELS and all(can_run(slot) for slot in slots)


def kernel_distances(
    fsas: Fsa,
    semiring: Semiring,
    weights: Value,
    *,
    reverse: bool,
    connected: bool,
    in_torch: Callable[[Value], Value],
) -> Value:
    """The distances of all states, differentiable; derivatives of gradients come from torch.

    Args:
        fsas: one FSA or a vector, on the CPU.
        semiring: one that `has_kernel`.
        weights: of the arcs, from the semiring's ``convert``.
        reverse: distances to the final states.
        connected: only distances of states on successful paths matter.
        in_torch: the same computation in torch.

    Raises:
        Divergence: naming a state of a component without closure.
        InputError, LimitError: states out of range, or a component that is too large.
    """
    distances = _KERNELS[type(semiring)](_order(fsas, reverse), connected)
    slots = weights if isinstance(weights, tuple) else (weights,)
    values = _Distances.apply(distances, in_torch, *slots)
    return values if distances.num_slots > 1 else values[0]


def _order(fsas: Fsa, reverse: bool) -> native.GraphOrder:
    def make() -> native.GraphOrder:
        source, destination = fsas.src_states(), fsas.dst_states()
        starts, ends = fsas.start_states(), fsas.final_states()
        starts, ends = starts[starts >= 0], ends[ends >= 0]
        if reverse:
            source, destination, starts, ends = destination, source, ends, starts
        return native.GraphOrder(source, destination, fsas.num_states, starts, ends)

    return fsas.properties.remember(f"native order{' reverse' if reverse else ''}", make)


class _Distances(torch.autograd.Function):
    @staticmethod
    @eager
    def forward(
        ctx: Any,
        distances: native.Distances,
        in_torch: Callable[[Value], Value],
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        values = distances.forward(weights)
        ctx.save_for_backward(*weights, *values)
        ctx.distances, ctx.in_torch, ctx.num_weights = distances, in_torch, len(weights)
        dtype = weights[0].dtype
        return tuple(v.to(dtype) for v in values[: distances.num_slots])

    @staticmethod
    @eager
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weights, values = (
            ctx.saved_tensors[: ctx.num_weights],
            ctx.saved_tensors[ctx.num_weights :],
        )
        if torch.is_grad_enabled():  # a derivative of this gradient may be asked for
            found = _gradients_in_torch(ctx, weights, grads)
        else:
            try:
                found = ctx.distances.backward(weights, values, grads)
            except InputError as error:
                raise FsaValueError(str(error)) from None
            found = [gradient.to(weight.dtype) for gradient, weight in zip(found, weights)]
        return None, None, *found


def _gradients_in_torch(
    ctx: Any, weights: tuple[Tensor, ...], grads: tuple[Tensor, ...]
) -> list[Tensor]:
    value = ctx.in_torch(weights if len(weights) > 1 else weights[0])
    slots = value if isinstance(value, tuple) else (value,)
    wanted = [w for w in weights if w.requires_grad]
    pairs = [(v, g) for v, g in zip(slots, grads, strict=True) if v.requires_grad]
    found = iter(
        torch.autograd.grad(
            [v for v, _ in pairs], wanted, [g for _, g in pairs], create_graph=True,
            allow_unused=True, materialize_grads=True,
        )
    )  # fmt: skip
    return [next(found) if w.requires_grad else torch.zeros_like(w) for w in weights]
