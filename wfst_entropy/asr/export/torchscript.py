"""Models as TorchScript: one file that needs torch only, with the methods of the model."""

# Without "from __future__ import annotations": TorchScript reads the types of attributes.

import io
import warnings
from pathlib import Path
from typing import Any, Optional

import torch
from torch import Tensor, nn

from wfst_entropy.asr.export.errors import ExportError
from wfst_entropy.asr.export.parts import (
    Chunk,
    PredictorContexts,
    PredictorStep,
    WholeUtterances,
    example_features,
)
from wfst_entropy.asr.models import AsrModel, TransducerHead
from wfst_entropy.fsa.atomic_file import replacing


def _copies(row: Tensor, n: int) -> Tensor:
    """``(1, ...)`` to ``(n, ...)``."""
    return row.expand([n] + list(row.shape[1:]))  # noqa: RUF005  (TorchScript has no stars)


class _ScriptedTransducer(nn.Module):
    """The methods of :class:`TransducerHead`, around traced parts.

    TorchScript reads annotations and bodies of the methods; it has no ``X | None``.
    """

    context_size: Optional[int]  # noqa: UP045
    first_output: Tensor
    first_state: list[Tensor]

    def __init__(self, head: TransducerHead) -> None:
        super().__init__()
        self.context_size = head.context_size
        first_output, self.first_state = head.start(1)
        self.register_buffer("first_output", first_output)
        self.joiner = head.joiner
        tokens = torch.tensor([1, 0])
        self.one_step = _trace(PredictorStep(head), (tokens, head.start(2)[1]))
        self.of_contexts = None
        if head.context_size is not None:
            contexts = torch.zeros(2, head.context_size, dtype=torch.int64)
            self.of_contexts = _trace(PredictorContexts(head), (contexts,))

    def forward(self, am: Tensor, lm: Tensor) -> Tensor:
        return self.join(am, lm)

    @torch.jit.export
    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        return self.joiner.encoder_proj(encoder_out)

    @torch.jit.export
    def start(self, n: int) -> tuple[Tensor, list[Tensor]]:
        lm = self.first_output.expand(n, -1)
        return lm, [_copies(value, n) for value in self.first_state]

    @torch.jit.export
    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        return self.one_step(tokens, state)

    @torch.jit.export
    def contexts(self, tokens: Tensor) -> Tensor:
        if self.of_contexts is not None:
            return self.of_contexts(tokens)
        raise RuntimeError("contexts: the predictor depends on all labels; use start and step")

    @torch.jit.export
    def join(self, am: Tensor, lm: Tensor) -> Tensor:
        return self.joiner(am, lm).float().log_softmax(dim=-1)


class _ScriptedModel(nn.Module):
    """The methods of :class:`AsrModel`, around traced parts."""

    first_states: list[Tensor]

    def __init__(self, model: AsrModel) -> None:
        super().__init__()
        causal = model.encoder.causal
        self.subsampling_factor = model.subsampling_factor
        self.vocab_size = model.vocab_size
        self.chunk_frames = model.chunk_frames if causal else 0
        whole = WholeUtterances(model, nn.Identity())
        self.whole = _trace(whole, example_features(model, 24 * model.subsampling_factor))
        self.chunk = None
        self.first_states = []
        if causal:
            self.first_states = model.initial_states(1, "cpu")
            example = (*example_features(model, self.chunk_frames), model.initial_states(2, "cpu"))
            self.chunk = _trace(Chunk(model, nn.Identity()), example)
        self.ctc_output = model.ctc_output
        self.transducer = (
            None if model.transducer is None else _ScriptedTransducer(model.transducer)
        )

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_encoder(features, lengths)

    @torch.jit.export
    def forward_encoder(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.whole(features, lengths)

    @torch.jit.export
    def ctc_log_probs(self, encoder_out: Tensor) -> Tensor:
        if self.ctc_output is not None:
            return self.ctc_output(encoder_out).float().log_softmax(dim=-1)
        raise RuntimeError("use_ctc: this model was trained without a CTC output")

    @torch.jit.export
    def initial_states(self, batch_size: int) -> list[Tensor]:
        if self.chunk_frames == 0:
            raise RuntimeError("causal: this model looks ahead and cannot read streams")
        return [_copies(value, batch_size) for value in self.first_states]

    @torch.jit.export
    def forward_chunk(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        if self.chunk is not None:
            return self.chunk(features, lengths, states)
        raise RuntimeError("causal: this model looks ahead and cannot read streams")


@torch.no_grad()
def export_torchscript(model: AsrModel, path: Path) -> None:
    """Write a model as TorchScript.

    The file has the model's methods, on the CPU: ``forward_encoder``, ``ctc_log_probs``,
    ``initial_states(batch_size)``, ``forward_chunk``, and ``transducer.project_encoder``,
    ``start``, ``step``, ``contexts`` and ``join``, with numbers of streams and frames left open
    (frames of an attending encoder's chunk are fixed). What a model lacks raises
    ``torch.jit.Error``.

    Args:
      model: The model, on the CPU, in evaluation mode; streaming has the chunk that it has.
      path: The file, such as ``exp_dir/jit_script.pt``.

    Raises:
      OptionError: when the model is causal but its chunk or left context has no limit.
      FileWriteError: when it cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(_ScriptedModel(model.eval()).eval())
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def load_torchscript(path: Path) -> Any:
    """Read a file of :func:`export_torchscript`.

    Raises:
      ExportError: when there is none, or it is damaged.
    """
    try:
        return torch.jit.load(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise ExportError(
            f"{path}: cannot be read as TorchScript ({cause}); make it with export.py --formats jit"
        ) from error


def _trace(part: nn.Module, example: tuple[Any, ...]) -> Any:
    with warnings.catch_warnings():
        # checks of shapes are not traced, and their results are the same for all inputs
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return torch.jit.trace(part.eval(), example, strict=False, check_trace=False)
