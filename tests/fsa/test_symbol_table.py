"""Symbol tables: files both ways, lookups, and errors with line numbers."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfst_entropy.fsa import (
    FsaFormatError,
    FsaTypeError,
    FsaValueError,
    SymbolNotFoundError,
    SymbolTable,
)

symbols = st.text(min_size=1, max_size=5).filter(
    lambda s: not set(s) & set(" \t\r\n") and not any("\ud800" <= c <= "\udfff" for c in s)
)


@given(st.dictionaries(symbols, st.integers(0, 10**6), max_size=8))
def test_text_round_trips_for_every_alphabet(pairs):
    unique = {number: symbol for symbol, number in pairs.items()}
    table = SymbolTable((symbol, number) for number, symbol in unique.items())
    assert SymbolTable.from_str(table.to_str()) == table
    assert len(table) == len(unique)
    assert table.ids == sorted(unique) and table.symbols == [unique[i] for i in sorted(unique)]
    for number, symbol in unique.items():
        assert table[symbol] == number and table[number] == symbol
        assert symbol in table and number in table


def test_files(tmp_path):
    table = SymbolTable([("<blk>", 0), ("▁THE", 5), ("\u2028", 7), ("\u3000", 8)])
    path = tmp_path / "tokens.txt"
    path.write_text("old")
    table.to_file(path)
    assert SymbolTable.from_file(path) == table
    assert path.read_text(encoding="utf-8").startswith("<blk> 0\n▁THE 5\n")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tokens.txt"
    path.write_text("old 0\n")

    def full_disk(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        SymbolTable([("new", 0)]).to_file(path)
    assert path.read_text() == "old 0\n" and list(tmp_path.iterdir()) == [path]


def test_windows_line_ends_tabs_and_blank_lines():
    assert SymbolTable.from_str("a\t0\r\n\r\n  b   1 \n").symbols == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 0\nb", r"t.txt: line 2: 'b': needed 'symbol id', got 1 fields"),
        ("a b 0", r"line 1: 'a b 0': needed 'symbol id', got 3 fields"),
        ("a 0\n\nb x", r"line 3: 'b x': the id must be an integer from 0 on"),
        ("a -1", r"line 1: .*the id must be an integer from 0 on"),
        ("a 0\nb 1\na 2", r"line 3: 'a 2': symbol 'a' is already on line 1"),
        ("a 0\nb 0", r"line 2: 'b 0': id 0 is already on line 1"),
    ],
)
def test_errors_carry_file_and_line(tmp_path, text, message):
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(FsaFormatError, match=message):
        SymbolTable.from_file(path)


def test_a_long_line_is_shortened():
    with pytest.raises(FsaFormatError, match=r"line 1: 'xxx.*needed 'symbol id'") as error:
        SymbolTable.from_str("x" * 10_000_000)
    assert len(str(error.value)) < 300


def test_not_utf8(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(b"\xff 0\n")
    with pytest.raises(FsaFormatError, match=r"t.txt: is not UTF-8"):
        SymbolTable.from_file(path)


def test_adding():
    table = SymbolTable()
    assert [table.add("<eps>"), table.add("a"), table.add("z", 9), table.add("b")] == [0, 1, 9, 10]
    assert table.add("a") == 1 and table.add("z", 9) == 9
    assert list(table) == [("<eps>", 0), ("a", 1), ("z", 9), ("b", 10)]
    for symbol, number, message in (
        ("a", 2, r"'a': already has id 1, cannot be 2 too"),
        ("c", 1, r"'c': id 1 already is 'a'"),
        ("c", -1, r"'c': its id must not be negative"),
        ("c d", None, r"'c d': must not be empty or hold blanks"),
        ("", None, r"must not be empty"),
    ):
        with pytest.raises(FsaValueError, match=message):
            table.add(symbol, number)


def test_missing():
    table = SymbolTable([("a", 0)])
    assert table.get("b") is None and table.get(1) is None
    with pytest.raises(SymbolNotFoundError) as caught:
        table["b"]
    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == "symbol 'b' is not in the symbol table of 1 symbols."
    with pytest.raises(SymbolNotFoundError, match=r"id 7 is not in"):
        table[7]
    with pytest.raises(FsaTypeError, match=r"must be a symbol \(str\) or an id \(int\), got 1.5"):
        table[1.5]
