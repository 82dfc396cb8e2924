"""Readers of text, bytes, dictionaries and files, fed with damaged ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fuzz_examine import examine
from fuzz_values import fsas, one_fsa, ragged_tensors
from hypothesis import strategies as st

from wfst_entropy.fsa import (
    Fsa,
    FsaError,
    RaggedShape,
    RaggedTensor,
    SymbolTable,
    from_k2_dict,
    from_openfst_bytes,
    kaldi_lattice_to_str,
    kaldi_lattices_from_str,
    load_k2,
    save_k2,
    to_k2_dict,
    to_openfst_bytes,
)
from wfst_entropy.inspection import Severity
from wfst_entropy.lang import Lexicon, add_disambig_symbols, check_lexicon, lexicon_to_fst

# Text: half of the time anything over an alphabet of what parsers look at, else good text with
# characters changed, doubled or lost.
ALPHABET = "0123456789 -.+eEinfaNI\n\t#\\/[]x,<>\r\u00a0\u2028é\x00"


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[str]) -> str:
    if draw(st.booleans()):
        return draw(st.text(ALPHABET, max_size=60))
    text = list(draw(good))
    for _ in range(draw(st.integers(0, 4))):
        if not text:
            break
        at = draw(st.integers(0, len(text) - 1))
        change = draw(st.sampled_from(["drop", "double", "replace", "huge"]))
        if change == "drop":
            del text[at]
        elif change == "double":
            text.insert(at, text[at])
        elif change == "huge":
            text[at] = str(draw(st.sampled_from([2**31, -(2**31), 2**63, 10**400, "1e999"])))
        else:
            text[at] = draw(st.sampled_from(ALPHABET))
    return "".join(text)


@st.composite
def fsa_texts(draw: st.DrawFn) -> str:
    fsa = draw(fsas())
    if fsa.num_axes == 3:
        fsa = fsa[0] if fsa.num_fsas else draw(one_fsa())
    try:
        return fsa.to_str(openfst=draw(st.booleans()))
    except FsaError:
        return ""


def parse_fsa(data: st.DataObject) -> None:
    text = data.draw(damaged(fsa_texts()), label="text")
    options = {
        "acceptor": data.draw(st.sampled_from([None, True, False])),
        "num_aux_labels": data.draw(st.sampled_from([None, 0, 1, 2, -1])),
        "openfst": data.draw(st.booleans()),
    }
    try:
        fsa = Fsa.from_str(text, **options)
    except FsaError:
        return
    examine(fsa)
    assert Fsa.from_str(fsa.to_str()).num_arcs == fsa.num_arcs


def parse_symbols(data: st.DataObject) -> None:
    good = st.lists(st.tuples(st.text("abéß #", max_size=3), st.integers(-1, 9)), max_size=5)
    lines = good.map(lambda rows: "".join(f"{s} {i}\n" for s, i in rows))
    try:
        table = SymbolTable.from_str(data.draw(damaged(lines), label="text"))
    except FsaError:
        return
    assert SymbolTable.from_str(table.to_str()).symbols == table.symbols


def parse_ragged(data: st.DataObject) -> None:
    text = data.draw(damaged(ragged_tensors().map(str)), label="text")
    for parse in (RaggedTensor.from_str, RaggedShape.from_str):
        try:
            parse(text)
        except FsaError:
            continue


def restore_fsa(data: st.DataObject) -> None:
    """A dictionary with one part replaced."""
    values = data.draw(fsas()).as_dict()
    key = data.draw(st.sampled_from(sorted(values)), label="key")
    values[key] = data.draw(
        st.sampled_from([None, "x", -1, torch.zeros(3), torch.tensor([0, 5, 2]), [], {}]),
        label="value",
    )
    try:
        examine(Fsa.from_dict(values))
    except FsaError:
        return


def one_of_them(data: st.DataObject) -> Fsa:
    fsa = data.draw(fsas(), label="fsa")
    if fsa.num_axes == 3:
        fsa = fsa[0] if fsa.num_fsas else data.draw(one_fsa())
    return fsa


def parse_kaldi_lattices(data: st.DataObject) -> None:
    fsa = one_of_them(data)

    def archive() -> str:
        try:
            return f"utt-1\n{kaldi_lattice_to_str(fsa)}\n"
        except FsaError:
            return "utt-1\n0 1 3 7 0.5,1.5\n1 2 5,0,3_4\n\n"

    text = data.draw(damaged(st.builds(archive)), label="text")
    try:
        for _, lattice in kaldi_lattices_from_str(text):
            examine(lattice)
    except FsaError:
        return


def damaged_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Some bytes changed, and perhaps the end missing."""
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(0, 4), label="changes")):
        if broken:
            at = data.draw(st.integers(0, len(broken) - 1), label="at")
            broken[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), label="byte")
    end = data.draw(st.integers(0, len(broken)), label="end") if data.draw(st.booleans()) else None
    return bytes(broken[:end])


def read_openfst(data: st.DataObject) -> None:
    try:
        content = to_openfst_bytes(
            one_of_them(data), data.draw(st.sampled_from(["standard", "log", "log64"]))
        )
    except FsaError:
        return
    acceptor = data.draw(st.sampled_from([None, True, False]), label="acceptor")
    try:
        examine(from_openfst_bytes(damaged_bytes(data, content), acceptor))
    except FsaError:
        return


def read_k2_dict(data: st.DataObject) -> None:
    try:
        values = to_k2_dict(data.draw(fsas(), label="fsa"))
    except FsaError:
        return
    key = data.draw(st.sampled_from(sorted(values)), label="key")
    number = st.sampled_from([0, 1, 2, -1, 2**31 - 1, -(2**31)])
    rows = data.draw(st.lists(st.lists(number, min_size=4, max_size=4), max_size=5))
    values[key] = data.draw(
        st.sampled_from([None, "x", -1, torch.zeros(3), torch.tensor(rows, dtype=torch.int32), {}])
    )
    try:
        examine(from_k2_dict(values))
    except FsaError:
        return


def read_k2_file(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pt"
        try:
            save_k2(data.draw(fsas(), label="fsa"), path)
        except FsaError:
            return
        path.write_bytes(damaged_bytes(data, path.read_bytes()))
        try:
            examine(load_k2(path))
        except FsaError:
            return


def read_lexicon(data: st.DataObject) -> None:
    """A lexicon that is read strictly has no errors by the check, and makes a graph."""
    field = st.text("abéß你#_1.\u00a0", min_size=1, max_size=3)
    rows = data.draw(st.lists(st.lists(field, min_size=2, max_size=5), max_size=5))
    content = "".join(" ".join(row) + "\n" for row in rows).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / data.draw(st.sampled_from(["lexicon.txt", "lexiconp.txt"]))
        path.write_bytes(damaged_bytes(data, content))
        findings = check_lexicon(path, silence="a")
        try:
            lexicon = Lexicon.from_file(path)
        except FsaError:
            assert any(finding.severity == Severity.ERROR for finding in findings)
            return
        assert all(finding.severity < Severity.ERROR for finding in findings)
        lexicon.to_file(path)
        assert Lexicon.from_file(path) == lexicon
    marked, number = add_disambig_symbols(lexicon)
    symbols = ["<blk>", *lexicon.tokens, *(f"#{k}" for k in range(number + 1))]
    tokens = SymbolTable((symbol, i) for i, symbol in enumerate(symbols))
    words = SymbolTable((word, i) for i, word in enumerate(["<eps>", *lexicon.words, "#0"]))
    examine(lexicon_to_fst(marked, tokens, words, self_loop=True))


READERS: dict[str, Callable[[Any], None]] = {
    "text of graphs": parse_fsa,
    "text of symbol tables": parse_symbols,
    "text of ragged tensors": parse_ragged,
    "text of Kaldi lattices": parse_kaldi_lattices,
    "bytes of OpenFst files": read_openfst,
    "Fsa.from_dict": restore_fsa,
    "from_k2_dict": read_k2_dict,
    "load_k2": read_k2_file,
    "lexicons": read_lexicon,
}
