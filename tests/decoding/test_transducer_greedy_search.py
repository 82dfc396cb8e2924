"""Greedy search of transducers against the plain loop, and what may not change its result."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_transducer import TableTransducer, frames_of, log_prob_table

from wfst_entropy.decoding import TransducerGreedySearch, greedy_search
from wfst_entropy.decoding.errors import DecodingError


def plain(model, frames, max_sym_per_frame):
    """One stream, one question at a time: tokens, frames, log-probs, score."""
    tokens, places, log_probs, score = [], [], [], 0.0
    for t, frame in enumerate(frames):
        for _ in range(max_sym_per_frame):
            scores = log_prob_table(model, frame, tuple(tokens))
            best = int(scores.argmax())
            score += float(scores[best])
            if best == 0:
                break
            tokens.append(best)
            places.append(t)
            log_probs.append(float(scores[best]))
    return tokens, places, log_probs, score


@pytest.mark.parametrize("context_size", [1, 2, None])
@pytest.mark.parametrize("max_sym_per_frame", [1, 3])
def test_it_finds_what_the_plain_loop_finds(context_size, max_sym_per_frame):
    model = TableTransducer(5, context_size)
    frames = frames_of(4, 12, 5)
    lengths = torch.tensor([7, 12, 0, 12])
    found = greedy_search(model, frames, lengths, max_sym_per_frame=max_sym_per_frame)
    for row, length in enumerate(lengths.tolist()):
        expected = plain(model, frames[row, :length], max_sym_per_frame)
        assert found[row][:3] == expected[:3]
        assert found[row].score == pytest.approx(expected[3])
    assert any(len(set(h.frames)) < len(h.frames) for h in found) == (max_sym_per_frame > 1)
    assert (found[2].tokens, found[2].score, found[2].posterior) == ([], 0.0, 1.0)


def test_a_blank_penalty_changes_what_is_found_and_how_sure():
    model, frames = TableTransducer(4, sharpness=0.0), torch.zeros(1, 1, 4)
    frames[0, 0] = torch.tensor([0.5, 0.3, 0.1, 0.1]).log()
    one = torch.tensor([1])
    assert greedy_search(model, frames, one)[0].tokens == []
    (found,) = greedy_search(model, frames, one, blank_penalty=math.log(2))
    assert found.tokens == [1]
    assert found.log_probs == pytest.approx([math.log(0.3 / 0.75)])


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 2), st.booleans())
def test_neither_batch_nor_padding_nor_chunks_change_a_bit(sizes, max_sym_per_frame, all_labels):
    model = TableTransducer(6, None if all_labels else 2)
    total = sum(sizes)
    frames = frames_of(3, total, 6)
    lengths = torch.tensor([total, total // 2, total])
    frames[1, total // 2 :] = math.nan
    search = TransducerGreedySearch(model, max_sym_per_frame)
    whole = search.results(search.advance(frames, lengths, [search.start()] * 3))
    for row, length in enumerate(lengths.tolist()):
        alone = search.advance(
            frames[row : row + 1, :length], lengths[row : row + 1], [search.start()]
        )
        assert search.results(alone) == whole[row : row + 1]
    states, start = [search.start()] * 3, 0
    for size in sizes:
        chunk = (lengths - start).clamp(0, size)
        before = search.results(states)
        following = search.advance(frames[:, start : start + size], chunk, states)
        assert search.results(states) == before, "a state has changed"
        states, start = following, start + size
    assert search.results(states) == whole


def test_each_frame_takes_one_call_for_all_streams_and_only_emitting_rows_are_stepped():
    model = TableTransducer(5)
    search = TransducerGreedySearch(model)
    model.calls.update(step=0, join=0)
    states = search.advance(frames_of(8, 20, 5), torch.full((8,), 20), [search.start()] * 8)
    emitting = {frame for h in search.results(states) for frame in h.frames}
    assert model.calls == {"join": 20, "step": len(emitting)}


def test_streams_may_begin_and_end_at_different_times():
    model, frames = TableTransducer(5), frames_of(2, 10, 5)
    search = TransducerGreedySearch(model)
    (ahead,) = search.advance(frames[:1, :4], torch.tensor([4]), [search.start()])
    chunk = torch.stack([frames[0, 4:], frames[1, :6]])
    both = search.advance(chunk, torch.tensor([6, 6]), [ahead, search.start()])
    assert search.results(both)[0] == greedy_search(model, frames[:1], torch.tensor([10]))[0]
    assert search.results(both)[1] == greedy_search(model, frames[1:, :6], torch.tensor([6]))[0]


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5)])
def test_no_streams_and_no_frames(shape):
    found = greedy_search(
        TableTransducer(5), torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64)
    )
    assert [h.tokens for h in found] == [[]] * shape[0]


def test_nan_names_stream_and_frame_and_states_can_still_be_used():
    frames = frames_of(3, 6, 5)
    search = TransducerGreedySearch(TableTransducer(5))
    three = torch.full((3,), 3)
    states = search.advance(frames[:, :3], three, [search.start()] * 3)
    broken = frames[:, 3:].clone()
    broken[2, 1, 4] = math.nan
    with pytest.raises(DecodingError, match="stream 2 at frame 4"):
        search.advance(broken, three, states)
    again = search.results(search.advance(frames[:, 3:], three, states))
    assert again == greedy_search(search.transducer, frames, torch.full((3,), 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": torch.tensor([3, 9])}, "stream 1 has 9, but encoder_out has 6"),
        ({"lengths": torch.tensor([3, -1])}, "stream 1 has -1"),
        ({"lengths": torch.tensor([3.0, 1.0])}, "lengths integer"),
        ({"lengths": torch.tensor([3])}, r"got \(2, 6, 5\) and \(1,\)"),
        ({"encoder_out": torch.zeros(2, 6)}, r"must be \(N, T, D\)"),
        ({"encoder_out": torch.zeros(2, 6, 5, dtype=torch.int64)}, "floating-point"),
        ({"states": []}, "one for each of 2 rows"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    search = TransducerGreedySearch(TableTransducer(5))
    given_ = {
        "encoder_out": torch.zeros(2, 6, 5),
        "lengths": torch.tensor([6, 6]),
        "states": [search.start()] * 2,
    }
    with pytest.raises(DecodingError, match=message):
        search.advance(**(given_ | change))


def test_options_and_states_of_another_search_are_refused():
    model = TableTransducer(5)
    with pytest.raises(DecodingError, match="max_sym_per_frame: must be an integer in 1"):
        TransducerGreedySearch(model, 0)
    with pytest.raises(DecodingError, match="blank_penalty: must lie in"):
        TransducerGreedySearch(model, blank_penalty=math.nan)
    search, other = TransducerGreedySearch(model), TransducerGreedySearch(model)
    with pytest.raises(DecodingError, match=r"states\[1\]: is of another search"):
        search.results([search.start(), other.start()])
    model.start = lambda n: (torch.zeros(5), [])
    with pytest.raises(DecodingError, match=r"start\(1\) and join must give \(1, J\)"):
        TransducerGreedySearch(model)
