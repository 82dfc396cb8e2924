"""From a joiner's logits to the scores of the lattice's arcs: the (blank, label) planes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wfst_entropy._native as _native
import wfst_entropy._native.rnnt_logits as native
from wfst_entropy._native.eager import eager
from wfst_entropy.algorithms.dense_pairing import SCORE_LIMIT
from wfst_entropy.algorithms.kernel_gradient import differentiable_once
from wfst_entropy.fsa.errors import FsaValueError
from wfst_entropy.losses.rnnt_batch import RnntBatch, RnntOptions


def logit_planes(batch: RnntBatch, options: RnntOptions) -> tuple[Tensor, Tensor]:
    """The scores of blank (N, T, W) and of the next label (N, T, W - 1) at every node.

    With ``begins`` the last node of a frame has a label too: both are (N, T, W). They are in
    float32 for logits in half precision, else in the dtype of the logits. What stands beyond an
    utterance's lengths is of no meaning.

    Raises:
        FsaValueError: a row of logits inside the lengths gives no scores, or may not be written to.
    """
    logits = batch.logits
    if _native.is_available() and logits.device.type == "cpu" and logits.dtype in native.DTYPES:
        blank, label = _kernel_planes(batch, options)
    else:
        blank, label = _torch_planes(batch, options.fused_log_softmax)
    if options.delay_penalty != 0:
        num_frames = logits.shape[1]
        offsets = delay_offsets(batch.logit_lengths, num_frames, options.delay_penalty)
        label = label + offsets.to(label)
    return blank, label


def delay_offsets(logit_lengths: Tensor, num_frames: int, delay_penalty: float) -> Tensor:
    """(N, T, 1) what a delay penalty adds to the score of a label at each frame, float64."""
    frames = torch.arange(num_frames, dtype=torch.float64)
    middle = (logit_lengths.double() - 1) / 2
    return delay_penalty * (middle[:, None] - frames)[:, :, None]


def _torch_planes(batch: RnntBatch, fused_log_softmax: bool) -> tuple[Tensor, Tensor]:
    logits, device = batch.logits, batch.logits.device
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    inside, nodes = batch.inside(), batch.nodes()
    if not bool(inside.all()):  # a NaN there would come back as a gradient of NaN
        logits = logits.masked_fill(~inside.to(device)[..., None], 0.0)
    if batch.begins is None:  # after the last node there is no label
        nodes = nodes[:, :, :-1]
    used = inside[:, :, : nodes.shape[2]] & (nodes < batch.targets.lengths[:, None, None])
    blank = logits[..., batch.blank]
    labels = _labels_at(batch, nodes).expand(-1, logits.shape[1], -1).to(device)
    width = labels.shape[2]
    label = logits[:, :, :width].gather(3, labels[..., None])[..., 0]
    if fused_log_softmax:
        log_sum = logits.logsumexp(3)
        bad = ~log_sum.detach().isfinite()
        blank, label = blank - log_sum, label - log_sum[:, :, :width]
    else:
        bad = ~(blank.detach() <= SCORE_LIMIT)
        bad[:, :, :width] |= used.to(device) & ~(label.detach() <= SCORE_LIMIT)
    for place in bad.nonzero()[:1].tolist():
        raise _bad_logit(batch, place, fused_log_softmax)
    return blank, label


def _labels_at(batch: RnntBatch, nodes: Tensor) -> Tensor:
    """(N, T or 1, ...) the label that leads on from each node; the blank where there is none."""
    padded = torch.nn.functional.pad(batch.targets.padded(batch.blank), (0, 1), value=batch.blank)
    index = nodes.clamp(max=padded.shape[1] - 1).expand(padded.shape[0], -1, -1)
    return padded.gather(1, index.flatten(1)).view(index.shape)


@eager
def _kernel_planes(batch: RnntBatch, options: RnntOptions) -> tuple[Tensor, Tensor]:
    logits, reuse = batch.logits, options.reuse_logits_for_grads
    if reuse and logits.requires_grad and torch.is_grad_enabled():
        _check_reusable(batch)
    blank, label = _NativePlanes.apply(logits, batch, options.fused_log_softmax, reuse)
    return blank, label


class _NativePlanes(torch.autograd.Function):
    """The C++ engine: one read of the logits forward, and one backward."""

    @staticmethod
    @eager
    def forward(
        ctx: Any, logits: Tensor, batch: RnntBatch, fused_log_softmax: bool, reuse: bool
    ) -> tuple[Tensor, Tensor]:
        labels = (*batch.targets, batch.logit_lengths)
        rows = native.RnntLogits(
            logits, *labels, batch.blank, bool(fused_log_softmax), batch.begins
        )
        out = native.rnnt_logits_forward(rows)
        for place in (out.bad_node >= 0).nonzero()[:1].tolist():
            node = [*place, int(out.bad_node[tuple(place)])]
            raise _bad_logit(batch, node, fused_log_softmax)
        ctx.save_for_backward(logits, *labels, out.max, out.scale)
        ctx.blank, ctx.fused_log_softmax, ctx.reuse = batch.blank, fused_log_softmax, reuse
        ctx.begins = batch.begins
        return out.blank, out.label

    @staticmethod
    @eager
    def backward(ctx: Any, grad_blank: Tensor, grad_label: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, offsets, counts, frames, largest, scale = ctx.saved_tensors
        labels = (targets, offsets, counts, frames)
        rows = native.RnntLogits(
            logits, *labels, ctx.blank, bool(ctx.fused_log_softmax), ctx.begins
        )
        grad = native.rnnt_logits_backward(
            rows, largest, scale, grad_blank, grad_label, reuse=ctx.reuse
        )
        if ctx.reuse:  # whoever else kept the logits must find out
            torch.autograd.graph.increment_version(logits)
        return differentiable_once(grad, logits, grad_blank, grad_label), None, None, None


def _check_reusable(batch: RnntBatch) -> None:
    """Refuses logits whose memory is not this loss's to destroy."""
    logits, name = batch.logits, batch.name
    base = logits._base if logits._base is not None else logits
    if base.is_leaf and base.requires_grad:
        raise FsaValueError(
            f"reuse_logits_for_grads: {name} are a leaf that requires a gradient, or a view of "
            f"one, and would be overwritten by it; pass the result of an operation, or leave the "
            f"option out"
        )
    if not logits.is_contiguous():
        raise FsaValueError(
            f"reuse_logits_for_grads: {name} must be contiguous, got shape {tuple(logits.shape)} "
            f"with strides {logits.stride()}; leave the option out, or pass {name}.contiguous()"
        )


def _bad_logit(batch: RnntBatch, node: list[int], fused_log_softmax: bool) -> FsaValueError:
    """Returns the error for the row of logits [utterance, frame, node]."""
    n, t, i = node
    u = i if batch.begins is None else i + int(batch.begins[n, t])
    place = f"{batch.name}: utterance {n}, frame {t}, after {u} labels"
    row = batch.logits.detach()[n, t, i].to("cpu", torch.float64)
    hint = (
        "Look for a division by zero, an overflow in half precision or a learning rate that made "
        "the model diverge."
    )
    if fused_log_softmax:
        wrong, need = ~(row < torch.inf), "a logit must be a number, or -inf"
    else:
        used = torch.full_like(row, -torch.inf)
        symbols = [batch.blank]
        if u < int(batch.targets.lengths[n]):
            symbols.append(int(batch.targets.flat[batch.targets.offsets[n] + u]))
        used[symbols] = row[symbols]
        wrong, need = ~(used <= SCORE_LIMIT), "a log-weight must be a number up to 2**26, or -inf"
    for c in wrong.nonzero().flatten().tolist()[:1]:
        return FsaValueError(f"{place}, symbol {c} is {float(row[c])}; {need}. {hint}")
    return FsaValueError(f"{place}: all symbols are -inf, which has no softmax; unmask one.")
