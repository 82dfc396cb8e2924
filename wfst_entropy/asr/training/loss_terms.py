"""What the terms of the training loss share: the network's outputs of a batch, and their form."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from wfst_entropy.asr.data.utterances import Utterances
from wfst_entropy.asr.models import AsrModel
from wfst_entropy.asr.training.train_options import TrainOptions
from wfst_entropy.fsa.errors import FsaError


class NotFiniteError(FsaError, ArithmeticError):
    """The network's output for some utterances of a batch is NaN or infinite.

    Args:
      rows: Which utterances of the :class:`BatchOutputs`.

    >>> NotFiniteError([1]).rows
    [1]
    """

    def __init__(self, rows: list[int]) -> None:
        super().__init__(f"the network's output for the utterances {rows} is not finite")
        self.rows = rows


@dataclasses.dataclass
class Term:
    """One term of the loss, ``scale * values``, per utterance.

    Args:
      name: As in logs and ``history.jsonl``, such as ``ctc_nll``.
      scale: Its weight in the loss, one number or ``(N,)``; negative for what is rewarded, such
        as an entropy.
      values: ``(N,)``, nats; with a gradient where the scale is not 0.

    >>> Term("ctc_nll", 1.0, torch.zeros(2)).weighted().tolist()
    [0.0, 0.0]
    """

    name: str
    scale: float | Tensor
    values: Tensor

    def weighted(self) -> Tensor:
        """The term as the loss has it, ``(N,)``; zeros without a gradient for a scale of 0."""
        if isinstance(self.scale, Tensor):
            return torch.where(self.scale == 0.0, 0.0, self.scale * self.values)
        if self.scale == 0.0:
            return torch.zeros_like(self.values)
        return self.scale * self.values


@dataclasses.dataclass
class BatchOutputs:
    """The utterances of a batch that take part in the loss, and what the network made of them.

    Args:
      utterances: Features, tokens and names, ``N`` of them.
      step: Batches trained before this one; warm-ups depend on it.
      targets: Token ids ``(N, U)`` int64, padded with 0, on the network's device.
      target_lengths: ``(N,)`` int64, on the CPU.
      encoder_out: ``(N, T', D)``.
      lengths: ``(N,)`` int64, output frames of each utterance, on the CPU.
      ctc_log_probs: ``(N, T', C)`` float32; None without a CTC head.
      logits: Of the transducer's joiner, before the softmax: ``(N, T', U + 1, C)`` on the whole
        lattice, ``(N, T', S, C)`` in windows; None before the transducer term, or without one.
      ranges: ``(N, T', S)`` int64, the label positions in the windows; None for the whole lattice.
      arc_scores: What `rnnt_arc_scores` makes of the logits.

    >>> names = Utterances(torch.zeros(1, 8, 80), torch.tensor([8]), [[3]], ["a"])
    >>> one = torch.tensor([1])
    >>> BatchOutputs(names, 0, torch.tensor([[3]]), one, torch.zeros(1, 2, 4), one * 2).logits
    """

    utterances: Utterances
    step: int
    targets: Tensor
    target_lengths: Tensor
    encoder_out: Tensor
    lengths: Tensor
    ctc_log_probs: Tensor | None = None
    logits: Tensor | None = None
    ranges: Tensor | None = None
    arc_scores: tuple[Tensor, Tensor] | None = None


def trained_heads(model: AsrModel, options: TrainOptions) -> tuple[str, ...]:
    """Which of the model's heads, ``ctc`` and ``transducer``, have a loss.

    Beside a transducer, a CTC head has none if ``ctc_loss_scale`` is 0.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> from wfst_entropy.asr.training.train_options import TrainOptions
    >>> sizes = {"encoder_dim": 8, "num_layers": 1, "vocab_size": 5}
    >>> model = build_model(ModelOptions(use_transducer=True, **sizes))
    >>> [trained_heads(model, TrainOptions(ctc_loss_scale=scale)) for scale in (0.2, 0)]
    [('ctc', 'transducer'), ('transducer',)]
    """
    if model.transducer is None:
        return ("ctc",) if model.ctc_output is not None else ()
    has_ctc = model.ctc_output is not None and options.ctc_loss_scale > 0
    return ("ctc", "transducer") if has_ctc else ("transducer",)


def require_finite(*outputs: Tensor) -> None:
    """Refuse network outputs, batch first, with a NaN or an infinity.

    Raises:
      NotFiniteError: naming the rows.

    >>> require_finite(torch.zeros(2, 3))
    """
    bad: set[int] = set()
    for output in outputs:
        if output.numel():
            low, high = output.detach().flatten(1).aminmax(dim=1)
            bad.update((~(low.isfinite() & high.isfinite())).nonzero().flatten().tolist())
    if bad:
        raise NotFiniteError(sorted(bad))
