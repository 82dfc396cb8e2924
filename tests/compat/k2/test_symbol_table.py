"""k2's symbol table: epsilon is always there, a missing symbol is a KeyError."""

from __future__ import annotations

import pickle

import pytest

from wfst_entropy.compat.k2.symbol_table import SymbolTable
from wfst_entropy.fsa import FsaFormatError, FsaValueError


def test_reading_looking_up_and_adding():
    table = SymbolTable.from_str("\n  a 1\n  b\t2\n")
    for symbol, number in (("a", 1), ("b", 2), ("<eps>", 0)):
        assert table[symbol] == table.get(symbol) == number
        assert table[number] == table.get(number) == symbol
        assert symbol in table and number in table
    assert "c" not in table and 3 not in table and len(table) == 3
    assert table.add("c") == 3 and table.add("d", 10) == 10 and table.add("B") == 11
    assert table.add("a", 77) == 1
    assert table.ids == [0, 1, 2, 3, 10, 11]
    assert table.symbols == ["<eps>", "B", "a", "b", "c", "d"]
    assert SymbolTable.from_str("<blk> 0\na 1").eps == "<blk>"


def test_merging_copying_and_files(tmp_path):
    a, b = SymbolTable.from_str("a 1\nb 2"), SymbolTable.from_str("a 1\nh 12")
    merged = a.merge(b)
    assert merged.ids == [0, 1, 2, 12] and a.ids == [0, 1, 2]
    assert merged == SymbolTable.from_str(merged.to_str()) != a
    assert merged.to_str() == "<eps> 0\na 1\nb 2\nh 12\n"
    merged.to_file(tmp_path / "words.txt")
    assert SymbolTable.from_file(str(tmp_path / "words.txt")) == merged
    assert pickle.loads(pickle.dumps(merged)) == merged
    assert SymbolTable({1: ("a", "b")})[("a", "b")] == 1
    for other in ("c 1", "a 2", "x 0"):
        with pytest.raises(FsaValueError, match=r"other: pairs '.' with \d, but here"):
            a.merge(SymbolTable.from_str(other))


def test_errors():
    table = SymbolTable.from_str("a 1")
    for key, message in (("x", "symbol 'x' is not in the table of 2"), (7, "id 7 is not")):
        with pytest.raises(KeyError, match=message):
            table[key]
    with pytest.raises(FsaFormatError, match=r"line 2: .*symbol 'a' is already on line 1"):
        SymbolTable.from_str("a 1\na 2")
    with pytest.raises(FsaValueError, match=r"id 1 for 'b': is negative or already 'a'"):
        table.add("b", 1)
    with pytest.raises(FsaValueError, match=r"id 0 must be epsilon, '<eps>'; it is 'a'"):
        SymbolTable({0: "a"})
    with pytest.raises(FsaValueError, match=r"'<eps>' has id 3"):
        SymbolTable({3: "<eps>"})
    with pytest.raises(FsaValueError, match=r"symbol 'a', id 1: .* the other dict has 2"):
        SymbolTable({1: "a"}, {"a": 2})
    with pytest.raises(FsaValueError, match=r"must hold the same pairs"):
        SymbolTable({1: "a"}, {"a": 1, "b": 2})
