"""The map between symbols and integers, in both directions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import overload

from wfst_entropy.fsa.atomic_file import replacing
from wfst_entropy.fsa.errors import FsaFormatError, FsaTypeError, FsaValueError, SymbolNotFoundError

# Only these separate fields: str.split() would also split at the wide and unusual spaces that
# occur inside symbols of some languages.
_SEPARATOR = re.compile(r"[ \t]+")
_SHOWN = 100  # characters of a line in a message


class SymbolTable:
    """A one-to-one map between symbols (strings without blanks) and ids (integers from 0 on).

    The file format is that of k2, Kaldi and OpenFst: a line `symbol id` each, such as
    `tokens.txt` and `words.txt`.

    Args:
      symbols: pairs of symbol and id.

    Raises:
      FsaValueError: a symbol or id twice, a negative id, or a symbol that the format cannot hold.

    Example:
      >>> table = SymbolTable.from_str("<blk> 0\\na 1\\nb 2")
      >>> table["a"], table[2], "c" in table, 2 in table, len(table)
      (1, 'b', False, True, 3)
      >>> table.add("c")
      3
      >>> table.get("d") is None
      True
    """

    def __init__(self, symbols: Iterable[tuple[str, int]] = ()) -> None:
        self._id_of: dict[str, int] = {}
        self._symbol_of: dict[int, str] = {}
        for symbol, number in symbols:
            self.add(symbol, number)

    @classmethod
    def from_str(cls, text: str, source: str = "symbol table") -> SymbolTable:
        """Reads the file format from a string; blank lines are skipped.

        Args:
          text: the lines.
          source: what to call the text in messages.

        Raises:
          FsaFormatError: with the number of the line, and of the earlier one for a duplicate.
        """
        table = cls()
        line_of: dict[str | int, int] = {}
        # splitlines() would also cut at characters that may be symbols, such as U+2028.
        for number, line in enumerate(text.split("\n"), start=1):
            fields = _SEPARATOR.split(line.strip(" \t\r"))
            if fields == [""]:
                continue
            shown = line.strip() if len(line) <= _SHOWN else line[:_SHOWN].strip() + "..."
            where = f"{source}: line {number}: {shown!r}"
            if len(fields) != 2:
                raise FsaFormatError(f"{where}: needed 'symbol id', got {len(fields)} fields.")
            symbol, digits = fields
            if not re.fullmatch(r"[0-9]{1,18}", digits):
                raise FsaFormatError(f"{where}: the id must be an integer from 0 on.")
            for key in (symbol, int(digits)):
                if key in line_of:
                    what = "symbol" if isinstance(key, str) else "id"
                    name = key[:_SHOWN] if isinstance(key, str) else key
                    raise FsaFormatError(
                        f"{where}: {what} {name!r} is already on line {line_of[key]}."
                    )
                line_of[key] = number
            table.add(symbol, int(digits))
        return table

    @classmethod
    def from_file(cls, filename: str | os.PathLike[str]) -> SymbolTable:
        """Reads a file in UTF-8.

        Raises:
          FsaFormatError: with file and line; FileNotFoundError: there is no such file.
        """
        path = Path(filename)
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise FsaFormatError(f"{path}: is not UTF-8 text: {error}.") from error
        return cls.from_str(text, source=str(path))

    def to_str(self) -> str:
        """The file format, ordered by id, each line with its end.

        Example:
          >>> SymbolTable([("a", 1), ("<blk>", 0)]).to_str()
          '<blk> 0\\na 1\\n'
        """
        return "".join(f"{symbol} {number}\n" for number, symbol in sorted(self._symbol_of.items()))

    def to_file(self, filename: str | os.PathLike[str]) -> None:
        """Writes a file in UTF-8, whole or not at all."""
        with replacing(Path(filename)) as file:
            file.write(self.to_str().encode("utf-8"))

    def add(self, symbol: str, number: int | None = None) -> int:
        """Adds a symbol and returns its id: `number`, or one more than the largest.

        A symbol that is there with the same id, or with any id when `number` is None, stays.

        Raises:
          FsaValueError: the symbol or the id is there with another partner, the id is negative,
            or the symbol is empty or has a blank or line end in it.
        """
        if symbol in self._id_of and number in (None, self._id_of[symbol]):
            return self._id_of[symbol]
        if not symbol or re.search(r"[ \t\r\n]", symbol):
            raise FsaValueError(f"symbol {symbol!r}: must not be empty or hold blanks.")
        if number is None:
            number = max(self._symbol_of, default=-1) + 1
        if number < 0:
            raise FsaValueError(f"symbol {symbol!r}: its id must not be negative, got {number}.")
        if symbol in self._id_of:
            raise FsaValueError(
                f"symbol {symbol!r}: already has id {self._id_of[symbol]}, cannot be {number} too."
            )
        if number in self._symbol_of:
            raise FsaValueError(
                f"symbol {symbol!r}: id {number} already is {self._symbol_of[number]!r}."
            )
        self._id_of[symbol] = number
        self._symbol_of[number] = symbol
        return number

    @overload
    def __getitem__(self, key: str) -> int: ...
    @overload
    def __getitem__(self, key: int) -> str: ...
    def __getitem__(self, key: str | int) -> int | str:
        """The id of a symbol, or the symbol of an id.

        Raises:
          SymbolNotFoundError: it is not in the table.
        """
        found = self.get(key)
        if found is None:
            what = "symbol" if isinstance(key, str) else "id"
            raise SymbolNotFoundError(
                f"{what} {key!r} is not in the symbol table of {len(self)} symbols."
            )
        return found

    @overload
    def get(self, key: str) -> int | None: ...
    @overload
    def get(self, key: int) -> str | None: ...
    def get(self, key: str | int) -> int | str | None:
        """The id of a symbol, or the symbol of an id; None when it is not in the table."""
        if isinstance(key, str):
            return self._id_of.get(key)
        if isinstance(key, int) and not isinstance(key, bool):
            return self._symbol_of.get(key)
        raise FsaTypeError(f"key: must be a symbol (str) or an id (int), got {key!r}.")

    @property
    def symbols(self) -> list[str]:
        """All symbols, ordered by id."""
        return [symbol for _, symbol in sorted(self._symbol_of.items())]

    @property
    def ids(self) -> list[int]:
        """All ids, ascending."""
        return sorted(self._symbol_of)

    def __contains__(self, key: object) -> bool:
        return key in self._id_of if isinstance(key, str) else key in self._symbol_of

    def __len__(self) -> int:
        return len(self._id_of)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(sorted(self._id_of.items(), key=lambda pair: pair[1]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymbolTable) and self._id_of == other._id_of

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SymbolTable({len(self)} symbols)"
