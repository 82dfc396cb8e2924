"""Log-mass and entropy of the normalised paths, without subtracting large numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from wfst_entropy.semirings._safe_log import log1mexp, log_mix, segment_add, segment_log_mix
from wfst_entropy.semirings.base import Semiring, Value
from wfst_entropy.semirings.log import require_convergence

_INF = float("inf")


def _mixed(mix: Tensor, entropy: Tensor) -> Tensor:
    """``mix_i (h_i - log mix_i)`` from log mix_i; 0 with gradient 0 for terms without mass."""
    return mix.exp() * (entropy - mix.masked_fill(mix == -_INF, 0.0))


class ConditionalEntropySemiring(Semiring):
    r"""Pairs (m, h): the log-mass of a set of paths and the entropy of its normalised members.

    Extending by an arc adds its log-weight to m and leaves h alone. Merging pairs:
    :math:`m = \log\sum_i e^{m_i}`, :math:`\mathrm{mix}_i = e^{m_i - m}`,
    :math:`h = \sum_i \mathrm{mix}_i (h_i - \log \mathrm{mix}_i)`, every term of which is >= 0, so
    nothing cancels. :math:`\otimes` adds both slots, :math:`\bar 0 = (-\infty, 0)`,
    :math:`\bar 1 = (0, 0)`, and with :math:`p = e^m < 1` the closure is
    :math:`m^* = -\log(1-p)`, :math:`h^* = (p h - p\ln p - (1-p)\ln(1-p)) / (1-p)`.
    A pair with m = -inf stands for no path, and its h is taken to be 0.

    The second slot of a total is :math:`H_c = -\sum_\pi p(\pi)\log p(\pi)` with
    :math:`p(\pi) = e^{w(\pi)}/Z`, in nats; weights need not be log-probabilities. The raw entropy
    of the paper's Definition 4.1 is :math:`H_u = Z (H_c - \log Z)`.

    Source: the entropy-semiring paper (arXiv 2312.10087) in the chain-rule form of the entropy
    (Cover and Thomas, "Elements of Information Theory", Section 2.5).

    >>> semiring = ConditionalEntropySemiring()
    >>> semiring.sum(semiring.convert(torch.tensor([3.0, 3.0])), 0)[1]   # one fair coin: ln 2
    tensor(0.6931)
    """

    zero_element = (-_INF, 0.0)
    one_element = (0.0, 0.0)
    has_star = True
    has_divide = True

    @override
    def plus(self, a: Value, b: Value) -> Value:
        mass = torch.stack(torch.broadcast_tensors(a[0], b[0]))
        entropy = torch.stack(torch.broadcast_tensors(a[1], b[1]))
        return self.sum((mass, entropy), 0)

    @override
    def times(self, a: Value, b: Value) -> Value:
        mass = a[0] + b[0]
        return mass, (a[1] + b[1]).masked_fill(mass == -_INF, 0.0)

    @override
    def convert(self, log_weights: Tensor) -> Value:
        return log_weights, torch.zeros_like(log_weights)

    @override
    def star(self, value: Value) -> Value:
        require_convergence(value[0], self)
        mass, entropy = value
        empty = mass == -_INF
        mass = mass.masked_fill(empty, -1.0)  # keeps 0 * -inf out of the graph; masked below
        p, rest, log_rest = mass.exp(), -mass.expm1(), log1mexp(mass)
        entropy = (p * (entropy - mass) - rest * log_rest) / rest
        return -log_rest.masked_fill(empty, 0.0), entropy.masked_fill(empty, 0.0)

    @override
    def divide(self, a: Value, b: Value) -> Value:
        empty = (a[0] == -_INF) | (b[0] == -_INF)
        return torch.where(empty, -_INF, a[0] - b[0]), (a[1] - b[1]).masked_fill(empty, 0.0)

    @override
    def sum(self, value: Value, dim: int) -> Value:
        if value[0].shape[dim] == 0:
            return super().sum(value, dim)
        mass, mix = log_mix(value[0], dim)
        return mass, _mixed(mix, value[1]).sum(dim)

    @override
    def segment_sum(self, value: Value, index: Tensor, num_segments: int) -> Value:
        mass, mix = segment_log_mix(value[0], index, num_segments)
        return mass, segment_add(_mixed(mix, value[1]), index, num_segments)
