"""OpenFst binary files, against OpenFst itself (through pynini and kaldifst)."""

from __future__ import annotations

import contextlib
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy import _native
from wfst_entropy.fsa import Fsa, FsaFormatError, FsaTypeError, FsaValueError
from wfst_entropy.fsa.openfst import (
    from_kaldifst,
    from_openfst_bytes,
    from_openfst_file,
    to_kaldifst,
    to_openfst_bytes,
    to_openfst_file,
)

seeds = st.integers(0, 10**6)
arc_types = st.sampled_from(["standard", "log", "log64"])


def text_of(fsa):
    return fsa.to_str(openfst=True)


@given(seeds, st.booleans(), arc_types)
def test_binary_and_text_say_the_same(random_fsa, seed, transducer, arc_type):
    fsa = random_fsa(seed, attributes=transducer)
    again = from_openfst_bytes(to_openfst_bytes(fsa, arc_type), acceptor=not transducer)
    if not fsa.num_states:
        assert again.num_states == 0
        return
    expected = Fsa.from_str(text_of(fsa), acceptor=not transducer, openfst=True)
    # Text does not mention states without arcs.
    assert again.num_states >= expected.num_states
    if again.num_states == expected.num_states:
        assert torch.equal(again.arcs, expected.arcs)
    assert again.scores.tolist() == expected.scores.tolist()
    assert again.scores.dtype == (torch.float64 if arc_type == "log64" else torch.float32)
    if transducer:
        assert torch.equal(again.aux_labels, expected.aux_labels)


@given(seeds)
def test_pynini_reads_and_writes_the_same(random_fsa, seed):
    pynini = pytest.importorskip("pynini")
    fsa = random_fsa(seed)
    fst = pynini.Fst.read_from_string(to_openfst_bytes(fsa))
    assert fst.verify()
    again = from_openfst_bytes(fst.write_to_string(), acceptor=False)
    direct = from_openfst_bytes(to_openfst_bytes(fsa), acceptor=False)
    assert torch.equal(again.arcs, direct.arcs) and torch.equal(again.scores, direct.scores)
    assert torch.equal(again.aux_labels, direct.aux_labels)


@pytest.mark.parametrize("arc_type", ["standard", "log", "log64"])
def test_pynini_agrees_on_every_number(arc_type):
    pynini = pytest.importorskip("pynini")
    fsa = Fsa.from_str("0 1 5 7 0.5\n0 1 0 8 -1.25\n1 2 -1 -1 3\n2", acceptor=False)
    fst = pynini.Fst.read_from_string(to_openfst_bytes(fsa, arc_type))
    assert fst.arc_type() == arc_type and fst.start() == 0 and fst.num_states() == 2
    arcs = [(a.ilabel, a.olabel, float(a.weight), a.nextstate) for a in fst.arcs(0)]
    assert arcs == [(5, 7, -0.5, 1), (0, 8, 1.25, 1)]
    assert float(fst.final(1)) == -3 and float(fst.final(0)) == float("inf")


@given(seeds, arc_types)
def test_const_and_moved_start_state(random_fsa, seed, arc_type):
    pynini = pytest.importorskip("pynini")
    import pywrapfst

    fst = pynini.Fst.read_from_string(to_openfst_bytes(random_fsa(seed), arc_type))
    if fst.num_states() > 1:
        fst.set_start(fst.num_states() - 1)
    vector = from_openfst_bytes(fst.write_to_string(), acceptor=False)
    const = pywrapfst.convert(fst, "const")
    again = from_openfst_bytes(const.write_to_string(), acceptor=False)
    assert torch.equal(again.arcs, vector.arcs) and torch.equal(again.scores, vector.scores)
    if vector.num_states > 2:
        # What leaves the start state here leaves the last one there.
        last = [(a.ilabel, a.olabel) for a in fst.arcs(fst.num_states() - 1)]
        here = vector.arcs[:, 0] == 0
        labels = zip(vector.labels[here].tolist(), vector.aux_labels[here].tolist(), strict=True)
        assert [pair for pair in labels if pair[0] >= 0] == last


def test_symbol_tables_in_the_file_are_skipped():
    pynini = pytest.importorskip("pynini")
    table = pynini.SymbolTable()
    for symbol in ("<eps>", "a", "é"):
        table.add_symbol(symbol)
    fst = pynini.Fst.read_from_string(to_openfst_bytes(Fsa.from_str("0 1 2 0\n1 2 -1 0\n2")))
    fst.set_input_symbols(table)
    fst.set_output_symbols(table)
    assert from_openfst_bytes(fst.write_to_string()).labels.tolist() == [2, -1]


def test_kaldifst(random_fsa, tmp_path):
    kaldifst = pytest.importorskip("kaldifst")
    for seed in range(20):
        fsa = random_fsa(seed)
        fst = to_kaldifst(fsa)
        assert isinstance(fst, kaldifst.StdVectorFst)
        again = from_kaldifst(fst, acceptor=False)
        direct = from_openfst_bytes(to_openfst_bytes(fsa), acceptor=False)
        assert torch.equal(again.arcs, direct.arcs) and torch.equal(again.scores, direct.scores)
    path = str(tmp_path / "const.fst")
    kaldifst.StdConstFst(fst).write(path)
    assert torch.equal(from_openfst_file(path, acceptor=False).arcs, direct.arcs)


def test_files(tmp_path):
    fsa = Fsa.from_str("0 1 5 0.5\n0 2 -1 1\n0 2 -1 2\n1 2 -1 0\n2")
    to_openfst_file(fsa, tmp_path / "a.fst")
    again = from_openfst_file(str(tmp_path / "a.fst"))
    assert again.arcs.tolist() == [[0, 1, 5], [0, 2, 0], [0, 3, -1], [1, 3, -1], [2, 3, -1]]
    assert again.scores.tolist() == [0.5, 2, 1, 0, 0] and "aux_labels" not in again.attributes
    assert from_openfst_file(tmp_path / "a.fst", acceptor=False).aux_labels.tolist() == [
        5, 0, -1, -1, -1,
    ]  # fmt: skip
    with pytest.raises(FsaTypeError, match=r"one at a time: fsa\[i\]"):
        to_openfst_file(Fsa.from_fsas([fsa]), tmp_path / "b.fst")
    with pytest.raises(FsaValueError, match=r"arc_type: .* standard, log, log64, got 'real'"):
        to_openfst_bytes(fsa, "real")
    ragged = Fsa.from_str("0 1 -1 [1] 0\n1", ragged_label_names=["aux_labels"])
    with pytest.raises(FsaTypeError, match=r"aux_labels: must be one integer per arc"):
        to_openfst_bytes(ragged)
    assert not (tmp_path / "b.fst").exists()


def test_kaldifst_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kaldifst", None)
    with pytest.raises(RuntimeError, match=r"needs the package kaldifst.*pip install"):
        to_kaldifst(Fsa.from_str("0 1 -1 0\n1"))


GOOD = to_openfst_bytes(Fsa.from_str("0 1 5 7 0.5\n0 1 0 8 -1.25\n1 2 -1 -1 3\n2"))
BODY = len(GOOD) - 2 * 12 - 2 * 16


def changed(offset, layout, value):
    """The good file with one number changed, `offset` bytes from where its states begin."""
    begin = BODY + offset
    return GOOD[:begin] + struct.pack(layout, value) + GOOD[begin + struct.calcsize(layout) :]


def test_damaged_files_are_refused():
    for size in range(len(GOOD)):
        with pytest.raises(FsaFormatError, match=r"here: byte \d+: "):
            from_openfst_bytes(GOOD[:size], source="here")
    cases = [
        (b"hello world, this is text", r"begins with 2125659606, this one with"),
        (GOOD.replace(b"vector", b"ngram\0"), r"this is a 'ngram"),
        (GOOD.replace(b"standard", b"lattice4"), r"of type 'lattice4'; needed .*standard, log"),
        (changed(4, "<q", 2**40), r"state 0 has 1099511627776 arcs"),
        (changed(4, "<q", -1), r"state 0 has -1 arcs"),
        (changed(24, "<i", 9), r"arc 0 goes to state 9, of 2"),
        (changed(12, "<i", -3), r"has a negative label"),
        (changed(20, "<f", float("nan")), r"not a number"),
        (changed(-24, "<q", 5), r"start state is 5, of 2"),
    ]  # fmt: skip
    for data, message in cases:
        with pytest.raises(FsaFormatError, match=message):
            from_openfst_bytes(data)


@given(st.data())
def test_changed_bytes_never_crash(data):
    damaged = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FsaFormatError, FsaValueError):
        from_openfst_bytes(bytes(damaged))


def test_a_piped_file_does_not_know_its_number_of_states():
    piped = GOOD[: BODY - 16] + struct.pack("<qq", -1, -1) + GOOD[BODY:]
    assert torch.equal(from_openfst_bytes(piped).arcs, from_openfst_bytes(GOOD).arcs)


@pytest.mark.parametrize("arc_type", ["standard", "log64"])
def test_without_the_extension_the_same_is_read(random_fsa, arc_type):
    for seed in range(5):
        data = to_openfst_bytes(random_fsa(seed), arc_type)
        native = from_openfst_bytes(data)
        with _native.disabled():
            python = from_openfst_bytes(data)
        assert torch.equal(native.arcs, python.arcs)
        assert torch.equal(native.scores, python.scores)
