"""CTC prefix beam search without a language model: time, and how good what is found is.

    python benchmarks/prefix_search.py
    python benchmarks/prefix_search.py --utterances 2 --frames 300 --symbols 5000 --beams 16

The log-probs are made from a seed: token sequences with an alignment each, whose symbol gets a
large score in its frames, and others in some of them, so that sums over alignments and several
hypotheses matter. All decoders run in one process on one thread and take turns; the best of the
repeats counts. Each has the same number of hypotheses in its beam, and its own defaults for other
pruning. What is found is judged by one measure, the log-probability of the best hypothesis summed
over all its alignments (`-torch.nn.functional.ctc_loss` in float64), as a mean over utterances; the
larger the better.

Peers where installed: `pip install flashlight-text pyctcdecode fast-ctc-decode`. flashlight-text is
what torchaudio's `ctc_decoder` wraps; its lexicon-free search keeps prefixes that end with a blank
and with a token apart, so that its beam holds fewer sequences.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wfst_entropy import ctc_greedy_search, ctc_prefix_beam_search

Decode = Callable[[Tensor], list[int]]
BLANK = 0


def frame_scores(utterances: int, frames: int, symbols: int) -> Tensor:
    """(N, T, C) float32 log-probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(utterances, frames, symbols, generator=generator)
    tokens = torch.randint(1, symbols, (utterances, frames // 6 + 1), generator=generator)
    starts = torch.arange(0, frames, 6)
    for utterance, start in itertools.product(range(utterances), starts.tolist()):
        token = int(tokens[utterance, start // 6])
        logits[utterance, start : start + 6, BLANK] += 9
        peak = start + int(torch.randint(0, 5, (), generator=generator))
        sure = float(torch.rand((), generator=generator))
        rival = int(torch.randint(1, symbols, (), generator=generator))
        logits[utterance, peak : peak + 2, token] += 8 + 4 * sure
        logits[utterance, peak : peak + 2, rival] += 9
    return logits.log_softmax(-1)


def ours(beam_size: int, symbols: int) -> Decode:
    def decode(log_probs: Tensor) -> list[int]:
        lengths = torch.tensor([log_probs.shape[0]])
        results = ctc_prefix_beam_search(log_probs[None], lengths, beam_size=beam_size)
        return results[0].hypotheses[0].tokens

    return decode


def plain_python(beam_size: int, symbols: int) -> Decode:
    """Hannun's algorithm with dictionaries and numpy; the 30 best symbols of a frame."""

    def decode(log_probs: Tensor) -> list[int]:
        beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
        for row in log_probs.double().numpy():
            new: dict[tuple[int, ...], tuple[float, float]] = {}

            def add(prefix: tuple[int, ...], blank: float, token: float, new: Any = new) -> None:
                old = new.get(prefix, (-np.inf, -np.inf))
                new[prefix] = (np.logaddexp(old[0], blank), np.logaddexp(old[1], token))

            best = [int(c) for c in np.argsort(-row)[:30] if c != BLANK]
            for prefix, (blank, token) in beam.items():
                total = np.logaddexp(blank, token)
                add(prefix, total + row[BLANK], token + row[prefix[-1]] if prefix else -np.inf)
                for c in best:
                    again = bool(prefix) and prefix[-1] == c
                    add((*prefix, c), -np.inf, (blank if again else total) + row[c])
            ranked = sorted(new.items(), key=lambda item: -np.logaddexp(*item[1]))
            beam = dict(ranked[:beam_size])
        return list(next(iter(beam)))

    return decode


def flashlight(beam_size: int, symbols: int) -> Decode:
    text = importlib.import_module("flashlight.lib.text.decoder")
    options = text.LexiconFreeDecoderOptions(
        beam_size=beam_size,
        beam_size_token=symbols,
        beam_threshold=20.0,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=text.CriterionType.CTC,
    )
    # a symbol that does not exist is "silence"
    decoder = text.LexiconFreeDecoder(options, text.ZeroLM(), symbols, BLANK, [])

    def decode(log_probs: Tensor) -> list[int]:
        found = decoder.decode(log_probs.data_ptr(), *log_probs.shape)
        path = [c for c, _ in itertools.groupby(found[0].tokens)]
        return [c for c in path if c not in (BLANK, symbols)]

    return decode


def letters(symbols: int) -> list[str]:
    """A letter for each token; the first is the blank's."""
    return ["", *(chr(0x4E00 + i) for i in range(1, symbols))]


def pyctcdecode(beam_size: int, symbols: int) -> Decode:
    package = importlib.import_module("pyctcdecode")
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    decoder = package.build_ctcdecoder(letters(symbols))

    def decode(log_probs: Tensor) -> list[int]:
        text = decoder.decode(log_probs.numpy(), beam_width=beam_size)
        return [ord(letter) - 0x4E00 for letter in text if letter != " "]

    return decode


def fast_ctc_decode(beam_size: int, symbols: int) -> Decode:
    package = importlib.import_module("fast_ctc_decode")
    alphabet = ["-", *letters(symbols)[1:]]
    cut = min(1e-3, 0.5 / symbols)  # the others' searches have cuts of their own; nats of 7 and up

    def decode(log_probs: Tensor) -> list[int]:
        text, _ = package.beam_search(
            log_probs.exp().numpy(), alphabet, beam_size=beam_size, beam_cut_threshold=cut
        )
        return [ord(letter) - 0x4E00 for letter in text]

    return decode


def greedy(beam_size: int, symbols: int) -> Decode:
    def decode(log_probs: Tensor) -> list[int]:
        return ctc_greedy_search(log_probs[None], torch.tensor([log_probs.shape[0]]))[0].tokens

    return decode


ROWS = {
    "wfst_entropy, greedy": greedy,
    "wfst_entropy, prefix": ours,
    "plain Python": plain_python,
    "flashlight-text": flashlight,
    "pyctcdecode": pyctcdecode,
    "fast_ctc_decode": fast_ctc_decode,
}


def log_probability(log_probs: Tensor, tokens: list[int]) -> float:
    """Of a token sequence, over all its alignments."""
    loss = torch.nn.functional.ctc_loss(
        log_probs.double(),
        torch.tensor(tokens, dtype=torch.int64),
        torch.tensor(log_probs.shape[0]),
        torch.tensor(len(tokens)),
        reduction="sum",
    )
    return -float(loss)


class Measured(NamedTuple):
    seconds: list[float]  # of each repeat
    found: list[list[int]]


def measure(decoders: dict[str, Decode], scores: Tensor, repeats: int) -> dict[str, Measured]:
    """Decoders take turns, and slow ones run once."""
    rows = {name: Measured([], []) for name in decoders}
    for _ in range(repeats):
        for name, decode in decoders.items():
            seconds, found = rows[name]
            if seconds and seconds[0] > 2:
                continue
            started = time.process_time()
            found[:] = [decode(utterance) for utterance in scores]
            seconds.append(time.process_time() - started)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="CTC prefix beam search against its peers.")
    parser.add_argument("--utterances", type=int, default=4)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--beams", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scores = frame_scores(args.utterances, args.frames, args.symbols)
    print(f"{args.utterances} utterances of {args.frames} frames, {args.symbols} symbols")
    for beam_size in args.beams:
        decoders: dict[str, Decode] = {}
        for name, make in ROWS.items():
            try:
                decoders[name] = make(beam_size, args.symbols)
            except ImportError as error:
                print(f"{name}: not here: {error}")
        rows = measure(decoders, scores, args.repeats)
        own = min(rows["wfst_entropy, prefix"].seconds)
        print(f"\n{'beam ' + str(beam_size):24}{'ms/utterance':>14}{'ratio':>9}{'log-prob':>12}")
        for name, (seconds, found) in rows.items():
            quality = [log_probability(u, y) for u, y in zip(scores, found)]
            print(
                f"{name:24}{1e3 * min(seconds) / len(scores):14.2f}{min(seconds) / own:9.1f}"
                f"{sum(quality) / len(quality):12.3f}"
            )


if __name__ == "__main__":
    main()
