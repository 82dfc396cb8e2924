"""The entropy of the paths of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.algorithms.shortest_distance import get_tot_scores
from wfst_entropy.fsa import Fsa
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.semirings import ConditionalEntropySemiring

_KINDS = ("conditional", "raw")


def path_entropy(fsas: Fsa, kind: str = "conditional") -> Tensor:
    r"""The entropy of the successful paths of each FSA.

    With path weights :math:`w(\pi)` and :math:`Z = \sum_\pi e^{w(\pi)}`:

    - ``"conditional"``: :math:`H_c = -\sum_\pi p(\pi)\log p(\pi)`, :math:`p(\pi) = e^{w(\pi)}/Z`;
    - ``"raw"``: :math:`H_u = -\sum_\pi e^{w(\pi)} w(\pi) = Z (H_c - \log Z)`, the quantity of the
      entropy-semiring paper (arXiv 2312.10087, Definition 4.1 and Eq. 10). It underflows to 0,
      and its gradient too, where :math:`\log Z` is some hundreds below zero.

    Both come from ``ConditionalEntropySemiring``, which never subtracts large numbers, and scores
    of any sign are allowed. Two paths with the same labels count as two. The recursion runs in
    float64, where the device has it, whatever the dtype of the scores.

    Args:
        fsas: one FSA or a vector; acyclic, or with cycles that converge.
        kind: ``"conditional"`` or ``"raw"``.

    Returns:
        Nats, (num_fsas,), in the dtype of ``fsas.scores`` and differentiable in them, twice too.
        0 with gradient 0 for an FSA without a successful path and for one with a single path
        (the latter for the conditional kind).

    Raises:
        FsaValueError: another kind, a score that is NaN or +inf, or a raw entropy out of range.
        CyclicFsaError: naming a cycle that diverges.

    >>> fsa = Fsa.from_str("0 1 1 -2\n0 1 2 -2\n1 2 -1 0\n2")
    >>> path_entropy(fsa)          # two equal paths: ln 2
    tensor([0.6931])
    >>> path_entropy(fsa, "raw")   # 2 * exp(-2) * 2
    tensor([0.5413])
    """
    check_kind(kind)
    total, entropy = get_tot_scores(
        fsas, ConditionalEntropySemiring(), scores=in_double(fsas.scores)
    )
    if kind == "raw":
        return raw_entropy(total, entropy, fsas.scores.dtype)
    result: Tensor = entropy.to(fsas.scores.dtype)
    return result


def check_kind(kind: str) -> None:
    """Raise unless ``kind`` names a quantity.

    Raises:
        FsaValueError: it is neither ``"conditional"`` nor ``"raw"``.
    """
    if kind not in _KINDS:
        raise FsaValueError(f'kind: must be "conditional" or "raw", got {kind!r}')


def in_double(scores: Tensor) -> Tensor:
    """The scores in float64 where their device has it."""
    return scores if scores.device.type == "mps" else scores.double()


def raw_entropy(log_z: Tensor, entropy: Tensor, dtype: torch.dtype) -> Tensor:
    r"""The raw entropy :math:`H_u = Z (H_c - \log Z)` from the conditional one; differentiable.

    Args:
        log_z: :math:`\log Z`, (N,); -inf where there is no path, which gives 0.
        entropy: :math:`H_c` in nats, (N,).
        dtype: of the result.

    Raises:
        FsaValueError: Z is so far above 1 that the result is infinite, and its gradient no number.

    >>> raw_entropy(torch.tensor([-2.0, -torch.inf]), torch.tensor([0.5, 0.0]), torch.float32)
    tensor([0.3383, 0.0000])
    """
    none = log_z == -float("inf")
    log_z = log_z.masked_fill(none, 0.0)  # keeps 0 * inf out of the gradient
    raw = (log_z.exp() * (entropy - log_z)).masked_fill(none, 0.0).to(dtype)
    for n in raw.detach().isinf().nonzero().flatten().tolist()[:1]:
        raise FsaValueError(
            f'kind="raw": the entropy of utterance {n} overflows, its log Z is {log_z[n].item():g} '
            'nats; pass log-probabilities (log_softmax), or use kind="conditional"'
        )
    return raw
