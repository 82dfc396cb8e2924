"""k2's text formats: extra labels, ragged labels, OpenFst's costs."""

from __future__ import annotations

import pytest

from wfst_entropy.compat import k2
from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError

RAGGED = """
    0 1 5 7 [] [1 2] 0.5
    1 2 -1 -1 [3] [] 0
    2
"""


def test_labels_are_told_in_three_ways():
    text = "0 1 5 7 0.5\n1 2 -1 -1 0\n2\n"
    for how in ({"acceptor": False}, {"num_aux_labels": 1}, {"aux_label_names": ["aux_labels"]}):
        fst = k2.Fsa.from_str(text, **how)
        assert fst.aux_labels.tolist() == [7, -1]
        assert k2.to_str(fst) == k2.to_str_simple(fst) == text
    with pytest.raises(FsaTypeError, match="give one of"):
        k2.Fsa.from_str(text, acceptor=False, num_aux_labels=1)
    with pytest.raises(ValueError, match="line 1"):
        k2.Fsa.from_str(text)


def test_extra_labels_and_ragged_labels_are_written_as_read():
    names = {"aux_label_names": ["words"], "ragged_label_names": ["x", "y"]}
    fsa = k2.Fsa.from_str(RAGGED, **names)
    assert fsa.words.tolist() == [7, -1]
    assert fsa.x.tolist() == [[], [3]] and fsa.y.tolist() == [[1, 2], []]
    assert k2.to_str(fsa) == "0 1 5 7 [ ] [ 1 2 ] 0.5\n1 2 -1 -1 [ 3 ] [ ] 0\n2\n"
    assert k2.to_str(k2.Fsa.from_str(k2.to_str(fsa), **names)) == k2.to_str(fsa)
    assert k2.to_str_simple(fsa) == "0 1 5 0.5\n1 2 -1 0\n2\n"


def test_openfst_both_ways():
    text = "0 1 5 7 [8] 0.5\n1 2 6 0 [] 1\n2 0.25\n1\n"
    names = {"num_aux_labels": 1, "ragged_label_names": ["words"]}
    fst = k2.Fsa.from_openfst(text, **names)
    assert fst.labels.tolist() == [5, 6, -1, -1] and fst.aux_labels.tolist() == [7, 0, -1, -1]
    assert fst.scores.tolist() == [-0.5, -1, 0, -0.25]
    assert fst.words.tolist() == [[8], [], [], []]
    again = k2.Fsa.from_str(k2.to_str(fst, openfst=True), openfst=True, **names)
    assert str(again) == str(fst)
    assert k2.to_str_simple(k2.Fsa.from_openfst("0 Inf\n1 0.5")) == "1 2 -1 -0.5\n2\n"


def test_empty_texts():
    assert k2.to_str_simple(k2.Fsa.from_str("\n")) == ""
    assert k2.to_str_simple(k2.Fsa.from_openfst(" ")) == ""
    assert k2.Fsa.from_str("1").shape == (2, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 5 [1] 0.5\n1", r"line 1: .* needs 2 lists in brackets, has 1"),
        ("0 1 5 [] [a] 0.5\n1", "line 1: .* invalid literal"),
        ("0 1 5 [] [] 0.5\n1 2 -1 [] [] x\n2", "line 2: .* score must be a number"),
        ("0\n1", "line 1"),
    ],
)
def test_errors_name_the_line(text: str, message: str):
    with pytest.raises(FsaFormatError, match=message):
        k2.Fsa.from_str(text, ragged_label_names=["x", "y"])


def test_the_description_of_an_fsa():
    fsa = k2.linear_fsa([5])
    fsa.note, fsa.labels_sym = "toy", "hidden"
    text = str(fsa)
    assert text.startswith('k2.Fsa: 0 1 5 0\n1 2 -1 0\n2\nproperties_str = "Valid|')
    assert text.endswith("\nnote: toy") and "hidden" not in text
    assert str(k2.create_fsa_vec([fsa])).startswith("k2.FsaVec: \nFsaVec[0]: 0 1 5 0\n")
    for write in (k2.to_str, k2.to_str_simple):
        with pytest.raises(FsaTypeError, match="vector"):
            write(k2.create_fsa_vec([fsa]))
