"""Greedy and modified beam search of a transducer: frames a second.

    python benchmarks/transducer_search.py
    python benchmarks/transducer_search.py --frames 100 --symbols 5000 --beams 4 --batches 1 8

The model is made from a seed: a predictor that reads the last two labels (an embedding of each) and
a joiner `linear(tanh(am + lm))`, whose bias for blank lets about a fifth of the frames emit. All
decoders run in one process on one thread and take turns; the best of the repeats counts, and what
is measured is the search alone, from the encoder's output to labels. "plain loop" is the search as
it is often written, an utterance at a time: hypotheses in a dictionary, `torch.topk` over all of
them, a joiner call for all hypotheses of the frame, and a predictor call for all as well. It merges
equal label sequences after the best were chosen, ours before, so that results may differ; `same`
is the share of utterances in which they do not. torchaudio's `RNNTBeamSearch` is measured where
it is installed, with at most one label a frame too, which then still asks for the blank after it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wfst_entropy import ModifiedBeamSearch, TransducerGreedySearch

Decode = Callable[[Tensor], list[list[int]]]  # (N, T, D) to the labels of each utterance
BLANK, CONTEXT = 0, 2


class Model(nn.Module):
    """A transducer with a stateless predictor, as `wfst_entropy.Transducer` asks for."""

    context_size = CONTEXT

    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.ModuleList(nn.Embedding(symbols, width) for _ in range(CONTEXT))
        self.encoder_proj = nn.Linear(width, width)
        self.decoder_proj = nn.Linear(width, width)
        self.output = nn.Linear(width, symbols)

    def project_encoder(self, encoder_out: Tensor) -> Tensor:
        projected: Tensor = self.encoder_proj(encoder_out)
        return projected

    def contexts(self, tokens: Tensor) -> Tensor:
        parts = [embed(column) for embed, column in zip(self.embedding, tokens.T)]
        projected: Tensor = self.decoder_proj(torch.stack(parts).sum(0).relu())
        return projected

    def start(self, n: int) -> tuple[Tensor, list[Tensor]]:
        blanks = torch.zeros(n, CONTEXT, dtype=torch.int64)
        return self.contexts(blanks), [blanks]

    def step(self, tokens: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        context = torch.cat([state[0][:, 1:], tokens[:, None]], dim=1)
        return self.contexts(context), [context]

    def join(self, am: Tensor, lm: Tensor) -> Tensor:
        log_probs: Tensor = self.output(torch.tanh(am + lm)).log_softmax(-1)
        return log_probs


def problem(symbols: int, width: int, utterances: int, frames: int) -> tuple[Model, Tensor]:
    """A model, and the encoder's output (N, T, D) of some utterances."""
    torch.manual_seed(0)
    model = Model(symbols, width).eval().requires_grad_(False)
    encoder_out = 2 * torch.randn(utterances, frames, width)
    model.output.weight *= 12.0
    lm, _ = model.start(1)
    scores = model.output(torch.tanh(model.project_encoder(encoder_out[:4]) + lm))
    margins = scores[..., 1:].amax(-1) - scores[..., 0]
    model.output.bias[BLANK] += margins.flatten().quantile(0.8)
    return model, encoder_out


def whole(search: Any) -> Decode:
    """A search of this package on whole utterances of equal length."""

    def decode(encoder_out: Tensor) -> list[list[int]]:
        lengths = torch.full((len(encoder_out),), encoder_out.shape[1])
        states = search.advance(encoder_out, lengths, [search.start()] * len(encoder_out))
        return [found.tokens for found in search.results(states)]

    return decode


def plain_greedy(model: Model) -> Decode:
    @torch.inference_mode()
    def decode_one(frames: Tensor) -> list[int]:
        tokens: list[int] = []
        context = [BLANK] * CONTEXT
        lm = model.contexts(torch.tensor([context]))
        for am in model.project_encoder(frames[None])[0]:
            symbol = int(model.join(am[None], lm).argmax())
            if symbol != BLANK:
                tokens.append(symbol)
                context = [*context[1:], symbol]
                lm = model.contexts(torch.tensor([context]))
        return tokens

    return lambda encoder_out: [decode_one(frames) for frames in encoder_out]


def plain_beam(model: Model, beam_size: int) -> Decode:
    @torch.inference_mode()
    def decode_one(frames: Tensor) -> list[int]:
        beam: dict[tuple[int, ...], float] = {(BLANK,) * CONTEXT: 0.0}
        for am in model.project_encoder(frames[None])[0]:
            hypotheses, scores = list(beam), torch.tensor(list(beam.values()))
            lm = model.contexts(torch.tensor([h[-CONTEXT:] for h in hypotheses]))
            log_probs = model.join(am.expand_as(lm), lm) + scores[:, None]
            best, places = log_probs.flatten().topk(beam_size)
            beam = {}
            for score, place in zip(best.tolist(), places.tolist()):
                row, symbol = divmod(place, log_probs.shape[1])
                grown = hypotheses[row] if symbol == BLANK else (*hypotheses[row], symbol)
                old = beam.get(grown, -math.inf)
                larger, smaller = max(old, score), min(old, score)
                beam[grown] = larger + math.log1p(math.exp(smaller - larger))
        return list(max(beam, key=lambda h: beam[h])[CONTEXT:])

    return lambda encoder_out: [decode_one(frames) for frames in encoder_out]


class LastIsBlank(nn.Module):
    """The model as torchaudio wants it: blank is the last symbol, shapes have more axes."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def transcribe(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.project_encoder(frames), lengths

    def predict(self, tokens: Tensor, lengths: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]:
        if state is None:
            state = [[torch.zeros(len(tokens), CONTEXT, dtype=torch.int64)]]
        own = (tokens + 1) % self.model.output.out_features
        context = torch.cat([state[0][0][:, 1:], own], dim=1)
        return self.model.contexts(context)[:, None], lengths, [[context]]

    def join(self, am: Tensor, am_lengths: Tensor, lm: Tensor, lm_lengths: Tensor) -> Any:
        logits = self.model.output(torch.tanh(am[:, :, None] + lm[:, None]))
        return logits.roll(-1, dims=3), am_lengths, lm_lengths


def torchaudio_beam(model: Model, beam_size: int) -> Decode:
    package = importlib.import_module("torchaudio.models")
    blank = model.output.out_features - 1
    search = package.RNNTBeamSearch(
        LastIsBlank(model), blank, hypo_sort_key=lambda found: found[3], step_max_tokens=1
    )

    @torch.inference_mode()
    def decode_one(frames: Tensor) -> list[int]:
        best = search(frames, torch.tensor([len(frames)]), beam_size)[0]
        return [token + 1 for token in best[0][1:]]

    return lambda encoder_out: [decode_one(frames) for frames in encoder_out]


class Measured(NamedTuple):
    seconds: list[float]  # of each repeat
    found: list[list[int]]


def measure(decoders: dict[str, Decode], frames: Tensor, repeats: int) -> dict[str, Measured]:
    """Decoders take turns, and slow ones run once."""
    rows = {name: Measured([], []) for name in decoders}
    for _ in range(repeats):
        for name, decode in decoders.items():
            seconds, found = rows[name]
            if seconds and seconds[0] > 2:
                continue
            started = time.process_time()
            found[:] = decode(frames)
            seconds.append(time.process_time() - started)
    return rows


def decoders_of(model: Model, beam_size: int) -> dict[str, Decode]:
    """Ours first, then the plain loop, then what is installed; a beam of 0 is greedy search."""
    if beam_size == 0:
        return {
            "wfst_entropy": whole(TransducerGreedySearch(model)),
            "plain loop": plain_greedy(model),
        }
    decoders = {
        "wfst_entropy": whole(ModifiedBeamSearch(model, beam_size)),
        "plain loop": plain_beam(model, beam_size),
    }
    with contextlib.suppress(ImportError):  # main says so
        decoders["torchaudio"] = torchaudio_beam(model, beam_size)
    return decoders


def main() -> None:
    parser = argparse.ArgumentParser(description="Searches of a transducer against the plain loop.")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--beams", type=int, nargs="+", default=[0, 4, 8], help="0: greedy")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, encoder_out = problem(args.symbols, args.width, max(args.batches), args.frames)
    labels = whole(TransducerGreedySearch(model))(encoder_out)
    share = sum(map(len, labels)) / (len(labels) * args.frames)
    print(f"{args.frames} frames an utterance, {args.symbols} symbols, width {args.width};")
    print(f"greedy search finds {share:.2f} labels a frame; torchaudio: {_torchaudio()}")
    for beam_size in args.beams:
        decoders = decoders_of(model, beam_size)
        print(f"\n{'beam ' + str(beam_size) if beam_size else 'greedy':16}", end="")
        print(f"{'batch':>6}{'frames/s':>12}{'ratio':>8}{'same':>8}")
        for batch in args.batches:
            rows = measure(decoders, encoder_out[:batch], args.repeats)
            own = rows["wfst_entropy"]
            for name, (seconds, found) in rows.items():
                rate = batch * args.frames / min(seconds)
                same = sum(a == b for a, b in zip(found, own.found)) / batch
                ratio = min(seconds) / min(own.seconds)
                print(f"{name:16}{batch:6}{rate:12.0f}{ratio:8.1f}{same:8.2f}")


def _torchaudio() -> str:
    try:
        return str(importlib.import_module("torchaudio").__version__)
    except ImportError as error:
        return f"not here ({error})"


if __name__ == "__main__":
    main()
