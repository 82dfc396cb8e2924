"""Forced alignment by a transducer against enumeration of every alignment, and its edge cases."""

from __future__ import annotations

import math

import pytest
import torch

from wfst_entropy.decoding import transducer_forced_align
from wfst_entropy.decoding.alignment import word_spans
from wfst_entropy.decoding.errors import DecodingError
from wfst_entropy.fsa.errors import FsaError


def alignments(log_probs, text, rnnt_type):
    """Each alignment: the frame of each token, and its probability."""
    num_frames = log_probs.shape[0]
    found = []

    def walk(t, u, frames, score, emitted):
        if t == num_frames:
            if u == len(text):
                found.append((frames, math.exp(score)))
            return
        blank = score + float(log_probs[t, u, 0])
        walk(t + 1, u, frames, blank, False)
        if u < len(text) and not emitted:
            label = score + float(log_probs[t, u, text[u]])
            if rnnt_type == "modified":
                walk(t + 1, u + 1, (*frames, t), label, False)
            else:
                walk(t, u + 1, (*frames, t), label, rnnt_type == "constrained")

    walk(0, 0, (), 0.0, False)
    return found


def logits_of(num_utts, num_frames, width, num_symbols=4):
    generator = torch.Generator().manual_seed(num_frames)
    shape = (num_utts, num_frames, width, num_symbols)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


def entropy(masses):
    return -sum(p * math.log(p) for p in masses if p > 0)


@pytest.mark.parametrize("rnnt_type", ["regular", "modified", "constrained"])
def test_it_is_the_best_of_all_alignments_and_posteriors_are_shares(rnnt_type):
    texts, lengths = [[1, 2, 1], [], [3, 3], [2, 2, 2]], [5, 3, 4, 2]
    logits = logits_of(4, 5, 4)
    targets = torch.tensor([token for text in texts for token in text])
    sizes = torch.tensor([len(text) for text in texts])
    found = transducer_forced_align(
        logits, targets, torch.tensor(lengths), sizes, rnnt_type=rnnt_type
    )
    for utt, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        log_probs = logits[utt].log_softmax(-1)
        every = alignments(log_probs[:length], text, rnnt_type)
        result = found[utt]
        assert result.valid == bool(every)
        if not every:
            assert result[1:] == (-math.inf, [], [], [], 0.0)
            continue
        total = sum(p for _, p in every)
        frames, best = max(every, key=lambda one: one[1])
        assert result.score == pytest.approx(math.log(best))
        assert [s.token for s in result.spans] == text
        assert [s.start_frame for s in result.spans] == list(frames)
        assert all(s.end_frame == s.start_frame + 1 for s in result.spans)
        assert result.entropy == pytest.approx(entropy([p / total for _, p in every]), abs=1e-9)
        for u, span in enumerate(result.spans):
            shares = [0.0] * length
            for places, p in every:
                shares[places[u]] += p / total
            assert span.score == pytest.approx(float(log_probs[frames[u], u, text[u]]))
            assert span.entropy == pytest.approx(entropy(shares), abs=1e-9)
            assert result.posteriors[u] == pytest.approx(shares[frames[u]])
            mean = sum(t * share for t, share in enumerate(shares))
            assert result.expected_frames[u] == pytest.approx(mean)
    assert [r.valid for r in found] == [True, True, True, rnnt_type == "regular"]


def test_padding_and_batch_do_not_matter_and_words_get_times():
    logits, two = logits_of(2, 6, 3), torch.tensor([2, 2])
    targets = torch.tensor([[1, 2], [3, 1]])
    both = transducer_forced_align(logits, targets, torch.tensor([4, 6]), two)
    alone = transducer_forced_align(logits[:1, :4], targets[:1], torch.tensor([4]), two[:1])
    assert both[:1] == alone
    padded = logits.clone()
    padded[0, 4:] = math.nan
    assert transducer_forced_align(padded, targets, torch.tensor([4, 6]), two) == both
    (word,) = word_spans(both[0].spans, [0, 0], frame_shift=0.5)
    assert word.start == 0.5 * both[0].spans[0].start_frame


def test_no_utterances_and_no_frames():
    empty = torch.zeros(0, dtype=torch.int64)
    assert transducer_forced_align(torch.zeros(0, 3, 2, 4), empty, empty, empty) == []
    (none,) = transducer_forced_align(
        torch.zeros(1, 0, 2, 4), torch.tensor([[1]]), torch.tensor([0]), torch.tensor([1])
    )
    assert not none.valid


def test_what_cannot_be_read_is_refused():
    logits, one = logits_of(1, 3, 2), torch.tensor([1])
    with pytest.raises(DecodingError, match="transducer_forced_align: concatenated targets"):
        transducer_forced_align(logits, torch.tensor([1, 2]), torch.tensor([3]), one)
    with pytest.raises(FsaError, match="has the symbol 4"):
        transducer_forced_align(logits, torch.tensor([4]), torch.tensor([3]), one)
    logits[0, 1, 0, 1] = math.nan
    with pytest.raises(FsaError, match="utterance 0, frame 1, after 0 labels"):
        transducer_forced_align(logits, one, torch.tensor([3]), one)
