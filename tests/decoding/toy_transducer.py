"""Small transducers of random tables, whose rows do not depend on the batch in any bit."""

from __future__ import annotations

import torch
from torch import Tensor

_ROWS = 61


class TableTransducer:
    """Frames are scores of symbols; a table adds what the last labels say to them.

    Args:
      num_symbols: C, which is D and J too.
      context_size: labels that the predictor reads; None: a hash of all labels so far.
      sharpness: the larger, the surer; 0: the labels so far say nothing.
    """

    def __init__(
        self, num_symbols: int, context_size: int | None = 1, sharpness: float = 1.0, seed: int = 0
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.context_size = context_size
        self.num_symbols = num_symbols
        self.table = sharpness * torch.randn(_ROWS, num_symbols, generator=generator)
        self.calls = {"step": 0, "join": 0}

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        return encoder_out.float()

    def start(self, n: int) -> tuple[Tensor, list[Tensor]]:
        state = torch.zeros(n, self.context_size or 1, dtype=torch.int64)
        return self._lm(state), [state]

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        assert len(tokens) == len(state[0]) > 0
        assert int(tokens.min()) > 0
        self.calls["step"] += 1
        if self.context_size is None:
            new = (state[0] * 31 + tokens[:, None]) % 100_003
        else:
            new = torch.cat([state[0][:, 1:], tokens[:, None]], dim=1)
        return self._lm(new), [new]

    def join(self, am: Tensor, lm: Tensor) -> Tensor:
        assert am.shape == lm.shape
        self.calls["join"] += 1
        return (am + lm).log_softmax(-1)

    def contexts(self, tokens: Tensor) -> Tensor:
        return self._lm(tokens)

    def _lm(self, state: Tensor) -> Tensor:
        row = torch.zeros(len(state), dtype=torch.int64)
        for column in state.T:
            row = row * 13 + column
        return self.table[row % _ROWS]


def log_prob_table(model: TableTransducer, frame: Tensor, tokens: tuple[int, ...]) -> Tensor:
    """The scores `(C,)` of one frame `(D,)` after these labels, one at a time."""
    lm, state = model.start(1)
    for token in tokens:
        lm, state = model.step(torch.tensor([token]), state)
    return model.join(model.project_encoder(frame[None, None])[0], lm)[0]


def frames_of(n: int, num_frames: int, num_symbols: int, seed: int = 1) -> Tensor:
    """Random encoder output `(n, T, D)` with more blanks than labels."""
    generator = torch.Generator().manual_seed(seed)
    frames = 2 * torch.randn(n, num_frames, num_symbols, generator=generator)
    frames[:, :, 0] += 2.0
    return frames
