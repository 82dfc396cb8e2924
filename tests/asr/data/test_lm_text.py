"""No held-out sentence gets into a language model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.asr.data.errors import DataError
from wfst_entropy.asr.data.lm_text import MIN_INSIDE, HeldOut, refuse_held_out, select_lm_text

SENTENCES = st.lists(
    st.lists(st.sampled_from(["a", "B", "c", "#1"]), max_size=3).map(" ".join), max_size=8
)


@given(SENTENCES, SENTENCES, SENTENCES)
def test_what_is_chosen_passes_the_check(tmp_path_factory, spoken, further, held_out):
    kept_out = {s.lower() for s in held_out}
    try:
        text = select_lm_text(spoken, further, held_out)
    except DataError:
        written = [s for s in spoken if s] + [s for s in further if s and s[0] != "#"]
        assert all(s.lower() in kept_out for s in written)
        return
    path = tmp_path_factory.mktemp("lm") / "text.txt"
    path.write_text("\n".join(text.sentences) + "\n")
    assert refuse_held_out(path, held_out) == len(kept_out - {""})
    assert text.sentences[: text.num_transcripts] == [
        s for s in spoken if s and s.lower() not in kept_out
    ]
    assert len(text.sentences) == text.num_transcripts + text.num_added


def test_a_leak_is_refused_with_its_line(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("GO UP\nAND  it was SO\nGO DOWN\nand it was so\n")
    with pytest.raises(DataError, match=r"text\.txt:2: 'AND  it was SO' is or has a .* 1 more"):
        refuse_held_out(path, ["AND IT WAS SO", "GO"])
    path.write_bytes(b"\xff\n")
    with pytest.raises(DataError, match="needed UTF-8 text"):
        refuse_held_out(path, ["GO"])


WORDS = st.lists(st.sampled_from("ab"), max_size=9)


@given(WORDS, st.lists(WORDS, max_size=4))
def test_sentences_inside_longer_ones(words, held_out):
    inside = any(
        words[i : i + len(sentence)] == sentence
        for sentence in held_out
        if len(sentence) >= MIN_INSIDE
        for i in range(len(words))
    )
    text = " ".join(words)
    whole = bool(words) and words in held_out
    assert HeldOut(map(" ".join, held_out)).has(text) == (inside or whole)


def test_nothing_left():
    with pytest.raises(DataError, match="all 2 are among the 1 of development and test"):
        select_lm_text(["GO", "go"], [], ["GO"])
