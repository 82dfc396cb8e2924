"""Forced alignment against enumeration of every alignment, and its edge cases."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch

from wfst_entropy.decoding.alignment import TokenSpan, forced_align, word_spans
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa.errors import FsaError


def collapse(path):
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != 0]


def alignments(log_probs, text):
    """All frame labellings of a text with their log-weights."""
    num_frames, num_symbols = log_probs.shape
    return [
        (path, sum(log_probs[t, c].item() for t, c in enumerate(path)))
        for path in itertools.product(range(num_symbols), repeat=num_frames)
        if collapse(path) == text
    ]


def spans_of(path):
    """(token, start, end) of each run of a symbol other than blank."""
    found, frame = [], 0
    for symbol, run in itertools.groupby(path):
        size = len(list(run))
        if symbol != 0:
            found.append((symbol, frame, frame + size))
        frame += size
    return found


def positions(path):
    """State of each frame: 2 k for the blank before token k, 2 k + 1 for token k."""
    states, last, count = [], 0, 0
    for symbol in path:
        count += symbol not in (0, last)
        states.append(2 * count if symbol == 0 else 2 * count - 1)
        last = symbol
    return states


def entropy(masses):
    return -sum(p * math.log(p) for p in masses if p > 0)


def align(log_probs, texts, lengths):
    targets = torch.tensor([token for text in texts for token in text], dtype=torch.int64)
    sizes = torch.tensor([len(text) for text in texts], dtype=torch.int64)
    return forced_align(log_probs, targets, torch.tensor(lengths, dtype=torch.int64), sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", [[], [1], [1, 2], [1, 1], [2, 1, 2]])
def test_against_enumeration(text, dtype):
    generator = torch.Generator().manual_seed(len(text))
    log_probs = (2 * torch.randn(1, 6, 3, generator=generator)).log_softmax(-1).to(dtype)
    (found,) = align(log_probs, [text], [6])
    every = alignments(log_probs[0], text)
    best, score = max(every, key=lambda item: item[1])
    assert found.valid
    assert found.score == pytest.approx(score, rel=1e-6)
    assert tuple(found.symbols) == best
    assert [s[:3] for s in found.spans] == spans_of(best)
    for span in found.spans:
        frames = log_probs[0, span.start_frame : span.end_frame, span.token]
        assert span.score == pytest.approx(frames.mean().item(), rel=1e-5)
        within = found.state_entropy[span.start_frame : span.end_frame]
        assert span.entropy == pytest.approx(within.mean().item())

    total = torch.tensor([w for _, w in every], dtype=torch.float64).logsumexp(0).item()
    posteriors = [math.exp(w - total) for _, w in every]
    assert found.local_entropy.sum().item() == pytest.approx(entropy(posteriors), abs=1e-6)
    for frame in range(6):
        masses = defaultdict(float)
        for (path, _), p in zip(every, posteriors, strict=True):
            masses[positions(path)[frame]] += p
        expected = entropy(masses.values())
        assert found.state_entropy[frame].item() == pytest.approx(expected, abs=1e-6)


def test_neighbours_and_padding_change_nothing():
    generator = torch.Generator().manual_seed(3)
    log_probs = torch.randn(4, 9, 5, generator=generator).log_softmax(-1)
    texts, lengths = [[1, 2, 3], [4, 4], [], [1]], [9, 5, 3, 1]
    poisoned = log_probs.clone()
    for row, length in enumerate(lengths):
        poisoned[row, length:] = float("nan")
    batch = align(poisoned, texts, lengths)
    padded = torch.zeros(4, 3, dtype=torch.int64)
    for row, text in enumerate(texts):
        padded[row, : len(text)] = torch.tensor(text)
    again = forced_align(poisoned, padded, torch.tensor(lengths), torch.tensor([3, 2, 0, 1]))
    for row in range(4):
        (alone,) = align(log_probs[row : row + 1, : lengths[row]], [texts[row]], [lengths[row]])
        for found in (batch[row], again[row]):
            assert found.symbols == alone.symbols
            assert found.spans == alone.spans
            torch.testing.assert_close(found.local_entropy, alone.local_entropy)


def test_an_impossible_text_is_marked_and_harms_nobody():
    log_probs = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    log_probs[3, :, 1] = -torch.inf
    # the repeat needs three frames and has two; no frames at all; no mass on token 1
    found = align(log_probs, [[1, 1], [1, 2], [2], [1]], [2, 3, 0, 3])
    assert [f.valid for f in found] == [False, True, False, False]
    assert [f.spans for f in found if not f.valid] == [[], [], []]
    assert found[0].score == -math.inf
    assert found[1].symbols == align(log_probs[1:2], [[1, 2]], [3])[0].symbols


def test_an_empty_batch():
    assert align(torch.zeros(0, 5, 3), [], []) == []


def test_errors():
    log_probs = torch.zeros(1, 3, 3)
    one = torch.tensor([1])
    with pytest.raises(DecodingError, match=r"sum\(target_lengths\) = 1 entries, got shape \(2,\)"):
        forced_align(log_probs, torch.tensor([1, 2]), torch.tensor([3]), one)
    with pytest.raises(DecodingError, match=r"targets \(1, 1\) cannot hold target_lengths \[2\]"):
        forced_align(log_probs, torch.tensor([[1]]), torch.tensor([3]), torch.tensor([2]))
    for lengths in (torch.tensor([-1]), torch.tensor([0.5])):
        with pytest.raises(DecodingError, match="target_lengths must be integers of at least 0"):
            forced_align(log_probs, torch.tensor([[1, 2]]), torch.tensor([3]), lengths)
    log_probs[0, 1, 1] = float("nan")
    with pytest.raises(FsaError, match=r"(?i)nan"):
        forced_align(log_probs, one[None], torch.tensor([3]), one)


SPANS = [
    TokenSpan(5, 0, 2, -1.0, 0.5),
    TokenSpan(6, 2, 3, -4.0, 0.2),
    TokenSpan(7, 4, 5, -2.0, 0.0),
    TokenSpan(8, 8, 9, -2.0, 0.0),
]


def test_word_spans():
    words = word_spans(SPANS, [0, 0, None, 1], frame_shift=0.01, subsampling_factor=4)
    assert [(w.start, w.end) for w in words] == [(0.0, 0.12), (0.32, 0.36)]
    assert words[0].score == pytest.approx(-2.0)
    assert words[0].entropy == pytest.approx(0.4)


@pytest.mark.parametrize("numbers", [[1, 1, 1, 1], [0, 2, 2, 2], [0, 1, 0, 1]])
def test_word_numbers_must_count_up(numbers):
    with pytest.raises(DecodingError, match="must count words 0, 1, 2"):
        word_spans(SPANS, numbers, frame_shift=0.01)


def test_word_numbers_must_be_as_many_as_tokens():
    with pytest.raises(DecodingError, match=r"4 tokens need as many entries .* got 1"):
        word_spans(SPANS, [0], frame_shift=0.01)


def test_works_in_inference_mode():
    log_probs = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(5)).log_softmax(-1)
    (expected,) = align(log_probs, [[1, 2]], [6])
    with torch.inference_mode():
        (found,) = align(log_probs.clone(), [[1, 2]], [6])
    assert found.spans == expected.spans


def test_equally_good_paths_give_one_of_them():
    (found,) = align(torch.zeros(1, 4, 3), [[1, 2]], [4])
    assert found.valid and collapse(found.symbols) == [1, 2]
    assert [s[:3] for s in found.spans] == spans_of(found.symbols)
