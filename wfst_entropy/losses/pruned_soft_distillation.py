"""Soft distillation of transducers over the windows of a pruned lattice."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.losses.alignment import REDUCTIONS, check_choice, reduced
from wfst_entropy.losses.divergence import result_dtype
from wfst_entropy.losses.rnnt_pruned import checked_pruned
from wfst_entropy.losses.soft_distillation import check_other, temperature_scale, window_divergence


def rnnt_pruned_soft_distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    ranges: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    *,
    temperature: float = 1.0,
    reverse: bool = False,
    teacher_grad: bool = False,
) -> Tensor:
    r"""Computes the divergence of two transducers' posteriors over the nodes of windows.

    With W(t) the label positions that ``ranges`` keeps at frame t, and the symbols and temperature
    of `rnnt_soft_distillation`,

    .. math::
        \tau^2 \sum_{t < T} \sum_{u \in W(t), u \le U}
        \sum_v p^T_{t,u,v} \log \frac{p^T_{t,u,v}}{p^S_{t,u,v}} .

    Args:
        student_logits: (N, T, S, C), see `rnnt_pruned_alignment`.
        teacher_logits: of the same shape: the teacher's joiner at the same positions.
        ranges: (N, T, S) int64 label positions.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: see `rnnt_soft_distillation`, as the following.
        temperature: :math:`\tau > 0`.
        reverse: compute KL(student || teacher) instead of KL(teacher || student).
        teacher_grad: whether the teacher gets a gradient too.

    Returns:
        In nats, a scalar or (N,), as of `rnnt_soft_distillation`.

    Raises:
        FsaTypeError, FsaValueError: see `rnnt_pruned_alignment` and `rnnt_soft_distillation`.

    Source: "Entropy semirings" (arXiv 2312.10087), Eq. 12, over the lattice of Kuang et al. 2022,
    "Pruned RNN-T" (arXiv 2206.13236).

    >>> import torch
    >>> student = torch.tensor([0.5, 0.25, 0.25]).log().expand(1, 2, 1, 3)
    >>> teacher = torch.tensor([0.5, 0.5, 0.0]).log().expand(1, 2, 1, 3)
    >>> ranges = torch.tensor([[[0], [1]]])                         # 2 nodes of 0.5 ln 2
    >>> rnnt_pruned_soft_distillation(student, teacher, ranges, torch.tensor([[1]]), [2], [1])
    tensor(0.6931)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    scale = temperature_scale(temperature)
    args = (ranges, targets, logit_lengths, target_lengths, blank)
    windows = checked_pruned(student_logits, *args, name="student_logits").windows
    check_other("teacher_logits", teacher_logits, student_logits)
    teacher = teacher_logits if teacher_grad else teacher_logits.detach()
    models = [("teacher_logits", teacher), ("student_logits", student_logits)]
    loss = window_divergence(models[::-1] if reverse else models, windows, scale)
    return reduced(loss.to(result_dtype(student_logits)), windows.targets.lengths, reduction)
