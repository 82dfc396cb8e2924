"""Entropies of order alpha of the paths of a graph: Renyi's and Tsallis's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wfst_entropy.algorithms.path_entropy import in_double
from wfst_entropy.algorithms.path_moments import score_variance
from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.semirings import ConditionalEntropySemiring, TropicalSemiring

_INF = float("inf")
# Nearer to 1 than this, the difference of two sums of paths has fewer digits than a series.
_NEAR_ONE = 1e-5


def renyi_entropy(fsas: Fsa, alpha: float) -> Tensor:
    r"""The Renyi entropy of order alpha of the successful paths of each FSA.

    With :math:`Z(\alpha) = \sum_\pi e^{\alpha w(\pi)}` and :math:`Z = Z(1)`

    .. math:: H_\alpha = \frac{1}{1-\alpha} \log \sum_\pi p(\pi)^\alpha
              = \frac{\log Z(\alpha) - \alpha \log Z}{1-\alpha},

    the logarithm of the number of paths for alpha = 0, the entropy of ``path_entropy`` for 1, and
    the surprisal of the best path for infinity. It never grows with alpha. The recursions run in
    float64, where the device has it; within 1e-5 of 1, the first two terms
    :math:`H - (\alpha-1) \mathrm{Var}[w]/2` of the series take over.

    Source: Renyi 1961, "On measures of entropy and information".

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge when all scores are
            multiplied by alpha.
        alpha: the order, >= 0, infinity included.

    Returns:
        Nats, (num_fsas,), in the dtype of ``fsas.scores`` and differentiable in them. 0 with
        gradient 0 for an FSA without a successful path and for one with a single path.

    Raises:
        FsaValueError: alpha is negative or NaN, or a score is NaN or +inf.
        CyclicFsaError: naming a cycle that diverges.

    >>> fsa = Fsa.from_str("0 1 1 -0.6931\n0 1 2 -1.3863\n0 1 3 -1.3863\n1 2 -1 0\n2")
    >>> [round(renyi_entropy(fsa, alpha).item(), 4) for alpha in (0, 1, 2, float("inf"))]
    [1.0986, 1.0397, 0.9808, 0.6931]
    """
    _check_order(alpha)
    result: Tensor = _renyi(fsas, alpha).to(fsas.scores.dtype)
    return result


def tsallis_entropy(fsas: Fsa, alpha: float) -> Tensor:
    r"""The Tsallis entropy of order alpha of the successful paths of each FSA.

    .. math:: S_\alpha = \frac{1 - \sum_\pi p(\pi)^\alpha}{\alpha - 1}
              = \frac{e^{(1-\alpha) H_\alpha} - 1}{1-\alpha}

    with Renyi's :math:`H_\alpha`: the number of paths less one for alpha = 0, the entropy of
    ``path_entropy`` for 1, the probability that two paths drawn at random differ for 2. No unit.

    Source: Tsallis 1988, "Possible generalization of Boltzmann-Gibbs statistics".

    Args:
        fsas: as ``renyi_entropy``.
        alpha: the order, >= 0 and finite.

    Returns:
        (num_fsas,), in the dtype of ``fsas.scores`` and differentiable in them. 0 with gradient 0
        for an FSA without a successful path and for one with a single path.

    Raises:
        FsaValueError: alpha is negative, infinite or NaN, a score is NaN or +inf, or the result
            overflows (which it can for alpha < 1).
        CyclicFsaError: naming a cycle that diverges.

    >>> fsa = Fsa.from_str("0 1 1 -0.6931\n0 1 2 -1.3863\n0 1 3 -1.3863\n1 2 -1 0\n2")
    >>> [round(tsallis_entropy(fsa, alpha).item(), 4) for alpha in (0, 1, 2)]
    [2.0, 1.0397, 0.625]
    """
    _check_order(alpha)
    if math.isinf(alpha):
        raise FsaValueError("alpha: must be finite for the Tsallis entropy, got inf")
    entropy = _renyi(fsas, alpha)
    if alpha != 1:
        entropy = ((1 - alpha) * entropy).expm1() / (1 - alpha)
    result: Tensor = entropy.to(fsas.scores.dtype)
    for n in result.detach().isinf().nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f"alpha={alpha:g}: the Tsallis entropy of FSA {n} overflows; use renyi_entropy, which "
            "is its logarithm but for a constant"
        )
    return result


def _check_order(alpha: float) -> None:
    if not alpha >= 0:
        raise FsaValueError(f"alpha: the order must be >= 0, got {alpha!r}")


def _renyi(fsas: Fsa, alpha: float) -> Tensor:
    """In the dtype of the recursion."""
    scores = in_double(fsas.scores)
    log_z, entropy = get_tot_scores(fsas, ConditionalEntropySemiring(), scores=scores)
    if alpha == 1:
        return entropy
    if abs(alpha - 1) < _NEAR_ONE:
        variance = score_variance(fsas.with_scores(scores))
        return entropy - (alpha - 1) / 2 * variance
    none = log_z == -_INF
    if math.isinf(alpha):
        best = get_tot_scores(fsas, TropicalSemiring(), scores=scores)
        value = log_z.masked_fill(none, 0.0) - best.masked_fill(none, 0.0)
    else:
        # Not alpha * scores: 0 * -inf would be a NaN.
        blocked = scores == -_INF
        powered = torch.where(blocked, -_INF, alpha * scores.masked_fill(blocked, 0.0))
        log_power = get_tot_scores(fsas, scores=powered).masked_fill(none, 0.0)
        value = (log_power - alpha * log_z.masked_fill(none, 0.0)) / (1 - alpha)
    # A single path: exactly 0, whatever the rounding of the sums. No total is negative.
    single = entropy.detach() == 0
    return value.masked_fill(single & (alpha > 0), 0.0).clamp(min=0)
