"""Frame scores: nothing is copied, and a bad segment is named."""

from __future__ import annotations

import pytest
import torch

from wfst_entropy.fsa import DenseFsaVec, FsaIndexError, FsaTypeError, FsaValueError


def log_probs(n=3, t=6, c=4):
    return torch.randn(n, t, c, generator=torch.Generator().manual_seed(0))


def test_segments_are_views_of_the_scores():
    scores = log_probs().requires_grad_()
    segments = torch.tensor([[2, 1, 4], [0, 0, 6], [2, 0, 0]], dtype=torch.int32)
    dense = DenseFsaVec(scores, segments)
    assert dense.scores is scores
    assert (dense.num_seqs, len(dense), dense.vocab_size) == (3, 3, 4)
    for values, expected in (
        (dense.utterances, [2, 0, 2]),
        (dense.start_frames, [1, 0, 0]),
        (dense.lengths, [4, 6, 0]),
    ):
        assert values.dtype == torch.int64 and values.tolist() == expected
    assert dense[0].data_ptr() == scores[2, 1].data_ptr()
    assert torch.equal(dense[0], scores[2, 1:5])
    assert [part.shape[0] for part in dense] == [4, 6, 0]
    dense[0].sum().backward()
    assert scores.grad.sum() == 16 and scores.grad[0].sum() == 0


def test_from_lengths_equals_whole_segments():
    scores = log_probs()
    lengths = torch.tensor([6, 2, 0], dtype=torch.int32)
    dense = DenseFsaVec.from_lengths(scores, lengths)
    assert dense.scores is scores
    assert dense.lengths.tolist() == [6, 2, 0]
    assert dense.utterances.tolist() == [0, 1, 2] and dense.start_frames.tolist() == [0, 0, 0]


def test_truncation():
    scores = log_probs()
    segments = torch.tensor([[0, 2, 6]])
    with pytest.raises(FsaValueError, match=r"segment 0 \(utterance 0, start frame 2, 6 frames\)"):
        DenseFsaVec(scores, segments, allow_truncate=1)
    assert DenseFsaVec(scores, segments, allow_truncate=2).lengths.tolist() == [4]
    beyond = DenseFsaVec(scores, torch.tensor([[0, 7, 1]]), allow_truncate=2)
    assert beyond.start_frames.tolist() == [6]
    assert beyond.lengths.tolist() == [0] and beyond[0].shape == (0, 4)


def test_to_detach_and_new_scores():
    scores = log_probs().requires_grad_()
    dense = DenseFsaVec(scores, torch.tensor([[0, 2, 6]]), allow_truncate=2)
    assert dense.to(torch.float64).dtype == torch.float64
    assert dense.to(torch.float64).lengths.tolist() == [4]
    assert not dense.detach().scores.requires_grad
    assert dense.with_scores(scores * 2).scores.requires_grad
    with pytest.raises(FsaValueError, match=r"log_probs: must have shape \(3, 6, 4\)"):
        dense.with_scores(scores[:1])


def test_some_of_the_sequences():
    scores = log_probs().requires_grad_()
    dense = DenseFsaVec(scores, torch.tensor([[0, 2, 6], [2, 0, 5]]), allow_truncate=2)
    some = dense.index_select(torch.tensor([1, 0, 1]))
    assert some.scores is scores and some.dim0() == 3
    assert some.duration.tolist() == [5, 4, 5] and some.utterances.tolist() == [2, 0, 2]
    with pytest.raises(FsaIndexError, match=r"sequences\[1\] = 2: there are 2 sequences"):
        dense.index_select(torch.tensor([0, 2]))


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([[0, 0, 6], [3, 0, 1]], r"segment 1 \(utterance 3, .*utterance must be from 0 to 2"),
        ([[-1, 0, 6]], r"segment 0 \(utterance -1"),
        ([[1, -1, 6]], r"utterance 1, .*start frame must not be negative"),
        ([[1, 0, -2]], r"utterance 1, .*-2 frames\): number of frames must not be negative"),
        ([[1, 0, 7]], r"utterance 1, .*7 frames\).*frame 6 .*those after subsampling\?"),
        ([[1, 0]], r"must have shape \(S, 3\)"),
    ],
)
def test_a_bad_segment_is_named(segments, message):
    with pytest.raises(FsaValueError, match=message):
        DenseFsaVec(log_probs(), torch.tensor(segments))


def test_a_bad_length_names_its_utterance():
    with pytest.raises(FsaValueError, match=r"utterance 2, .*9 frames"):
        DenseFsaVec.from_lengths(log_probs(), torch.tensor([6, 6, 9]))
    with pytest.raises(FsaValueError, match=r"lengths: must have shape \(3,\).*got \(2,\)"):
        DenseFsaVec.from_lengths(log_probs(), torch.tensor([6, 6]))
    with pytest.raises(FsaTypeError, match=r"lengths: must be an integer tensor"):
        DenseFsaVec.from_lengths(log_probs(), torch.tensor([6.0, 6.0, 6.0]))


def test_indexing():
    dense = DenseFsaVec.from_lengths(log_probs(), torch.tensor([6, 5, 4]))
    assert dense[-1].shape == (4, 4)
    with pytest.raises(FsaIndexError, match=r"dense\[3\]: there are 3 sequences"):
        dense[3]


def test_bad_scores():
    segments = torch.tensor([[0, 0, 1]])
    with pytest.raises(FsaTypeError, match=r"log_probs: must be .*float16; .*log_probs.float\(\)"):
        DenseFsaVec(log_probs().half(), segments)
    with pytest.raises(FsaValueError, match=r"log_probs: must be \(N, T, C\), got \(6, 4\)"):
        DenseFsaVec(log_probs()[0], segments)
    with pytest.raises(FsaTypeError, match=r"supervision_segments: must be an integer tensor"):
        DenseFsaVec(log_probs(), segments.float())
