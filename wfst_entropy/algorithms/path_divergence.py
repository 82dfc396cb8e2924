"""Divergence and cross entropy of two models of the paths of one graph."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.algorithms.path_entropy import check_kind, in_double
from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.semirings import (
    ConditionalEntropySemiring,
    ConditionalKLSemiring,
    ProductSemiring,
)

_INF = float("inf")


def path_kl(
    fsas: Fsa, teacher_scores: Tensor, *, reverse: bool = False, kind: str = "conditional"
) -> Tensor:
    r"""The divergence KL(teacher || student) of the successful paths of each FSA.

    The student's arcs have ``fsas.scores``, the teacher's ``teacher_scores``. With path weights
    :math:`w_S, w_T`, sums :math:`Z_S, Z_T` and :math:`p(\pi) = e^{w(\pi)}/Z`:

    - ``"conditional"``: :math:`KL_c = \sum_\pi p_T(\pi)(\log p_T(\pi) - \log p_S(\pi))`;
    - ``"raw"``: :math:`KL_u = \sum_\pi e^{w_T(\pi)}(w_T(\pi) - w_S(\pi)) =
      Z_T(KL_c + \log Z_T - \log Z_S)`, the quantity of the entropy-semiring paper
      (arXiv 2312.10087, Definition 4.2 and Eq. 13).

    Both come from ``ConditionalKLSemiring``, in float64 where the device has it.

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge in both models.
        teacher_scores: the teacher's log-weights, (num_arcs,), in nats.
        reverse: KL(student || teacher) instead.
        kind: ``"conditional"`` or ``"raw"``.

    Returns:
        Nats, (num_fsas,), in the dtype of ``fsas.scores`` and differentiable in both models, twice
        too. 0 if the first model has no path, and +inf with gradient 0 if it has one where the
        second has none.

    Raises:
        FsaTypeError, FsaValueError: a bad score or shape, another kind, a raw divergence out of
            range.
        CyclicFsaError: naming a cycle that diverges.

    >>> import torch
    >>> fsa = Fsa.from_str("0 1 1 -0.7\n0 1 2 -0.7\n1 2 -1 0\n2")
    >>> teacher = torch.tensor([0.25, 0.75, 1.0]).log()
    >>> path_kl(fsa, teacher), path_kl(fsa, teacher, reverse=True)
    (tensor([0.1308]), tensor([0.1438]))
    """
    check_kind(kind)
    second, first = _models(fsas, teacher_scores, reverse)
    log_second, log_first, kl = get_tot_scores(
        fsas, ConditionalKLSemiring(), scores=(second, first)
    )
    if kind == "raw":
        kl = raw_divergence(kl, log_first, log_second, fsas.scores.dtype)
    result: Tensor = kl.to(fsas.scores.dtype)
    return result


def path_cross_entropy(
    fsas: Fsa, teacher_scores: Tensor, *, reverse: bool = False, kind: str = "conditional"
) -> Tensor:
    r"""The cross entropy of teacher and student over the successful paths of each FSA.

    ``"conditional"``: :math:`-\sum_\pi p_T(\pi) \log p_S(\pi)`, the teacher's entropy plus the
    divergence; ``"raw"``: :math:`-\sum_\pi e^{w_T(\pi)} w_S(\pi)`. See ``path_kl`` for the
    notation, the arguments, the errors, and what happens where a model has no path.

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge in both models.
        teacher_scores: the teacher's log-weights, (num_arcs,), in nats.
        reverse: exchange the models: the expectation is the student's.
        kind: ``"conditional"`` or ``"raw"``.

    Returns:
        Nats, (num_fsas,), in the dtype of ``fsas.scores``.

    >>> import torch
    >>> fsa = Fsa.from_str("0 1 1 -0.7\n0 1 2 -0.7\n1 2 -1 0\n2")
    >>> path_cross_entropy(fsa, torch.tensor([0.25, 0.75, 1.0]).log())   # ln 2
    tensor([0.6931])
    """
    check_kind(kind)
    second, first = _models(fsas, teacher_scores, reverse)
    semiring = ProductSemiring(ConditionalKLSemiring(), ConditionalEntropySemiring())
    log_second, log_first, kl, _, entropy = get_tot_scores(
        fsas, semiring, scores=((second, first), first)
    )
    cross = kl + entropy
    if kind == "raw":
        cross = _raw(cross, log_first, log_second, fsas.scores.dtype, own=False)
    result: Tensor = cross.to(fsas.scores.dtype)
    return result


def _models(fsas: Fsa, teacher_scores: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """The log-weights of the second and of the first model of the divergence."""
    if not isinstance(teacher_scores, Tensor):
        raise FsaTypeError(
            f"teacher_scores: must be a tensor ({fsas.num_arcs},), one log-weight per arc, got "
            f"{type(teacher_scores).__name__}"
        )
    if tuple(teacher_scores.shape) != (fsas.num_arcs,) or not teacher_scores.is_floating_point():
        raise FsaValueError(
            f"teacher_scores: must be floating point of shape ({fsas.num_arcs},), one log-weight "
            f"per arc, got {teacher_scores.dtype} {tuple(teacher_scores.shape)}"
        )
    student, teacher = in_double(fsas.scores), in_double(teacher_scores)
    return (teacher, student) if reverse else (student, teacher)


def raw_divergence(kl: Tensor, log_first: Tensor, log_second: Tensor, dtype: torch.dtype) -> Tensor:
    r"""The raw divergence :math:`Z_1 (KL_c + \log Z_1 - \log Z_2)` of KL(first || second).

    Args:
        kl: the conditional divergence in nats, (N,); 0 or +inf stay where it is +inf or the first
            model has no path, with gradient 0.
        log_first: :math:`\log Z_1`, (N,).
        log_second: :math:`\log Z_2`, (N,).
        dtype: of the result.

    Raises:
        FsaValueError: Z is so far above 1 that the result is infinite, and its gradient no number.

    >>> import torch
    >>> log_first, log_second = torch.tensor([-2.0]), torch.tensor([-3.0])
    >>> raw_divergence(torch.tensor([0.5]), log_first, log_second, torch.float32)
    tensor([0.2030])
    """
    return _raw(kl, log_first, log_second, dtype, own=True)


def _raw(
    value: Tensor, log_first: Tensor, log_second: Tensor, dtype: torch.dtype, *, own: bool
) -> Tensor:
    """``Z (value + log Z - log Z_second)``, the middle term if ``own``; 0 or +inf stay."""
    fixed = (log_first == -_INF) | (value == _INF)
    log_z = log_first.masked_fill(fixed, 0.0)
    inside = value.masked_fill(fixed, 0.0) - log_second.masked_fill(fixed, 0.0)
    raw = (log_z.exp() * (inside + log_z if own else inside)).to(dtype)
    for n in raw.detach().isinf().nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f'kind="raw": the result of utterance or FSA {n} overflows, its log Z is '
            f"{log_z[n].item():g} nats; pass log-probabilities (log_softmax), or use "
            'kind="conditional"'
        )
    return raw.masked_fill(fixed, 0.0) + value.detach().to(dtype).masked_fill(~fixed, 0.0)
