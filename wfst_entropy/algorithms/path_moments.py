"""Means, variances and covariances of what adds up along the paths of a graph."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.algorithms.path_entropy import in_double
from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import ConditionalCovarianceSemiring, ConditionalExpectationSemiring


def expected_counts(fsas: Fsa, values: Tensor) -> Tensor:
    r"""The expectation, over the successful paths of each FSA, of a sum of values along the path.

    :math:`E = \sum_\pi p(\pi) \sum_{a \in \pi} v_a` with :math:`p(\pi) = e^{w(\pi)}/Z`. Values
    of 1 on some arcs count how often these are taken; the edit costs of arcs give the expected
    number of errors, whose gradient is that of minimum-risk training. The expected number of passes
    over each single arc is ``get_arc_post(fsas).exp()``.

    Computed with ``ConditionalExpectationSemiring`` in float64, where the device has it.

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge.
        values: what each arc contributes, floating point (num_arcs,), finite.

    Returns:
        (num_fsas,), in the dtype of ``fsas.scores`` and differentiable in scores and values, twice
        too. 0 with gradient 0 for an FSA without a successful path.

    Raises:
        FsaTypeError, FsaValueError: a bad value, score or shape; the message names the arc.
        CyclicFsaError: naming a cycle that diverges.

    >>> import torch
    >>> fsa = Fsa.from_str("0 1 1 -1.3863\n0 1 2 -0.2877\n1 2 -1 0\n2")
    >>> expected_counts(fsa, (fsa.labels == 2).float())
    tensor([0.7500])
    """
    pair = (in_double(fsas.scores), _checked(fsas, values, "values"))
    _, mean = get_tot_scores(fsas, ConditionalExpectationSemiring(), scores=pair)
    result: Tensor = mean.to(fsas.scores.dtype)
    return result


def score_variance(fsas: Fsa) -> Tensor:
    r"""The variance of the score of a path drawn from each FSA, :math:`\mathrm{Var}_p[w(\pi)]`.

    It is the variance of the surprisal too, and the derivative of the entropy with respect to the
    temperature at 1. See ``score_covariance``.

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge.

    Returns:
        Squared nats, (num_fsas,), in the dtype of ``fsas.scores`` and differentiable, twice too. 0
        with gradient 0 for an FSA without a successful path and for one with a single path.

    Raises:
        FsaValueError: a score is NaN or +inf.
        CyclicFsaError: naming a cycle that diverges.

    >>> fsa = Fsa.from_str("0 1 1 -1.3863\n0 1 2 -0.2877\n1 2 -1 0\n2")
    >>> score_variance(fsa)   # 3/16 of (ln 3)^2
    tensor([0.2263])
    """
    return score_covariance(fsas, fsas.scores.masked_fill(fsas.scores == -float("inf"), 0.0))


def score_covariance(fsas: Fsa, values: Tensor, other: Tensor | None = None) -> Tensor:
    r"""The covariance of two sums along a path drawn from each FSA.

    :math:`\mathrm{Cov}_p[\sum_{a \in \pi} x_a, \sum_{a \in \pi} y_a]` with
    :math:`p(\pi) = e^{w(\pi)}/Z`. With the scores for y it is the derivative of the expectation of
    x with respect to a factor on all scores, at 1. ``ConditionalCovarianceSemiring`` computes it
    without subtracting large numbers, in float64 where the device has it.

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge.
        values: x, what each arc contributes, floating point (num_arcs,), finite.
        other: y, likewise; the scores by default.

    Returns:
        (num_fsas,), in the dtype of ``fsas.scores`` and differentiable in scores, values and other.
        0 with gradient 0 for an FSA without a successful path and for one with a single path.

    Raises:
        FsaTypeError, FsaValueError: a bad value, score or shape; the message names the arc.
        CyclicFsaError: naming a cycle that diverges.

    >>> import torch
    >>> fsa = Fsa.from_str("0 1 1 -1.3863\n0 1 2 -0.2877\n1 2 -1 0\n2")
    >>> x = torch.tensor([0.0, 2.0, 5.0])
    >>> score_covariance(fsa, x), score_covariance(fsa, x, x)
    (tensor([0.4120]), tensor([0.7500]))
    """
    if other is None:
        other = fsas.scores.masked_fill(fsas.scores == -float("inf"), 0.0)
    triple = (
        in_double(fsas.scores), _checked(fsas, values, "values"), _checked(fsas, other, "other")
    )  # fmt: skip
    covariance = get_tot_scores(fsas, ConditionalCovarianceSemiring(), scores=triple)[3]
    result: Tensor = covariance.to(fsas.scores.dtype)
    return result


def _checked(fsas: Fsa, values: Tensor, name: str) -> Tensor:
    if not isinstance(values, Tensor):
        raise FsaTypeError(
            f"{name}: must be a tensor ({fsas.num_arcs},), one number per arc, got "
            f"{type(values).__name__}"
        )
    if tuple(values.shape) != (fsas.num_arcs,) or not values.is_floating_point():
        raise FsaValueError(
            f"{name}: must be floating point of shape ({fsas.num_arcs},), one per arc, got "
            f"{values.dtype} {tuple(values.shape)}"
        )
    for arc in (~values.isfinite()).nonzero().flatten().tolist()[:1]:
        source, destination, label = fsas.arcs[arc].tolist()
        raise FsaValueError(
            f"{name}: arc {arc} (FSA {int(fsas.arc_to_fsa()[arc])}, state {source} to "
            f"{destination}, label {label}) has the value {values[arc].item()}; needed are finite "
            "numbers. Use a score of -inf to block an arc"
        )
    return in_double(values)
