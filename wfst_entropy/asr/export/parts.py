"""The pieces of a model that are exported one by one."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from wfst_entropy.asr.export.projected_lstm import ProjectedLstm
from wfst_entropy.asr.models import AsrModel, Encoder
from wfst_entropy.asr.models.predictor import StatelessPredictor
from wfst_entropy.asr.models.transducer_head import TransducerHead


class WholeUtterances(nn.Module):
    """Features to a function of encoder frames.

    A module of its own, since tracing looks at every property of what it traces, and some of a
    model's raise.

    Args:
      model: The model.
      output: What to apply to encoder frames.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> model = build_model(ModelOptions(encoder_dim=16, num_layers=1, vocab_size=5))
    >>> part = WholeUtterances(model, nn.Identity())
    >>> part(torch.zeros(2, 40, 80), torch.tensor([40, 20]))[0].shape
    torch.Size([2, 10, 16])
    """

    def __init__(self, model: AsrModel, output: nn.Module) -> None:
        super().__init__()
        self.subsampling = model.subsampling
        self.encoder = model.encoder
        self.output = output
        self.eval()

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(N, T, F)`` and ``(N,)`` to ``(N, T', ...)`` and ``(N,)``."""
        x, lengths = self.subsampling(features, lengths)
        encoder_out, lengths = self.encoder(x, lengths)
        return self.output(encoder_out), lengths


class Chunk(nn.Module):
    """The next chunk of streams to a function of encoder frames.

    Args:
      model: A causal model, with the chunk that was chosen.
      output: What to apply to encoder frames.

    >>> from wfst_entropy.asr.models import ModelOptions, build_model
    >>> model = build_model(ModelOptions(causal=True, encoder_dim=16, num_layers=1, vocab_size=5))
    >>> part = Chunk(model, nn.Identity())
    >>> states = model.initial_states(2, "cpu")
    >>> part(torch.zeros(2, 40, 80), torch.tensor([40, 20]), states)[0].shape
    torch.Size([2, 10, 16])
    """

    def __init__(self, model: AsrModel, output: nn.Module) -> None:
        super().__init__()
        self.subsampling = model.subsampling
        self.encoder = model.encoder
        self.output = output
        self.eval()

    def forward(
        self, features: Tensor, lengths: Tensor, states: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Map ``(N, T, F)``, ``(N,)`` and states to ``(N, T', ...)``, ``(N,)`` and states."""
        count = self.subsampling.num_states
        x, lengths, after = self.subsampling.forward_chunk(features, lengths, states[:count])
        encoder_out, lengths, last = self.encoder.forward_chunk(x, lengths, states[count:])
        return self.output(encoder_out), lengths, [*after, *last]


class CtcOutput(nn.Module):
    """Encoder frames to log-probabilities.

    >>> CtcOutput(nn.Linear(4, 3))(torch.zeros(1, 2, 4)).exp().sum().round()
    tensor(2., grad_fn=<RoundBackward0>)
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, encoder_out: Tensor) -> Tensor:
        """Map ``(N, T', D)`` to ``(N, T', C)``."""
        return self.linear(encoder_out).log_softmax(dim=-1)


class PredictorContexts(nn.Module):
    """The last labels to the projected output of a stateless predictor.

    >>> head = TransducerHead(StatelessPredictor(5, 8, 2), 16, 8, 12, 5)
    >>> PredictorContexts(head)(torch.tensor([[0, 1]])).shape
    torch.Size([1, 12])
    """

    def __init__(self, head: TransducerHead) -> None:
        super().__init__()
        self.predictor = head.predictor
        self.projection = head.joiner.decoder_proj
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``(m, context_size)`` to ``(m, J)``."""
        predictor = cast(StatelessPredictor, self.predictor)
        # sherpa-onnx writes -1 where no label is yet, and means the blank
        return self.projection(predictor.contexts(tokens.clamp(min=0)).squeeze(1))


class PredictorStep(nn.Module):
    """One more label to the projected output of any predictor.

    >>> from wfst_entropy.asr.models import LstmPredictor
    >>> head = TransducerHead(LstmPredictor(5, 8), 16, 8, 12, 5)
    >>> lm, state = PredictorStep(head)(torch.tensor([1]), head.start(1)[1])
    >>> lm.shape
    torch.Size([1, 12])
    """

    def __init__(self, head: TransducerHead) -> None:
        super().__init__()
        self.predictor = head.predictor
        self.projection = head.joiner.decoder_proj
        self.eval()

    def forward(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map labels ``(n,)`` and the state to ``(n, J)`` and the state afterwards."""
        lm, state = self.predictor.step(tokens, state)
        return self.projection(lm), state


def example_features(model: AsrModel, num_frames: int) -> tuple[Tensor, Tensor]:
    """Something to trace a model with: two utterances, the second one shorter."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, num_frames, model.subsampling.feature_dim, generator=generator)
    return features * 4 - 8, torch.tensor([num_frames, max(1, num_frames // 2)])


def with_plain_operations(model: AsrModel) -> AsrModel:
    """A copy of the model in which LSTMs with a projection are spelled out.

    ONNX has no such operation.
    """
    model = copy.deepcopy(model)
    for layer in model.encoder.modules():
        for name, child in list(layer.named_children()):
            if isinstance(child, nn.LSTM) and child.proj_size:
                setattr(layer, name, ProjectedLstm(child))
    return model


def has_lstm(encoder: Encoder) -> bool:
    """Whether an encoder has an LSTM."""
    return any(isinstance(module, nn.LSTM) for module in encoder.modules())
