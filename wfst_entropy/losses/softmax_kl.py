"""The divergence of two softmax outputs, row by row, a cache-full of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager

# Numbers in one block: on a CPU two log-softmaxes and their difference stay in a core's cache,
# other devices want more work in one call.
_CPU_BLOCK, _OTHER_BLOCK = 2**16, 2**24


class Rows(NamedTuple):
    """Which rows of (R, V) logits are compared, and what is summed up before."""

    chosen: Tensor  # (K,) int64, ascending
    scale: float = 1.0  # of all logits: one over the temperature
    blank: int = 0
    labels: Tensor | None = None  # (K,) compare {blank, label, rest}; blank where there is no label


@eager  # the number of blocks changes from batch to batch
def softmax_kl(p_logits: Tensor, q_logits: Tensor, rows: Rows) -> Tensor:
    r"""KL(softmax(p) || softmax(q)) of the chosen rows of (R, V) logits, in nats.

    Both gradients are closed forms, :math:`q_v - q_v P_k / Q_k` with respect to the logit of q and
    :math:`p_v (\log P_k / Q_k - KL)` to that of p, where k is v itself, or the class of v; beside
    the inputs nothing of their size is kept. A second derivative takes plain, unblocked torch.

    Returns:
        (K,) float32, or float64 if one of them is: +inf with gradient 0 where q lacks a symbol of
        p, NaN where a softmax is not defined.
    """
    kl: Tensor = _SoftmaxKL.apply(p_logits, q_logits, rows)
    return kl


def _log_softmax(logits: Tensor, index: Tensor, scale: float) -> Tensor:
    x = logits.index_select(0, index)
    if x.dtype not in (torch.float32, torch.float64):
        x = x.float()
    return (x if scale == 1 else x * scale).log_softmax(1)


def _classes(log_p: Tensor, rows: Rows) -> Tensor:
    """The log-probabilities that are compared: (rows, V), or (rows, 3) of blank, label and rest."""
    if rows.labels is None:
        return log_p
    kept = _kept(rows.labels, rows.blank)
    others = log_p.scatter(1, kept, -torch.inf)
    none = others.amax(1, keepdim=True) == -torch.inf  # of which logsumexp has no gradient
    rest = others.masked_fill(none, 0.0).logsumexp(1, keepdim=True).masked_fill(none, -torch.inf)
    label = log_p.gather(1, kept[:, 1:]).masked_fill(kept[:, 1:] == rows.blank, -torch.inf)
    return torch.cat([log_p.gather(1, kept[:, :1]), label, rest], 1)


def _kept(labels: Tensor, blank: int) -> Tensor:
    return torch.stack([torch.full_like(labels, blank), labels], 1)


def _per_symbol(x: Tensor, rows: Rows, num_symbols: int) -> Tensor:
    """What holds for a class, for each of its symbols."""
    if rows.labels is None:
        return x
    blank, label, rest = x.unbind(1)
    label = torch.where(rows.labels == rows.blank, blank, label)
    spread = rest[:, None].expand(-1, num_symbols)
    return spread.scatter(1, _kept(rows.labels, rows.blank), torch.stack([blank, label], 1))


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The sum of p log(p / q), with 0 log 0 = 0; differentiable as often as wanted."""
    ratio = log_p - log_q
    lost = ratio == torch.inf
    known = ratio.masked_fill((log_p == -torch.inf) | lost, 0.0)
    return (log_p.exp() * known).sum(1).masked_fill(lost.any(1), torch.inf)


def _blocks(rows: Rows, logits: Tensor) -> Iterator[tuple[slice, Rows]]:
    numbers = _CPU_BLOCK if logits.device.type == "cpu" else _OTHER_BLOCK
    size = max(1, numbers // max(1, logits.shape[1]))
    for begin in range(0, rows.chosen.numel(), size):
        block = slice(begin, begin + size)
        labels = None if rows.labels is None else rows.labels[block]
        yield block, rows._replace(chosen=rows.chosen[block], labels=labels)


class _SoftmaxKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p_logits: Tensor, q_logits: Tensor, rows: Rows) -> Tensor:
        dtype = torch.promote_types(p_logits.dtype, q_logits.dtype)
        kl = p_logits.new_empty(
            rows.chosen.shape, dtype=dtype if dtype == torch.float64 else torch.float32
        )
        for block, part in _blocks(rows, p_logits):
            log_p, log_q = (_log_softmax(x, part.chosen, part.scale) for x in (p_logits, q_logits))
            kl[block] = _divergence(_classes(log_p, part), _classes(log_q, part))
        ctx.save_for_backward(p_logits, q_logits, kl)
        ctx.rows = rows
        return kl

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        p_logits, q_logits, kl = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            return *_differentiable(p_logits, q_logits, ctx.rows, grad, wanted), None
        infinite = kl == torch.inf
        grad, kl = (grad * ctx.rows.scale).masked_fill(infinite, 0.0), kl.masked_fill(infinite, 0.0)
        by_p, by_q = (
            torch.zeros_like(x) if want else None
            for x, want in zip((p_logits, q_logits), wanted, strict=True)
        )
        for block, part in _blocks(ctx.rows, p_logits):
            log_p, log_q = (_log_softmax(x, part.chosen, part.scale) for x in (p_logits, q_logits))
            ratio = _classes(log_p, part) - _classes(log_q, part)
            if by_q is not None:
                change = (log_q.exp() - _explained(log_p, log_q, ratio, part)) * grad[block, None]
                by_q.index_copy_(0, part.chosen, change.to(by_q.dtype))
            if by_p is not None:
                known = ratio.masked_fill(~ratio.isfinite(), 0.0) - kl[block, None]
                change = log_p.exp() * _per_symbol(known * grad[block, None], part, log_p.shape[1])
                by_p.index_copy_(0, part.chosen, change.to(by_p.dtype))
        return by_p, by_q, None


def _explained(log_p: Tensor, log_q: Tensor, ratio: Tensor, rows: Rows) -> Tensor:
    """q P / Q for each symbol, P and Q the probabilities of its class."""
    if rows.labels is None:
        return log_p.exp()
    # Where Q is 0 so is P, or else the divergence is infinite and has no gradient.
    ratio = _per_symbol(ratio, rows, log_q.shape[1])
    return (log_q + ratio).exp().masked_fill(log_q == -torch.inf, 0.0)


def _differentiable(
    p_logits: Tensor, q_logits: Tensor, rows: Rows, grad: Tensor, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """The same gradients as differentiable torch, all rows at once."""
    log_p, log_q = (_log_softmax(x, rows.chosen, rows.scale) for x in (p_logits, q_logits))
    kl = _divergence(_classes(log_p, rows), _classes(log_q, rows))
    inputs = [x for x, want in zip((p_logits, q_logits), wanted, strict=True) if want]
    found = iter(torch.autograd.grad(kl, inputs, grad, create_graph=True))
    return next(found) if wanted[0] else None, next(found) if wanted[1] else None
