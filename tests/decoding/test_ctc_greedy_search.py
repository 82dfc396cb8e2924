"""Greedy search against a plain loop, and invariance to batching and padding."""

from __future__ import annotations

import itertools

import pytest
import torch

from wfst_entropy.decoding.ctc_greedy_search import ctc_greedy_search
from wfst_entropy.decoding.errors import DecodingError


def plain_loop(log_probs, blank=0):
    """One utterance, textbook style."""
    path = log_probs.argmax(-1).tolist()
    found, frame = [], 0
    for symbol, run in itertools.groupby(path):
        size = len(list(run))
        if symbol != blank:
            mean = log_probs[frame : frame + size, symbol].mean().item()
            found.append((symbol, frame, frame + size, mean))
        frame += size
    return found


def rows(hyp):
    return list(zip(*hyp, strict=True))


@pytest.mark.parametrize("blank", [0, 2])
def test_against_a_plain_loop(blank):
    generator = torch.Generator().manual_seed(1)
    log_probs = torch.randn(20, 15, 3, generator=generator, dtype=torch.float64).log_softmax(-1)
    lengths = torch.randint(0, 16, (20,), generator=generator)
    lengths[:2] = torch.tensor([0, 15])
    found = ctc_greedy_search(log_probs, lengths, blank=blank)
    for utt in range(20):
        expected = plain_loop(log_probs[utt, : lengths[utt]], blank)
        assert [r[:3] for r in rows(found[utt])] == [r[:3] for r in expected]
        torch.testing.assert_close(
            torch.tensor(found[utt].log_probs), torch.tensor([r[3] for r in expected])
        )


def test_frames_beyond_the_length_are_not_read():
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    poisoned = log_probs.clone()
    poisoned[0, 3:] = float("nan")
    lengths = torch.tensor([3, 6])
    assert ctc_greedy_search(poisoned, lengths) == ctc_greedy_search(log_probs, lengths)
    alone = ctc_greedy_search(log_probs[:1, :3], torch.tensor([3]))
    assert rows(alone[0]) == rows(ctc_greedy_search(log_probs, lengths)[0])


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_empty_batches(shape):
    hyps = ctc_greedy_search(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64))
    assert [h.tokens for h in hyps] == [[]] * shape[0]


def test_errors_name_utterance_and_frame():
    log_probs = torch.zeros(2, 4, 3)
    with pytest.raises(DecodingError, match="length of utterance 1 is 5, but log_probs has 4"):
        ctc_greedy_search(log_probs, torch.tensor([4, 5]))
    with pytest.raises(DecodingError, match=r"\(N, T, C\) and lengths \(N,\), got \(4, 3\)"):
        ctc_greedy_search(log_probs[0], torch.tensor([4]))
    with pytest.raises(DecodingError, match=r"lengths must be integers, got torch\.float32"):
        ctc_greedy_search(log_probs, torch.tensor([4.0, 4.0]))
    log_probs[1, 2, 0] = float("nan")
    with pytest.raises(DecodingError, match="utterance 1 has NaN at frame 2"):
        ctc_greedy_search(log_probs, torch.tensor([4, 4]))
