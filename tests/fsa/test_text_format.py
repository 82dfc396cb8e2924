"""k2's and OpenFst's text formats, both ways."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa, FsaFormatError, FsaTypeError

seeds = st.integers(0, 10**6)


@given(seeds, st.booleans(), st.booleans())
def test_k2_text_round_trips(random_fsa, seed, transducer, double):
    fsa = random_fsa(seed, attributes=transducer)
    if double:
        fsa = fsa.with_scores(fsa.scores.double() / 3)
    text = fsa.to_str()
    again = Fsa.from_str(text, acceptor=not transducer)
    assert torch.equal(again.arcs, fsa.arcs)
    assert again.shape == fsa.shape
    if double:
        # Text is read as float32; the digits themselves give back the float64.
        column = [float(line.split()[-1]) for line in text.split("\n")[:-1]]
        assert column == fsa.scores.tolist()
    else:
        assert torch.equal(again.scores, fsa.scores)
    if transducer:
        assert torch.equal(again.aux_labels, fsa.aux_labels)
    assert again.to_str() == (fsa.to(torch.float32).to_str() if double else text)


@given(seeds)
def test_openfst_text_has_the_same_paths(random_fsa, paths, seed):
    fsa = random_fsa(seed, acyclic=True, attributes=False)
    finals = [src for src, _, label in fsa.arcs.tolist() if label == -1]
    if len(set(finals)) < len(finals):
        with pytest.raises(FsaFormatError, match=r"both go from state \d+ into the final state"):
            fsa.to_str(openfst=True)
        return
    again = Fsa.from_str(fsa.to_str(openfst=True), acceptor=True, openfst=True)
    assert paths(again) == paths(fsa)


@given(seeds)
def test_openfst_itself_reads_the_text(random_fsa, paths, seed):
    kaldifst = pytest.importorskip("kaldifst")
    fsa = random_fsa(seed, acyclic=True, attributes=False)
    finals = [src for src, _, label in fsa.arcs.tolist() if label == -1]
    if len(set(finals)) < len(finals):
        return
    text = kaldifst.compile(fsa.to_str(openfst=True) + "\n", acceptor=True).to_str(
        is_acceptor=True, show_weight_one=True
    )
    again = paths(Fsa.from_str(text, acceptor=True, openfst=True))
    assert [labels for labels, _ in again] == [labels for labels, _ in paths(fsa)]
    # OpenFst prints six or seven digits.
    for (_, a), (_, b) in zip(again, paths(fsa), strict=True):
        assert math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)


def test_openfst_costs_final_states_and_start_state():
    fsa = Fsa.from_str(
        """
        7 3 1 10 0.5
        7 9 2 20
        3 9 1 0 -0.25
        9 1.5
        3
        7 Infinity
        """,
        num_aux_labels=1,
        openfst=True,
    )
    # 7 starts and becomes 0; 3 and 9 become 1 and 2; 3 is the new final state.
    assert fsa.arcs.tolist() == [[0, 1, 1], [0, 2, 2], [1, 2, 1], [1, 3, -1], [2, 3, -1]]
    assert fsa.scores.tolist() == [-0.5, 0, 0.25, 0, -1.5]
    assert fsa.aux_labels.tolist() == [10, 20, 0, -1, -1]
    assert not any(math.copysign(1, score) < 0 for score in fsa.scores.tolist() if score == 0)


def test_openfst_text_of_an_fsa_whose_start_state_has_no_arc():
    fsa = Fsa.from_arcs([[1, 2, -1]])
    text = fsa.to_str(openfst=True)
    assert text == "0 Infinity\n1 0"
    assert Fsa.from_str(text, openfst=True).arcs.tolist() == [[1, 2, -1]]


def test_number_of_extra_labels():
    text = "0 1 5 50 500 0.5\n1 2 -1 -1 -1 0\n2"
    fsa = Fsa.from_str(text)
    assert fsa.aux_labels.tolist() == [50, -1] and fsa.aux_labels2.tolist() == [500, -1]
    assert fsa.aux_labels.dtype == torch.int32
    assert fsa.to_str() == text
    # Without scores the number of extra labels must be said.
    bare = "0 1 5 50\n1 2 -1 -1\n2"
    assert Fsa.from_str(bare, acceptor=False).aux_labels.tolist() == [50, -1]
    assert Fsa.from_str(bare, acceptor=True).scores.tolist() == [50, -1]
    assert Fsa.from_str("0 1 -1\n1").scores.tolist() == [0]


def test_arcs_are_grouped_by_source_and_blank_lines_skipped():
    fsa = Fsa.from_str("\n1 2 -1 0\n\n0 1 3 0\r\n0 1 2 0\n\n  2  \n")
    assert fsa.arcs.tolist() == [[0, 1, 3], [0, 1, 2], [1, 2, -1]]


def test_no_arcs():
    for text in ("", "\n \n", "0"):
        assert Fsa.from_str(text).num_states == 0
    assert Fsa.from_str("").to_str() == ""
    assert Fsa.from_str("3").num_states == 4
    assert Fsa.from_str("3").to_str() == "3"


def test_infinite_scores():
    fsa = Fsa.from_str("0 1 -1 -inf\n1")
    assert fsa.scores.tolist() == [-math.inf]
    assert fsa.to_str() == "0 1 -1 -Infinity\n1"


def test_a_vector_is_printed_one_by_one():
    a = Fsa.from_str("0 1 -1 0.5\n1")
    vec = Fsa.from_fsas([a, a])
    assert str(vec) == "fsa 0:\n0 1 -1 0.5\n1\nfsa 1:\n0 1 -1 0.5\n1"
    with pytest.raises(FsaTypeError, match=r"one at a time: fsa\[i\]"):
        vec.to_str()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("0 1 x 0\n1", {}, r"line 1: '0 1 x 0': label must be an integer, got 'x'"),
        ("0 1 3 0\n1 2 -1 y\n2", {}, r"line 2: .*score must be a number, got 'y'"),
        ("0 1 3 nan\n1 2 -1 0\n2", {}, r"line 1: .*score must not be NaN"),
        ("0 1 3 0\n\n1 2 -1 0", {}, r"line 3: .*last line must be the number of the final state"),
        ("0 1 3 0\n1\n1 2 -1 0\n2", {}, r"line 2: '1': .*needs openfst=True"),
        ("0 1 3 0\n1 2 3 0\n2", {}, r"line 2: .*label -1 belongs on arcs into the final state 2"),
        ("0 1 -1 0\n1 2 -1 0\n2", {}, r"line 1: .*label -1 belongs"),
        ("0 3 1 0\n2", {}, r"line 1: .*final state 2 \(line 2\) must have the largest number"),
        ("2 1 1 0\n2", {}, r"line 1: .*no arc leaving it"),
        ("0 1 -2 0\n1", {}, r"line 1: .*label must be from -1 to \d+, got -2"),
        ("0 1 9999999999 0\n1", {}, r"line 1: .*label must be from"),
        ("-1 1 -1 0\n1", {}, r"line 1: .*source state must be from 0"),
        (
            "0 1 3 0\n1 2 -1 0 0\n2",
            {"acceptor": True},
            r"line 2: .*0 extra labels has 3 or 4 fields \(src dst label \[score\]\), got 5",
        ),
        ("0 1 3 4 0 9\n1", {"acceptor": False}, r"has 4 or 5 fields .*aux_label \[score\].*got 6"),
        ("0 1\n1", {}, r"line 1: .*fields .*got 2"),
        ("0 1 3 0\n1\n1 2", {"openfst": True}, r"line 3: .*state 1 is already final by line 2"),
        ("0 1 -1 0\n1", {"openfst": True}, r"line 1: .*label must be from 0"),
        ("0 1 3 0\nx", {"openfst": True}, r"line 2: .*final state must be an integer, got 'x'"),
    ],
)
def test_errors_carry_the_line(text, options, message):
    with pytest.raises(FsaFormatError, match=message):
        Fsa.from_str(text, **options)


def test_openfst_has_no_label_on_a_final_cost():
    fsa = Fsa.from_str("0 1 -1 7 0\n1")
    with pytest.raises(FsaFormatError, match=r"arc 0, from state 0 .*has aux_labels \[7\]"):
        fsa.to_str(openfst=True)
