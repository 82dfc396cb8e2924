"""Connectionist temporal classification: likelihood and entropy of the alignments."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

import wfst_entropy._native as _native
from wfst_entropy.algorithms.intersect_dense import SCORE_LIMIT
from wfst_entropy.algorithms.kernel_gradient import bad_score, differentiable_once
from wfst_entropy.fsa.errors import FsaTypeError, FsaValueError
from wfst_entropy.losses.alignment import (
    KINDS,
    REDUCTIONS,
    Alignment,
    as_lengths,
    check_choice,
    entropy_of_kind,
    reduce_loss,
)
from wfst_entropy.semirings import ConditionalEntropySemiring


def ctc_alignment(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    kind: str = "conditional",
) -> Alignment:
    r"""Computes the CTC likelihood of each transcript and the entropy of its alignments.

    With :math:`w(\pi) = \sum_t x_{t,\pi_t}` over the paths that collapse to the transcript,

    .. math::
        \mathrm{nll} = -\log Z, \quad Z = \sum_\pi e^{w(\pi)}, \qquad
        H_c = -\sum_\pi p(\pi) \log p(\pi), \quad p(\pi) = e^{w(\pi)} / Z .

    Both are differentiable, for the price of one forward and one backward sweep. The gradient of
    the nll with respect to ``log_probs`` is the true one, :math:`-\gamma`; torch's ctc_loss returns
    :math:`e^x - \gamma`, which is the same after a ``log_softmax``. On the CPU a C++ kernel
    computes in the dtype of the scores and can be differentiated once; elsewhere, and inside
    ``_native.disabled()``, vectorised torch computes in float64 and can be differentiated twice.

    Args:
        log_probs: (N, T, C) scores in nats, float32 or float64 (half precision is computed, and
            returned, in float32). They need not be normalised; -inf and masks below -2**26 mean
            "never".
        targets: (N, U) padded, or (sum of target_lengths,) concatenated; integers other than blank.
        input_lengths: (N,) frames of each utterance.
        target_lengths: (N,) labels of each utterance. An empty transcript is the all-blank path.
        blank: the blank symbol.
        kind: the entropy wanted: ``"conditional"`` (:math:`H_c`), ``"raw"`` (the paper's
            :math:`-\sum_\pi e^{w(\pi)} w(\pi) = Z (H_c - \log Z)`), ``"per_frame"`` or
            ``"per_label"`` (:math:`H_c` divided by the length).

    Returns:
        ``nll``, ``entropy`` and ``valid``, each (N,), the first two in nats and in the dtype of the
        scores. Scores beyond an utterance's frames, and of symbols not in its transcript, are
        neither read nor given a gradient.

    Raises:
        FsaTypeError: for tensors of the wrong dtype.
        FsaValueError: for wrong shapes, lengths or labels, and for a score that is NaN or above
            2**26; it names the utterance and the position. Also for a raw entropy that overflows.

    Source: Graves et al. 2006, "Connectionist temporal classification", Eqs. 6 and 7, for the
    likelihood; Liu et al. 2018, "Connectionist temporal classification with maximum entropy
    regularization", for the conditional entropy; "Entropy semirings" (arXiv 2312.10087),
    Definition 4.1 and Eq. 10, for the raw one.

    >>> scores = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> out = ctc_alignment(scores, torch.tensor([[1, 2]]), [3], [2])   # five paths
    >>> [round(float(field), 4) for field in out]
    [1.682, 1.5445, 1.0]
    """
    check_choice("kind", kind, KINDS)
    batch = _checked(log_probs, targets, input_lengths, target_lengths, blank)
    return _alignment(batch, kind)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | list[int],
    target_lengths: Tensor | list[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    entropy_scale: float = 0.0,
    kind: str = "conditional",
) -> Tensor:
    r"""Computes the CTC loss with the entropy of the alignments as a regulariser.

    Per utterance :math:`\mathrm{nll} - \mathrm{entropy\_scale} \cdot H`: a positive scale rewards
    entropy (Liu et al. 2018), a negative one penalises it (Variani et al. 2022, arXiv 2212.12442).
    Arguments are named as in ``torch.nn.functional.ctc_loss``, but ``log_probs`` is batch-first.

    Args:
        log_probs: (N, T, C), see `ctc_alignment`.
        targets: (N, U) or (sum of target_lengths,).
        input_lengths: (N,) frames.
        target_lengths: (N,) labels.
        blank: the blank symbol.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``, which divides each utterance's loss by its
            target length (at least 1) and averages.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf. Its
            gradient is 0 either way.
        entropy_scale: the weight of the entropy; 0 computes the likelihood alone.
        kind: see `ctc_alignment`.

    Returns:
        A scalar, or (N,) for ``reduction="none"``.

    Raises:
        FsaTypeError, FsaValueError: see `ctc_alignment`; also for the mean of an empty batch.

    >>> scores = torch.tensor([[[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.6, 0.1, 0.3]]]).log()
    >>> ctc_loss(scores, torch.tensor([[1, 2]]), [3], [2], entropy_scale=0.1)
    tensor(0.7638)
    """
    check_choice("kind", kind, KINDS)
    check_choice("reduction", reduction, REDUCTIONS)
    batch = _checked(log_probs, targets, input_lengths, target_lengths, blank)
    return reduce_loss(
        _alignment(batch, kind, entropy=entropy_scale != 0),
        batch.target_lengths,
        reduction=reduction,
        zero_infinity=zero_infinity,
        entropy_scale=entropy_scale,
    )


class CTCLoss(torch.nn.Module):
    """`ctc_loss` as a module.

    Args:
        blank: the blank symbol.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        zero_infinity: whether an utterance without any alignment counts 0 instead of +inf.
        entropy_scale: the weight of the entropy; positive rewards it.
        kind: see `ctc_alignment`.

    >>> loss = CTCLoss(reduction="sum", entropy_scale=0.1)
    >>> loss(torch.zeros(1, 2, 3), torch.tensor([[1]]), [2], [1])   # three paths of weight 1
    tensor(-1.2085)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        entropy_scale: float = 0.0,
        kind: str = "conditional",
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        check_choice("reduction", reduction, REDUCTIONS)
        self.blank = blank
        self.reduction = reduction
        self.zero_infinity = zero_infinity
        self.entropy_scale = entropy_scale
        self.kind = kind

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | list[int],
        target_lengths: Tensor | list[int],
    ) -> Tensor:
        """Returns the loss; the arguments are those of `ctc_loss`."""
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
            entropy_scale=self.entropy_scale,
            kind=self.kind,
        )

    def extra_repr(self) -> str:
        """Shows the options in the module's repr."""
        return (
            f"blank={self.blank}, reduction={self.reduction!r}, "
            f"zero_infinity={self.zero_infinity}, entropy_scale={self.entropy_scale}, "
            f"kind={self.kind!r}"
        )


class _Batch(NamedTuple):
    """Checked arguments; everything but the scores is int64 on the CPU."""

    log_probs: Tensor
    targets: Tensor  # flat
    target_offsets: Tensor  # (N,) where an utterance's labels begin
    input_lengths: Tensor
    target_lengths: Tensor
    blank: int


def _checked(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int
) -> _Batch:
    if not isinstance(log_probs, Tensor) or not log_probs.is_floating_point():
        came = log_probs.dtype if isinstance(log_probs, Tensor) else type(log_probs).__name__
        raise FsaTypeError(f"log_probs: must be a floating-point tensor (N, T, C), got {came}")
    if log_probs.dim() != 3:
        raise FsaValueError(
            f"log_probs: must be batch-first (N, T, C), got shape {tuple(log_probs.shape)}"
        )
    n, num_frames, num_symbols = log_probs.shape
    if not 0 <= blank < num_symbols:
        raise FsaValueError(f"blank: must be a symbol in 0..{num_symbols - 1}, got {blank}")
    if not isinstance(targets, Tensor) or targets.is_floating_point():
        came = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise FsaTypeError(f"targets: must be an integer tensor, got {came}")
    frames = f"frames of log_probs, which is batch-first {tuple(log_probs.shape)}"
    frame_counts = as_lengths("input_lengths", input_lengths, n, num_frames, frames)
    if targets.dim() == 2 and targets.shape[0] == n:
        longest, axis = targets.shape[1], "second axis of targets"
    elif targets.dim() == 1:
        longest, axis = targets.numel(), "size of targets"
    else:
        raise FsaValueError(
            f"targets: must have shape ({n}, U), or (sum of target_lengths,), "
            f"got {tuple(targets.shape)}"
        )
    counts = as_lengths("target_lengths", target_lengths, n, longest, axis)
    if targets.dim() == 2:
        offsets = torch.arange(n) * longest
    else:
        offsets = counts.cumsum(0) - counts
        if int(counts.sum()) != longest:
            raise FsaValueError(
                f"target_lengths: sum to {int(counts.sum())}, but the concatenated targets have "
                f"{longest} labels"
            )
    # A copy: what was checked here must still hold in the backward call, when the caller may have
    # filled the buffer that the targets came from (a NumPy array, say) with other labels.
    flat = targets.detach().to("cpu", torch.int64, copy=True).flatten()
    _check_labels(flat, offsets, counts, blank, num_symbols)
    if log_probs.dtype not in (torch.float32, torch.float64):
        log_probs = log_probs.float()
    return _Batch(log_probs, flat, offsets, frame_counts, counts, blank)


def _check_labels(
    flat: Tensor, offsets: Tensor, counts: Tensor, blank: int, num_symbols: int
) -> None:
    """Refuses labels that are blank or not in the vocabulary; labels beyond a length are free."""
    utterance = torch.repeat_interleave(torch.arange(counts.numel()), counts)
    position = torch.arange(utterance.numel()) - (counts.cumsum(0) - counts)[utterance]
    labels = flat[offsets[utterance] + position]
    wrong = (labels < 0) | (labels >= num_symbols) | (labels == blank)
    for i in wrong.nonzero().flatten().tolist()[:1]:
        label = int(labels[i])
        what = "the blank" if label == blank else "outside the vocabulary"
        raise FsaValueError(
            f"targets: utterance {int(utterance[i])}, position {int(position[i])} is {label}, "
            f"{what}; labels must lie in 0..{num_symbols - 1} and differ from blank ({blank})"
        )


def _alignment(batch: _Batch, kind: str, entropy: bool = True) -> Alignment:
    if _native.can_run(batch.log_probs):
        save = torch.is_grad_enabled() and batch.log_probs.requires_grad
        nll, conditional, path_count = _NativeCtc.apply(*batch, entropy, save)
        valid = path_count > 0
    else:
        nll, conditional = _torch_ctc(batch)
        valid = nll.detach() < torch.inf
    if not entropy:
        return Alignment(nll, conditional, valid)
    lengths = (batch.input_lengths, batch.target_lengths)
    return Alignment(nll, entropy_of_kind(kind, nll, conditional, *lengths), valid)


class _NativeCtc(torch.autograd.Function):
    """The C++ engine: the backward call writes the gradient of both outputs into one buffer."""

    @staticmethod
    def forward(
        ctx: Any,
        log_probs: Tensor,
        targets: Tensor,
        target_offsets: Tensor,
        input_lengths: Tensor,
        target_lengths: Tensor,
        blank: int,
        entropy: bool,
        save: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        labels = (targets, target_offsets, input_lengths, target_lengths)
        batch = _native.CtcBatch(log_probs, *labels, blank)
        out = _native.ctc_forward(batch, entropy=entropy, save=save)
        for n in (out.bad_frame >= 0).nonzero().flatten().tolist()[:1]:
            t, c = int(out.bad_frame[n]), int(out.bad_symbol[n])
            raise bad_score("log_probs", n, t, c, float(log_probs[n, t, c]))
        ctx.save_for_backward(log_probs, *labels, out.cells, out.cell_offsets, out.path_count)
        ctx.blank, ctx.entropy = blank, entropy
        ctx.mark_non_differentiable(out.path_count)
        ctx.set_materialize_grads(False)
        return out.nll.to(log_probs.dtype), out.entropy.to(log_probs.dtype), out.path_count

    @staticmethod
    def backward(
        ctx: Any, grad_nll: Tensor | None, grad_entropy: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        log_probs, targets, offsets, frames, counts, *saved = ctx.saved_tensors
        cells, cell_offsets, path_count = saved
        batch = _native.CtcBatch(log_probs, targets, offsets, frames, counts, ctx.blank)
        zeros = torch.zeros(path_count.shape, dtype=torch.float64)
        by_nll = zeros if grad_nll is None else grad_nll.double()
        by_entropy = (
            (zeros if grad_entropy is None else grad_entropy.double()) if ctx.entropy else None
        )
        grad = _native.ctc_backward(batch, cells, cell_offsets, path_count, by_nll, by_entropy)
        grad = differentiable_once(grad, log_probs, grad_nll, grad_entropy)
        return grad, None, None, None, None, None, None, None


def _torch_ctc(batch: _Batch) -> tuple[Tensor, Tensor]:
    """The torch engine: states 0..2U alternate blank and label; one Python loop over frames."""
    semiring = ConditionalEntropySemiring()
    symbols, used = _padded_symbols(batch)
    scores = _emissions(batch, symbols, used)
    n, _, num_states = scores.shape
    is_label = torch.arange(num_states, device=scores.device) % 2 == 1
    differs = torch.zeros_like(symbols, dtype=torch.bool)
    differs[:, 2:] = symbols[:, 2:] != symbols[:, :-2]
    no_skip = ~(differs & is_label)
    start = torch.zeros(n, num_states, dtype=torch.bool, device=scores.device)
    start[:, 0] = True
    mass = torch.where(start, 0.0, -torch.inf).to(scores.dtype)
    entropy = torch.zeros_like(mass)
    lengths = batch.input_lengths.to(scores.device)
    for t in range(int(batch.input_lengths.max()) if n else 0):
        merged = semiring.sum(
            (_predecessors(mass, no_skip, -torch.inf), _predecessors(entropy, no_skip, 0.0)), 0
        )
        new_mass, new_entropy = semiring.times(merged, semiring.convert(scores[:, t]))
        running = (t < lengths)[:, None]
        mass = torch.where(running, new_mass, mass)
        entropy = torch.where(running, new_entropy, entropy)
    last = 2 * batch.target_lengths.to(scores.device)
    final = torch.stack([last, (last - 1).clamp(min=0)])
    missing = torch.stack([last < 0, last == 0])  # an empty transcript has no last label
    mass = mass.gather(1, final.T).T.masked_fill(missing, -torch.inf)
    entropy = entropy.gather(1, final.T).T.masked_fill(missing, 0.0)
    mass, entropy = semiring.sum((mass, entropy), 0)
    return -mass.to(batch.log_probs.dtype), entropy.to(batch.log_probs.dtype)


def _predecessors(value: Tensor, no_skip: Tensor, fill: float) -> Tensor:
    """(3, N, S): the value of the same state, the one before, and the one before that."""
    padded, num_states = torch.nn.functional.pad(value, (2, 0), value=fill), value.shape[1]
    before = padded[:, 1 : 1 + num_states]
    skipped = padded[:, :num_states].masked_fill(no_skip, fill)
    return torch.stack([value, before, skipped])


def _padded_symbols(batch: _Batch) -> tuple[Tensor, Tensor]:
    """The symbol of each state (N, S), S = 2 max U + 1, and whether the utterance has the state."""
    n = batch.target_lengths.numel()
    longest = int(batch.target_lengths.max()) if n else 0
    position = torch.arange(longest)
    inside = position < batch.target_lengths[:, None]
    index = torch.where(inside, batch.target_offsets[:, None] + position, 0)
    labels = batch.targets[index] if longest else torch.zeros(n, 0, dtype=torch.int64)
    symbols = torch.full((n, 2 * longest + 1), batch.blank)
    symbols[:, 1::2] = torch.where(inside, labels, batch.blank)
    used = torch.arange(2 * longest + 1) <= 2 * batch.target_lengths[:, None]
    return symbols.to(batch.log_probs.device), used.to(batch.log_probs.device)


def _emissions(batch: _Batch, symbols: Tensor, used: Tensor) -> Tensor:
    """(N, T, S) the score of each state in each frame, -inf where it may not be read."""
    scores = batch.log_probs
    num_frames = scores.shape[1]
    emissions = scores.gather(2, symbols[:, None].expand(-1, num_frames, -1))
    if scores.device.type != "mps":  # which has no float64
        emissions = emissions.double()
    lengths = batch.input_lengths.to(scores.device)
    read = (torch.arange(num_frames, device=scores.device) < lengths[:, None])[:, :, None] & used[
        :, None
    ]
    refused = read & ~(emissions.detach() <= SCORE_LIMIT)
    if bool(refused.any()):
        n, t, s = refused.nonzero()[0].tolist()
        raise bad_score("log_probs", n, t, int(symbols[n, s]), float(emissions[n, t, s]))
    masked = ~read | (emissions.detach() < -SCORE_LIMIT)
    return emissions.masked_fill(masked, -torch.inf)
