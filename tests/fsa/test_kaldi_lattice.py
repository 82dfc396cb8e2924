"""Kaldi's lattice text, plain and compact, in archives."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import Fsa, FsaFormatError, FsaTypeError, FsaValueError, RaggedTensor
from wfst_entropy.fsa.kaldi_lattice import (
    kaldi_lattice_to_str,
    kaldi_lattices_from_str,
    read_kaldi_lattices,
    write_kaldi_lattices,
)

seeds = st.integers(0, 10**6)


def random_lattice(random_fsa, seed, compact):
    """A lattice with at most one arc from each state into the final one."""
    fsa = random_fsa(seed, acyclic=True, attributes=False)
    seen, kept = set(), []
    for i, (src, _, label) in enumerate(fsa.arcs.tolist()):
        if label != -1 or src not in seen:
            kept.append(i)
        if label == -1:
            seen.add(src)
    # Reading puts the arc into the final state after the others of its state.
    kept.sort(key=lambda i: (int(fsa.arcs[i, 0]), int(fsa.arcs[i, 2]) == -1))
    rng = random.Random(seed)
    arcs = fsa.arcs[kept]
    graph, acoustic = (torch.tensor([rng.gauss(0, 9) for _ in kept]) for _ in range(2))
    fsa = Fsa.from_arcs(arcs, graph + acoustic, fsa.num_states)
    fsa.set_attribute_("graph_scores", graph).set_attribute_("acoustic_scores", acoustic)
    if compact:
        ids = [[rng.randrange(1, 99) for _ in range(rng.randrange(3))] for _ in kept]
        return fsa.set_attribute_("transition_ids", RaggedTensor.from_lists(ids, torch.int32))
    words = [-1 if label == -1 else rng.randrange(9) for label in fsa.labels.tolist()]
    return fsa.set_attribute_("aux_labels", torch.tensor(words, dtype=torch.int32))


def assert_same(a, b):
    # State numbers without arcs are not in the text; everything else is.
    assert torch.equal(a.labels, b.labels) and torch.equal(a.scores, b.scores)
    assert a.attributes.keys() == b.attributes.keys()
    for name, value in a.attributes.items():
        other = b.attributes[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


@given(st.lists(st.tuples(seeds, st.booleans()), max_size=3))
def test_archives_round_trip(random_fsa, which):
    lattices = [
        (f"utt-{i}", random_lattice(random_fsa, seed, compact))
        for i, (seed, compact) in enumerate(which)
    ]
    text = "".join(f"{name} \n{kaldi_lattice_to_str(fsa)}\n" for name, fsa in lattices)
    again = list(kaldi_lattices_from_str(text))
    assert [name for name, _ in again] == [name for name, _ in lattices]
    for (_, a), (_, b) in zip(again, lattices, strict=True):
        if b.num_arcs:
            assert_same(a, b)


@given(seeds)
def test_kaldi_writes_the_same(random_fsa, seed):
    kaldifst = pytest.importorskip("kaldifst")
    lattice = random_lattice(random_fsa, seed, compact=False)
    fst = kaldifst.Lattice()
    for _ in range(lattice.num_states - 1):
        fst.add_state()
    if lattice.num_states:
        fst.start = 0
    rows = zip(
        lattice.arcs.tolist(), lattice.aux_labels.tolist(), lattice.graph_scores.tolist(),
        lattice.acoustic_scores.tolist(), strict=True,
    )  # fmt: skip
    for (src, dst, label), word, graph, acoustic in rows:
        weight = kaldifst.LatticeWeight(-graph, -acoustic)
        if label == -1:
            fst.set_final(src, weight)
        else:
            fst.add_arc(src, kaldifst.LatticeArc(label, word, weight, dst))
    text = fst.to_str()
    if not text:
        return
    [(name, again)] = kaldi_lattices_from_str(f"utt\n{text}\n")
    assert name == "utt" and torch.equal(again.labels, lattice.labels)
    assert torch.equal(again.aux_labels, lattice.aux_labels)
    # Kaldi prints six digits.
    torch.testing.assert_close(again.graph_scores, lattice.graph_scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.scores, lattice.scores, rtol=1e-4, atol=1e-3)


def test_what_the_columns_mean(tmp_path):
    text = (
        "a-1 \n0\t1\t5\t2.5,-4,7_7_8\n0\t2\t6\n1\t2\t0\t1,1,\n2\t0.5,0,9\n1\n\n"
        "b-2\n3 1 11 5 2.5,-4\n3 1 12 0\n1 0.5,0.25\n\nempty\n\n"
    )
    (a, compact), (b, plain), (c, empty) = kaldi_lattices_from_str(text)
    assert (a, b, c) == ("a-1", "b-2", "empty")
    assert compact.arcs.tolist() == [
        [0, 1, 5], [0, 2, 6], [1, 2, 0], [1, 3, -1], [2, 3, -1],
    ]  # fmt: skip
    assert compact.scores.tolist() == [1.5, 0, -2, 0, -0.5]
    assert compact.transition_ids.tolist() == [[7, 7, 8], [], [], [], [9]]
    assert compact.transition_ids.dtype == torch.int32
    assert plain.arcs.tolist() == [[0, 1, 11], [0, 1, 12], [1, 2, -1]]
    assert plain.aux_labels.tolist() == [5, 0, -1]
    assert plain.graph_scores.tolist() == [-2.5, 0, -0.5]
    assert plain.acoustic_scores.tolist() == [4, 0, -0.25]
    assert empty.num_states == 0
    write_kaldi_lattices([(a, compact), (b, plain)], tmp_path / "lat.txt")
    again = dict(read_kaldi_lattices(tmp_path / "lat.txt"))
    assert_same(again[a], compact)
    assert_same(again[b], plain)


def test_writing_other_fsas():
    fsa = Fsa.from_str("0 1 5 50 0.5\n0 2 -1 -1 1\n0 2 -1 7 2\n1 2 -1 -1 0\n2")
    assert kaldi_lattice_to_str(fsa) == "0 1 5 50 -0.5,0\n0 -1,0\n0 2 0 7 -2,0\n1 0,0\n2 0,0\n"
    # Scores that changed after reading: the graph costs take the difference.
    changed = fsa.set_attribute_("acoustic_scores", torch.tensor([1.0, 0, 0, 0]))
    changed.set_attribute_("graph_scores", torch.zeros(4))
    assert kaldi_lattice_to_str(changed).split("\n")[0] == "0 1 5 50 0.5,-1"
    infinite = Fsa.from_str("0 1 -1 -inf\n1")
    infinite.set_attribute_("graph_scores", infinite.scores)
    infinite.set_attribute_("acoustic_scores", torch.zeros(1))
    assert kaldi_lattice_to_str(infinite) == "0 Infinity,0\n"
    with pytest.raises(FsaTypeError, match=r"one lattice at a time: lattice\[i\]"):
        kaldi_lattice_to_str(Fsa.from_fsas([infinite]))
    for name, value in (
        ("transition_ids", torch.zeros(1)),
        ("aux_labels", RaggedTensor.from_lists([[1]])),
        ("acoustic_scores", "none"),
    ):
        wrong = Fsa.from_str("0 1 -1 0\n1").set_attribute_(name, value)
        with pytest.raises(FsaTypeError, match=f"attribute '{name}': must be"):
            kaldi_lattice_to_str(wrong)


def test_a_bad_name_leaves_no_file(tmp_path):
    with pytest.raises(FsaValueError, match=r"utterance 'a b': its name must be one word"):
        write_kaldi_lattices([("a b", Fsa.from_str("0 1 -1 0\n1"))], tmp_path / "lat.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lattice", "message"),
    [
        ("0 1 5 1,2,x\n1", r"line 2: '0 1 5 1,2,x': states and labels are integers .* got 'x'"),
        ("0 1 5 1,2,3\n1 4,5", r"line 3: .* of this lattice have costs graph,acoustic,transitions"),
        (
            "0 1 5 6 1,2\n1 4,5,6",
            r"line 3: .*of this lattice have costs graph,acoustic, got '4,5,6'",
        ),
        ("0 1 5 6 1,y\n1", r"line 2: .*costs must be numbers, got '1,y'"),
        ("0 1 5 6 nan,0\n1", r"line 2: .*must not be NaN"),
        (
            "0 1 5 6 1,2\n0 1 5\n1",
            r"line 3: .*has the fields src dst transition-id word and a cost",
        ),
        ("0 1 5 1,2,\n0 1 5 6\n1", r"line 3: .*has the fields src dst word and a cost"),
        ("0 1 5 6\n1 0,0\n1 1,1", r"line 4: .*state 1 has a final cost already"),
        ("-1 1 5 6\n1", r"line 2: .*got '-1'"),
        ("0 9999999999 5 6\n1", r"line 2: .*got '9999999999'"),
    ],
)
def test_errors_carry_the_line(lattice, message):
    with pytest.raises(FsaFormatError, match=f"lattices: {message}"):
        list(kaldi_lattices_from_str(f"utt\n{lattice}\n\n"))


def test_a_lattice_without_a_name(tmp_path):
    path = tmp_path / "lat.txt"
    path.write_text("0 1 5 6 1,2\n1\n")
    with pytest.raises(FsaFormatError, match=r"lat.txt: line 1: .*the name of an utterance alone"):
        list(read_kaldi_lattices(path))


def test_a_binary_file_is_told(tmp_path):
    (tmp_path / "a.lat").write_bytes(b"utt \0B\xff\xfe")
    with pytest.raises(FsaFormatError, match=r"a\.lat: is not UTF-8 text.*lattice-copy"):
        list(read_kaldi_lattices(tmp_path / "a.lat"))
