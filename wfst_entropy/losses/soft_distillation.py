r"""Soft distillation: a student's posteriors drawn to a teacher's, frame by frame or node by node.

These are what semiring distillation (`ctc_alignment_kl`, `rnnt_alignment_kl`) is compared with. The
objectives of "Entropy semirings" (arXiv 2312.10087), Section 5.2, are sums of losses of this room,
y being the teacher's transcript:

* hard, Eq. 11: ``rnnt_loss(student, y, ...)``;
* soft, Eq. 12: that plus ``alpha_state * rnnt_soft_distillation(student, teacher, y, ...)``;
* semiring, Eq. 13: ``rnnt_distillation_loss(student, teacher, y, ..., kl_scale=alpha_seq,
  kind="raw") + alpha_state * rnnt_soft_distillation(student, teacher, y, ...)``

with both alphas from {0.01, 0.001}. The losses of transducers all divide by the same lengths under
``reduction="mean"``, so the alphas mean the same whatever the reduction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.alignment import (
    REDUCTIONS,
    as_lengths,
    check_choice,
    check_floating,
    reduced,
)
from wfst_entropy.losses.divergence import result_dtype
from wfst_entropy.losses.loss_module import LossModule
from wfst_entropy.losses.rnnt_batch import RnntBatch, checked_rnnt_batch
from wfst_entropy.losses.softmax_kl import Rows, softmax_kl


def ctc_soft_distillation(
    student: Tensor,
    teacher: Tensor,
    input_lengths: Tensor | list[int],
    reduction: str = "mean",
    *,
    temperature: float = 1.0,
    reverse: bool = False,
    teacher_grad: bool = False,
) -> Tensor:
    r"""Computes the divergence of the posteriors of two CTC models, summed over frames.

    With :math:`p^T_t, p^S_t` the softmax of teacher and student at frame t, both divided by the
    temperature :math:`\tau` before,

    .. math:: \tau^2 \sum_t \sum_v p^T_{t,v} \log \frac{p^T_{t,v}}{p^S_{t,v}} .

    No transcript is needed. Every frame counts alike, so a student that emits its labels at other
    frames than its teacher pays for it; `ctc_alignment_kl` compares whole alignments instead.

    Args:
        student: (N, T, C) logits or log-probabilities, any floating dtype; they are normalised
            here, which leaves log-probabilities as they are.
        teacher: likewise, of the same shape.
        input_lengths: (N,) frames of each utterance.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's sum by its
            number of frames (at least 1) and averages.
        temperature: :math:`\tau > 0`; more than 1 flattens both. The factor :math:`\tau^2` keeps
            the size of the gradients.
        reverse: compute KL(student || teacher) instead of KL(teacher || student).
        teacher_grad: whether the teacher gets a gradient too.

    Returns:
        In nats, a scalar or (N,), in the student's dtype (float32 for half precision): +inf, with
        gradient 0 from that frame, where the second model excludes a symbol of the first. Frames
        beyond an utterance's length are not read.

    Raises:
        FsaTypeError: for tensors that are not floating-point.
        FsaValueError: for wrong shapes, lengths or options, and for a frame whose softmax is not
            defined (a NaN, a +inf, or nothing but -inf); it names utterance and frame.

    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network", Section 2.

    >>> student = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]).log()
    >>> teacher = torch.tensor([[[0.25, 0.75], [0.9, 0.1]]]).log()
    >>> ctc_soft_distillation(student, teacher, [2], reduction="sum")
    tensor(0.1308)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    scale = temperature_scale(temperature)
    frames = checked_frames("student", student, input_lengths)
    check_other("teacher", teacher, student)
    models = [("teacher", teacher if teacher_grad else teacher.detach()), ("student", student)]
    loss = frame_divergence(models[::-1] if reverse else models, frames, scale)
    return reduced(loss.to(result_dtype(student)), frames, reduction)


class CTCSoftDistillation(LossModule):
    """`ctc_soft_distillation` as a module.

    Args:
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        temperature: see `ctc_soft_distillation`, as the following.
        reverse: compute KL(student || teacher) instead of KL(teacher || student).
        teacher_grad: whether the teacher gets a gradient too.

    >>> same = torch.randn(1, 4, 3)
    >>> CTCSoftDistillation()(same, same, [4])
    tensor(0.)
    """

    def __init__(
        self,
        reduction: str = "mean",
        *,
        temperature: float = 1.0,
        reverse: bool = False,
        teacher_grad: bool = False,
    ) -> None:
        super().__init__(
            reduction=reduction,
            temperature=temperature,
            reverse=reverse,
            teacher_grad=teacher_grad,
        )
        check_choice("reduction", reduction, REDUCTIONS)
        temperature_scale(temperature)

    def forward(
        self, student: Tensor, teacher: Tensor, input_lengths: Tensor | list[int]
    ) -> Tensor:
        """Returns the loss; the arguments are those of `ctc_soft_distillation`."""
        return ctc_soft_distillation(student, teacher, input_lengths, **self.options)


def rnnt_soft_distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    *,
    collapsed: bool = False,
    node_weights: Tensor | None = None,
    temperature: float = 1.0,
    reverse: bool = False,
    teacher_grad: bool = False,
) -> Tensor:
    r"""Computes the divergence of two transducers' posteriors, summed over the lattice's nodes.

    With :math:`p^T, p^S` the softmax of teacher and student at node (t, u), both divided by the
    temperature :math:`\tau` before, and :math:`m_{t,u}` the node's weight, 1 unless given,

    .. math::
        \tau^2 \sum_{t < T} \sum_{u \le U} m_{t,u}
        \sum_v p^T_{t,u,v} \log \frac{p^T_{t,u,v}}{p^S_{t,u,v}} .

    That is the paper's :math:`KL_{state}`: all nodes weigh the same, those of unlikely alignments
    too. Two variants are common: ``collapsed=True`` compares only the three probabilities of the
    next label, of blank, and of all the rest, so that a teacher can be stored in little space; and
    ``node_weights=rnnt_occupancies(teacher_logits, ...)`` weighs a node by the probability that an
    alignment passes through it.

    Args:
        student_logits: (N, T, U + 1, C), any floating dtype; they are normalised here.
        teacher_logits: likewise, of the same shape.
        targets: (N, U) padded, or (sum of target_lengths,) concatenated.
        logit_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's sum by its
            target length (at least 1) and averages, as `rnnt_loss` does.
        collapsed: compare {label, blank, rest}, after the last label {blank, rest}.
        node_weights: (N, T, U + 1) constants, not negative, without gradient.
        temperature: :math:`\tau > 0`.
        reverse: compute KL(student || teacher) instead of KL(teacher || student).
        teacher_grad: whether the teacher gets a gradient too.

    Returns:
        In nats, a scalar or (N,), in the student's dtype (float32 for half precision): +inf, with
        gradient 0 from that node, where the second model excludes a symbol of the first. Nodes
        beyond an utterance's frames and labels are not read.

    Raises:
        FsaTypeError: for tensors that are not floating-point.
        FsaValueError: for wrong shapes, lengths, labels or options, and for a node whose softmax is
            not defined (a NaN, a +inf, or nothing but -inf); it names utterance, frame and labels.

    Source: "Entropy semirings" (arXiv 2312.10087), Eq. 12; collapsed: Panchapagesan et al. 2021,
    "Efficient knowledge distillation for RNN-Transducer models" (arXiv 2011.06110); weighing nodes
    by occupancy: Tseng et al. 2024, "Transducer consistency regularization" (arXiv 2410.07491).

    >>> student = torch.tensor([0.5, 0.25, 0.25]).log().expand(1, 2, 2, 3)
    >>> teacher = torch.tensor([0.5, 0.5, 0.0]).log().expand(1, 2, 2, 3)
    >>> labels = torch.tensor([[1]]), [2], [1]
    >>> rnnt_soft_distillation(student, teacher, *labels)                   # 4 nodes of 0.5 ln 2
    tensor(1.3863)
    >>> rnnt_soft_distillation(student, teacher, *labels, collapsed=True)   # no label at the last u
    tensor(0.6931)
    """
    check_choice("reduction", reduction, REDUCTIONS)
    args = (targets, logit_lengths, target_lengths, blank)
    batch = checked_rnnt_batch(student_logits, *args, name="student_logits")
    check_other("teacher_logits", teacher_logits, student_logits)
    n, num_frames, width, _ = student_logits.shape
    labels = batch.targets.lengths
    t, u = torch.arange(num_frames), torch.arange(width)
    inside = (t < batch.logit_lengths[:, None])[:, :, None] & (u <= labels[:, None])[:, None]
    index = inside.flatten().nonzero()[:, 0].to(student_logits.device)
    columns = _next_labels(batch)[index] if collapsed else None
    rows = Rows(index, temperature_scale(temperature), blank, columns)
    teacher = teacher_logits if teacher_grad else teacher_logits.detach()
    models = [("teacher_logits", teacher), ("student_logits", student_logits)]
    kl = _row_divergence(models[::-1] if reverse else models, rows)
    if node_weights is not None:
        weights = _checked_weights(node_weights, (n, num_frames, width), index).to(kl)
        kl = torch.where(weights == 0, 0.0, kl * weights)  # a node without weight may be infinite
    loss = _summed(kl, index // max(1, num_frames * width), n)
    return reduced(loss.to(result_dtype(student_logits)), labels, reduction)


class RNNTSoftDistillation(LossModule):
    """`rnnt_soft_distillation` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        collapsed: see `rnnt_soft_distillation`, as the following.
        temperature: divides all logits.
        reverse: compute KL(student || teacher) instead of KL(teacher || student).
        teacher_grad: whether the teacher gets a gradient too.

    >>> same = torch.randn(1, 4, 2, 3)
    >>> RNNTSoftDistillation()(same, same, torch.tensor([[1]]), [4], [1])
    tensor(0.)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        *,
        collapsed: bool = False,
        temperature: float = 1.0,
        reverse: bool = False,
        teacher_grad: bool = False,
    ) -> None:
        super().__init__(
            blank=blank,
            reduction=reduction,
            collapsed=collapsed,
            temperature=temperature,
            reverse=reverse,
            teacher_grad=teacher_grad,
        )
        check_choice("reduction", reduction, REDUCTIONS)
        temperature_scale(temperature)

    def forward(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
        node_weights: Tensor | None = None,
    ) -> Tensor:
        """Returns the loss; the arguments are those of `rnnt_soft_distillation`."""
        batch = (student_logits, teacher_logits, targets, logit_lengths, target_lengths)
        return rnnt_soft_distillation(*batch, node_weights=node_weights, **self.options)


def checked_frames(name: str, scores: Tensor, input_lengths: Tensor | list[int]) -> Tensor:
    """Returns the lengths as int64 (N,) on the CPU, once the scores are (N, T, C).

    Raises:
        FsaTypeError, FsaValueError: for wrong dtypes, shapes or lengths.
    """
    check_floating(name, scores, "(N, T, C)")
    shape = tuple(scores.shape)
    if len(shape) != 3:
        raise FsaValueError(f"{name}: must be batch-first (N, T, C), got shape {shape}")
    return as_lengths("input_lengths", input_lengths, *shape[:2], f"frames of {name} {shape}")


def check_other(name: str, other: Tensor, first: Tensor) -> None:
    """Refuses a second model whose scores are not of the same shape as the first one's.

    Raises:
        FsaTypeError, FsaValueError: naming the second.
    """
    check_floating(name, other)
    if other.shape != first.shape or other.device != first.device:
        raise FsaValueError(
            f"{name}: must have the other model's shape and device, {tuple(first.shape)} on "
            f"{first.device}, got {tuple(other.shape)} on {other.device}; both models need the "
            "same frame rate and the same symbols"
        )


def frame_divergence(models: list[tuple[str, Tensor]], frames: Tensor, scale: float) -> Tensor:
    """(N,) KL(first || second) of the softmax outputs, summed over frames.

    Args:
        models: names, for messages, and scores (N, T, C) of both.
        frames: (N,) int64 on the CPU.
        scale: of all scores; the result is divided by its square.
    """
    n, num_frames, _ = models[0][1].shape
    inside = torch.arange(num_frames) < frames[:, None]
    index = inside.flatten().nonzero()[:, 0].to(models[0][1].device)
    kl = _row_divergence(models, Rows(index, scale))
    return _summed(kl, index // max(1, num_frames), n)


def _checked_weights(node_weights: Tensor, shape: tuple[int, ...], index: Tensor) -> Tensor:
    """(K,) the weights of the nodes that are read."""
    if not isinstance(node_weights, Tensor) or tuple(node_weights.shape) != shape:
        came = tuple(node_weights.shape) if isinstance(node_weights, Tensor) else node_weights
        raise FsaValueError(f"node_weights: must be a tensor of shape {shape}, got {came}")
    weights = node_weights.detach().to(index.device).flatten()[index]
    for i in (~((weights >= 0) & (weights < torch.inf))).nonzero().flatten().tolist()[:1]:
        node, u = divmod(int(index[i]), shape[2])
        raise FsaValueError(
            f"node_weights: must be numbers that are not negative, got {float(weights[i])} for "
            f"utterance {node // shape[1]}, frame {node % shape[1]}, after {u} labels"
        )
    return weights


def temperature_scale(temperature: float) -> float:
    """Returns what logits are multiplied by.

    Raises:
        FsaValueError: the temperature is not a positive number.
    """
    if not 0 < temperature < torch.inf:
        raise FsaValueError(f"temperature: must be a positive number, got {temperature}")
    return 1.0 / temperature


def _next_labels(batch: RnntBatch) -> Tensor:
    """(N * T * W,) the label that would come next at each node, blank where none would."""
    n, num_frames, width, _ = batch.logits.shape
    columns = torch.full((n, width), batch.blank)
    padded = batch.targets.padded(batch.blank)
    columns[:, : padded.shape[1]] = padded
    return columns[:, None].expand(-1, num_frames, -1).flatten().to(batch.logits.device)


def window_divergence(models: list[tuple[str, Tensor]], windows: RnntBatch, scale: float) -> Tensor:
    """(N,) KL(first || second) of the softmax outputs, summed over the nodes of the windows.

    Args:
        models: names, for messages, and logits (N, T, S, C) of both.
        windows: with ``begins``: which nodes these are, and which of them are in the lattice.
        scale: of all logits; the result is divided by its square.
    """
    n, num_frames, size, _ = windows.logits.shape
    index = windows.inside().flatten().nonzero()[:, 0].to(windows.logits.device)
    kl = _row_divergence(models, Rows(index, scale), windows.begins)
    return _summed(kl, index // max(1, num_frames * size), n)


def _row_divergence(
    models: list[tuple[str, Tensor]], rows: Rows, begins: Tensor | None = None
) -> Tensor:
    """KL of the rows over the scale squared; says so where a softmax is not defined."""
    first, second = (scores.reshape(-1, scores.shape[-1]) for _, scores in models)
    kl = softmax_kl(first, second, rows)
    for i in kl.detach().isnan().nonzero().flatten().tolist()[:1]:
        raise _no_softmax(models, int(rows.chosen[i]), begins)
    return kl if rows.scale == 1 else kl / rows.scale**2


def _no_softmax(
    models: list[tuple[str, Tensor]], row: int, begins: Tensor | None = None
) -> FsaValueError:
    shape = models[0][1].shape
    row_of_first = models[0][1].reshape(-1, shape[-1])[row]
    name, _ = models[0 if bool(row_of_first.float().log_softmax(0).isnan().any()) else 1]
    place = f"utterance {row // shape[1]}, frame {row % shape[1]}"
    if len(shape) == 4:
        node, u = divmod(row, shape[2])
        n, t = divmod(node, shape[1])
        u += 0 if begins is None else int(begins[n, t])
        place = f"utterance {n}, frame {t}, after {u} labels"
    return FsaValueError(
        f"{name}: the scores of {place}, have no softmax: one is NaN or +inf, or all are -inf. "
        f"Look for a division by zero, an overflow in half precision or a learning rate that made "
        f"the model diverge."
    )


def _summed(kl: Tensor, utterance: Tensor, num_utterances: int) -> Tensor:
    """(N,) sums, in float64 and in the order of the rows, whatever the batch and its padding."""
    precise = kl if kl.device.type == "mps" else kl.double()  # mps has no float64
    sums = precise.new_zeros(num_utterances).index_add(0, utterance, precise)
    return sums.to(kl.dtype)
