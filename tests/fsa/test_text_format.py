"""k2's and OpenFst's text formats, both ways."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa, FsaFormatError, FsaTypeError, FsaValueError, SymbolTable

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


def without_epsilons(found):
    return sorted((tuple(label for label in labels if label), score) for labels, score in found)


@given(seeds)
def test_openfst_text_has_the_same_paths(random_fsa, paths, seed):
    fsa = random_fsa(seed, acyclic=True, attributes=False)
    again = Fsa.from_str(fsa.to_str(openfst=True), acceptor=True, openfst=True)
    assert without_epsilons(paths(again)) == without_epsilons(paths(fsa))
    finals = [src for src, _, label in fsa.arcs.tolist() if label == -1]
    if len(set(finals)) == len(finals):
        assert paths(again) == paths(fsa)


@given(seeds)
def test_openfst_itself_reads_the_text(random_fsa, paths, seed):
    kaldifst = pytest.importorskip("kaldifst")
    fsa = random_fsa(seed, acyclic=True, attributes=False)
    text = kaldifst.compile(fsa.to_str(openfst=True) + "\n", acceptor=True).to_str(
        is_acceptor=True, show_weight_one=True
    )
    again = without_epsilons(paths(Fsa.from_str(text, acceptor=True, openfst=True)))
    expected = without_epsilons(paths(fsa))
    # OpenFst prints six or seven digits, so equal labels may change places.
    for (labels, a), (same, b) in zip(again, expected, strict=True):
        assert labels == same and math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)


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


def test_what_openfst_cannot_say_of_a_final_cost_becomes_an_arc():
    fsa = Fsa.from_str("0 1 3 9 0.5\n0 2 -1 -1 1\n0 2 -1 -1 2\n1 2 -1 7 3\n2")
    text = fsa.to_str(openfst=True)
    assert text == "0 1 3 9 -0.5\n0 -1\n0 2 0 0 -2\n1 2 0 7 -3\n2 0"
    again = Fsa.from_str(text, acceptor=False, openfst=True)
    assert again.arcs.tolist() == [[0, 1, 3], [0, 2, 0], [0, 3, -1], [1, 2, 0], [2, 3, -1]]
    assert again.aux_labels.tolist() == [9, 0, -1, 7, -1]
    assert again.scores.tolist() == [0.5, 2, 1, 3, 0]
    fsa = Fsa.from_str("0 1 -1 [7 8] 1\n1", ragged_label_names=["aux_labels"])
    assert fsa.to_str(openfst=True) == "0 1 0 [7 8] -1\n1 0"


# ---------------------------------------------------------------- names, lists, symbols


@given(seeds)
def test_ragged_labels_round_trip(random_fsa, seed):
    fsa = random_fsa(seed)
    names = {"aux_label_names": ["aux_labels"], "ragged_label_names": ["words"]}
    again = Fsa.from_str(fsa.to_str(**names), **names)
    assert torch.equal(again.aux_labels, fsa.aux_labels) and torch.equal(again.arcs, fsa.arcs)
    assert again.words == fsa.words.to(torch.int32) and again.words.num_axes == 2
    assert torch.equal(again.scores, fsa.scores)


def test_ragged_labels():
    text = "0 1 5 7 [1 2] [] 0.5\n1 2 -1 -1 [] [-1] 0\n2"
    fsa = Fsa.from_str(text, aux_label_names=["phones"], ragged_label_names=["a", "b"])
    assert fsa.phones.tolist() == [7, -1]
    assert fsa.a.tolist() == [[1, 2], []] and fsa.b.tolist() == [[], [-1]]
    assert fsa.a.dtype == torch.int32
    # The first arc tells the number of extra labels.
    assert Fsa.from_str(text, ragged_label_names=["a", "b"]).aux_labels.tolist() == [7, -1]
    assert fsa.to_str(aux_label_names=["phones"], ragged_label_names=["a", "b"]) == text
    assert fsa.to_str() == "0 1 5 0.5\n1 2 -1 0\n2"
    openfst = "0 1 5 [ 1  2 ] 0.5\n1 0.25"
    fsa = Fsa.from_str(openfst, acceptor=True, ragged_label_names=["aux_labels"], openfst=True)
    assert fsa.aux_labels.tolist() == [[1, 2], []]
    # Ragged aux_labels are written without being asked for.
    assert fsa.to_str(openfst=True) == "0 1 5 [1 2] 0.5\n1 0.25"
    assert Fsa.from_str("", ragged_label_names=["a"]).a.dim0 == 0


def test_symbols():
    words = SymbolTable.from_str("<eps> 0\nhi 1\n[noise] 2")
    tokens = SymbolTable.from_str("<blk> 0\nh 1\ni 2")
    text = "0 1 h hi 0.5\n0 1 i [noise] 0\n1 2 -1 -1 0\n2"
    fsa = Fsa.from_str(text, isymbols=tokens, osymbols=words)
    assert fsa.labels.tolist() == [1, 2, -1] and fsa.aux_labels.tolist() == [1, 2, -1]
    assert fsa.to_str(isymbols=tokens, osymbols=words) == text
    assert fsa.to_str(isymbols=tokens) == "0 1 h 1 0.5\n0 1 i 2 0\n1 2 -1 -1 0\n2"
    openfst = fsa.to_str(openfst=True, isymbols=tokens, osymbols=words)
    assert openfst == "0 1 h hi -0.5\n0 1 i [noise] 0\n1 0"
    again = Fsa.from_str(openfst, acceptor=False, openfst=True, isymbols=tokens, osymbols=words)
    assert again.aux_labels.tolist() == [1, 2, -1]
    ragged = "0 1 h [hi hi] 0\n1 2 -1 [] 0\n2"
    options = {"isymbols": tokens, "osymbols": words, "ragged_label_names": ["aux_labels"]}
    fsa = Fsa.from_str(ragged, acceptor=True, **options)
    assert fsa.aux_labels.tolist() == [[1, 1], []] and fsa.to_str(**options) == ragged


def test_double_precision():
    fsa = Fsa.from_str("0 1 -1 0.1\n1", dtype=torch.float64)
    assert fsa.scores.dtype == torch.float64 and fsa.scores.tolist() == [0.1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("0 1 x 0\n1", {"isymbols": SymbolTable([("a", 1)])},
         r"line 1: .*label 'x' is not in the symbol table of 1"),
        ("0 1 -1 b 0\n1", {"osymbols": SymbolTable([("a", 1)])}, r"line 1: .*aux_label 'b' is not"),
        ("0 1 -1 [1 0] 0\n1", {"acceptor": True},
         r"line 1: .*got 6; a list in brackets needs ragged_label_names"),
        ("0 1 -1 3 0\n1", {"acceptor": True, "ragged_label_names": ["a"]},
         r"line 1: .*ragged label must be a list in brackets, got '3'"),
        ("0 1 -1 [x] 0\n1", {"ragged_label_names": ["a"]},
         r"line 1: .*ragged label must be an integer, got 'x'"),
        ("0 1 -1 [1 2\n1", {"ragged_label_names": ["a"]}, r"line 1: .*list in brackets, got '\[1'"),
    ],
)  # fmt: skip
def test_wrong_symbols_and_lists_carry_the_line(text, options, message):
    with pytest.raises(FsaFormatError, match=message):
        Fsa.from_str(text, **options)


def test_wrong_names_and_tables():
    fsa = Fsa.from_str("0 1 -1 7 0\n1")
    with pytest.raises(FsaFormatError, match=r"arc 0: label 7 is not in the symbol table of 1 sym"):
        fsa.to_str(osymbols=SymbolTable([("a", 1)]))
    with pytest.raises(AttributeError, match=r"no attribute 'words'"):
        fsa.to_str(aux_label_names=["words"])
    fsa.set_attribute_("weight", torch.ones(1))
    fsa.set_attribute_("origin", "toy")
    for names in ({"aux_label_names": ["weight"]}, {"aux_label_names": ["origin"]}):
        with pytest.raises(FsaTypeError, match=r"to be written, needs one integer per arc"):
            fsa.to_str(**names)
    with pytest.raises(FsaTypeError, match=r"'aux_labels'.* needs one list of integers per arc"):
        fsa.to_str(ragged_label_names=["aux_labels"])
    with pytest.raises(FsaValueError, match=r"give one of them; they tell .*'num_aux_labels': 2"):
        Fsa.from_str("", acceptor=True, num_aux_labels=2)
