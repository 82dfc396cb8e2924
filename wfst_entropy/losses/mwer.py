"""Minimum word error rate: the expected risk of hypotheses, of lists or of whole lattices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms import (
    edit_distance,
    expected_edit_counts,
    get_tot_scores,
    n_shortest_paths,
    random_paths,
)
from wfst_entropy.algorithms.edit_counts import checked_references, tokens_of_arcs
from wfst_entropy.fsa import Fsa, RaggedShape, RaggedTensor
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import REDUCTIONS, check_choice, reduced
from wfst_entropy.losses.loss_module import LossModule


@eager
def mwer_loss(
    log_probs: Tensor | RaggedTensor,
    risks: Tensor | RaggedTensor,
    reduction: str = "mean",
    *,
    temperature: float = 1.0,
    subtract_mean: bool = False,
) -> Tensor:
    r"""Computes the expected risk of n-best lists, whose probabilities are normalised in each list.

    With the hypotheses k of an utterance, their log-probabilities :math:`\ell_k` and risks
    :math:`r_k` (numbers of errors, say):

    .. math:: L = \sum_k \hat p_k r_k, \qquad
        \hat p_k = e^{\ell_k / \tau} / \sum_j e^{\ell_j / \tau} .

    The derivative by :math:`\ell_k` is :math:`\hat p_k (r_k - L) / \tau`: what is better than the
    mean gains.

    Args:
        log_probs: (N, K) in nats, -inf where a list has fewer hypotheses; or ragged
            ``[utt][hypothesis]``. They need not be normalised.
        risks: likewise, any numbers; no gradient reaches them.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, the average over utterances.
        temperature: :math:`\tau > 0`; a large one makes the hypotheses of a list more alike.
        subtract_mean: whether to subtract the plain mean of a list's risks, so that 0 is what equal
            probabilities would have. The gradient is the same, as the list is normalised.

    Returns:
        A scalar, or (N,) for ``reduction="none"``, in the dtype of ``log_probs`` (float32 for half
        precision). An utterance without hypotheses counts 0.

    Raises:
        FsaTypeError, FsaValueError: for wrong dtypes or shapes, a log-probability that is NaN or
            +inf, a risk that is not finite (it names utterance and hypothesis), a temperature that
            is not positive, or the mean of an empty batch.

    Source: Prabhavalkar et al. 2018, "Minimum word error rate training for attention-based
    sequence-to-sequence models", the n-best approximation.

    >>> mwer_loss(torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0, 2]]))
    tensor(0.5000)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    _check_temperature(temperature)
    hyps = _Hypotheses(log_probs, risks)
    p = RaggedTensor(hyps.shape, hyps.log_probs / temperature).normalize(use_log=True).values.exp()
    losses = hyps.sum(p * hyps.risks)
    if subtract_mean:
        losses = losses - hyps.sum(hyps.risks) / hyps.counts.clamp(min=1)
    return _reduced(losses, reduction)


@eager
def sampled_mwer_loss(
    log_probs: Tensor | RaggedTensor,
    risks: Tensor | RaggedTensor,
    reduction: str = "mean",
    *,
    baseline: bool = True,
) -> Tensor:
    r"""Estimates the expected risk under the model, and its gradient, from independent samples.

    The value is the mean of the risks. The gradient is the estimate

    .. math:: \frac{1}{K} \sum_k (r_k - b_k) \nabla \log p_k, \qquad
        b_k = \frac{1}{K - 1} \sum_{j \ne k} r_j ,

    whose expectation is the gradient of :math:`\sum_\pi p(\pi) r(\pi)` over all hypotheses; the
    mean risk of the other samples reduces its variance. (`mwer_loss` renormalises the list instead,
    which is biased, but takes any hypotheses.)

    Args:
        log_probs: (N, K) the model's normalised log-probabilities of hypotheses drawn from it, with
            repetitions, -inf where there are fewer; or ragged ``[utt][hypothesis]``.
        risks: likewise.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, the average over utterances.
        baseline: whether to subtract :math:`b_k`, for which each utterance needs two samples.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `mwer_loss`; also for an utterance with one sample if
            ``baseline``.

    Source: Shannon 2017, "Optimizing expected word error rate via sampling for speech recognition".

    >>> log_probs = torch.tensor([[0.5, 0.5]]).log().requires_grad_()
    >>> loss = sampled_mwer_loss(log_probs, torch.tensor([[0.0, 2.0]]))
    >>> loss.backward()
    >>> loss, log_probs.grad
    (tensor(1., grad_fn=<MeanBackward0>), tensor([[-1.,  1.]]))
    """
    check_choice("reduction", reduction, REDUCTIONS)
    hyps = _Hypotheses(log_probs, risks)
    if baseline:
        for n in (hyps.counts == 1).nonzero().flatten().tolist()[:1]:
            raise FsaValueError(
                f"log_probs: utterance {n} has a single sample; the baseline is the mean risk of "
                "the others. Draw two or more, or pass baseline=False"
            )
    counts = hyps.counts.clamp(min=1)
    means = hyps.sum(hyps.risks) / counts
    weights = hyps.risks
    if baseline:
        # r_k less the mean of the others is K / (K - 1) of r_k less the mean of all
        weights = (weights - means[hyps.rows]) * (counts / (counts - 1).clamp(min=1))[hyps.rows]
    change = hyps.log_probs - hyps.log_probs.detach()  # zero, with a gradient
    return _reduced(means + hyps.sum(weights * change) / counts, reduction)


@eager
def lattice_mwer_loss(
    lattices: Fsa,
    refs: Sequence[Sequence[int]] | RaggedTensor,
    num_paths: int | None = None,
    reduction: str = "mean",
    *,
    tokens: str = "aux_labels",
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Computes the expected number of errors of the paths of lattices.

    With path scores :math:`w(\pi)`, :math:`p(\pi) \propto e^{w(\pi) / \tau}` and the true edit
    distance d of a path's tokens from the reference: :math:`\sum_\pi p(\pi)\, d(y(\pi),
    \mathrm{ref})`

    - over all paths, exactly, by `expected_edit_counts`, without ``num_paths``;
    - over the ``num_paths`` best ones, as `mwer_loss`;
    - with a ``generator``, estimated by that many samples, as `sampled_mwer_loss`.

    Args:
        lattices: an acyclic vector, one FSA for each utterance.
        refs: the reference tokens of each, ``[utt][position]``.
        num_paths: how many paths; None for all, which long lattices with many alternatives cannot
            afford (see `expected_edit_counts`).
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, the average over utterances.
        tokens: the attribute with the tokens, or ``"labels"``; 0 and -1 are no tokens.
        temperature: :math:`\tau > 0`.
        generator: a CPU generator for samples.

    Returns:
        A scalar, or (N,) for ``reduction="none"``, differentiable in the scores of the lattices. A
        lattice without a path counts the length of its reference, with gradient 0.

    Raises:
        FsaTypeError, FsaValueError, CyclicFsaError, FsaRuntimeError: see `expected_edit_counts`;
            for a temperature that is not positive, a number of paths below 1, or a generator
            without one.

    Source: for lists Prabhavalkar et al. 2018, for samples Shannon 2017 (see `mwer_loss` and
    `sampled_mwer_loss`); k2's ``MWERLoss`` renormalises samples as a list.

    >>> lattice = Fsa.from_str("0 1 7 0\n0 1 8 0\n1 2 9 0\n1 3 -1 0\n2 3 -1 0\n3", acceptor=True)
    >>> lattice_mwer_loss(lattice, [[7, 9]], tokens="labels")     # 0, 1, 1 and 2 errors
    tensor(1.)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    _check_temperature(temperature)
    if generator is not None and num_paths is None:
        raise FsaValueError("num_paths: a generator draws so many samples; pass a number")
    references = checked_references(lattices, refs)
    scaled = lattices.with_scores(lattices.scores / temperature)
    if num_paths is None:
        return _reduced(expected_edit_counts(scaled, references, tokens).errors, reduction)
    if generator is None:
        paths = n_shortest_paths(scaled, num_paths)
    else:
        paths = random_paths(scaled, num_paths, generator=generator)
    errors = _path_errors(scaled, paths, references, tokens)
    row_of_path = paths.shape.row_ids(1)
    of_arcs = RaggedTensor(paths.shape.remove_axis(0), scaled.scores[paths.values])
    scores, list_shape = of_arcs.sum(), paths.shape.remove_axis(2)
    risks = RaggedTensor(list_shape, errors)
    if generator is None:
        losses = mwer_loss(RaggedTensor(list_shape, scores), risks, "none")
    else:
        log_probs = RaggedTensor(list_shape, scores - get_tot_scores(scaled)[row_of_path])
        losses = sampled_mwer_loss(log_probs, risks, "none", baseline=num_paths > 1)
    no_path = list_shape.row_splits(1).diff() == 0
    lengths = references.shape.row_splits(1).diff().to(losses)
    return _reduced(torch.where(no_path, lengths, losses), reduction)


class MWERLoss(LossModule):
    """`mwer_loss` as a module.

    Args:
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        temperature: see `mwer_loss`.
        subtract_mean: see `mwer_loss`.

    >>> MWERLoss(reduction="sum")(torch.zeros(1, 2), torch.tensor([[0, 2]]))
    tensor(1.)
    """

    def __init__(
        self, reduction: str = "mean", *, temperature: float = 1.0, subtract_mean: bool = False
    ) -> None:
        super().__init__(
            reduction=reduction,
            temperature=temperature,
            subtract_mean=subtract_mean,
        )
        check_choice("reduction", reduction, REDUCTIONS)
        _check_temperature(temperature)

    def forward(self, log_probs: Tensor | RaggedTensor, risks: Tensor | RaggedTensor) -> Tensor:
        """Returns the loss; the arguments are those of `mwer_loss`."""
        return mwer_loss(log_probs, risks, **self.options)


class _Hypotheses:
    """Log-probabilities and risks of the hypotheses that exist, and their utterances."""

    def __init__(self, log_probs: Any, risks: Any) -> None:
        for name, value in (("log_probs", log_probs), ("risks", risks)):
            if not isinstance(value, (Tensor, RaggedTensor)):
                raise FsaTypeError(
                    f"{name}: must be a tensor (N, K) or ragged [utt][hypothesis], got "
                    f"{type(value).__name__}"
                )
        if isinstance(log_probs, Tensor) and log_probs.dim() == 2:
            n, k = log_probs.shape
            splits = torch.arange(n + 1, device=log_probs.device) * k
            log_probs = RaggedTensor(RaggedShape(splits), log_probs.flatten())
            if isinstance(risks, Tensor) and tuple(risks.shape) == (n, k):
                risks = RaggedTensor(log_probs.shape, risks.flatten())
        if not (isinstance(log_probs, RaggedTensor) and log_probs.num_axes == 2):
            raise FsaValueError("log_probs: must be (N, K), or ragged [utt][hypothesis]")
        splits = log_probs.shape.row_splits(1)
        if not isinstance(risks, RaggedTensor) or not (
            risks.num_axes == 2 and torch.equal(risks.shape.row_splits(1), splits)
        ):
            raise FsaValueError("risks: must have one number for each of log_probs, and its shape")
        if not log_probs.dtype.is_floating_point:
            raise FsaTypeError(f"log_probs: must be floating point, got {log_probs.dtype}")
        values = log_probs.values
        if values.dtype not in (torch.float32, torch.float64):
            values = values.float()
        numbers = risks.values.detach().to(values)
        self.rows = log_probs.shape.row_ids(1)
        for name, flat, wrong in (
            ("log_probs", values, ~(values.detach() < torch.inf)),
            ("risks", numbers, ~numbers.isfinite() & (values.detach() > -torch.inf)),
        ):
            for i in wrong.nonzero().flatten().tolist()[:1]:
                row = int(self.rows[i])
                raise FsaValueError(
                    f"{name}: hypothesis {i - int(splits[row])} of utterance {row} has "
                    f"{float(flat[i])}; needed is a number"
                )
        there = values.detach() > -torch.inf
        self.rows, self.log_probs, self.risks = self.rows[there], values[there], numbers[there]
        self.counts = torch.bincount(self.rows, minlength=log_probs.dim0)
        self.shape = RaggedShape.from_sizes(self.counts)

    def sum(self, values: Tensor) -> Tensor:
        """(N,) sums over the hypotheses of each utterance."""
        return RaggedTensor(self.shape, values).sum()


def _check_temperature(temperature: float) -> None:
    if not isinstance(temperature, (int, float)) or not 0 < temperature < math.inf:
        raise FsaValueError(f"temperature: must be a positive number, got {temperature!r}")


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    """Reduces risks, which have no length to be divided by."""
    return reduced(losses, torch.ones_like(losses), reduction)


def _path_errors(
    lattices: Fsa, paths: RaggedTensor, references: RaggedTensor, tokens: str
) -> Tensor:
    """The edit distance of each path's tokens from its reference; `paths` are [fsa][path][arc]."""
    utterance = paths.shape.row_ids(1)
    arcs = RaggedTensor(paths.shape.remove_axis(0), paths.values).to("cpu")
    hyps = tokens_of_arcs(lattices, tokens).index(arcs).remove_axis(1)  # [path][token]
    errors = edit_distance(hyps, references.index(utterance.to("cpu")))
    return errors.to(lattices.scores)
